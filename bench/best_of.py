#!/usr/bin/env python3
"""Do scores of plans pick the better plan? The evidence of `vipo plan --best-of`. Needs numpy.

  bench/best_of.py run --demos metaworld-demos.npz --raw out/best_of.jsonl      # interrupt and repeat: it goes on
  bench/best_of.py table --raw out/best_of.jsonl --out bench/results/best-of-metaworld-64.csv

`run` takes expert episodes that the model was not trained on (episodes 0 and 2 of every task and camera), plans from the first
frame with n different noises, and keeps the distances of the plans to the frames that really followed, to one another, and the
network's error on each plan, noised to several timesteps. `table` lets every score choose and compares: the chosen plan's
distance with the mean over the n plans (what a single plan has on average), clip by clip, with a 95 % interval (bootstrap over
episodes, whose cameras belong together).

Distances are rms in [-1,1] units; "moved": over the pixels where the real frames differ from the condition frame by more
than 0.08 of the range, the parts that a plan is about. Demonstrations: an .npz with delta (frames as differences modulo 256),
reference[camera] and meta_json (task, episode, camera, start, n, text of each clip), frames of 128x128, the model's crop.
"""
import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CAMERAS = ["corner", "corner2", "corner3"]
HELD_OUT = (0, 2)
TIMES = (30, 50, 70)
T = 100


def read_clips(path):
    """Held-out clips, tasks and cameras mixed so that any first part of the list is a fair choice."""
    with np.load(path) as demos:
        delta, reference = demos["delta"], demos["reference"]
        meta = json.loads(bytes(demos["meta_json"]))
    tasks = sorted({m["task"] for m in meta})
    held = [m for m in meta if m["episode"] in HELD_OUT]
    held.sort(key=lambda m: ((tasks.index(m["task"]) + CAMERAS.index(m["camera"]) + HELD_OUT.index(m["episode"])) % 6,
                             tasks.index(m["task"]), m["camera"], m["episode"]))
    for m in held:
        x = delta[m["start"]:m["start"] + m["n"]].copy()
        x[0] += reference[CAMERAS.index(m["camera"])]
        x = np.cumsum(x, axis=0, dtype=np.uint8)
        n = m["n"]
        x = x[[int(i * (n - 1) / 7) for i in range(7)] + [n - 1]].astype(np.uint16)  # AVDC: 8 frames, evenly spread
        x = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2] + 2) >> 2
        yield m, x.astype(np.float32) / 255


def cosine_schedule():
    t = np.linspace(0, T, T + 1) / T
    bar = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
    bar /= bar[0]
    return np.cumprod(1 - np.clip(1 - bar[1:] / bar[:-1], 0, 0.999))


def vipo(args, *words):
    command = [args.vipo, words[0], "--model", args.model, "--threads", str(args.threads), "-q", "--json"] + list(words[1:])
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def rms(a):
    return float(np.sqrt(np.mean(np.square(a, dtype=np.float64))))


def measure(args, folder, meta, frames, seed):
    cond, truth = frames[:1], 2 * frames[1:].astype(np.float64) - 1
    path = {name: os.path.join(folder, name + ".npy") for name in ("cond", "plans", "x", "v")}
    np.save(path["cond"], cond)
    task = ["--cond", path["cond"], "--text", meta["text"]]
    name, _, steps = args.sampler.partition(":")
    plan = vipo(args, "plan", *task, "--samples", str(args.n), "--seed", str(seed), "--sampler", name, "--steps", steps,
                "--out", path["plans"])
    plans = 2 * np.load(path["plans"]).astype(np.float64) - 1
    moved = np.abs(frames[1:] - cond).max(axis=-1, keepdims=True) > 0.08
    moved = np.broadcast_to(moved, truth.shape)
    result = {"task": meta["task"], "camera": meta["camera"], "episode": meta["episode"], "sampler": plan["sampler"], "n": args.n,
              "seed": seed, "rms": [rms(p - truth) for p in plans],
              "rms_moved": [rms((p - truth)[moved]) for p in plans], "rms_of_mean": rms(plans.mean(axis=0) - truth),
              "copy": rms(2 * np.broadcast_to(cond, truth.shape) - 1 - truth),
              "between": [[rms(a - b) for b in plans] for a in plans], "v_error": {}}
    alpha_bar = cosine_schedule()
    for t in TIMES:
        noise = np.random.default_rng([9, t]).standard_normal(truth.shape)  # the same for all plans and clips
        a, s = np.sqrt(alpha_bar[t]), np.sqrt(1 - alpha_bar[t])
        np.save(path["x"], (a * plans + s * noise).astype(np.float32))
        vipo(args, "denoise", *task, "--x", path["x"], "--t", str(t), "--out", path["v"])
        error = np.load(path["v"]) - (a * noise - s * plans)
        result["v_error"][str(t)] = [rms(e) ** 2 for e in error]
    return result


