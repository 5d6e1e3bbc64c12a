#!/usr/bin/env python3
"""man.py BUILD: the manual pages that `vipo help --man` prints are well-formed roff and say what the tables say;
groff reads them without a warning where it is installed."""
import json
import os
import re
import shutil
import subprocess
import sys

import tree

VIPO = os.path.join(os.path.abspath(sys.argv[1]), "vipo")
MACROS = {".TH": (5, 5), ".SH": (1, 9), ".SS": (1, 9), ".TP": (0, 0), ".nf": (0, 0), ".fi": (0, 0)}  # arguments
ESCAPES = re.compile(r"\\(?:f[BIR]|[e&-]|\((?:aq|ha|ti|ga|dq)|\[u[0-9A-F]{4,5}\])")
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"]


def vipo(*words):
    return subprocess.run([VIPO, "help", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def line_problems(page):
    """Every control line is a macro with the right arguments, every backslash an escape, every font ends."""
    filled = True
    for number, line in enumerate(page.splitlines(), 1):
        if re.search(r"\\", ESCAPES.sub("", line)):
            yield number, "unknown escape"
        fonts = re.findall(r"\\f([BIR])", line)
        if fonts[1::2] != ["R"] * (len(fonts) // 2) or len(fonts) % 2 or "R" in fonts[::2]:
            yield number, "unbalanced fonts"
        if not line.isascii() or line != line.rstrip() or not line:
            yield number, "a byte beyond ASCII, a space at the end or an empty line"
        if line[:1] not in (".", "'"):
            continue
        words = re.findall(r'"[^"]*"|[^ "]+', line)
        if words[0] not in MACROS or not MACROS[words[0]][0] <= len(words) - 1 <= MACROS[words[0]][1] or line.count('"') % 2:
            yield number, "unknown macro or wrong arguments"
        if words[0] in (".nf", ".fi"):
            if filled != (words[0] == ".nf"):
                yield number, ".nf and .fi do not alternate"
            filled = not filled
    if not filled:
        yield number, ".nf without .fi"


def plain(page):
    """What a reader sees of it, without layout."""
    text = re.sub(r"\\f[BIR]|\\&", "", page)
    for escape, character in (("\\(aq", "'"), ("\\(ha", "^"), ("\\(ti", "~"), ("\\-", "-"), ("\\e", "\\")):
        text = text.replace(escape, character)
    return text


def content_problems(page, command):
    text = plain(page)
    sections = [name.strip('"') for name in re.findall(r"^\.SH (.*)$", page, re.M)]
    if [name for name in sections if name in SECTIONS] != SECTIONS:
        yield "sections %s" % sections
    for option in command["options"]:
        name = "--" + option["name"] + (" " + option["value"] if option["value"] else "")
        if option["letter"]:
            name = "-%s, %s" % (option["letter"], name)
        if "\n.TP\n%s\n" % name not in text:
            yield "no entry '%s'" % name
        if option["help"].replace("`", "") not in text:
            yield "no help of " + name
    for wanted in [command["summary"], command["description"].replace("`", "")] + command["examples"].splitlines():
        if wanted not in text:
            yield "does not say: " + wanted


def groff_problems(page):
    if shutil.which("groff"):
        answer = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if answer.returncode or answer.stderr:
            yield "groff: " + answer.stderr.strip()


def main():
    commands = json.loads(vipo("--json"))
    pages = {"vipo": vipo("--man")}
    problems = [] if commands else ["no commands"]
    for command in commands:
        if r"\fBvipo\-%s\fR(1)" % command["name"].replace("-", r"\-") not in pages["vipo"]:
            problems.append("vipo.1 does not name " + command["name"])
        page = pages["vipo-" + command["name"]] = vipo("--man", command["name"])
        problems += ["vipo-%s.1: %s" % (command["name"], text) for text in content_problems(page, command)]
    for name, page in pages.items():
        problems += ["%s.1:%d: %s: %s" % (name, number, text, page.splitlines()[number - 1]) for number, text in line_problems(page)]
        problems += ["%s.1: %s" % (name, text) for text in groff_problems(page)]
    tree.finish(problems, "%d pages%s" % (len(pages), "" if shutil.which("groff") else " (without groff)"))


main()
