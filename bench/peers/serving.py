"""What the peers' programs share: options, inputs, and the protocol with compare_peers.py.

A peer is a process that stays alive.  It prints one JSON line when it is ready, then answers
each line "run N" on its standard input with the seconds of N calls, as a JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parents[2]

# What keeps PyTorch, oneDNN (also OpenVINO's) and MKL from using wider instructions; read when
# the libraries are loaded.  ONNX Runtime's own kernels have no such switch.
ISA_ENVIRONMENT = {
    "auto": {},
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}

# (x, cond, t, task): what one call of an exported network takes
Inputs = tuple[Any, Any, Any, Any]


class Failure(Exception):
    """One line for the user."""


def argument_parser(description: str) -> argparse.ArgumentParser:
    """The options that every peer has."""
    parser = argparse.ArgumentParser(description=description)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="model folder")
    source.add_argument("--preset", help="mw, thor or bridge, with random weights")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=2, help="untimed calls")
    parser.add_argument("--repeat", type=int, default=5, help="timed calls")
    parser.add_argument("--isa", choices=sorted(ISA_ENVIRONMENT), default="auto")
    parser.add_argument("--t", type=int, default=50, help="timestep")
    parser.add_argument("--x", type=Path, help="[B,frames,H,W,3] .npy; random if not given")
    parser.add_argument("--cond", type=Path, help="[B,H,W,3] .npy")
    parser.add_argument("--tokens", type=Path, help="[1 or B,L,C] .npy")
    parser.add_argument("--out", type=Path, help="where to write v, [B,frames,H,W,3] .npy")
    parser.add_argument("--serve", action="store_true", help="answer 'run N' lines on stdin")
    return parser


def input_arguments(args: argparse.Namespace) -> list[str]:
    """The options that choose the network and its inputs, for another program."""
    words = ["--model", str(args.model)] if args.model else ["--preset", args.preset]
    words += ["--batch", str(args.batch), "--t", str(args.t)]
    for name in ("x", "cond", "tokens"):
        if getattr(args, name):
            words += [f"--{name}", str(getattr(args, name))]
    return words


def restrict_instructions(args: argparse.Namespace) -> None:
    """To be called before the peer's library is loaded."""
    os.environ.update(ISA_ENVIRONMENT[args.isa])


def measure(step: Callable[[], Any], count: int) -> list[float]:
    """Seconds of each of `count` calls."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


def run(args: argparse.Namespace, step: Callable[[], Any], facts: dict[str, Any]) -> None:
    """Warms up, writes the output ([B,frames,3,H,W] of `step`), measures once or at every request."""
    import numpy as np

    begin = time.perf_counter()
    v = np.asarray(step())
    first_call = time.perf_counter() - begin  # with compilation, where there is any
    if args.out:
        np.save(args.out, np.ascontiguousarray(v.transpose(0, 1, 3, 4, 2), dtype=np.float32))
    measure(step, args.warmup - 1)
    facts = {
        **facts,
        "model": str(args.model.name if args.model else args.preset),
        "batch": args.batch,
        "threads": args.threads,
        "first_call": round(first_call, 4),
    }

    def report(count: int) -> None:
        seconds = measure(step, count)
        result = {"seconds": seconds, "median": statistics.median(seconds)}
        print(json.dumps({**facts, **result}), flush=True)

    if not args.serve:
        report(args.repeat)
        return
    print(json.dumps({**facts, "ready": True}), flush=True)
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            break
        if len(words) != 2 or words[0] != "run" or not words[1].isdigit():
            raise Failure(f"expected 'run N' or 'quit', got '{line.strip()}'")
        report(int(words[1]))


def main(program: str, work: Callable[[], None]) -> int:
    """0, or 1 after a one-line error."""
    try:
        work()
    except Failure as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0
