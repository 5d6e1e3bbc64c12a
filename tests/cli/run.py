#!/usr/bin/env python3
"""Runs the cases of cases*.py against a built `vipo`.

    run.py --vipo build/vipo [--group plan] [--case TEXT] [--data DIR]

Every case runs in an empty folder of its own. A failing case prints one line with the reason and a
command line that repeats it (its input files stay in --data). Standard library only.
"""
import argparse
import glob
import importlib
import os
import shlex
import shutil
import sys
import tempfile

from harness import CASES, Failed, Run, check_declared, make_inputs

for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases*.py"))):
    importlib.import_module(os.path.basename(path)[:-3])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vipo", help="the command to test")
    parser.add_argument("--group", help="only this group of cases")
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    parser.add_argument("--data", help="folder for input files (kept); default: a temporary one")
    parser.add_argument("--list-groups", action="store_true")
    options = parser.parse_args()
    if options.list_groups:
        print("\n".join(sorted({case["group"] for case in CASES})))
        return 0
    if not options.vipo:
        parser.error("--vipo FILE is missing")
    vipo = os.path.abspath(options.vipo)
    if options.group in ("sim", "eval", "eval_spread", "report"):
        reason = sys.modules["cases_" + options.group.split("_")[0]].why_skipped(vipo)
        if reason:
            print("skipped: %s" % reason)
            return 77
    data = os.path.abspath(options.data) if options.data else tempfile.mkdtemp(prefix="vipo-cli-data-")
    at = make_inputs(data)
    chosen = [case for case in CASES
              if options.group in (None, case["group"]) and options.case in case["name"]]
    failures = 0
    for case in chosen:
        folder = tempfile.mkdtemp(prefix="vipo-cli-")
        run = Run(vipo, at, folder)
        try:
            case["check"](run) if "check" in case else check_declared(run, case)
        except Exception as failure:  # whatever a case stumbles over, the others are run
            failures += 1
            failure = failure if isinstance(failure, (Failed, OSError)) else repr(failure)
            again = "cd $(mktemp -d) && " + shlex.join([vipo] + run.words(case["args"])) if "args" in case else \
                shlex.join([sys.executable, os.path.abspath(__file__), "--vipo", vipo, "--case", case["name"]])
            print("FAILED %s: %s: %s\n    %s" % (case["group"], case["name"], failure, again), flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if not options.data and not failures:
        shutil.rmtree(data, ignore_errors=True)
    print("%d cases, %d failed" % (len(chosen), failures))
    return 1 if failures or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
