#!/usr/bin/env python3
"""Times each distinct convolution of a network: vipo beside oneDNN and ncnn.

python bench/compare_layers.py --models metaworld-64
python bench/compare_layers.py --models thor mw --engines onednn --isa avx2

Shapes come from bench/shapes/NAME.txt.  For each of them ours (build/tests/checkop/checkop
--bench), oneDNN and ncnn take turns; the least time of each counts.  vipo's time includes
what is fused into the layer (norm and SiLU before, embedding, residual and statistics after);
the others only convolve, in their best layout, without copies.  A skip convolution that is
fused into ours is a second convolution of the others.  Rows go to
bench/results/layers-<cpu>.csv.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from compare_peers import (
    ROOT,
    Contention,
    Failure,
    cpu_name,
    record,
    results_file,
    source_version,
)

FIELDS = (
    "date",
    "cpu",
    "model",
    "threads",
    "isa",
    "shape",
    "count",
    "gmac",
    "ours_version",
    "ours_compute",
    "ours_ms",
    "ours_gflops",
    "peak_gflops",
    "engine",
    "engine_version",
    "engine_kernel",
    "engine_ms",
    "engine_gflops",
    "ratio",
    "contention",
)
ENGINES = ("onednn", "ncnn")


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
        help="names under bench/shapes/ (default: metaworld-64 thor mw)",
    )
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=None)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument("--isa", choices=("auto", "avx2"), default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.1, help="of a turn")
    parser.add_argument("--match", default="", help="only shapes that contain this text")
    parser.add_argument("--checkop", type=Path, default=ROOT / "build/tests/checkop/checkop")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--no-record", action="store_true", help="append no rows")
    args = parser.parse_args()
    if args.engines is None:
        args.engines = ["onednn"] if args.isa == "avx2" else list(ENGINES)
    if args.isa == "avx2" and "ncnn" in args.engines:
        parser.error("ncnn chooses its instructions itself and cannot be restricted to AVX2")
    if min(args.threads, args.rounds) < 1 or args.seconds <= 0:
        parser.error("threads and rounds must be at least 1, --seconds positive")
    if not args.checkop.exists():
        parser.error(f"{args.checkop}: no such file; build it or name it with --checkop")
    return args


def read_shapes(model: str, match: str) -> list[str]:
    """Lines of the convolutions."""
    path = ROOT / "bench" / "shapes" / f"{model}.txt"
    if not path.exists():
        names = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt")))
        raise Failure(f"{path}: no such file; there are {names}")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("conv_") and match in line]


def convolutions(shape: str) -> list[dict[str, Any]]:
    """What another engine must compute for a line of a shape file."""
    op, *words = shape.split()
    values = dict(word.split("=") for word in words)

    def number(name: str, otherwise: int = 0) -> int:
        return int(values.get(name, otherwise))

    kind = values.get("kind", "linear")
    images = number("samples", 1) * number("frames", 1)
    height, width, stride = number("height", 1), number("width", 1), 1
    kernel = [3, 3]
    c_in, c_out = number("in") + number("in2"), number("out")
    if kind == "stride2":
        stride = 2
    elif kind == "upsample2":  # the enlarged image is for free
        height, width = 2 * height, 2 * width
    elif kind == "linear":
        kernel = [1, 1]
    elif kind == "time":  # frames are the rows, pixels the columns
        images, height, width = number("samples", 1), number("frames", 1), height * width
        kernel = [3, 1]
    elif kind != "3x3":
        raise Failure(f"{shape}: the kind is unknown here")
    size = {"images": images, "height": height, "width": width, "out": c_out}
    found = [{**size, "in": c_in, "kernel": kernel, "stride": stride}]
    skip = number("skip") + number("skip2")
    if skip:
        found.append({**size, "in": skip, "kernel": [1, 1], "stride": 1})
    return found


def multiply_adds(convolution: dict[str, Any]) -> float:
    """Counted directly, taps outside of the image included."""
    kh, kw = convolution["kernel"]
    pixels = convolution["images"] * convolution["height"] * convolution["width"]
    pixels /= convolution["stride"] ** 2
    return float(pixels * convolution["in"] * convolution["out"] * kh * kw)


class Engine:
    """bench/peers/layer_step.py."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        self.name = name
        command = [sys.executable, str(ROOT / "bench/peers/layer_step.py"), "--engine", name]
        command += ["--threads", str(args.threads), "--isa", args.isa]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.version = self._answer()["version"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def measure(self, convolution: dict[str, Any], seconds: float) -> tuple[float, str]:
        """Seconds and kernel."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({**convolution, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        return answer["seconds"], answer["kernel"]

    def close(self) -> None:
        """The process ends with its input."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def our_table(isa: str) -> str:
    """The op table that is measured."""
    if isa != "auto":
        return isa
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    wide = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
    return "avx512" if wide <= set(flags) else "avx2"


def measure_ours(args: argparse.Namespace, shape: str) -> tuple[float, float]:
    """Seconds, and the machine's FMA peak in GFLOP/s."""
    command = [str(args.checkop), "--bench", "--table", our_table(args.isa), "--shape", shape]
    command += ["--threads", str(args.threads), "--seconds", str(args.seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"([\d.]+) ms +[\d.]+ GFLOP/s(?:.*FMA peak (\d+))?", done.stdout)
    if done.returncode != 0 or not found:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise Failure(f"checkop ended with {done.returncode}: {lines[-1]}")
    return 1e-3 * float(found[1]), float(found[2] or 0)


def rows_of(
    args: argparse.Namespace, model: str, shape: str, engines: list[Engine]
) -> list[dict[str, Any]]:
    """The turns of one shape: a row for each engine."""
    asked = convolutions(shape)
    work = sum(map(multiply_adds, asked))
    ours, peak = 1e30, 0.0
    least: dict[str, list[tuple[float, str]]] = {e.name: [(1e30, "")] * len(asked) for e in engines}
    contention = Contention()
    for _ in range(args.rounds):
        seconds, now = measure_ours(args, shape)
        ours, peak = min(ours, seconds), max(peak, now)
        for engine in engines:
            times = [engine.measure(c, args.seconds / len(asked)) for c in asked]
            least[engine.name] = [min(a, b) for a, b in zip(least[engine.name], times)]
    share = contention.share()
    count = re.search(r" count=(\d+)", shape)
    rows = []
    for engine in engines:
        seconds = sum(time for time, _ in least[engine.name])
        rows.append(
            {
                "date": datetime.date.today().isoformat(),
                "cpu": cpu_name(),
                "model": model,
                "threads": args.threads,
                "isa": args.isa,
                "shape": re.sub(r" count=\d+", "", shape),
                "count": count[1] if count else 1,
                "gmac": f"{1e-9 * work:.4f}",
                "ours_version": source_version(),
                "ours_compute": our_table(args.isa),
                "ours_ms": f"{1e3 * ours:.4f}",
                "ours_gflops": f"{2e-9 * work / ours:.1f}",
                "peak_gflops": f"{peak:.0f}",
                "engine": engine.name,
                "engine_version": engine.version,
                "engine_kernel": " + ".join(kernel for _, kernel in least[engine.name]),
                "engine_ms": f"{1e3 * seconds:.4f}",
                "engine_gflops": f"{2e-9 * work / seconds:.1f}",
                "ratio": f"{seconds / ours:.3f}",
                "contention": "" if share is None else f"{share:.2f}",
            }
        )
    return rows


def compare(args: argparse.Namespace, model: str, engines: list[Engine]) -> list[dict[str, Any]]:
    """All shapes of a model, and the sums over a whole step."""
    rows = []
    for shape in read_shapes(model, args.match):
        found = rows_of(args, model, shape, engines)
        rows += found
        times = ", ".join(f"{r['engine']} {r['engine_ms']} ({r['ratio']})" for r in found)
        print(f"{found[0]['shape']}: vipo {found[0]['ours_ms']} ms, {times}", file=sys.stderr)
    for engine in engines:
        mine = [row for row in rows if row["engine"] == engine.name]
        ours = sum(float(row["ours_ms"]) * int(row["count"]) for row in mine)
        theirs = sum(float(row["engine_ms"]) * int(row["count"]) for row in mine)
        if mine:
            print(
                f"{model}, sum of time x count: vipo {ours:.1f} ms, {engine.name} {theirs:.1f} ms, "
                f"ratio {theirs / ours:.2f}",
                file=sys.stderr,
            )
    return rows


def main() -> int:
    """0, or 1 after a one-line error."""
    args = parse_arguments()
    engines: list[Engine] = []
    try:
        engines += [Engine(name, args) for name in args.engines]
        for model in args.models:
            rows = compare(args, model, engines)
            if args.no_record:
                continue
            path = results_file(args.results, "layers")
            record(path, FIELDS, rows)
            print(f"{len(rows)} rows added to {path}", file=sys.stderr)
    except Failure as error:
        print(f"compare_layers: {error}", file=sys.stderr)
        return 1
    finally:
        for engine in engines:
            engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
