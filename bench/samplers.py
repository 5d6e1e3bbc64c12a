#!/usr/bin/env python3
"""Distance and cost of samplers over real frames and seeds.

Runs `vipo compare` on every frame of examples/frames and every seed, with one fine reference per noise, and writes a row
per sampler: geometric mean of the distances, means of evaluations, calls and seconds. Only the standard library.

  bench/samplers.py --seeds 1 --out bench/results/samplers-metaworld-64.csv
"""
import argparse
import csv
import json
import math
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SAMPLERS = ("ddim:100,ddim:50,ddim:25,ddim:10,ddim:20:grid=s/1.7/1.5,draft-target,draft-target:threshold=2,draft-target-lazy,"
            "draft-target-lazy:threshold=2,dpm-solver++:12,unipc:12,unipc:12:order=3,ab2:12,ab2:12:form=r,unipc:8,ab2:8")


def compare(args, frame, seed):
    command = [args.vipo, "compare", "--model", args.model, "--image", os.path.join(args.frames, frame["file"]), "--text",
               frame["text"], "--seed", str(seed), "--reference", args.reference, "--samplers", args.samplers, "--json", "-q"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vipo", default=os.path.join(ROOT, "build", "vipo"))
    parser.add_argument("--model", default=os.path.join(ROOT, "models", "metaworld-64"))
    parser.add_argument("--frames", default=os.path.join(ROOT, "examples", "frames"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--reference", default="ab2:100:grid=uniform")
    parser.add_argument("--samplers", default=SAMPLERS)
    parser.add_argument("--out", help="CSV file")
    args = parser.parse_args()
    with open(os.path.join(args.frames, "frames.json"), encoding="utf-8") as file:
        frames = json.load(file)
    rows, names = {}, []
    for seed in range(args.seeds):
        for i, frame in enumerate(frames):
            for result in compare(args, frame, seed):
                if result["sampler"] not in rows:
                    names.append(result["sampler"])
                rows.setdefault(result["sampler"], []).append(result)
            print("seed %d, frame %d of %d" % (seed, i + 1, len(frames)), file=sys.stderr)
    table = []
    for name in names:
        runs = rows[name]
        mean = lambda key: sum(run[key] or 0 for run in runs) / len(runs)  # noqa: E731
        distances = [run["rms"] for run in runs]
        geometric = math.exp(sum(map(math.log, distances)) / len(runs)) if min(distances) > 0 else 0.0
        table.append({"sampler": name, "plans": len(runs), "calls": "%.2f" % mean("calls"),
                      "evaluations": "%.2f" % mean("evaluations"), "seconds": "%.3f" % mean("seconds"),
                      "rms_geometric_mean": "%.5f" % geometric, "rms_worst": "%.5f" % max(distances),
                      "drafted": "%.2f" % mean("drafted"), "accepted": "%.2f" % mean("accepted")})
    out = open(args.out, "w", newline="", encoding="utf-8") if args.out else sys.stdout
    with out:
        writer = csv.DictWriter(out, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)


if __name__ == "__main__":
    main()
