#!/usr/bin/env python3
"""The repository stays small, its sources short, and nothing in it knows the machine it was written on."""
import os
import re

import tree

MEGABYTES = 45 # all files together
SOURCE_LINES = 600  # of a file under src/
NO_TEXT = "tests/fuzz/corpus/"  # any bytes
LONGER = {} # file under src/: why it may be longer
# Places of one machine; written so that this file does not match itself.
MACHINE = re.compile(r"(?<![\w.$}\-])/(work|root|shared|home/\w+|tmp/w)(?=/)|\.\./(?=shared/)")


def main():
    problems, total = [], 0
    names = tree.files()
    for name in names:
        size = os.path.getsize(tree.path(name))
        total += size
        with open(tree.path(name), "rb") as file:
            content = file.read()
        if b"\0" in content[:8192] or name.startswith(NO_TEXT):
            continue
        try:
            lines = content.decode().splitlines()
        except UnicodeDecodeError:
            problems.append("%s: text that is not UTF-8" % name)
            continue
        for number, line in enumerate(lines, 1):
            if MACHINE.search(line):
                problems.append("%s:%d: path of one machine: %s" % (name, number, line.strip()[:100]))
        if name.startswith("src/") and len(lines) > SOURCE_LINES and name not in LONGER:
            problems.append("%s: %d lines, at most %d (or an exception in tests/checks/repository.py)" % (name, len(lines), SOURCE_LINES))
    if total > MEGABYTES * 1e6:
        problems.append("%.1f MB in all, at most %d" % (total / 1e6, MEGABYTES))
    tree.finish(problems, "%d files, %.1f MB" % (len(names), total / 1e6))


main()
