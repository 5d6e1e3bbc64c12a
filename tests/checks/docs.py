#!/usr/bin/env python3
"""Is the documentation true?

    docs.py BUILD             the generated parts of docs/ are what `vipo help --markdown` prints, every command has
                              a page, every relative link in a .md file leads somewhere
    docs.py BUILD --examples  runs the ```console blocks of docs/**/*.md and compares what they print
    --update                  writes what was found into the pages instead, and begins pages that are missing
    --page NAME               with --examples: only pages with this in their name

A block holds command lines after "$ " and their output, standard error included. A page's blocks run one after
another in a new folder that has models/, examples/ and tests/ of the repository. In the comparison numbers with a
decimal point, sizes in bytes, numbers of threads, kernels and column widths do not count; a line "..." stands for any lines.
"""
import argparse
import json
import os
import re
import subprocess
import tempfile
import urllib.parse

import tree


def vipo(build, *words):
    return subprocess.run([os.path.join(build, "vipo"), *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def write(name, text):
    with open(tree.path(name), "w", encoding="utf-8") as file:
        file.write(text)


# ---- generated parts ------------------------------------------------------------------------------------------

def check_part(page, marker, wanted, update):
    """What stands between <!-- marker --> and <!-- /marker --> in the page."""
    if page not in tree.files():
        return ["%s: missing; tests/checks/docs.py BUILD --update begins it" % page]
    text = tree.read(page)
    pattern = re.compile(r"(<!-- %s -->\n)(.*?)(<!-- /%s -->\n)" % (marker, marker), re.S)
    found = pattern.findall(text)
    if len(found) != 1:
        return ["%s: expected <!-- %s --> and <!-- /%s --> once, found %d" % (page, marker, marker, len(found))]
    if found[0][1] == wanted:
        return []
    if not update:
        return ["%s: not what vipo prints; run tests/checks/docs.py BUILD --update" % page]
    write(page, pattern.sub(lambda match: match.group(1) + wanted + match.group(3), text))
    print("%s: updated" % page)
    return []


def begin_page(page, command):
    """What the table says; examples with their output, files and errors are for an author to add."""
    write(page, "# vipo %s\n\n%s\n\n## Examples\n\n```sh\n%s\n```\n\n## Options\n\n<!-- options -->\n<!-- /options -->\n" % (
        command["name"], command["description"], command["examples"]))
    print("%s: begun" % page)


def generated_problems(build, update):
    commands = json.loads(vipo(build, "help", "--json"))
    names = [command["name"] for command in commands]
    for command in commands:
        page = "docs/commands/%s.md" % command["name"]
        if update and page not in tree.files():
            begin_page(page, command)
    problems = check_part("docs/cli.md", "commands", vipo(build, "help", "--markdown"), update)
    for name in names:
        problems += check_part("docs/commands/%s.md" % name, "options", vipo(build, "help", "--markdown", name), update)
    for page in tree.files():
        match = re.fullmatch(r"docs/commands/([^/]*)\.md", page)
        if match and match.group(1) not in names:
            problems.append("%s: there is no command %s" % (page, match.group(1)))
    return problems, len(names)


# ---- links ----------------------------------------------------------------------------------------------------

def prose(text):
    """Without blocks and spans of code."""
    text = re.sub(r"^(```+|~~~+).*?^\1[`~]*\s*$", "", text, flags=re.S | re.M)
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text, flags=re.S)


def anchors(text):
    """What a heading is called in a link, as GitHub makes it: lower case, no punctuation, - for a space, -1 for the second."""
    found = set(re.findall(r'<a (?:name|id)="([^"]*)"', text))
    text = re.sub(r"^(```+|~~~+).*?^\1[`~]*\s*$", "", text, flags=re.S | re.M)
    for heading in re.findall(r"^#{1,6}\s+(.*?)\s*#*$", text, re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        unique, number = name, 0
        while unique in found:
            number += 1
            unique = "%s-%d" % (name, number)
        found.add(unique)
    return found


def link_problems():
    problems, count = [], 0
    pages = [name for name in tree.files() if name.endswith(".md")]
    for page in pages:
        text = prose(tree.read(page))
        links = re.findall(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)", text) + re.findall(r"^\s*\[[^\]]+\]:\s*(\S+)", text, re.M)
        for link in links:
            if re.match(r"[a-z][a-z0-9+.-]*:", link):
                continue
            count += 1
            target, _, anchor = urllib.parse.unquote(link).partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(page), target)) if target else page
            if path.startswith("..") or not os.path.exists(tree.path(path)):
                problems.append("%s: link to %s, which is not there" % (page, link))
            elif anchor and (not path.endswith(".md") or anchor not in anchors(tree.read(path))):
                problems.append("%s: link to %s, a heading which is not there" % (page, link))
    return problems, count


