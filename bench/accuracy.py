#!/usr/bin/env python3
"""How far the fast op tables are from the reference table, whose sums are in double.

scripts/peers.sh bench/accuracy.py metaworld-64
scripts/peers.sh bench/accuracy.py thor          # full size, random weights; ref takes minutes

For every table of this machine: the relative L2 of one network step, and for a model folder
with pictures to plan from (examples/frames) the root mean square of the difference of whole
plans.  Rows go to bench/results/accuracy-<cpu>.csv.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from compare_peers import ROOT, Failure, cpu_name, model_folder, results_file, write_inputs

FIELDS = ("cpu", "model", "table", "methods", "what", "measure", "value")
STEP_LIMIT = 1e-5
SPLIT_STEP_LIMIT = 5e-5  # amx, whose products are of split numbers
PLAN_LIMIT = 1e-4
SAMPLERS = (("ddim", "10"), ("ab2", "12"), ("unipc", "12"))
IMAGE = ROOT / "examples" / "frames" / "00_door-open_corner_seed1000.png"


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="one under models/, a folder, or mw, thor, bridge")
    parser.add_argument("--tables", default="avx2,avx512", help="with commas between them")
    parser.add_argument("--vipo", type=Path, default=ROOT / "build" / "vipo")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--no-record", action="store_true", help="append no rows")
    return parser.parse_args()


def run(vipo: Path, table: str, arguments: list[str]) -> None:
    """One run of the command with a table."""
    environment = {**os.environ, "VIPO_COMPUTE": table, "VIPO_TUNE": "off"}
    done = subprocess.run(
        [str(vipo), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise Failure(f"vipo ended with {done.returncode}: {lines[-1]}")


def step(vipo: Path, table: str, model: Path, folder: Path) -> np.ndarray:
    """v of one network step."""
    out = folder / f"step-{table}.npy"
    inputs = [f"--{name}={folder / name}.npy" for name in ("x", "cond", "tokens")]
    run(vipo, table, ["denoise", "--model", str(model), *inputs, "--t", "50", "--out", str(out)])
    return np.load(out).astype(np.float64)


def plan(vipo: Path, table: str, model: Path, folder: Path, sampler: tuple[str, str]) -> np.ndarray:
    """A plan on a shipped picture."""
    out = folder / f"plan-{table}.npy"
    name, steps = sampler
    arguments = ["plan", "--model", str(model), "--image", str(IMAGE), "--text", "door open"]
    run(vipo, table, [*arguments, "--sampler", name, "--steps", steps, "--out", str(out)])
    return np.load(out).astype(np.float64)


def measure(args: argparse.Namespace, folder: Path) -> list[dict[str, str]]:
    """Rows of results, printed as they come."""
    model = model_folder(args.model)
    write_inputs(model, folder, 1, 8)
    common = {"cpu": cpu_name(), "model": model.resolve().name, "methods": "fixed"}
    tables = args.tables.split(",")
    rows = []

    def note(table: str, what: str, measured: str, value: float, limit: float) -> None:
        rows.append(
            {**common, "table": table, "what": what, "measure": measured, "value": f"{value:.2e}"}
        )
        verdict = "ok" if value <= limit else f"ABOVE {limit:.0e}"
        print(f"{common['model']} {table} {what}: {measured} {value:.2e} {verdict}", flush=True)

    reference = step(args.vipo, "ref", model, folder)
    for table in tables:
        v = step(args.vipo, table, model, folder)
        distance = float(np.linalg.norm(v - reference) / np.linalg.norm(reference))
        note(table, "step", "relative L2", distance, SPLIT_STEP_LIMIT if table == "amx" else STEP_LIMIT)
    if (model / "text_encoder.safetensors").exists():
        for sampler in SAMPLERS:
            reference = plan(args.vipo, "ref", model, folder, sampler)
            for table in tables:
                difference = plan(args.vipo, table, model, folder, sampler) - reference
                rms = float(np.sqrt(np.mean(difference**2)))
                note(table, f"plan {'-'.join(sampler)}", "rms", rms, PLAN_LIMIT)
    return rows


def main() -> int:
    """0, or 1 after a one-line error."""
    args = parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="vipo-accuracy-") as folder:
            rows = measure(args, Path(folder))
    except (Failure, subprocess.CalledProcessError) as error:
        print(f"accuracy: {error}", file=sys.stderr)
        return 1
    if not args.no_record:
        path = results_file(args.results, "accuracy")
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
