#!/usr/bin/env python3
"""headers.py BUILD: every header compiles alone, with the flags of its folder; public ones as C++ too."""
import json
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import tree


def flags_by_folder(build):
    """Folder of a source -> compiler and flags it is compiled with."""
    with open(os.path.join(build, "compile_commands.json")) as file:
        commands = json.load(file)
    flags = {}
    for entry in commands:
        words = shlex.split(entry["command"])
        drop = words.index("-o")
        words = words[:drop] + words[drop + 2:]
        words = [w for w in words if w != "-c" and w != entry["file"]]
        folder = os.path.relpath(os.path.dirname(entry["file"]), tree.ROOT)
        if len(words) > len(flags.get(folder, [])):  # in src/sim one file does without MuJoCo
            flags[folder] = words
    return flags


def compile_alone(command, header):
    text = '#include "%s"\n' % tree.path(header)
    run = subprocess.run(command + ["-fsyntax-only", "-"], input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return "" if run.returncode == 0 else "%s does not compile alone:\n%s" % (header, run.stdout)


def main():
    flags = flags_by_folder(sys.argv[1])
    jobs, problems = [], []
    for header in tree.sources(endings=(".h",)):
        folder = os.path.dirname(header)
        if folder.startswith("include/"):
            folder = "src/core"
            if shutil.which("g++"):
                jobs.append((["g++", "-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                              "-I" + tree.path("include")], header))
        if folder == "src/sim" and not any("mujoco" in word for word in flags[folder]):  # built without MuJoCo
            continue
        if folder in flags:
            jobs.append((flags[folder] + ["-x", "c"], header))
        else:
            problems.append("%s: nothing next to it is compiled, so its flags are unknown" % header)
    with ThreadPoolExecutor() as pool:
        problems += filter(None, pool.map(lambda job: compile_alone(*job), jobs))
    tree.finish(problems, "%d headers compiled alone" % len(jobs))


main()
