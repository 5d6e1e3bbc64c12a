"""What the studies of bench/ share: calls of the command, raw results as JSON lines, tables. Only the standard library, but for
what takes or gives videos (numpy)."""

import argparse
import contextlib
import csv
import json
import math
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VIPO = os.path.join(ROOT, "build", "vipo")
MODEL = os.path.join(ROOT, "models", "metaworld-64")
FRAMES = os.path.join(ROOT, "examples", "frames")


def read_frames(folder):
    """The list of examples/frames: file, text and more of each picture."""
    with open(os.path.join(folder, "frames.json"), encoding="utf-8") as file:
        return json.load(file)


def read_raw(path):
    """The whole lines of a file of JSON lines; an interrupted run may leave half a line."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def append_raw(path, line):
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def kept_lines(path, same):
    """What a run has already; lines whose keys are not `same` belong to another run: another file."""
    lines = read_raw(path)
    for line in lines:
        for key, value in same.items():
            if line.get(key) != value:
                sys.exit("%s: it has plans with %s %s, not %s: give another --raw" % (path, key, line.get(key), value))
    return lines


def run_plans(args, same, measure):
    """Every frame of examples/frames with every seed that args.raw does not have yet: a line of `same` and what measure(frame,
    seed) gives."""
    frames = read_frames(args.frames)[:args.first]
    done = {(line["frame"], line["seed"]) for line in kept_lines(args.raw, same)}
    for seed in args.seeds:
        for i, frame in enumerate(frames):
            if (frame["file"], seed) not in done:
                append_raw(args.raw, {"frame": frame["file"], "seed": seed, **same, **measure(frame, seed)})
                print("seed %d, frame %d of %d" % (seed, i + 1, len(frames)), file=sys.stderr)


def study(description, seeds, run, table):
    """The commands of a study: `run` with the options of planning, `table` with its files."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="plan, and keep what is measured")
    add_planning(running, seeds)
    running.set_defaults(run=run)
    tabling = commands.add_parser("table", help="one row per setting")
    add_table(tabling)
    tabling.set_defaults(run=table)
    args = parser.parse_args()
    args.run(args)


def write_table(rows, path):
    """A CSV file, or the standard output where path is None. All rows have the columns of the first."""
    with open(path, "w", newline="", encoding="utf-8") if path else contextlib.nullcontext(sys.stdout) as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def vipo(program, *words):
    """What the command prints with --json; its own message ends ours where it fails."""
    done = subprocess.run([program, *map(str, words), "--json", "-q"], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit("%s %s ended with %d" % (program, words[0], done.returncode))
    return json.loads(done.stdout)


def sampler_words(spec):
    """NAME:STEPS:OPTION=VALUE:... as options of `vipo plan`; slashes in a grid stand for s:P,Q."""
    name, *rest = spec.split(":")
    words = ["--sampler", name]
    for word in rest:
        key, _, value = word.rpartition("=")
        if key == "grid" and "/" in value:
            kind, p, q = value.split("/")
            value = "%s:%s,%s" % (kind, p, q)
        words += ["--" + (key or "steps"), value]
    return words


def rms(difference):
    """Of videos in [0,1]: root mean square in [-1,1] units."""
    import numpy as np

    return 2 * float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))


def plan(args, frame, sampler, folder, *words):
    """(video float64 [1][frames][H][W][3] in [0,1], summary, steps of the trace) of a picture of examples/frames; --cond among
    the words takes the picture's place."""
    import numpy as np

    video, trace = os.path.join(folder, "plan.npy"), os.path.join(folder, "trace.jsonl")
    picture = [] if "--cond" in words else ["--image", os.path.join(args.frames, frame["file"])]
    summary = vipo(args.vipo, "plan", "--model", args.model, *picture, "--text", frame["text"], "--out", video, "--trace", trace,
                   *sampler_words(sampler), *words)
    return np.load(video).astype(np.float64), summary, [e for e in read_raw(trace) if e["event"] == "step"]


def geometric_mean(values):
    return math.exp(sum(math.log(max(v, 1e-12)) for v in values) / len(values))


def deviation(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((x - mean) ** 2 for x in values) / max(len(values) - 1, 1))


def correlation(a, b):
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    both = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b))
    return both / ((len(a) - 1) * max(deviation(a) * deviation(b), 1e-12))


def add_planning(parser, seeds):
    """The options of every `run`. seeds: the default list."""
    parser.add_argument("--vipo", default=VIPO)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--frames", default=FRAMES)
    parser.add_argument("--first", type=int, help="only so many frames")
    parser.add_argument("--seeds", type=int, nargs="+", default=seeds)
    parser.add_argument("--raw", required=True, help="JSON lines, one per frame and seed; what is there is kept")


def add_table(parser, files=None):
    parser.add_argument("--raw", required=True, nargs=files)
    parser.add_argument("--out", help="CSV file")
