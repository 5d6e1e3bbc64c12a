#!/usr/bin/env python3
"""make.py SOURCE: cuts the full recordings in SOURCE (format: README.md) down to what the tests need, here.

Maps are cut to the pixels that are read; `crop` says where the piece was, and zeros are put around it again.
"""
import array
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = {"F64": 8, "F32": 4, "F16": 2, "I32": 4, "U8": 1}
MARGIN = 6  # pixels around what the reference read: other samples read there
MAPS = ("depth", "mask", "flow")
# Frames whose inputs of RANSAC and fit are kept; transforms and counts are kept of all.
FRAMES = {"outliers": (0,), "rotation_translation": (2,), "random_flow_underdetermined": (0, 1)}
SAMPLES = ("translation",)  # cases that keep where samples are, which follows from the draws
TRIVIAL = ("static", "nav_done_static", "degenerate_2x2_mask_vanishes")  # a flow of zeros, a second mask of zeros
WITHOUT_MAPS = ("empty_mask", "border_sample_error")


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (e["dtype"], e["shape"], data[8 + size + e["data_offsets"][0]:8 + size + e["data_offsets"][1]])
            for name, e in header.items()}


def write(path, tensors):
    header, at = {}, 0
    order = sorted(tensors, key=lambda name: (-SIZES[tensors[name][0]], name))  # keeps every tensor aligned
    for name in order:
        dtype, shape, data = tensors[name]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            file.write(tensors[name][2])


def doubles(tensor):
    values = array.array("d")
    values.frombytes(tensor[2])
    return values


def ints(*values):
    return "I32", [len(values)], array.array("i", values).tobytes()


def box(tensors):
    """(top, left, height, width) of what was read."""
    height, width = tensors["mask"][1]
    at = list(doubles(tensors["samples_uv"])) if "samples_uv" in tensors else []
    for name, tensor in tensors.items():
        if name.endswith("points1_uv_before_ransac"):
            at += doubles(tensor)
    us, vs = at[0::2], at[1::2]
    left, top = max(0, int(min(us)) - MARGIN), max(0, int(min(vs)) - MARGIN)
    right, bottom = min(width, int(max(us)) + MARGIN + 2), min(height, int(max(vs)) + MARGIN + 2)
    return top, left, bottom - top, right - left


def cut(tensor, crop):
    """The crop of [H][W], [n][H][W][2]."""
    dtype, shape, data = tensor
    top, left, height, width = crop
    frames, channels = (shape[0], shape[3]) if len(shape) == 4 else (1, 1)
    rows, columns = shape[-3:-1] if len(shape) == 4 else shape
    item = SIZES[dtype] * channels
    out = b"".join(data[((f * rows + y) * columns + left) * item:((f * rows + y) * columns + left + width) * item]
                   for f in range(frames) for y in range(top, top + height))
    return dtype, shape[:1] + [height, width] + shape[3:] if len(shape) == 4 else [height, width], out


def wanted(case, name):
    if not name.startswith("frame"):
        return name != "samples_uv" or case in SAMPLES
    frame, what = name[5:].split(".", 1)
    if what == "points2_uv" and not case.startswith("nav"):  # points2_uv_before_ransac[inliers]
        return False
    return int(frame) in FRAMES.get(case, ())


def bits(mask):
    """8 pixels a byte, the first in bit 0."""
    padded = mask + b"\0" * (-len(mask) % 8)
    packed = bytes(sum(1 << b for b in range(8) if padded[i + b]) for i in range(0, len(padded), 8))
    return "U8", [len(packed)], packed


def manipulation(source, case):
    tensors = read(os.path.join(source, case + ".safetensors"))
    out = {name: t for name, t in tensors.items() if name not in MAPS and name != "mask_raw" and wanted(case, name)}
    out["size"] = ints(*tensors["mask"][1], tensors["flow"][1][0])
    if case in WITHOUT_MAPS:
        out["mask_bits"] = bits(tensors["mask"][2])
    else:
        crop = box(tensors)
        out["crop"] = ints(*crop)
        out.update({name: cut(tensors[name], crop) for name in MAPS})
    write(os.path.join(HERE, case + ".safetensors"), out)


def main():
    source = sys.argv[1]
    with open(os.path.join(source, "cases.json")) as file:
        cases = json.load(file)["cases"]
    for case, facts in cases.items():
        if case in TRIVIAL:
            continue
        if facts["kind"] == "manipulation":
            manipulation(source, case)
            continue
        tensors = read(os.path.join(source, case + ".safetensors"))
        out = {name: t for name, t in tensors.items() if wanted(case, name)}
        write(os.path.join(HERE, case + ".safetensors"), out)
    write(os.path.join(HERE, "units.safetensors"), read(os.path.join(source, "units.safetensors")))
    with open(os.path.join(HERE, "cases.json"), "w") as file:
        json.dump(cases, file, indent=1)
        file.write("\n")


main()
