#!/usr/bin/env python3
"""Times one network step of vipo and of its peers, all in turns, on the same input.

python bench/compare_peers.py --models metaworld-64
python bench/compare_peers.py --models thor mw --peers pytorch-eager openvino --rounds 7
python bench/compare_peers.py --models thor --isa avx2

Each round runs ours, then every peer (A B C D A B C D ...), so that a slow phase of the
machine meets all.  A peer is one process that stays alive: its start and compilation are
paid once and not timed; ours is started in every round, and its loading is not timed either.
All drop the first calls of a turn.  The text is embedded before, on every side.  Outputs are
compared with PyTorch's (eager, float32); a row for each peer goes to
bench/results/peers-<cpu>.csv only if ours and the float32 peers agree with it.
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
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "bench" / "peers"
PRESETS = ("mw", "thor", "bridge")

# Program and options of each peer.  A peer with bf16 in its name computes with less
# precision than ours: a note beside the table, not compared with the tolerance.
TORCH = "torch_step.py"
PROGRAMS = {
    "pytorch-eager": [TORCH, "--mode", "eager", "--task-embedding", "once"],
    "pytorch-channels-last": [TORCH, "--mode", "channels-last", "--task-embedding", "once"],
    "pytorch-compiled": [TORCH, "--mode", "compiled", "--task-embedding", "once"],
    "openvino": ["openvino_step.py"],
    "openvino-bf16": ["openvino_step.py", "--precision", "bf16"],
    "onnxruntime": ["onnxruntime_step.py"],
}
REFERENCE = "pytorch-eager"
BUSY = 0.15  # contention above which a result is doubtful
DEFAULT_PEERS = [name for name in PROGRAMS if name != "pytorch-channels-last"]

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
    "ours_version",
    "ours_compute",
    "ours_least",
    "peer_form",
    "peer_isa",
    "peer_least",
    "peer_relative_l2",
    "rounds",
    "contention",
)


class Failure(Exception):
    """One line for the user."""


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=["metaworld-64", "thor", "mw"],
        metavar="NAME",
        help="names under models/, folders, or full-size networks with random weights: "
        f"{', '.join(PRESETS)} (default: metaworld-64 thor mw)",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        default=DEFAULT_PEERS,
        metavar="NAME[:FORM]",
        help=f"of {', '.join(PROGRAMS)} (default: all but pytorch-channels-last); with a form of "
        "the network (peers/network.py) in place of the fastest one: openvino:avdc",
    )
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument("--isa", choices=("auto", "avx2"), default="auto")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--turn", type=float, default=1.0, help="seconds of timed calls in a turn, at least one"
    )
    parser.add_argument("--drop", type=int, default=1, help="untimed calls before them")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two turns")
    parser.add_argument("--text-length", type=int, default=8, help="text tokens")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest relative L2")
    parser.add_argument(
        "--restart",
        action="store_true",
        help="start each peer in each round and end it after its turn: needs little memory, "
        "takes long (done by itself for a peer that leaves less than a fifth of the memory)",
    )
    parser.add_argument("--vipo", type=Path, default=ROOT / "build" / "vipo")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--no-record", action="store_true", help="append no rows")
    args = parser.parse_args()
    if min(args.batch, args.threads, args.rounds, args.text_length) < 1:
        parser.error("batch, threads, rounds and text length must be at least 1")
    if args.drop < 0 or args.pause < 0 or args.turn <= 0:
        parser.error("--drop and --pause must not be negative, --turn must be positive")
    for name in args.peers:
        if name.split(":")[0] not in PROGRAMS:
            parser.error(f"'{name}' is no peer; there are {', '.join(PROGRAMS)}")
    if not args.vipo.exists():
        parser.error(f"{args.vipo}: no such file; build it or name it with --vipo")
    return args


def cpu_name() -> str:
    """Name of the processor; family and model too, as clouds hide the product's name."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    fields = dict(re.findall(r"^(.*?)\s*:\s*(.*)$", text, re.MULTILINE))
    name = fields.get("model name", "unknown")
    if "cpu family" in fields:
        name += f" (family {fields['cpu family']}, model {fields['model']})"
    return name


