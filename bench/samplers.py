#!/usr/bin/env python3
"""Distance and cost of samplers over real frames and seeds: the evidence of docs/samplers.md. Only the standard library.

  bench/samplers.py run --suite main --seeds 0 --raw out/main.jsonl           # interrupt and repeat: it goes on
  bench/samplers.py run --suite core --seeds 1 --raw out/core.jsonl
  bench/samplers.py table --raw out/main.jsonl out/core.jsonl --out bench/results/samplers-metaworld-64.csv

`run` calls `vipo compare` on every frame of examples/frames and every seed, all samplers from the same noise, and keeps the
distances between all pairs. `table` writes one row per sampler.

The flow that all samplers solve has no closed solution, so distances are measured to the mean of two independent fine solutions:
unipc (order 3) with 100 steps, and DDIM's extrapolation 2 ddim-100 - ddim-50. Half their distance to one another is printed as the
floor: smaller differences are not resolved.
"""
import argparse
import math
import os
import sys

from plans import add_planning, add_table, deviation, geometric_mean, read_raw, run_plans, vipo, write_table

UNIPC, DDIM, COARSE = "unipc:100:order=3:grid=uniform", "ddim:100", "ddim:50"
SUITES = {
    "main": ["ab2:100:grid=uniform", "ddim:25", "ddim:20", "ddim:12", "ddim:10", "ddim:20:grid=s/1.7/1.5", "ddim:12:grid=s/1.7/1.5"]
    + ["%s:%d" % (name, n) for name in ("dpm-solver++", "unipc") for n in (8, 12, 20)]
    + ["unipc:%d:order=3" % n for n in (8, 12, 20)] + ["ab2:%d" % n for n in (6, 8, 10, 12, 16, 20)]
    + ["ab2:%d:form=r" % n for n in (8, 12, 20)] + ["ab2:12:grid=s/1.7/1.5", "unipc:12:grid=s/1.7/1.15"]
    + ["draft-target"] + ["draft-target-lazy" + setting for setting in ("", ":threshold=2", ":chunk=10")],
    "core": ["ddim:12:grid=s/1.7/1.5", "dpm-solver++:12"]
    + ["%s:%d%s" % (name, n, order) for name, order in (("unipc", ""), ("unipc", ":order=3"), ("ab2", "")) for n in (8, 12, 20)]
    + ["ab2:12:form=r", "ab2:12:grid=s/1.7/1.5", "draft-target", "draft-target-lazy", "draft-target-lazy:threshold=2"],
    "chunks": ["draft-target:chunk=%d" % k for k in range(2, 11)],
    "thresholds": ["draft-target:threshold=%g" % x for x in (0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12)],
}


def run(args):
    samplers = ",".join([DDIM, COARSE] + SUITES[args.suite])

    def measure(frame, seed):
        result = vipo(args.vipo, "compare", "--model", args.model, "--image", os.path.join(args.frames, frame["file"]), "--text",
                      frame["text"], "--seed", seed, "--reference", UNIPC, "--samplers", samplers, "--threads", args.threads)
        for row, name in zip(result, [UNIPC, DDIM, COARSE] + SUITES[args.suite]):
            row["request"] = name
        return {"rows": result}

    run_plans(args, {"suite": args.suite, "model": args.model}, measure)


def distances(line):
    """Of every row of one compare to the mean of u (unipc) and r = 2 d - c (DDIM extrapolated), from distances between pairs alone:
    |x - r|^2 = 2 |x - d|^2 - |x - c|^2 + 2 |d - c|^2 and |x - (u + r) / 2|^2 = (|x - u|^2 + |x - r|^2) / 2 - |u - r|^2 / 4.
    And half of |u - r|."""
    index = {row["request"]: i for i, row in enumerate(line["rows"])}
    u, d, c = index[UNIPC], index[DDIM], index[COARSE]
    between = line["rows"][d]["rms_to"][c] ** 2
    squares = {}
    for row in line["rows"]:
        squared = [x ** 2 for x in row["rms_to"]]
        squares[row["request"]] = squared[u], 2 * squared[d] - squared[c] + 2 * between
    apart = max(squares[UNIPC][1], 0.0)
    return ({name: math.sqrt(max((to_u + to_r) / 2 - apart / 4, 0.0)) for name, (to_u, to_r) in squares.items()},
            math.sqrt(apart) / 2)


def factor_95(logs):
    """The geometric mean's 95 % interval is that mean times and divided by this."""
    return math.exp(1.96 * deviation(logs) / math.sqrt(len(logs)))


def table(args):
    """`distance` is adjusted to all plans: the ratio to BASE over the plans that both made, times BASE's distance over all plans."""
    lines = [line for path in args.raw for line in read_raw(path)]
    runs, floors, base = {}, [], []
    for line in lines:
        to, floor = distances(line)
        floors.append(floor)
        if args.base not in to:
            sys.exit("a plan without %s, expected --base to be a sampler that every plan has, such as %s" % (args.base, DDIM))
        base.append(math.log(to[args.base]))
        for row in line["rows"]:
            distance = max(to[row["request"]], 1e-12)
            runs.setdefault(row["request"], []).append((math.log(distance), math.log(distance / to[args.base]), distance, row))
    base_distance = math.exp(sum(base) / len(base))
    result = []
    for name, found in runs.items():
        ratios = [ratio for _, ratio, _, _ in found]
        ratio = math.exp(sum(ratios) / len(ratios))
        values = {"sampler": name, "plans": len(found)}
        for key in ("calls", "evaluations"):
            values[key] = "%.2f" % (sum(row[key] for *_, row in found) / len(found))
        values.update({"distance": "%.5f" % (ratio * base_distance), "factor_95": "%.3f" % factor_95([log for log, *_ in found]),
                       "ratio_to_" + args.base: "%.3f" % ratio, "ratio_factor_95": "%.3f" % factor_95(ratios),
                       "distance_worst": "%.5f" % max(distance for _, _, distance, _ in found)})
        for key in ("drafted", "accepted"):
            values[key] = "%.2f" % (sum(row[key] for *_, row in found) / len(found))
        result.append(values)
    write_table(result, args.out)
    print("%d plans; floor %.5f" % (len(lines), geometric_mean(floors)), file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="plan with every sampler of a suite")
    running.add_argument("--suite", choices=sorted(SUITES), default="main")
    add_planning(running, [0, 1, 2, 3])
    running.add_argument("--threads", type=int, default=os.cpu_count(), help="of one plan [default: all cores]")
    running.set_defaults(run=run)
    tabling = commands.add_parser("table", help="one row per sampler")
    add_table(tabling, "+")
    tabling.add_argument("--base", default="unipc:12", help="sampler of the ratios; one that every plan has")
    tabling.set_defaults(run=table)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
