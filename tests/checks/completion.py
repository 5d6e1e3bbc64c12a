#!/usr/bin/env python3
"""completion.py BUILD: what the completion scripts offer, asked of the shells themselves.

bash runs the script's function as it would after a TAB. fish answers `complete -C`; zsh has its syntax checked;
both where they are installed.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import tree

VIPO = os.path.join(os.path.abspath(sys.argv[1]), "vipo")
FILES = ["frame.png", "photo.jpg", "noise.npy", "notes.txt", "my frame.png", "it's.png", "model-24.pt", "net.safetensors", "sizes.json"]
FOLDERS = ["models", "mo st"]

# Asks for the last word; COMP_WORDS come as bash splits them, --name=value in three.
BASH = """
source "$1"; shift
COMP_WORDS=(vipo "$@") COMP_CWORD=$#
function=$(complete -p vipo | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
"$function"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def run(*command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **more)


def vipo(*words):
    return subprocess.run([VIPO, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


COMMANDS = {c["name"]: c for c in json.loads(vipo("help", "--json"))}
SAMPLERS = json.loads(vipo("version", "--json"))["samplers"]
OPTIONS = {name: {"--" + o["name"] for o in c["options"]} for name, c in COMMANDS.items()}


def beginning(start, words):
    return {w for w in words if w.startswith(start)}


# words of the command line after vipo -> what is offered for the last one
CASES = [
    ([""], set(COMMANDS) | {"--help", "--version"}),
    (["pl"], {"plan"}),
    (["e"], {"encode-text", "eval", "eval-merge"}),
    (["zzz"], set()),
    (["plan", ""], OPTIONS["plan"]),
    (["plan", "--thr"], {"--threads", "--threshold", "--threshold-growth"}),
    (["plan", "-m", "models", "--sam"], {"--sampler", "--samples"}),
    (["compare", "--"], OPTIONS["compare"]),
    (["version", "--"], OPTIONS["version"]),
    (["plan", "--sampler", ""], set(SAMPLERS)),
    (["plan", "-s", "draft"], beginning("draft", SAMPLERS)),
    (["plan", "--sampler", "="], set(SAMPLERS)),
    (["plan", "--sampler", "=", "dpm-solver+"], {"dpm-solver++"}),
    (["compare", "--reference", "dd"], beginning("dd", SAMPLERS)),
    (["plan", "--device", ""], {"cpu", "cuda"}),
    (["plan", "--chunk-rule", "r"], {"remainder"}),
    (["preprocess", "--preset", ""], {"mw", "thor", "bridge"}),
    (["plan", "--text", ""], set()),
    (["plan", "--seed", ""], set()),
    (["plan", "--model", ""], set(FOLDERS)),
    (["plan", "-m", "mod"], {"models"}),
    (["plan", "--image", ""], {"frame.png", "photo.jpg", "my frame.png", "it's.png"} | set(FOLDERS)),
    (["plan", "--image", "=", "f"], {"frame.png"}),
    (["plan", "--image", "my f"], {"my frame.png"}),
    (["plan", "--image", "not"], {"notes.txt"}),  # none has the ending: any file
    (["plan", "--noise", "n"], {"noise.npy"}),
    (["plan", "--warm", "n"], {"noise.npy"}),
    (["convert", "-c", ""], {"model-24.pt", "net.safetensors"} | set(FOLDERS)),
    (["convert", "--config", "s"], {"sizes.json"}),
    (["info", ""], set(FILES) | set(FOLDERS)),
    (["info", "--j"], {"--json"}),
    (["help", ""], set(COMMANDS)),
    (["help", "--completion", ""], {"bash", "zsh", "fish"}),
]


def bash_problems(script, folder):
    for words, wanted in CASES:
        answer = run("bash", "--norc", "-c", BASH, "bash", script, *words, cwd=folder)
        offered = [line for line in answer.stdout.split("\n") if line]
        if answer.stderr or sorted(offered) != sorted(wanted):
            yield "bash: vipo %s: offers %s, expected %s %s" % (" ".join(words), sorted(offered), sorted(wanted), answer.stderr)


def fish_problems(script, folder):
    for words, wanted in CASES:
        # --name=value is one word to fish, which offers options after a dash only, and those of one letter too
        if "=" in words or wanted == OPTIONS.get(words[0]) or words == [""]:
            continue
        line = " ".join(["vipo"] + [word.replace(" ", "\\ ") for word in words])
        answer = run("fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", script, line, cwd=folder,
                     env=dict(os.environ, HOME=folder))
        offered = {text.split("\t")[0].rstrip("/").replace("\\", "") for text in answer.stdout.split("\n") if text}
        if answer.stderr or offered != set(wanted):
            yield "fish: vipo %s: offers %s, expected %s %s" % (" ".join(words), sorted(offered), sorted(wanted), answer.stderr)


def main():
    problems, shells = [], ["bash"]
    with tempfile.TemporaryDirectory() as folder:
        scripts = {}
        for shell in ("bash", "zsh", "fish"):
            scripts[shell] = os.path.join(folder, "." + shell)
            with open(scripts[shell], "w", encoding="utf-8") as file:
                file.write(vipo("help", "--completion", shell))
            if shutil.which(shell):
                answer = run(shell, "-n", scripts[shell])
                if answer.returncode or answer.stderr:
                    problems.append("%s -n: %s" % (shell, answer.stderr.strip()))
        inside = os.path.join(folder, "inside")
        os.mkdir(inside)
        for name in FILES:
            open(os.path.join(inside, name), "w").close()
        for name in FOLDERS:
            os.mkdir(os.path.join(inside, name))
        problems += bash_problems(scripts["bash"], inside)
        if shutil.which("zsh"):
            shells.append("zsh (syntax)")
        if shutil.which("fish"):
            shells.append("fish")
            problems += fish_problems(scripts["fish"], inside)
    tree.finish(problems, "%d cases with %s" % (len(CASES), ", ".join(shells)))


main()
