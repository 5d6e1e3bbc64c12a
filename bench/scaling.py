#!/usr/bin/env python3
"""How the time of a network step grows with threads, batch and resolution: `vipo bench` on one model, whose image size is changed in
a copy of its config.json (the weights fit any). Only the standard library.

  bench/scaling.py                                    # models/metaworld-64 -> bench/results/scaling-<cpu>.csv
  bench/scaling.py --model out/random-thor --sizes 32,64,128
  bench/plot_scaling.py bench/results/scaling-<cpu>.csv docs/images/scaling.svg

The points are visited in turn, several times over, so that a slow phase of the machine meets all of them; a row is the best of
its visits. Needs an idle machine.
"""
import argparse
import csv
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIELDS = ("date", "cpu", "compute", "model", "curve", "height", "width", "threads", "rows", "seconds", "gmac", "gflops", "peak_gflops")


class Failure(Exception):
    """One line for the user."""


def numbers(text):
    try:
        values = sorted({int(word) for word in text.split(",")})
    except ValueError:
        values = []
    if not values or values[0] < 1:
        raise argparse.ArgumentTypeError("%s: expected whole numbers from 1, separated by commas" % text)
    return values


def cpu_name():
    """Of /proc/cpuinfo; family and model too, as clouds hide the product's name."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    fields = dict(re.findall(r"^(.*?)\s*:\s*(.*)$", text, re.MULTILINE))
    name = fields.get("model name", "unknown")
    return name + (" (family %s, model %s)" % (fields["cpu family"], fields["model"]) if "cpu family" in fields else "")


def resized(model, side, folder):
    """A model folder with square images of another size and the same weights."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    made = Path(folder) / ("%d" % side)
    if not made.exists():
        config["image"].update(height=side, width=side)
        config["image"].pop("preprocess", None)
        config["unet"]["image_size"] = [side, side]
        made.mkdir()
        (made / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (made / "unet.safetensors").symlink_to((model / "unet.safetensors").resolve())
    return made


def measure(options, model, threads, rows):
    """What `vipo bench` says: the JSON object."""
    command = [str(options.vipo), "bench", "--model", str(model), "--threads", str(threads), "--rows", ",".join(map(str, rows)),
               "--repeat", str(options.repeat), "--json"]
    if options.compute:
        command += ["--compute", options.compute]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure("vipo bench ended with %d: %s" % (done.returncode, (done.stderr.strip().splitlines() or ["no message"])[-1]))
    return json.loads(done.stdout)


def visit(options, folder, best):
    """Each point once; best: {(curve, side, threads, rows): row}"""
    config = json.loads((options.model / "config.json").read_text(encoding="utf-8"))
    own = tuple(config["unet"]["image_size"])
    most = max(options.threads)
    jobs = [("threads", options.model, own, threads, [1]) for threads in options.threads]
    jobs.append(("batch", options.model, own, most, options.rows))
    jobs += [("resolution", resized(options.model, side, folder), (side, side), most, [1]) for side in options.sizes]
    for curve, model, (height, width), threads, rows in jobs:
        found = measure(options, model, threads, rows)
        for batch in found["batches"]:
            key, gmac = (curve, height, width, threads, batch["rows"]), 1e-9 * found["macs"] * batch["rows"]
            if batch["rows"] not in rows or key in best and best[key]["seconds"] <= batch["seconds"]:
                continue
            best[key] = {"date": datetime.date.today().isoformat(), "cpu": cpu_name(), "compute": found["compute"],
                         "model": options.model.resolve().name, "curve": curve, "height": height, "width": width, "threads": threads,
                         "rows": batch["rows"], "seconds": batch["seconds"], "gmac": gmac, "gflops": 2 * gmac / batch["seconds"],
                         "peak_gflops": found["profile"]["peak_gflops"] or 0.0}
        print("%s, %dx%d, %d threads: %s" % (curve, height, width, threads, ", ".join(
            "%d: %.4f s" % (b["rows"], b["seconds"]) for b in found["batches"])), file=sys.stderr)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: "%.6g" % value if isinstance(value, float) else value for name, value in row.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "metaworld-64")
    parser.add_argument("--threads", type=numbers, default=list(range(1, len(os.sched_getaffinity(0)) + 1)), help="1,2,...; default: to all cores")
    parser.add_argument("--rows", type=numbers, default=[1, 2, 3, 4, 6, 8], help="of a batch")
    parser.add_argument("--sizes", type=numbers, default=[32, 48, 64, 96, 128], help="side of the pictures")
    parser.add_argument("--repeat", type=int, default=5, help="calls of each visit")
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--compute", help="kernels")
    parser.add_argument("--vipo", type=Path, default=ROOT / "build" / "vipo")
    parser.add_argument("--out", type=Path, help="default: bench/results/scaling-<cpu>.csv")
    options = parser.parse_args()
    if not options.vipo.exists():
        raise Failure("%s: no such file; build it or name it with --vipo" % options.vipo)
    slug = re.sub(r"[^a-z0-9]+", "-", cpu_name().lower()).strip("-")
    out = options.out or ROOT / "bench" / "results" / ("scaling-%s.csv" % slug)
    best = {}
    with tempfile.TemporaryDirectory(prefix="vipo-scaling-") as folder:
        for _ in range(max(options.visits, 1)):
            visit(options, folder, best)
    write(out, best.values())
    print(out)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, OSError) as error:
        print("scaling: %s" % error, file=sys.stderr)
        sys.exit(1)
