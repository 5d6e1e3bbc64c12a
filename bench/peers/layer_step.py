#!/usr/bin/env python3
"""Times single convolutions of oneDNN or ncnn; answers JSON lines on standard input.

python bench/peers/layer_step.py --engine onednn --threads 2
A request: {"images": 7, "in": 128, "height": 64, "width": 64, "out": 128, "kernel": [3, 3],
"stride": 1, "seconds": 0.1}; zero padding that keeps the size.  The answer holds the least
seconds of a call and how it was computed.

Both engines get their best case: weights are prepared before, and neither input nor output
is copied or brought into another layout in the time that counts.
onednn  the time that oneDNN itself reports (ONEDNN_VERBOSE=profile_exec) for the convolution
        primitive, called by PyTorch, in the layout of oneDNN's choice and in channels-last
ncnn    float32, packed layout; it has no batch, so one image after another
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from serving import ISA_ENVIRONMENT, Failure, main

MIN_CALLS = 3
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt()


class OneDnn:
    """Convolutions of PyTorch, timed by oneDNN's own log, which goes to a file."""

    # onednn_verbose,v1,primitive,exec,cpu,convolution,KERNEL,...,MILLISECONDS
    LINE = re.compile(r"^onednn_verbose,.*?exec,cpu,convolution,([^,]*),.*,([\d.e+-]+)$", re.M)

    def __init__(self, threads: int) -> None:
        os.environ["ONEDNN_VERBOSE"] = "profile_exec"
        self.log = tempfile.TemporaryFile("w+")
        os.dup2(self.log.fileno(), 1)
        import torch

        torch.set_num_threads(threads)
        found = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
        self.torch = torch
        self.version = found.group(1) if found else "unknown"

    def _logged(self) -> list[tuple[str, float]]:
        """Kernel and seconds of the calls since the last time."""
        ctypes.CDLL(None).fflush(None)
        self.log.seek(0)
        text = self.log.read()
        self.log.seek(0)
        self.log.truncate()
        return [(kernel, 1e-3 * float(ms)) for kernel, ms in self.LINE.findall(text)]

    def measure(self, ask: dict[str, Any]) -> dict[str, Any]:
        """The better of the two layouts."""
        torch = self.torch
        kernel = ask["kernel"]
        with torch.inference_mode():
            shape = (ask["images"], ask["in"], ask["height"], ask["width"])
            x = torch.randn(shape)
            weight = torch.randn(ask["out"], ask["in"], *kernel)
            bias = torch.randn(ask["out"])
            padding = [k // 2 for k in kernel]
            best: tuple[float, str] = (1e30, "none")
            for layout in (torch.contiguous_format, torch.channels_last):
                a, b = x.to(memory_format=layout), weight.to(memory_format=layout)
                self._logged()
                begin, calls = time.perf_counter(), 0
                while calls < 1 + MIN_CALLS or time.perf_counter() - begin < ask["seconds"]:
                    torch.mkldnn_convolution(a, b, bias, padding, [ask["stride"]] * 2, [1, 1], 1)
                    calls += 1
                logged = self._logged()
                if len(logged) != calls:
                    raise Failure(f"{calls} convolutions, but oneDNN logged {len(logged)}")
                name = "free" if layout == torch.contiguous_format else "channels-last"
                for kernel_name, seconds in logged[1:]:
                    best = min(best, (seconds, f"{kernel_name} {name}"))
        return {"seconds": best[0], "kernel": best[1]}


class Ncnn:
    """A network of one convolution, with packed input and output."""

    PARAM = """7767517
2 2
Input x 0 1 x
Convolution y 1 1 x y 0={out} 1={kw} 11={kh} 3={stride} 4={pw} 14={ph} 5=1 6={weights}
"""

    def __init__(self, threads: int) -> None:
        import ncnn

        libc = ctypes.CDLL(None)  # freed blobs are kept, as with ncnn's pool allocators
        for name in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            libc.mallopt(name, 1 << 30)
        self.ncnn = ncnn
        self.threads = threads
        self.version = ncnn.__version__

    def measure(self, ask: dict[str, Any]) -> dict[str, Any]:
        """One image after another, as ncnn has no batch."""
        import numpy as np

        ncnn = self.ncnn
        random = np.random.default_rng(0)
        kh, kw = ask["kernel"]
        count = ask["out"] * ask["in"] * kh * kw
        net = ncnn.Net()
        option = net.opt
        option.num_threads = self.threads
        option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = False
        option.use_bf16_storage = option.use_int8_inference = False
        option.use_packing_layout = True
        text = self.PARAM.format(
            out=ask["out"],
            kw=kw,
            kh=kh,
            stride=ask["stride"],
            pw=kw // 2,
            ph=kh // 2,
            weights=count,
        )
        with tempfile.TemporaryDirectory(prefix="vipo-ncnn-") as folder:
            param, model = Path(folder) / "layer.param", Path(folder) / "layer.bin"
            param.write_text(text, encoding="utf-8")
            weights = random.standard_normal(count + ask["out"], dtype=np.float32)
            model.write_bytes(bytes(4) + weights.tobytes())  # 4 bytes of zero: raw float32
            if net.load_param(str(param)) or net.load_model(str(model)):
                raise Failure("ncnn does not read the layer")
        shape = (ask["in"], ask["height"], ask["width"])
        plain = ncnn.Mat(random.standard_normal(shape, dtype=np.float32)).clone()
        x = ncnn.Mat()
        pack = next(p for p in (16, 8, 4, 1) if ask["in"] % p == 0 and p <= self._lanes())
        ncnn.convert_packing(plain, x, pack, option)

        def call() -> None:
            extractor = net.create_extractor()
            extractor.input("x", x)
            if extractor.extract("y", 1)[0]:
                raise Failure("ncnn does not run the layer")

        call()
        best, begin, calls = 1e30, time.perf_counter(), 0
        while calls < MIN_CALLS or time.perf_counter() - begin < ask["seconds"]:
            start = time.perf_counter()
            for _ in range(ask["images"]):
                call()
            best = min(best, time.perf_counter() - start)
            calls += 1
        net.clear()
        return {"seconds": best, "kernel": "convolution"}

    @staticmethod
    def _lanes() -> int:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
        return 16 if "avx512f" in flags else 8


def work() -> None:
    """Answers requests until standard input ends."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=("onednn", "ncnn"), required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--isa", choices=sorted(ISA_ENVIRONMENT), default="auto")
    args = parser.parse_args()
    if args.engine == "ncnn" and args.isa != "auto":
        raise Failure("ncnn chooses its instructions itself and cannot be restricted")
    os.environ.update(ISA_ENVIRONMENT[args.isa])
    answers = os.fdopen(os.dup(1), "w")
    engine = {"onednn": OneDnn, "ncnn": Ncnn}[args.engine](args.threads)
    print(json.dumps({"engine": args.engine, "version": engine.version}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(engine.measure(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    sys.exit(main("layer_step", work))
