#!/usr/bin/env python3
"""How often draft-target-lazy decides as true distances would, with and without calibration. Only the standard library.

  bench/lazy.py run --raw out/lazy.jsonl                   # interrupt and repeat: it goes on
  bench/lazy.py table --raw out/lazy.jsonl --out bench/results/lazy-metaworld-64.csv
  bench/lazy.py ratios --raw out/lazy.jsonl                # spread of the ratios over noise and over frames

`run` plans with `vipo plan --verify` on every frame of examples/frames and every seed, for every chunk length and threshold, and
keeps the rounds. Calibration was measured with seeds 0 and 1; the default here is 2 and 3. A plan whose every decision follows
from the rounds of an earlier plan of the same frame and seed would be that plan again, so it is not run again.
"""
import argparse
import json
import math
import os
import sys
import tempfile

from plans import MODEL, add_planning, add_table, append_raw, deviation, kept_lines, read_frames, read_raw, vipo, write_table

THRESHOLDS, CHUNKS, GROWTH = (0.5, 1, 2, 4, 11), (6, 10), 1.5


def replay(rounds, chunk, threshold, ratios):
    """The same rounds under other settings: (verified, agreed, evaluations), None where they would go another way. `raw`
    holds the estimates without calibration."""
    verified = agreed = evaluations = 0
    for number, r in enumerate(rounds):
        limit, left = threshold + GROWTH * number, 10 - r["start_token"]
        k = min(chunk, left)
        judged = list(zip(r["raw"], r["true_distances"], ratios[r["start_token"]:]))
        rejected = len(judged) == r["advance"]  # the last one judged; else the round ended with its chunk
        if r["advance"] >= k if rejected else r["k"] != k:
            return None
        accepted = [estimate / ratio <= limit for estimate, _, ratio in judged]
        if accepted != [True] * (len(judged) - 1) + [not rejected] * (len(judged) > 0):
            return None
        verified += len(judged)
        agreed += sum(a == (d <= limit) for a, (_, d, _) in zip(accepted, judged))
        evaluations += r["calls"]
    return verified, agreed, evaluations


def plan(args, frame, seed, chunk, threshold, calibrated, ratios):
    with tempfile.TemporaryDirectory() as folder:
        trace = os.path.join(folder, "trace.jsonl")
        summary = vipo(args.vipo, "plan", "--model", args.model, "--image", os.path.join(args.frames, frame["file"]), "--text",
                       frame["text"], "--seed", seed, "--sampler", "draft-target-lazy", "--chunk", chunk, "--threshold", threshold,
                       "--verify", "--trace", trace, *([] if calibrated else ["--no-calibration"]))
        rounds = [e for e in read_raw(trace) if e["event"] == "round"]
    for r in rounds:
        used = ratios[r["start_token"]:] if calibrated else [1] * 9
        r["raw"] = [d * ratio for d, ratio in zip(r["distances"], used)]
    return {"frame": frame["file"], "seed": seed, "model": args.model, "chunk": chunk, "threshold": threshold, "calibrated": calibrated,
            "verified": summary["verified"], "agreed": summary["agreed"], "evaluations": summary["evaluations"],
            "rounds": [{key: r[key] for key in ("start_token", "k", "advance", "calls", "raw", "true_distances")} for r in rounds]}


def read_ratios(args):
    with open(os.path.join(args.model, "config.json"), encoding="utf-8") as file:
        return json.load(file)["calibration"]["draft_target_lazy"]["ratios"]


def run(args):
    frames = read_frames(args.frames)[:args.first]
    ratios, known = read_ratios(args), kept_lines(args.raw, {"model": args.model})
    for seed in args.seeds:
        for i, frame in enumerate(frames):
            for chunk in sorted(CHUNKS, reverse=True):
                for threshold in sorted(THRESHOLDS, reverse=True):
                    for calibrated in (False, True):
                        used = ratios if calibrated else [1] * 9
                        same = [line for line in known if (line["frame"], line["seed"]) == (frame["file"], seed)]
                        if any(replay(line["rounds"], chunk, threshold, used) for line in same):
                            continue
                        line = plan(args, frame, seed, chunk, threshold, calibrated, ratios)
                        again = replay(line["rounds"], chunk, threshold, used)
                        if again != (line["verified"], line["agreed"], line["evaluations"]):
                            sys.exit("%s, seed %d: the plan's numbers are not those of its rounds: %s" % (frame["file"], seed, again))
                        known.append(line)
                        append_raw(args.raw, line)
            print("seed %d, frame %d of %d, %d plans" % (seed, i + 1, len(frames), len(known)), file=sys.stderr)


def table(args):
    lines, ratios, rows = read_raw(args.raw), read_ratios(args), []
    plans = sorted({(line["frame"], line["seed"]) for line in lines})
    for chunk in CHUNKS:
        for threshold in THRESHOLDS:
            for calibrated in (False, True):
                total, same_way = [0, 0, 0], 0
                for key in plans:
                    own = [line for line in lines if (line["frame"], line["seed"]) == key]
                    found = [replay(line["rounds"], chunk, threshold, ratios if calibrated else [1] * 9) for line in own]
                    result = next((r for r in found if r), None)
                    if not result:
                        sys.exit("%s: chunk %d, threshold %g of %s, seed %d is missing: let `run` go on" % (args.raw, chunk, threshold, *key))
                    total = [a + b for a, b in zip(total, result)]
                    same_way += result[0] == result[1]
                verified, agreed, evaluations = total
                rows.append({"chunk": chunk, "threshold": threshold, "calibrated": int(calibrated), "plans": len(plans),
                             "decisions": verified, "agreed": agreed, "share": "%.4f" % (agreed / verified),
                             "plans_all_agreed": same_way, "evaluations": "%.2f" % (evaluations / len(plans))})
    write_table(rows, args.out)


def show_ratios(args):
    """Of the plans with one round: estimate / distance per token, and its spread over the noise of one frame and over frames."""
    by_frame = {}
    for line in read_raw(args.raw):
        if len(line["rounds"]) == 1:
            r = line["rounds"][0]
            by_frame.setdefault(line["frame"], []).append([math.log(a / b) for a, b in zip(r["raw"], r["true_distances"])])
    print("token  ratio  min    max    spread over noise, frames (%d frames)" % len(by_frame))
    for i in range(9):
        logs = {frame: [plan[i] for plan in plans] for frame, plans in by_frame.items()}
        every = [x for values in logs.values() for x in values]
        several = [deviation(values) ** 2 for values in logs.values() if len(values) > 1]
        noise = math.sqrt(sum(several) / len(several)) if several else float("nan")
        frames = deviation([sum(values) / len(values) for values in logs.values()])
        print("%5d  %.3f  %.3f  %.3f  %.1f %%  %.1f %%" % (89 - 10 * i, math.exp(sum(every) / len(every)), math.exp(min(every)),
                                                         math.exp(max(every)), 100 * noise, 100 * frames))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function, text in (("run", run, "plan and keep the rounds"), ("table", table, "one row per chunk, threshold and calibration"),
                                 ("ratios", show_ratios, "spread of the ratios")):
        one = commands.add_parser(name, help=text)
        one.set_defaults(run=function)
        if name == "run":
            add_planning(one, [2, 3])
        else:
            add_table(one)
            one.add_argument("--model", default=MODEL)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