def read_raw(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def run(args):
    done = {(r["task"], r["camera"], r["episode"]) for r in read_raw(args.raw)}
    with tempfile.TemporaryDirectory() as folder:
        for i, (meta, frames) in enumerate(read_clips(args.demos)):
            if args.clips and i == args.clips:
                break
            if (meta["task"], meta["camera"], meta["episode"]) in done:
                continue
            result = measure(args, folder, meta, frames, args.seed + i)  # no noise twice
            with open(args.raw, "a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
            print("clip %d: %s %s %d" % (i + 1, meta["task"], meta["camera"], meta["episode"]), file=sys.stderr)


# ---- scores: of each of the n plans, higher is better -----------------------------------------------------------------------

def consensus(r):
    return [-sum(row) / max(len(row) - 1, 1) for row in r["between"]]


def denoising(times):
    return lambda r: [-float(np.mean([r["v_error"][str(t)][i] for t in times])) for i in range(r["n"])]


def subset(r, n):
    """The first n plans alone."""
    return dict(r, n=n, rms=r["rms"][:n], rms_moved=r["rms_moved"][:n], between=[row[:n] for row in r["between"][:n]],
                v_error={t: e[:n] for t, e in r["v_error"].items()})


def interval(values, groups):
    """Mean and the 95 % interval of bootstrap samples of whole groups."""
    values, names = np.array(values), sorted(set(groups))
    members = [np.array([i for i, g in enumerate(groups) if g == name]) for name in names]
    rng = np.random.default_rng(1)
    means = []
    for _ in range(4000):
        chosen = np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])
        means.append(values[chosen].mean())
    return values.mean(), np.percentile(means, 2.5), np.percentile(means, 97.5)


def table(args):
    lines = read_raw(args.raw)
    scores = {"consensus": (consensus, "0"), "denoising": (denoising(TIMES), str(len(TIMES)))}
    for t in TIMES:
        scores["denoising t=%d" % t] = (denoising([t]), "1")
    rows = []
    for n in [n for n in (2, 4, 6, 8) if n <= min(r["n"] for r in lines)]:
        for name, (score, evaluations) in scores.items():
            row = {"score": name, "n": n, "clips": len(lines), "evaluations_per_plan": evaluations}
            for key in ("rms", "rms_moved"):
                gains, ranks, chosen, mean, best = [], [], [], [], []
                for r in (subset(r, n) for r in lines):
                    at, d = int(np.argmax(score(r))), r[key]
                    gains.append(d[at] - sum(d) / n)
                    chosen.append(d[at]), mean.append(sum(d) / n), best.append(min(d))
                    ranks.append(d[at] == min(d))
                centre, low, high = interval(gains, ["%s %d" % (r["task"], r["episode"]) for r in lines])
                row.update({key + "_mean": "%.5f" % np.mean(mean), key + "_chosen": "%.5f" % np.mean(chosen),
                            key + "_oracle": "%.5f" % np.mean(best), key + "_gain": "%.5f" % centre, key + "_low": "%.5f" % low,
                            key + "_high": "%.5f" % high, key + "_is_best": "%.3f" % np.mean(ranks)})
            rows.append(row)
    out = open(args.out, "w", newline="", encoding="utf-8") if args.out else sys.stdout
    with out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="plan, and measure the plans")
    running.add_argument("--vipo", default=os.path.join(ROOT, "build", "vipo"))
    running.add_argument("--model", default=os.path.join(ROOT, "models", "metaworld-64"))
    running.add_argument("--demos", required=True, help="the demonstrations, .npz")
    running.add_argument("--sampler", default="ab2:12")
    running.add_argument("--n", type=int, default=6, help="plans of each clip")
    running.add_argument("--seed", type=int, default=1000, help="of the first clip; the next one has the next seed")
    running.add_argument("--clips", type=int, default=0, help="only the first clips; 0: all 66")
    running.add_argument("--threads", type=int, default=2)
    running.add_argument("--raw", required=True, help="JSON lines, one per clip; what is there is kept")
    running.set_defaults(run=run)
    tabling = commands.add_parser("table", help="one row per score and number of plans")
    tabling.add_argument("--raw", required=True)
    tabling.add_argument("--out", help="CSV file")
    tabling.set_defaults(run=table)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
