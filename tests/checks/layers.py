#!/usr/bin/env python3
"""#include "layer/x.h" only as docs/architecture.md allows."""
import tree

# What each layer of src/ may include besides itself and the public header.
LAYERS = {
    "core": [],
    "compute": ["core"],
    "weights": ["core", "compute"],
    "nets": ["core", "compute", "weights"],
    "sampling": ["core"],
    "media": ["core"],
    "policy": ["core", "compute", "weights", "nets", "sampling", "media"],
    "sim": ["core", "weights", "media"],
    "eval": ["core", "weights", "sampling", "media", "policy", "sim"],
}

# Tools and examples: the public header, jansson (tools), and these of the C library and POSIX.
LIBC = set("""assert ctype errno float inttypes limits locale math setjmp signal stdarg stdatomic stdbool stddef
stdint stdio stdlib string strings threads time dirent fcntl getopt poll pthread termios unistd sys/ioctl sys/mman
sys/resource sys/stat sys/time sys/types sys/wait""".split())


PUBLIC = ('"vipo/vipo.h"', '"vipo/action.h"', '"vipo/sim.h"', '"vipo/eval.h"')


def source_problem(name, include):
    """A file of src/, in src/LAYER/."""
    layer = name.split("/")[1]
    if layer not in LAYERS:
        return "%s is no layer, expected %s" % (layer, ", ".join(LAYERS))
    if include[0] == "<" or include in PUBLIC:
        return None
    parts = include[1:-1].split("/")
    if len(parts) < 2 or parts[0] not in LAYERS:
        return 'expected "layer/file.h"'
    if parts[0] != layer and parts[0] not in LAYERS[layer]:
        return "%s may include %s" % (layer, ", ".join(LAYERS[layer]) or "no other layer")
    if parts[0] != layer and len(parts) > 2:
        return "%s is private to %s" % ("/".join(parts[:-1]), parts[0])
    return None


def program_problem(name, include, headers):
    """A file of tools/ or examples/."""
    inner = include[1:-1]
    if '"%s"' % inner in PUBLIC:
        return None
    if include[0] == '"':
        return None if inner in headers else "only public headers and those next to it are allowed"
    if inner == "jansson.h" and name.startswith("tools/"):
        return None
    return None if inner.endswith(".h") and inner[:-2] in LIBC else "only the C library%s is allowed" % (
        " and jansson" if name.startswith("tools/") else "")


def main():
    problems, count = [], 0
    for name in tree.sources(("include", "src", "tools", "examples")):
        for number, include in tree.includes(name):
            count += 1
            if name.startswith("src/"):
                problem = source_problem(name, include)
            elif name.startswith("include/"):
                problem = None if include in ("<stdbool.h>", "<stddef.h>", "<stdint.h>", '"vipo/vipo.h"', '"vipo/sim.h"') else "a public header needs only types of C"
            else:
                folder = name.rsplit("/", 1)[0]
                headers = {h.rsplit("/", 1)[1] for h in tree.sources((folder,), (".h",))}
                problem = program_problem(name, include, headers)
            if problem:
                problems.append("%s:%d: #include %s: %s" % (name, number, include, problem))
    tree.finish(problems, "%d #includes" % count)


main()
