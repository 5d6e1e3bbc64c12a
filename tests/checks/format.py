#!/usr/bin/env python3
"""The sources are as clang-format 14 leaves them; skipped where it is not installed."""
import re
import shutil
import subprocess
import sys

import tree


def formatter():
    for name in ("clang-format-14", "clang-format"):
        if shutil.which(name):
            version = subprocess.run([name, "--version"], stdout=subprocess.PIPE, text=True).stdout
            if re.search(r"version 14\.", version):
                return name
    return None


def main():
    name = formatter()
    if not name:
        print("skipped: clang-format 14 is not installed")
        sys.exit(tree.SKIPPED)
    sources = tree.sources()
    run = subprocess.run([name, "--dry-run", "--Werror"] + sources, cwd=tree.ROOT, stderr=subprocess.PIPE, text=True)
    wrong = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", run.stderr, re.M)))
    if run.returncode and not wrong:
        wrong = [run.stderr.strip()]
    tree.finish(["%s: run clang-format -i %s" % (source, source) for source in wrong], "format of %d files" % len(sources))


main()