def results_file(folder: Path, kind: str) -> Path:
    """The CSV of this processor."""
    slug = re.sub(r"[^a-z0-9]+", "-", cpu_name().lower()).strip("-")
    return folder / f"{kind}-{slug}.csv"


def memory_share() -> float:
    """Available memory by all memory."""
    text = Path("/proc/meminfo").read_text(encoding="utf-8")
    values = {key: int(kb) for key, kb in re.findall(r"^(\w+):\s+(\d+)", text, re.MULTILINE)}
    return values["MemAvailable"] / values["MemTotal"]


def source_version() -> str:
    """g<commit>, with -dirty if tracked files were changed since; "unknown" outside of git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"g{done.stdout.strip()}" if done.returncode == 0 else "unknown"


class Contention:
    """How much else ran: the share of a time in which some thread waited for a processor.
    Little on an idle machine with a core for each thread.  It matters: engines with spinning
    barriers lose more by it than others, so that the ratios of a busy machine are no results."""

    PRESSURE = Path("/proc/pressure/cpu")

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.waited = self._waited()

    def _waited(self) -> float | None:
        """Seconds since the start of the machine; None where the kernel does not count."""
        try:
            text = self.PRESSURE.read_text(encoding="utf-8")
        except OSError:
            return None
        return 1e-6 * int(re.search(r"^some .*total=(\d+)", text, re.MULTILINE).group(1))

    def share(self) -> float | None:
        """Since the object was made."""
        now = self._waited()
        if now is None or self.waited is None:
            return None
        return (now - self.waited) / (time.monotonic() - self.begin)


def model_folder(name: str) -> Path:
    """A folder, one of models/, or a random one of a preset, written once under out/."""
    if name in PRESETS:
        folder = ROOT / "out" / f"random-{name}"
        if not (folder / "unet.safetensors").exists():
            script = str(PEERS / "random_model.py")
            command = [sys.executable, script, "--preset", name, "--out", str(folder)]
            subprocess.run(command, check=True)
        return folder
    for folder in (ROOT / "models" / name, Path(name)):
        if (folder / "config.json").exists():
            return folder
    raise Failure(f"{name}: no model folder, none under models/ and none of {', '.join(PRESETS)}")


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


def input_options(folder: Path) -> list[str]:
    """The same for vipo and the peers."""
    words = ["--t", "50"]
    for name in ("x", "cond", "tokens"):
        words += [f"--{name}", str(folder / f"{name}.npy")]
    return words


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


@dataclass
class Side:
    """Ours or a peer: its output's place, its times, and what it says of itself."""

    name: str
    output: Path
    seconds: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def begin(self) -> None:
        """Before the first round."""

    def run(self, count: int) -> list[float]:
        """Seconds of `count` calls."""
        raise NotImplementedError

    def end(self) -> None:
        """After the last round, or when memory is short."""

    def turn(self, args: argparse.Namespace) -> None:
        """One turn: as many calls as fit into --turn."""
        time.sleep(args.pause)
        count = 1
        if self.seconds:
            fit = args.turn / statistics.median(self.seconds)
            count = max(1, min(20, round(fit)))
        self.seconds += self.run(args.drop + count)[args.drop :]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


class Ours(Side):
    """The vipo command, one process per round."""

    def __init__(self, args: argparse.Namespace, model: Path, folder: Path) -> None:
        super().__init__("vipo", folder / "vipo.npy")
        self.command = [str(args.vipo), "denoise", "--model", str(model), *input_options(folder)]
        self.command += ["--out", str(self.output), "--json", "--threads", str(args.threads)]
        self.environment = dict(os.environ)
        if args.isa != "auto":
            self.environment["VIPO_COMPUTE"] = args.isa
        version = subprocess.run(
            [str(args.vipo), "--version"], capture_output=True, text=True, check=True
        )
        self.facts["version"] = f"{version.stdout.split()[-1]}-{source_version()}"

    def run(self, count: int) -> list[float]:
        command = [*self.command, "--repeat", str(count)]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise Failure(f"vipo ended with {done.returncode}: {lines[-1]}")
        answer = last_json(done.stdout)
        seconds = answer.get("seconds")
        if not isinstance(seconds, list) or len(seconds) != count:
            raise Failure(f"vipo's JSON must hold 'seconds', a list of {count} numbers")
        self.facts["compute"] = answer.get("compute", "")
        return [float(s) for s in seconds]


