#!/usr/bin/env python3
"""symbols.py BUILD: what the libraries export is what vipo.h, action.h, sim.h and eval.h declare; their objects have no
mutable data of their own and call nothing that ends, prints or reads the environment on behalf of the caller."""
import glob
import os
import re
import subprocess
import sys

import tree

# Functions and objects of the C library that a library leaves alone.
FORBIDDEN = set("""exit _exit _Exit quick_exit abort atexit __assert_fail raise kill system popen
printf vprintf puts putchar perror stdin stdout stderr psignal
setenv putenv unsetenv setlocale chdir umask signal sigaction
rand srand random srandom strtok strerror_l localtime gmtime asctime ctime tmpnam""".split())
ONLY_IN = {"getenv": "core/environment.c", "secure_getenv": "core/environment.c"}
# MuJoCo's callbacks are one set for the process, and an error must find the call that it ends.
# The C++ compiler adds the start-up object of iostream and pointers to its exception handler.
MUTABLE = {("src/sim/scene.c", "guarded"), ("src/sim/scene.c", "callbacks"),
           ("src/media/dis.cpp", "_ZStL8__ioinit"), ("src/media/dis.cpp", "DW")}


def lines(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


def declared(header):
    return set(re.findall(r"^VIPO_API\b[^;(]*?\b(vipo_\w+)\s*\(", tree.read("include/vipo/" + header), re.M))


# Ends of sections: the linker's own, exported where a library that is linked to names them.
ENDS = {"__bss_start", "_edata", "_end"}


def check_exports(library, *headers):
    exported = {line.split()[-1].split("@")[0] for line in lines("nm", "-D", "--defined-only", library)} - ENDS
    wanted = set().union(*map(declared, headers))
    empty = [header for header in headers if not declared(header)]
    if empty:
        return ["%s: no declaration found" % header for header in empty]
    return (["%s: %s is exported but not declared in %s" % (library, name, " or ".join(headers)) for name in sorted(exported - wanted)] +
            ["%s: %s is declared in %s but not defined" % (library, name, " or ".join(headers)) for name in sorted(wanted - exported)])


def check_data(source, path):
    """Nothing in .data, .bss, thread-local or common storage. Tables of pointers are in .data.rel.ro: constant."""
    for line in lines("objdump", "-t", path):
        match = re.match(r"[0-9a-f]+ .{7} (\S+)\t[0-9a-f]+ (?:\.hidden )?(\S+)", line)
        if match and re.match(r"\.(data|bss|tdata|tbss)|\*COM\*", match.group(1)):
            section, name = match.groups()
            if not section.startswith(".data.rel.ro") and name != section and (source, name.split(".")[0]) not in MUTABLE:
                yield "%s: %s is mutable data (%s)" % (source, name, section)


def check_calls(source, path):
    for line in lines("nm", "-u", path):
        name = line.split()[-1].split("@")[0]
        if name in FORBIDDEN or (name in ONLY_IN and source != "src/" + ONLY_IN[name]):
            yield "%s: uses %s" % (source, name)


def main():
    build = sys.argv[1]
    problems = check_exports(os.path.join(build, "libvipo.so"), "vipo.h", "action.h")
    for name in ("libvipo_sim.so", "without_mujoco/libvipo_sim.so"):
        if os.path.exists(os.path.join(build, name)):  # the second only beside one with MuJoCo
            problems += check_exports(os.path.join(build, name), "sim.h")
    for name in ("libvipo_eval.so", "without_sqlite/libvipo_eval.so"):
        if os.path.exists(os.path.join(build, name)):
            problems += check_exports(os.path.join(build, name), "eval.h")
    objects = glob.glob(os.path.join(glob.escape(build), "CMakeFiles", "vipo_*.dir", "src", "**", "*.o"), recursive=True)
    for path in sorted(objects):
        source = "src/" + re.sub(r".*\.dir/src/(.*)\.o$", r"\1", path)
        if not os.path.exists(tree.path(source)):
            continue  # left over from a file that is gone
        problems += check_data(source, path)
        problems += check_calls(source, path)
    if not objects:
        problems.append("no objects under %s" % build)
    tree.finish(problems, "%d functions, %d objects" % (len(declared("vipo.h") | declared("action.h") | declared("sim.h") | declared("eval.h")), len(objects)))


main()
