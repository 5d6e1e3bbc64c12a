#!/usr/bin/env python3
"""Times one network step of OpenVINO on the CPU; prints one JSON line per measurement.

python bench/peers/openvino_step.py --model models/metaworld-64 --threads 2

Static shapes, latency mode, one stream, inputs and outputs without copies.  With --serve it
stays alive and answers "run N" lines on stdin (see compare_peers.py).
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from export import exported, read_inputs
from serving import Failure, argument_parser, main, restrict_instructions, run


def work() -> None:
    """Times the step once, or at every request."""
    parser = argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--form", default="conv3d", help="see network.py")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    args = parser.parse_args()
    restrict_instructions(args)

    import openvino

    path = exported(args, "openvino", openvino.__version__)
    inputs = read_inputs(args)
    compiled = openvino.Core().compile_model(
        path,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": args.precision,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": args.threads,
        },
    )
    kernels: Counter[str] = Counter()  # what really runs: "Convolution brgconv_avx512_f32"
    for op in compiled.get_runtime_model().get_ops():
        facts = op.get_rt_info()
        kernels[f"{facts['layerType'].astype(str)} {facts['primitiveType'].astype(str)}"] += 1
    # Norms and interpolation ask the processor, not oneDNN; products follow oneDNN's limit.
    products = ("Convolution", "MatMul", "FullyConnected")
    wide = [name for name in kernels if name.startswith(products) and "avx512" in name]
    if args.isa == "avx2" and wide:
        raise Failure(f"not restricted to AVX2: runs {', '.join(wide)}")
    request = compiled.create_infer_request()

    def step() -> Any:
        return request.infer(inputs, share_inputs=True, share_outputs=True)[0]

    about = {
        "peer": "openvino" if args.precision == "f32" else f"openvino-{args.precision}",
        "version": openvino.__version__.split("-")[0],
        "form": args.form,
        "isa": "avx512" if wide else "avx2",
        "kernels": dict(kernels.most_common()),
    }
    run(args, step, about)


if __name__ == "__main__":
    sys.exit(main("openvino_step", work))