class Peer(Side):
    """A program of bench/peers in a process that stays alive between rounds."""

    def __init__(self, name: str, args: argparse.Namespace, model: Path, folder: Path) -> None:
        super().__init__(name, folder / f"{name}.npy")
        self.kind, _, form = name.partition(":")
        program, *options = PROGRAMS[self.kind]
        options += ["--form", form] if form else []
        self.command = [sys.executable, str(PEERS / program), "--serve", *options]
        self.command += ["--model", str(model), "--batch", str(args.batch)]
        self.command += ["--threads", str(args.threads), "--isa", args.isa]
        self.command += ["--out", str(self.output), *input_options(folder)]
        self.restart = args.restart
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[str] | None = None

    def _answer(self) -> dict[str, Any]:
        assert self.process is not None and self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.process = None
            text = self.log.read_text(encoding="utf-8", errors="replace").strip()
            last = (text.splitlines() or ["no message"])[-1]
            raise Failure(f"{self.name} ended with {code}: {last}")
        return json.loads(line)

    def begin(self) -> None:
        if self.process is not None:
            return
        pipe = subprocess.PIPE
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.command, stdin=pipe, stdout=pipe, stderr=log, text=True
            )
        self.facts = self._answer()
        if not self.restart and memory_share() < 0.2:
            print(f"{self.name}: little memory, restarted in every round", file=sys.stderr)
            self.restart = True
        if self.restart:
            self.end()

    def run(self, count: int) -> list[float]:
        restarted = self.process is None
        if restarted:
            restart, self.restart = self.restart, False
            self.begin()
            self.restart = restart or self.restart
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(f"run {count}\n")
        self.process.stdin.flush()
        seconds = [float(s) for s in self._answer()["seconds"]]
        if restarted:
            self.end()
        return seconds

    def end(self) -> None:
        """The process leaves its loop when its standard input closes."""
        if self.process is not None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait()
            self.process = None


