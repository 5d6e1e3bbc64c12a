#!/usr/bin/env python3
"""make.py SOURCE: cuts the full recordings in SOURCE (format: README.md) down to what the tests need, here."""
import array
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TASKS = """door-open door-close basketball shelf-place button-press button-press-topdown faucet-close faucet-open
handle-press hammer assembly""".split()
RANDOM_STEPS = 30
STATES = 5  # seeds whose qpos and obs are kept; what does not depend on the engine is kept of all 25
# The experts of the doors write into the observation that they are given, which the recording kept afterwards.
WRITTEN = {"door-open": (-0.05, 0.0, 0.0), "door-close": (0.05, 0.12, 0.1)}


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = array.array({"F64": "d", "I64": "q"}[entry["dtype"]])
        values.frombytes(data[8 + size + begin:8 + size + end])
        tensors[name] = (entry["shape"], array.array("d", values))
    return tensors, metadata


def write(path, tensors, metadata):
    header, at = {"__metadata__": metadata}, 0
    for name, (shape, values) in sorted(tensors.items()):
        header[name] = {"dtype": "F64", "shape": shape, "data_offsets": [at, at + 8 * len(values)]}
        at += 8 * len(values)
    text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, (shape, values) in sorted(tensors.items()):
            file.write(values.tobytes())


def first_rows(tensor, rows):
    shape, values = tensor
    rows = min(rows, shape[0])
    return [rows] + shape[1:], values[:rows * (len(values) // shape[0])]


def episode(source, kind, task):
    tensors, metadata = read(os.path.join(source, "%s_%s_0.safetensors" % (kind, task)))
    tensors.pop("step/qvel")
    if kind == "random":
        tensors = {name: first_rows(t, RANDOM_STEPS) if name.startswith("step/") else t for name, t in tensors.items()}
        metadata["steps"] = str(RANDOM_STEPS)
    elif task in WRITTEN:
        (rows, columns), values = tensors["step/obs"]
        for row in range(rows - 1):  # nothing was done with the last one
            for i, offset in enumerate(WRITTEN[task]):
                values[row * columns + 4 + i] -= offset
    write(os.path.join(HERE, "%s_%s_0.safetensors" % (kind, task)), tensors, metadata)


def initial(source):
    tensors, metadata = read(os.path.join(source, "avdc-v2_initial.safetensors"))
    kept = {}
    for name, tensor in tensors.items():
        part = name.split("/")[-1]
        if part in ("qvel", "mocap_pos", "seeds"):
            continue
        kept[name] = first_rows(tensor, STATES) if part in ("qpos", "obs") else tensor
    with open(os.path.join(source, "avdc-v2_expert_first_success.json")) as file:
        for task, steps in json.load(file).items():
            kept[task + "/first_success"] = [len(steps)], array.array("d", [step or 0 for step in steps])
    write(os.path.join(HERE, "avdc-v2.safetensors"), kept, metadata)


def main():
    for task in TASKS:
        episode(sys.argv[1], "expert", task)
        episode(sys.argv[1], "random", task)
    initial(sys.argv[1])


main()
