#!/usr/bin/env python3
"""Do scores of plans pick the better plan? The evidence of `vipo plan --best-of`. Needs train/'s packages (docs/training.md).

  vipo sim collect --out out/metaworld --episodes 20
  bench/best_of.py run --data out/metaworld --raw out/best_of.jsonl             # interrupt and repeat: it goes on
  bench/best_of.py table --raw out/best_of.jsonl --out bench/results/best-of-metaworld-64.csv

`run` takes episodes that the model was not trained on (of each task the last --held-out seeds, all cameras), plans from the first
frame with n different noises, and keeps the distances of the plans to the frames that really followed, to one another, and the
network's error on each plan, noised to several timesteps. `table` lets every score choose and compares: the chosen plan's
distance with the mean over the n plans (what a single plan has on average), clip by clip, with a 95 % interval (bootstrap over
episodes, whose cameras belong together).

Distances are rms in [-1,1] units; "moved": over the pixels where the real frames differ from the condition frame by more
than 0.08 of the range, the parts that a plan is about.
"""
import argparse
import os
import sys
import tempfile

import numpy as np

from plans import MODEL, ROOT, VIPO, append_raw, kept_lines, read_raw, vipo, write_table

sys.path.insert(0, ROOT)
from train.avdc.diffusion import Schedule  # noqa: E402
from train.dataset import View, open_dataset  # noqa: E402
from train.measures import moving  # noqa: E402
from train.model import Model  # noqa: E402

TIMES = (30, 50, 70)


def read_clips(args):
    """Held-out clips, their texts and frames, float32 [1+frames][H][W][3] in [0,1]; tasks and cameras are mixed so that any first part of the
    list is a fair choice."""
    model, dataset = Model(args.model), open_dataset(args.data)
    view = View(model.crop, model.size, model.config.frames)
    _, held = dataset.split(args.held_out)
    tasks, cameras = sorted({c.task for c in held}), sorted({c.camera for c in held})
    held.sort(key=lambda c: ((tasks.index(c.task) + cameras.index(c.camera) + c.seed) % 6, c.task, c.camera, c.seed))
    for clip in held:
        yield clip, dataset.corpus.texts[clip.task][0], view.take(dataset, clip).astype(np.float32) / 255


def rms(a):
    return float(np.sqrt(np.mean(np.square(a, dtype=np.float64))))


def measure(args, folder, clip, text, frames, seed):
    cond, truth = frames[:1], 2 * frames[1:].astype(np.float64) - 1
    path = {name: os.path.join(folder, name + ".npy") for name in ("cond", "plans", "x", "v")}
    np.save(path["cond"], cond)
    task = ["--model", args.model, "--threads", args.threads, "--cond", path["cond"], "--text", text]
    name, _, steps = args.sampler.partition(":")
    plan = vipo(args.vipo, "plan", *task, "--samples", args.n, "--seed", seed, "--sampler", name, "--steps", steps, "--out",
                path["plans"])
    plans = 2 * np.load(path["plans"]).astype(np.float64) - 1
    moved = moving(frames[0], frames[1:])
    result = {"task": clip.task, "camera": clip.camera, "episode": clip.seed, "sampler": plan["sampler"], "n": args.n, "model": args.model,
              "wanted": args.sampler, "first_seed": args.seed, "seed": seed, "rms": [rms(p - truth) for p in plans],
              "rms_moved": [rms((p - truth)[moved]) for p in plans], "rms_of_mean": rms(plans.mean(axis=0) - truth),
              "copy": rms(2 * np.broadcast_to(cond, truth.shape) - 1 - truth),
              "between": [[rms(a - b) for b in plans] for a in plans], "v_error": {}}
    schedule = Schedule()
    for t in TIMES:
        noise = np.random.default_rng([9, t]).standard_normal(truth.shape)  # the same for all plans and clips
        a, s = schedule.signal_noise(t)
        np.save(path["x"], (a * plans + s * noise).astype(np.float32))
        vipo(args.vipo, "denoise", *task, "--x", path["x"], "--t", t, "--out", path["v"])
        error = np.load(path["v"]) - (a * noise - s * plans)
        result["v_error"][str(t)] = [rms(e) ** 2 for e in error]
    return result


def run(args):
    same = {"model": args.model, "n": args.n, "wanted": args.sampler, "first_seed": args.seed}
    done = {(r["task"], r["camera"], r["episode"]) for r in kept_lines(args.raw, same)}
    with tempfile.TemporaryDirectory() as folder:
        for i, (clip, text, frames) in enumerate(read_clips(args)):
            if args.clips and i == args.clips:
                break
            if (clip.task, clip.camera, clip.seed) in done:
                continue
            append_raw(args.raw, measure(args, folder, clip, text, frames, args.seed + i))  # no noise twice
            print("clip %d: %s %s %d" % (i + 1, clip.task, clip.camera, clip.seed), file=sys.stderr)


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
    write_table(rows, args.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="plan, and measure the plans")
    running.add_argument("--vipo", default=VIPO)
    running.add_argument("--model", default=MODEL)
    running.add_argument("--data", required=True, help="folder of `vipo sim collect`")
    running.add_argument("--held-out", type=int, default=2, help="episodes of a task, as in the training")
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