def relative_l2(got: Path, wanted: Path) -> float:
    """Distance of two outputs relative to the size of the second."""
    a, b = np.load(got).astype(np.float64), np.load(wanted).astype(np.float64)
    if a.shape != b.shape:
        raise Failure(f"{got.stem} has shape {a.shape}, {wanted.stem} {b.shape}")
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def record(path: Path, fields: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """Appends rows; begins the file with its header, which an older file must have too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    if not new and path.read_text(encoding="utf-8").partition("\n")[0] != ",".join(fields):
        raise Failure(f"{path}: has other columns; move it away to record new rows")
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def run_rounds(args: argparse.Namespace, sides: list[Side]) -> float | None:
    """A B C D A B C D ...; returns the contention meanwhile."""
    contention = Contention()
    for i in range(args.rounds):
        for side in sides:
            side.turn(args)
        now = ", ".join(f"{side.name} {side.median:.4f}" for side in sides)
        print(f"round {i + 1}/{args.rounds}: {now}", file=sys.stderr)
    share = contention.share()
    if share is not None and share > BUSY:
        print(f"warning: threads waited for a core in {share:.0%} of the time", file=sys.stderr)
    return share


def rows_of(
    args: argparse.Namespace, model: Path, ours: Ours, peers: list[Peer], contention: float | None
) -> list[dict[str, Any]]:
    """A row for each peer that computes the same; fails if ours does not."""
    reference = next(peer for peer in peers if peer.name == REFERENCE)
    error = relative_l2(ours.output, reference.output)
    if not error <= args.tolerance:  # also catches NaN
        raise Failure(f"the outputs differ: relative L2 of ours {error:.2e} to {REFERENCE}'s")
    rows = []
    for peer in peers:
        if peer.name not in args.peers:
            continue
        peer_error = relative_l2(peer.output, reference.output)
        if "bf16" not in peer.name and not peer_error <= args.tolerance:
            print(f"left out: {peer.name} computes wrongly ({peer_error:.1e})", file=sys.stderr)
            continue
        rows.append(
            {
                "date": datetime.date.today().isoformat(),
                "cpu": cpu_name(),
                "model": model.resolve().name,
                "batch": args.batch,
                "threads": args.threads,
                "isa": args.isa,
                "ours_seconds": f"{ours.median:.5f}",
                "peer": peer.kind,
                "peer_version": peer.facts["version"],
                "peer_seconds": f"{peer.median:.5f}",
                "ratio": f"{peer.median / ours.median:.3f}",
                "relative_l2": f"{error:.1e}",
                "ours_version": ours.facts["version"],
                "ours_compute": ours.facts["compute"],
                "ours_least": f"{min(ours.seconds):.5f}",
                "peer_form": peer.facts["form"],
                "peer_isa": peer.facts["isa"].lower(),
                "peer_least": f"{min(peer.seconds):.5f}",
                "peer_relative_l2": f"{peer_error:.1e}",
                "rounds": args.rounds,
                "contention": "" if contention is None else f"{contention:.2f}",
            }
        )
    return rows


def begin_peers(args: argparse.Namespace, model: Path, folder: Path) -> list[Peer]:
    """The peers that start; the reference always, whether it is timed or not."""
    peers = []
    for name in dict.fromkeys([REFERENCE, *args.peers]):
        peer = Peer(name, args, model, folder)
        begin = time.monotonic()
        try:
            peer.begin()
        except Failure as error:
            if name == REFERENCE:
                raise
            print(f"left out: {error}", file=sys.stderr)
            continue
        peers.append(peer)
        print(f"{name}: ready after {time.monotonic() - begin:.0f} s", file=sys.stderr)
        if name not in args.peers:
            peer.end()
    return peers


def compare(args: argparse.Namespace, name: str, folder: Path) -> None:
    """Runs the rounds of one model, checks the outputs, prints and records the result."""
    model = model_folder(name)
    print(f"model {model.resolve().name}, {args.threads} threads, {args.isa}", file=sys.stderr)
    write_inputs(model, folder, args.batch, args.text_length)
    ours = Ours(args, model, folder)
    peers: list[Peer] = []
    try:
        peers = begin_peers(args, model, folder)
        timed = [peer for peer in peers if peer.name in args.peers]
        contention = run_rounds(args, [ours, *timed])
    finally:
        for peer in peers:
            peer.end()
    rows = rows_of(args, model, ours, peers, contention)
    seconds = {side.name: side.seconds for side in (ours, *peers) if side.seconds}
    print(json.dumps({"rows": rows, "seconds": seconds}), flush=True)
    for row in rows:
        print(
            f"{row['model']}: vipo {row['ours_seconds']} s, {row['peer']} {row['peer_seconds']} s: "
            f"vipo is {row['ratio']} times as fast; relative L2 {row['relative_l2']} and "
            f"{row['peer_relative_l2']}",
            file=sys.stderr,
        )
    if not args.no_record:
        path = results_file(args.results, "peers")
        record(path, FIELDS, rows)
        print(f"{len(rows)} rows added to {path}", file=sys.stderr)


def main() -> int:
    """0, or 1 after a one-line error."""
    args = parse_arguments()
    try:
        for name in args.models:
            with tempfile.TemporaryDirectory(prefix="vipo-compare-") as folder:
                compare(args, name, Path(folder))
    except (Failure, subprocess.CalledProcessError) as error:
        print(f"compare_peers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
