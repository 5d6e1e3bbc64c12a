#!/usr/bin/env python3
"""Times one network step of PyTorch on the CPU; prints one JSON line per measurement.

python bench/peers/torch_step.py --model models/metaworld-64 --threads 2
python bench/peers/torch_step.py --preset mw --mode compiled

float32, inference mode.  Modes: eager (AVDC's own order of operations), channels-last
(eager, spatial weights in channels-last memory) and compiled (torch.compile).
With --serve it stays alive and answers "run N" lines on stdin (see compare_step.py).
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

# What keeps PyTorch, oneDNN and MKL from using wider instructions; read when torch is loaded.
ISA_ENVIRONMENT = {
    "auto": {},
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}
MODES = ("eager", "channels-last", "compiled")


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="model folder")
    source.add_argument("--preset", help="mw, thor or bridge, with random weights")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=2, help="untimed calls")
    parser.add_argument("--repeat", type=int, default=5, help="timed calls")
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--compile", dest="mode", action="store_const", const="compiled")
    parser.add_argument(
        "--channels-last", dest="mode", action="store_const", const="channels-last"
    )
    parser.add_argument("--isa", choices=sorted(ISA_ENVIRONMENT), default="auto")
    parser.add_argument(
        "--task-embedding",
        choices=("every", "once"),
        default="every",
        help="recompute the text's embedding at every step, as AVDC does, or once before",
    )
    parser.add_argument("--t", type=int, default=50, help="timestep")
    parser.add_argument("--x", type=Path, help="[B,frames,H,W,3] .npy; random if not given")
    parser.add_argument("--cond", type=Path, help="[B,H,W,3] .npy")
    parser.add_argument("--tokens", type=Path, help="[1 or B,L,C] .npy")
    parser.add_argument("--out", type=Path, help="where to write v, [B,frames,H,W,3] .npy")
    parser.add_argument("--serve", action="store_true", help="answer 'run N' lines on stdin")
    return parser.parse_args()


def build_step(args: argparse.Namespace) -> Callable[[], Any]:
    """Loads the model and the inputs; returns the call to be timed."""
    import numpy as np
    import torch

    sys.path[:0] = [str(ROOT / "train"), str(Path(__file__).resolve().parent)]
    from avdc import config as configs
    from avdc.unet import UNet3D, VideoDenoiser, load_unet
    from random_model import randomise

    if args.model:
        unet = load_unet(args.model)
    else:
        unet = randomise(UNet3D(configs.preset(args.preset))).eval()
    height, width = unet.config.image_size
    random = np.random.default_rng(0)

    def read(path: Path | None, fallback: Callable[[tuple[int, ...]], Any], *shape: int) -> Any:
        array = np.load(path) if path else fallback(shape)
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    frames, channels = unet.config.frames, unet.config.task_token_channels
    normal, uniform = random.standard_normal, random.random
    x = read(args.x, normal, args.batch, frames, height, width, 3)
    cond = read(args.cond, uniform, args.batch, height, width, 3)
    tokens = read(args.tokens, normal, 1, 8, channels)
    if x.shape[0] != args.batch or cond.shape[0] != args.batch:
        raise ValueError(f"x and cond must hold {args.batch} samples, as --batch says")
    x = x.permute(0, 1, 4, 2, 3).contiguous()
    cond = cond.permute(0, 3, 1, 2).contiguous()
    tokens = tokens.expand(args.batch, -1, -1).contiguous()
    t = torch.full((args.batch,), args.t)

    denoise: Any = VideoDenoiser(unet)
    if args.mode == "channels-last":
        denoise = denoise.to(memory_format=torch.channels_last)
    if args.mode == "compiled":
        denoise = torch.compile(denoise)
    task = None
    if args.task_embedding == "once":
        with torch.inference_mode():
            task = unet.embed_task(tokens)

    def step() -> Any:
        with torch.inference_mode():
            return denoise(x, cond, t, tokens if task is None else None, task)

    return step


def measure(step: Callable[[], Any], count: int) -> list[float]:
    """Seconds of each of `count` calls."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> int:
    """Times the step once, or at every request."""
    args = parse_arguments()
    os.environ.update(ISA_ENVIRONMENT[args.isa])  # before torch is loaded

    import numpy as np
    import torch

    torch.set_num_threads(args.threads)
    step = build_step(args)
    begin = time.perf_counter()
    v = step()
    first_call = time.perf_counter() - begin  # with compilation, where there is any
    measure(step, args.warmup - 1)
    if args.out:
        np.save(args.out, v.permute(0, 1, 3, 4, 2).contiguous().numpy())
    facts = {
        "peer": f"pytorch-{args.mode}",
        "version": torch.__version__,
        "model": str(args.model.name if args.model else args.preset),
        "batch": args.batch,
        "threads": args.threads,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "task_embedding": args.task_embedding,
        "first_call": round(first_call, 4),
    }

    def report(count: int) -> None:
        seconds = measure(step, count)
        result = {"seconds": seconds, "median": statistics.median(seconds)}
        print(json.dumps({**facts, **result}), flush=True)

    if not args.serve:
        report(args.repeat)
        return 0
    print(json.dumps({**facts, "ready": True}), flush=True)
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            break
        if len(words) != 2 or words[0] != "run":
            raise ValueError(f"expected 'run N' or 'quit', got '{line.strip()}'")
        report(int(words[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
