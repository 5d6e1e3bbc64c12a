#!/usr/bin/env python3
"""Times one network step of PyTorch on the CPU; prints one JSON line per measurement.

python bench/peers/torch_step.py --model models/metaworld-64 --threads 2
python bench/peers/torch_step.py --preset mw --mode compiled

float32, inference mode.  Modes: eager (AVDC's own order of operations), channels-last
(eager, spatial weights in channels-last memory) and compiled (torch.compile).
With --serve it stays alive and answers "run N" lines on stdin (see compare_peers.py).
"""

from __future__ import annotations

import sys
from typing import Any

from serving import argument_parser, main, restrict_instructions, run

MODES = ("eager", "channels-last", "compiled")


def work() -> None:
    """Times the step once, or at every request."""
    parser = argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--form", default="avdc", help="see network.py")
    parser.add_argument(
        "--task-embedding",
        choices=("every", "once"),
        default="every",
        help="recompute the text's embedding at every step, as AVDC does, or once before",
    )
    args = parser.parse_args()
    restrict_instructions(args)

    import torch
    from network import Step, into_form, load, read_inputs

    torch.set_num_threads(args.threads)
    unet = load(args)
    x, cond, t, tokens = read_inputs(args, unet.config)
    denoise: Any = into_form(Step(unet), args.form).denoise
    if args.mode == "channels-last":
        denoise = denoise.to(memory_format=torch.channels_last)
    task = None
    if args.task_embedding == "once":
        with torch.inference_mode():
            task = unet.embed_task(tokens)
    if args.mode == "compiled":
        denoise = torch.compile(denoise)

    def step() -> Any:
        with torch.inference_mode():
            return denoise(x, cond, t, tokens if task is None else None, task)

    facts = {
        "peer": f"pytorch-{args.mode}",
        "version": torch.__version__,
        "form": args.form,
        "isa": torch.backends.cpu.get_cpu_capability(),
        "task_embedding": args.task_embedding,
    }
    run(args, step, facts)


if __name__ == "__main__":
    sys.exit(main("torch_step", work))
