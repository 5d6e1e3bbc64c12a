#!/usr/bin/env python3
"""Times one network step of ONNX Runtime on the CPU; prints one JSON line per measurement.

python bench/peers/onnxruntime_step.py --model models/metaworld-64 --threads 2

All graph optimisations, static shapes, spinning threads.  Its kernels (MLAS) look at the
processor themselves and cannot be restricted: with --isa avx2 they still use AVX-512 where
there is any.  With --serve it stays alive and answers "run N" lines on stdin (see
compare_peers.py).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from export import exported, read_inputs
from serving import argument_parser, main, restrict_instructions, run


def work() -> None:
    """Times the step once, or at every request."""
    parser = argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--form", default="conv2d", help="see network.py")
    args = parser.parse_args()
    restrict_instructions(args)

    import onnx
    import onnxruntime
    import torch

    path = exported(args, "onnx", f"{onnx.__version__} {torch.__version__}")
    inputs = read_inputs(args)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {i.name: array for i, array in zip(session.get_inputs(), inputs)}

    def step() -> Any:
        return session.run(None, feed)[0]

    wide = "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    facts = {
        "peer": "onnxruntime",
        "version": onnxruntime.__version__,
        "form": args.form,
        "isa": "avx512" if wide else "avx2",
    }
    run(args, step, facts)


if __name__ == "__main__":
    sys.exit(main("onnxruntime_step", work))
