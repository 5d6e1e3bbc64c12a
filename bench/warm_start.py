#!/usr/bin/env python3
"""What a warm start (`vipo plan --warm`) keeps of the plan that it begins with. Needs numpy.

  bench/warm_start.py run --raw out/warm.jsonl                  # interrupt and repeat: it goes on
  bench/warm_start.py table --raw out/warm.jsonl --out bench/results/warm-start-metaworld-64.csv

Of every frame of examples/frames and every seed: P is the full plan of that seed, F that of another one (`--seed` + 1000). For
each start of warm plans, all by ab2:
  same frame  P noised with F's noise and denoised: how far is that from P and from F; beside it a cold plan from F's noise with as
              many evaluations
  next frame  P's second frame is the new observation and P moves on by two frames (`--executed 2`): how far is that from F2, the
              full plan of that observation from F's noise; beside it how far full plans of that observation are apart
  rough       a plan of SIX steps from P's noise, noised again with P's noise: does it come nearer to P?
"""
import os
import tempfile

import numpy as np

from plans import geometric_mean, plan, read_raw, rms, run_plans, study, write_table

STARTS, FULL, SIX, OTHER = (19, 29, 40), "ab2:20", "ab2:6", 1000


def measure(args, frame, seed, folder):
    own, other = ("--seed", seed), ("--seed", seed + OTHER)

    def made(sampler, *words):
        return plan(args, frame, sampler, folder, *words)

    def kept(name, video):
        path = os.path.join(folder, name + ".npy")
        np.save(path, video.astype(np.float32))
        return path

    p, f, six = (made(sampler, *noise)[0] for sampler, noise in ((FULL, own), (FULL, other), (SIX, own)))
    warm, rough = kept("p", p), kept("six", six)
    # The second frame of the plan, as the network sees it, in place of a picture: what `--cond` is for.
    seen = ("--cond", kept("seen", np.clip(p[:, 1], 0, 1)))
    full_seen, other_seen = (plan(args, frame, FULL, folder, *seen, *noise)[0] for noise in (own, other))
    rows = []
    for start in STARTS:
        same, summary, _ = made("ab2", *other, "--warm", warm, "--from-step", start)
        cold = made("ab2:%d" % summary["evaluations"], *other)[0]
        moved = plan(args, frame, "ab2", folder, *seen, *other, "--warm", warm, "--from-step", start, "--executed", 2)[0]
        again = made("ab2", *own, "--warm", rough, "--from-step", start)[0]
        rows.append({"start": start, "evaluations": summary["evaluations"], "warm_to_p": rms(same - p), "cold_to_p": rms(cold - p),
                     "warm_to_f": rms(same - f), "cold_to_f": rms(cold - f), "moved_to_f": rms(moved - other_seen),
                     "rough_to_p": rms(again - p)})
    return {"p_to_f": rms(p - f), "next_frame_apart": rms(full_seen - other_seen), "six_to_p": rms(six - p), "starts": rows}


def run(args):
    with tempfile.TemporaryDirectory() as folder:
        run_plans(args, {"model": args.model}, lambda frame, seed: measure(args, frame, seed, folder))


def table(args):
    lines, rows = read_raw(args.raw), []
    for i, start in enumerate(STARTS):
        own = [line["starts"][i] for line in lines]
        row = {"start": start, "plans": len(own), "evaluations": own[0]["evaluations"]}
        for key in ("warm_to_p", "cold_to_p", "warm_to_f", "cold_to_f", "moved_to_f", "rough_to_p"):
            row[key] = "%.4f" % geometric_mean([r[key] for r in own])
        for key in ("p_to_f", "next_frame_apart", "six_to_p"):
            row[key] = "%.4f" % geometric_mean([line[key] for line in lines])
        rows.append(row)
    write_table(rows, args.out)


if __name__ == "__main__":
    study(__doc__, [0], run, table)
