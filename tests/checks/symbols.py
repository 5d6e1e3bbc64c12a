#!/usr/bin/env python3
"""symbols.py BUILD: what libvipo.so exports is what vipo.h declares; its objects have no mutable data of their
own and call nothing that ends, prints or reads the environment on behalf of the caller."""
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


def lines(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


def declared():
    return set(re.findall(r"^VIPO_API\b[^;(]*?\b(vipo_\w+)\s*\(", tree.read("include/vipo/vipo.h"), re.M))


def check_exports(library):
    exported = {line.split()[-1].split("@")[0] for line in lines("nm", "-D", "--defined-only", library)}
    wanted = declared()
    if not wanted:
        return ["vipo.h: no declaration found"]
    return (["%s is exported but not declared in vipo.h" % name for name in sorted(exported - wanted)] +
            ["%s is declared in vipo.h but not defined" % name for name in sorted(wanted - exported)])


def check_data(source, path):
    """Nothing in .data, .bss, thread-local or common storage. Tables of pointers are in .data.rel.ro: constant."""
    for line in lines("objdump", "-t", path):
        match = re.match(r"[0-9a-f]+ .{7} (\S+)\t[0-9a-f]+ (?:\.hidden )?(\S+)", line)
        if match and re.match(r"\.(data|bss|tdata|tbss)|\*COM\*", match.group(1)):
            section, name = match.groups()
            if not section.startswith(".data.rel.ro") and name != section:
                yield "%s: %s is mutable data (%s)" % (source, name, section)


def check_calls(source, path):
    for line in lines("nm", "-u", path):
        name = line.split()[-1].split("@")[0]
        if name in FORBIDDEN or (name in ONLY_IN and source != "src/" + ONLY_IN[name]):
            yield "%s: uses %s" % (source, name)


def main():
    build = sys.argv[1]
    problems = check_exports(os.path.join(build, "libvipo.so"))
    objects = glob.glob(os.path.join(glob.escape(build), "CMakeFiles", "vipo_*.dir", "src", "**", "*.o"), recursive=True)
    for path in sorted(objects):
        source = "src/" + re.sub(r".*\.dir/src/(.*)\.o$", r"\1", path)
        if not os.path.exists(tree.path(source)):
            continue  # left over from a file that is gone
        problems += check_data(source, path)
        problems += check_calls(source, path)
    if not objects:
        problems.append("no objects under %s" % build)
    tree.finish(problems, "%d functions, %d objects" % (len(declared()), len(objects)))


main()
