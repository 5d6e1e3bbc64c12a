#!/usr/bin/env python3
"""Times one network step of vipo against PyTorch, interleaved, on the same input.

python bench/compare_step.py --model models/metaworld-64 --threads 2
python bench/compare_step.py --preset thor --isa avx2

Each round runs ours, then the peer (A B A B ...), so that a slow phase of the machine
meets both.  The peer is one process that stays alive: its start and compilation are paid
once and not timed; ours is started in every round, and its loading is not timed either.
Both drop the first calls of every round.  A row goes to bench/results/<cpu>.csv only if
the two outputs agree.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "bench" / "peers"
PRESETS = ("mw", "thor", "bridge")

# Fields of a result row, in order.
FIELDS = (
    "date",
    "cpu",
    "model",
    "batch",
    "threads",
    "isa",
    "ours_seconds",
    "peer",
    "peer_version",
    "peer_seconds",
    "ratio",
    "relative_l2",
)


class Failure(Exception):
    """One line for the user."""


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="model folder")
    source.add_argument("--preset", choices=PRESETS, help="full size with random weights")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", choices=("auto", "avx2"), default="auto")
    parser.add_argument(
        "--mode",
        choices=("eager", "channels-last", "compiled"),
        default="eager",
        help="how PyTorch runs",
    )
    parser.add_argument(
        "--task-embedding",
        choices=("every", "once"),
        default="every",
        help="does PyTorch embed the text at every step (as AVDC) or once before",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3, help="timed calls per round and side")
    parser.add_argument("--drop", type=int, default=1, help="untimed calls before them")
    parser.add_argument("--text-length", type=int, default=8, help="text tokens")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest relative L2")
    parser.add_argument("--vipo", type=Path, default=ROOT / "build" / "vipo")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--no-record", action="store_true", help="append no row")
    args = parser.parse_args()
    if min(args.batch, args.threads, args.rounds, args.repeat, args.text_length) < 1:
        parser.error("batch, threads, rounds, repeat and text length must be at least 1")
    return args


def cpu_name() -> str:
    """Name of the processor; family and model too, as clouds hide the product's name."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    fields = dict(re.findall(r"^(.*?)\s*:\s*(.*)$", text, re.MULTILINE))
    name = fields.get("model name", "unknown")
    if "cpu family" in fields:
        name += f" (family {fields['cpu family']}, model {fields['model']})"
    return name


def model_folder(args: argparse.Namespace) -> Path:
    """The given folder, or a random one of a preset, written once under out/."""
    if args.model:
        if not (args.model / "config.json").exists():
            raise Failure(f"{args.model}: no config.json, expected a model folder")
        return args.model
    folder = ROOT / "out" / f"random-{args.preset}"
    if not (folder / "unet.safetensors").exists():
        script = str(PEERS / "random_model.py")
        command = [sys.executable, script, "--preset", args.preset, "--out", str(folder)]
        subprocess.run(command, check=True)
    return folder


def write_inputs(model: Path, folder: Path, batch: int, text_length: int) -> None:
    """x, cond and tokens as .npy; seeded, so runs are repeatable."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    height, width = config["unet"]["image_size"]
    frames, channels = config["image"]["future_frames"], config["unet"]["task_token_channels"]
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, frames, height, width, 3), dtype=np.float32)
    cond = random.random((batch, height, width, 3), dtype=np.float32)
    tokens = random.standard_normal((1, text_length, channels), dtype=np.float32)
    for name, array in (("x", x), ("cond", cond), ("tokens", tokens)):
        np.save(folder / f"{name}.npy", array)


def last_json(text: str) -> dict[str, Any]:
    """The JSON object in a command's output: all of it, or its last line that is one."""
    for candidate in [text, *reversed(text.splitlines())]:
        try:
            value = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    raise Failure(f"no JSON in the output, which begins '{text[:80]}'")


