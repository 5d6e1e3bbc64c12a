#!/usr/bin/env python3
"""Writes the network for another runtime: static shapes, float32, the weights inside.

python bench/peers/export.py --to openvino --model models/metaworld-64 --file out/peers/a.xml
python bench/peers/export.py --to onnx --model models/metaworld-64 --file out/peers/a.onnx
python bench/peers/export.py --to inputs --model models/metaworld-64 --file inputs.npz

A process of its own: exporters hold several copies of the weights until they end.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from serving import ROOT, Failure, argument_parser, input_arguments, main

OPSET = 21  # GroupNormalization with per-channel scales since 21
SUFFIX = {"openvino": ".xml", "onnx": ".onnx", "inputs": ".npz"}


def to_openvino(args: argparse.Namespace) -> None:
    """By OpenVINO's own converter of PyTorch modules."""
    import openvino
    import torch
    from network import prepare

    step, inputs = prepare(args, args.form)
    with torch.no_grad():
        model = openvino.convert_model(
            step, example_input=inputs, input=[list(i.shape) for i in inputs]
        )
    openvino.save_model(model, args.file, compress_to_fp16=False)


def to_onnx(args: argparse.Namespace) -> None:
    """By PyTorch's exporter; weights beside the file, as a protobuf ends at 2 GB."""
    import torch
    from network import prepare

    step, inputs = prepare(args, args.form)
    names = ["x", "cond", "t", "task"]
    torch.onnx.export(
        step,
        inputs,
        str(args.file),
        input_names=names,
        output_names=["v"],
        dynamo=True,
        opset_version=OPSET,
        external_data=True,
        verbose=False,
    )


def to_inputs(args: argparse.Namespace) -> None:
    """x, cond, t and the embedded text, in the network's layout."""
    import numpy as np
    from network import prepare

    inputs = prepare(args, "avdc")[1]
    np.savez(args.file, **{f"input{i}": tensor.numpy() for i, tensor in enumerate(inputs)})


def run_export(args: argparse.Namespace, to: str, path: Path) -> None:
    """This program, as a process of its own."""
    command = [sys.executable, __file__, "--to", to, *input_arguments(args)]
    command += ["--form", args.form, "--file", str(path)]
    if subprocess.run(command, check=False, stdout=sys.stderr).returncode != 0:
        for part in path.parent.glob(path.stem + "*"):
            part.unlink()
        raise Failure(f"{path.name}: the export failed, see above")


def read_inputs(args: argparse.Namespace) -> list[Any]:
    """The inputs as arrays, made without PyTorch's threads in this process."""
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="vipo-peer-") as folder:
        path = Path(folder) / "inputs.npz"
        run_export(args, "inputs", path)
        with np.load(path) as file:
            return [file[f"input{i}"] for i in range(len(file.files))]


def exported(args: argparse.Namespace, to: str, version: str) -> Path:
    """The network's file for a runtime under out/peers/; written first where it is missing.
    Its name has a digest of all that it depends on, so a stale file is never used."""
    source = str(args.preset)
    if args.model:
        weights = (args.model / "unet.safetensors").stat()
        source = f"{args.model.resolve()} {weights.st_size} {weights.st_mtime_ns}"
    folder = Path(__file__).resolve().parent
    code = b"".join((folder / n).read_bytes() for n in ("network.py", "export.py"))
    code += (ROOT / "train" / "avdc" / "unet.py").read_bytes()
    key = f"{source} {args.batch} {args.form} {version}".encode() + code
    name = args.model.resolve().name if args.model else args.preset
    stem = f"{name}-{args.form}-{hashlib.sha256(key).hexdigest()[:12]}"
    path = ROOT / "out" / "peers" / (stem + SUFFIX[to])
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f"{name}-{args.form}-*{SUFFIX[to]}*"):
        old.unlink()
        old.with_suffix(".bin").unlink(missing_ok=True)
    run_export(args, to, path)
    return path


def work() -> None:
    """Command line."""
    parser = argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--to", choices=sorted(SUFFIX), required=True)
    parser.add_argument("--form", default="conv3d", help="see network.py")
    parser.add_argument("--file", type=Path, required=True, help="to write")
    args = parser.parse_args()
    {"openvino": to_openvino, "onnx": to_onnx, "inputs": to_inputs}[args.to](args)


if __name__ == "__main__":
    sys.exit(main("export", work))
