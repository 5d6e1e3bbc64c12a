"""The source tree as the checks see it."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LEFT_OUT = {".git", ".venv", "build", "deps", "out", "__pycache__"}
SKIPPED = 77


def files():
    """Tracked files and those about to be, relative to the root; outside a git checkout, every file."""
    listing = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) if os.path.exists(path(".git")) else None
    if listing and listing.returncode == 0:
        names = listing.stdout.decode().split("\0")
    else:
        names = []
        for where, folders, found in os.walk(ROOT):
            folders[:] = [name for name in folders if name not in LEFT_OUT]
            names += [os.path.relpath(os.path.join(where, name), ROOT) for name in found]
    return sorted(name for name in set(names) if name and os.path.isfile(path(name)))


def sources(folders=("include", "src", "tools", "examples", "tests"), endings=(".c", ".h")):
    return [name for name in files() if name.startswith(tuple(f + "/" for f in folders)) and name.endswith(endings)]


def path(name):
    return os.path.join(ROOT, name)


def read(name):
    with open(path(name), encoding="utf-8") as file:
        return file.read()


def includes(name):
    """-> line number, "quoted" or <angled> name of each #include"""
    for number, line in enumerate(read(name).splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*("[^"]*"|<[^>]*>)', line)
        if match:
            yield number, match.group(1)


def finish(problems, checked):
    """Ends the check: one line per problem, or one that says what was checked."""
    for problem in problems:
        print(problem)
    print("%s: %s" % (checked, "%d problems" % len(problems) if problems else "fine"))
    sys.exit(1 if problems else 0)