class Ours:
    """The vipo command, one process per round."""

    def __init__(self, args: argparse.Namespace, model: Path, folder: Path) -> None:
        if not args.vipo.exists():
            raise Failure(f"{args.vipo}: no such file; build it or name it with --vipo")
        self.drop = args.drop
        self.count = args.drop + args.repeat
        self.command = [str(args.vipo), "denoise", "--model", str(model)]
        self.command += ["--x", str(folder / "x.npy"), "--cond", str(folder / "cond.npy")]
        self.command += ["--tokens", str(folder / "tokens.npy"), "--t", "50"]
        self.command += ["--out", str(folder / "ours.npy"), "--repeat", str(self.count)]
        self.command += ["--json", "--threads", str(args.threads)]
        self.environment = dict(os.environ)
        if args.isa != "auto":
            self.environment["VIPO_COMPUTE"] = args.isa

    def run(self) -> list[float]:
        """Seconds of the timed calls of one round."""
        done = subprocess.run(
            self.command, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise Failure(f"vipo ended with {done.returncode}: {lines[-1]}")
        seconds = last_json(done.stdout).get("seconds")
        if not isinstance(seconds, list) or len(seconds) != self.count:
            raise Failure(f"vipo's JSON must hold 'seconds', a list of {self.count} numbers")
        return [float(s) for s in seconds[self.drop :]]


class Peer:
    """PyTorch in a process that stays alive between rounds."""

    def __init__(self, args: argparse.Namespace, model: Path, folder: Path) -> None:
        self.drop = args.drop
        self.count = args.drop + args.repeat
        command = [sys.executable, str(PEERS / "torch_step.py"), "--serve", "--model", str(model)]
        command += ["--x", str(folder / "x.npy"), "--cond", str(folder / "cond.npy")]
        command += ["--tokens", str(folder / "tokens.npy"), "--t", "50"]
        command += ["--out", str(folder / "peer.npy"), "--batch", str(args.batch)]
        command += ["--threads", str(args.threads), "--isa", args.isa, "--mode", args.mode]
        command += ["--task-embedding", args.task_embedding]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.facts = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"the PyTorch process ended with {self.process.wait()}")
        return json.loads(line)

    def run(self) -> list[float]:
        """Seconds of the timed calls of one round."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"run {self.count}\n")
        self.process.stdin.flush()
        return [float(s) for s in self._answer()["seconds"][self.drop :]]

    def close(self) -> None:
        """Ends the process: it leaves its loop when stdin closes."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def relative_l2(ours: Path, peer: Path) -> float:
    """Distance of the two outputs relative to the peer's size."""
    a, b = np.load(ours).astype(np.float64), np.load(peer).astype(np.float64)
    if a.shape != b.shape:
        raise Failure(f"ours has shape {a.shape}, the peer {b.shape}")
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def file_name(cpu: str) -> str:
    """A processor's name as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-")


def record(folder: Path, row: dict[str, Any]) -> Path:
    """Appends a row to the file of this processor."""
    path = folder / f"{file_name(row['cpu'])}.csv"
    folder.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    return path


def compare(args: argparse.Namespace, folder: Path) -> None:
    """Runs the rounds, checks the outputs, prints and records the result."""
    model = model_folder(args)
    write_inputs(model, folder, args.batch, args.text_length)
    ours = Ours(args, model, folder)
    peer = Peer(args, model, folder)
    a: list[float] = []
    b: list[float] = []
    try:
        for i in range(args.rounds):
            a += ours.run()
            b += peer.run()
            now = f"round {i + 1}/{args.rounds}: ours {statistics.median(a):.4f} s"
            print(f"{now}, peer {statistics.median(b):.4f} s", file=sys.stderr)
    finally:
        peer.close()
    error = relative_l2(folder / "ours.npy", folder / "peer.npy")
    if not error <= args.tolerance:  # also catches NaN
        raise Failure(f"outputs differ: relative L2 {error:.2e}, allowed {args.tolerance:.0e}")

    ours_median, peer_median = statistics.median(a), statistics.median(b)
    name = peer.facts["peer"]
    if args.task_embedding == "once":
        name += "-embed-once"
    row = {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu_name(),
        "model": model.resolve().name,
        "batch": args.batch,
        "threads": args.threads,
        "isa": args.isa,
        "ours_seconds": f"{ours_median:.5f}",
        "peer": name,
        "peer_version": peer.facts["version"],
        "peer_seconds": f"{peer_median:.5f}",
        "ratio": f"{peer_median / ours_median:.3f}",
        "relative_l2": f"{error:.1e}",
    }
    print(json.dumps({**row, "ours_all": a, "peer_all": b}))
    print(
        f"{row['model']}, batch {args.batch}, {args.threads} threads, {args.isa}: "
        f"ours {ours_median:.4f} s, {name} {peer_median:.4f} s: "
        f"ours is {peer_median / ours_median:.2f} times as fast, relative L2 {error:.1e}",
        file=sys.stderr,
    )
    if not args.no_record:
        print(f"row added to {record(args.results, row)}", file=sys.stderr)


def main() -> int:
    """0, or 1 after a one-line error."""
    args = parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="vipo-compare-") as folder:
            compare(args, Path(folder))
    except (Failure, subprocess.CalledProcessError) as error:
        print(f"compare_step: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
