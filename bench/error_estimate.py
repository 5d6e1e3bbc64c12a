#!/usr/bin/env python3
"""Does ab2's embedded estimate tell how far a plan is from the exact flow, and would its fallback to DDIM help? Needs numpy.

  bench/error_estimate.py run --raw out/estimate.jsonl          # interrupt and repeat: it goes on
  bench/error_estimate.py table --raw out/estimate.jsonl --out bench/results/error-estimate-metaworld-64.csv

`run` plans by ab2 with several numbers of steps, both forms, from every frame of examples/frames and every seed, and keeps the
estimate (`error_estimate`: the root of the sum of the squares of the steps' second-order corrections), the corrections, and the
distance to the exact flow: the mean of unipc (order 3) with 100 steps and of DDIM's extrapolation 2 ddim-100 - ddim-50, as
bench/samplers.py takes it. Beside each plan the one of DDIM on ab2's grid, which is what a fallback at every step gives.
"""
import math
import statistics
import tempfile

from plans import correlation, plan, read_raw, rms, run_plans, study, write_table

STEPS, FORMS, GRID = (6, 8, 10, 12, 16, 20), ("x0", "r"), "s/1.7/1.15"


def measure(args, frame, seed, folder):
    def made(sampler):
        return plan(args, frame, sampler, folder, "--seed", seed)

    exact = (made("unipc:100:order=3:grid=uniform")[0] + 2 * made("ddim:100")[0] - made("ddim:50")[0]) / 2
    rows = []
    for steps in STEPS:
        first_order = rms(made("ddim:%d:grid=%s" % (steps, GRID))[0] - exact)
        for form in FORMS:
            video, summary, trace = made("ab2:%d:form=%s:grid=%s" % (steps, form, GRID))
            rows.append({"steps": steps, "form": form, "distance": rms(video - exact), "ddim": first_order,
                         "estimate": summary["error_estimate"], "corrections": [s["error_rms"] for s in trace if "error_rms" in s]})
    return rows


def run(args):
    with tempfile.TemporaryDirectory() as folder:
        run_plans(args, {"model": args.model}, lambda frame, seed: {"rows": measure(args, frame, seed, folder)})


def table(args):
    lines, rows = read_raw(args.raw), []
    for form in FORMS:
        for steps in STEPS:
            own = [row for line in lines for row in line["rows"] if (row["steps"], row["form"]) == (steps, form)]
            ratios = [row["estimate"] / row["distance"] for row in own]
            distance = [math.log(row["distance"]) for row in own]
            # of what the corrections of a plan are made to: which of them goes with its distance?
            measures = {"estimate": [row["estimate"] for row in own], "sum": [sum(row["corrections"]) for row in own],
                        "largest": [max(row["corrections"]) for row in own]}
            row = {"form": form, "steps": steps, "plans": len(own), "ratio_median": "%.2f" % statistics.median(ratios),
                   "ratio_least": "%.2f" % min(ratios), "ratio_most": "%.2f" % max(ratios)}
            for name, values in measures.items():
                row["correlation_" + name] = "%.2f" % correlation([math.log(v) for v in values], distance)
            row["correction_largest"] = "%.4f" % max(measures["largest"])
            row["ddim_nearer"] = sum(r["ddim"] < r["distance"] for r in own)
            rows.append(row)
    write_table(rows, args.out)


if __name__ == "__main__":
    study(__doc__, [0, 1], run, table)