# ---- examples -------------------------------------------------------------------------------------------------

BLOCK = re.compile(r"(^```console\n)(.*?)(^```$)", re.S | re.M)


def split_block(text):
    """-> [command line, output] of each command"""
    commands, continued = [], False
    for line in text.splitlines(True):
        if continued:
            commands[-1][0] += line
        elif line.startswith("$ "):
            commands.append([line[2:], ""])
        else:
            commands[-1][1] += line
            continue
        continued = line.endswith("\\\n")
    return commands


def run_example(command, folder, path):
    environment = {"PATH": path, "HOME": folder, "LC_ALL": "C.UTF-8", "VIPO_TUNE": "off"}
    answer = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
    return answer.stdout.decode()


def comparable(text):
    text = re.sub(r"-?\d+\.\d+(e[+-]?\d+)?", "#", text)
    text = re.sub(r"\b\d+ bytes", "# bytes", text)
    text = re.sub(r'"(\w*bytes|threads)": ?\d+', r'"\1": #', text)
    text = re.sub(r'"compute": ?"\w+"', '"compute": #', text)
    text = re.sub(r"kernels (ref|avx2|avx512|amx)\b", "kernels #", text)
    return re.sub(r" +", " ", text)


def agrees(wanted, found):
    pattern = "".join("(?:.*\n)*" if line == "...\n" else re.escape(line) for line in comparable(wanted).splitlines(True))
    return re.fullmatch(pattern, comparable(found)) is not None


def example_problems(build, update, only):
    problems, count = [], 0
    programs = tempfile.TemporaryDirectory()
    os.symlink(os.path.join(build, "vipo"), os.path.join(programs.name, "vipo"))
    path = programs.name + ":" + os.environ["PATH"]
    for page in tree.files():
        if not re.fullmatch(r"docs/.*\.md", page) or only not in page or not BLOCK.search(tree.read(page)):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for name in ("models", "examples", "tests"):
                os.symlink(tree.path(name), os.path.join(folder, name))

            def visit(block):
                nonlocal count
                text = ""
                for command, wanted in split_block(block.group(2)):
                    found = run_example(command, folder, path)
                    found += "" if found.endswith("\n") or not found else "\n"
                    same = agrees(wanted, found)
                    count += 1
                    if not same and not update:
                        problems.append("%s: $ %s\nprints\n%s\nexpected\n%s" % (page, command, found, wanted))
                    text += "$ " + command + (wanted if "...\n" in wanted or not update else found)
                return block.group(1) + text + block.group(3)

            text = BLOCK.sub(visit, tree.read(page))
        if update:
            write(page, text)
    programs.cleanup()
    return problems, count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--examples", action="store_true")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--page", default="")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    if options.examples:
        problems, count = example_problems(build, options.update, options.page)
        if problems:
            problems.append("If that is right: tests/checks/docs.py BUILD --examples --update --page NAME")
        tree.finish(problems + ([] if count else ["no examples"]), "%d examples" % count)
    problems, commands = generated_problems(build, options.update)
    broken, links = link_problems()
    tree.finish(problems + broken, "%d commands, %d links" % (commands, links))


main()
