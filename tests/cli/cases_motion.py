"""The cases of `vipo motion`, on AVDC's recordings (tests/golden/geometry)."""
import json
import os
import struct

from harness import SOURCE, case, expect, made, special, write_npy

GOLDEN = os.path.join(SOURCE, "tests", "golden", "geometry")
DTYPES = {"F64": ("<f8", "d", 8), "F32": ("<f4", "f", 4), "F16": ("<f2", "e", 2), "U8": ("|u1", "B", 1), "I32": ("<i4", "i", 4)}
CASES = ["translation", "full_size", "nav_ahead", "nav_rotate_right_20deg", "border_sample_error", "empty_mask"]


def read_case(name):
    """-> name of a tensor: dtype, shape, bytes"""
    with open(os.path.join(GOLDEN, name + ".safetensors"), "rb") as f:
        content = f.read()
    size = struct.unpack("<Q", content[:8])[0]
    return {name: (e["dtype"], e["shape"], content[8 + size + e["data_offsets"][0]:8 + size + e["data_offsets"][1]])
            for name, e in json.loads(content[8:8 + size]).items()}


def numbers(tensor):
    dtype, _, content = tensor
    return struct.unpack("<%d%s" % (len(content) // DTYPES[dtype][2], DTYPES[dtype][1]), content)


def write_raw(path, descr, shape, content):
    header = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }" % (descr, "".join("%d, " % n for n in shape))
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content)


def uncrop(tensor, size, crop):
    """Zeros around a map."""
    dtype, shape, content = tensor
    frames, channels = (shape[0], shape[3]) if len(shape) == 4 else (1, 1)
    (height, width), (top, left, h, w), item = size, crop, DTYPES[dtype][2] * channels
    out = bytearray(frames * height * width * item)
    for f in range(frames):
        for y in range(h):
            at = ((f * height + top + y) * width + left) * item
            out[at:at + w * item] = content[(f * h + y) * w * item:(f * h + y + 1) * w * item]
    return [frames, height, width, channels] if len(shape) == 4 else [height, width], bytes(out)


def add_case(name):
    @made(name, name)
    def make(at, folder):
        os.makedirs(folder)
        tensors = read_case(name)
        write_raw(os.path.join(folder, "c.npy"), "<f8", [3, 4], tensors["cmat"][2])
        if "size" not in tensors:  # navigation
            for which, file in (("depth", "d.npy"), ("flow", "f.npy")):
                dtype, shape, content = tensors[which]
                write_raw(os.path.join(folder, file), DTYPES[dtype][0], shape, content)
            return
        height, width, frames = numbers(tensors["size"])
        if "crop" not in tensors:
            bits = tensors["mask_bits"][2]
            mask = bytes(255 * (bits[i // 8] >> i % 8 & 1) for i in range(height * width))
            write_raw(os.path.join(folder, "m.npy"), "|u1", [height, width], mask)
            write_npy(os.path.join(folder, "d.npy"), [height, width], [-1.0] * (height * width))
            write_npy(os.path.join(folder, "f.npy"), [frames, height, width, 2], [0.0] * (2 * frames * height * width))
            return
        for which, file in (("mask", "m.npy"), ("depth", "d.npy"), ("flow", "f.npy")):
            write_raw(os.path.join(folder, file), DTYPES[tensors[which][0]][0], *uncrop(tensors[which], (height, width), numbers(tensors["crop"])))
        depth = numbers(("F32", None, uncrop(tensors["depth"], (height, width), numbers(tensors["crop"]))[1]))
        write_npy(os.path.join(folder, "positive.npy"), [height, width], [-z for z in depth])
        shape, content = uncrop(tensors["flow"], (height, width), numbers(tensors["crop"]))
        for k in range(frames):
            size = len(content) // frames
            write_raw(os.path.join(folder, "f%d.npy" % k), "<f2", shape[1:], content[k * size:(k + 1) * size])
        write_raw(os.path.join(folder, "back.npy"), "<f2", shape, b"".join(
            content[k * len(content) // frames:(k + 1) * len(content) // frames] for k in range(frames)))


for golden_case in CASES:
    add_case(golden_case)


def files(name, mask=True):
    return "motion %s--depth {%s}/d.npy --cmat {%s}/c.npy --flow {%s}/f.npy " % (
        "--mask {%s}/m.npy " % name if mask else "", name, name, name)


def draws(name):
    return "--draws %s/%s.safetensors " % (GOLDEN, name)


def run_json(run, line):
    code, out, err = run.run(line + " --json")
    expect(code == 0 and err == "", "exit status %d: %s", code, err)
    return json.loads(out)


def near(found, expected, tolerance, what):
    expect(len(found) == len(expected), "%s: %d values, expected %d", what, len(found), len(expected))
    for i, (a, b) in enumerate(zip(found, expected)):
        expect(abs(a - b) <= tolerance, "%s: element %d is %r, expected %r", what, i, a, b)


def flat(rows):
    return [value for row in rows for value in row]


# ---- recordings ---------------------------------------------------------------------------------------------

def against_recording(run, name, more):
    golden = read_case(name)
    found = run_json(run, files(name) + draws(name) + more)
    near(found["grasp"], numbers(golden["grasp"]), 1e-12, "grasp")
    near(flat(found["subgoals"]), numbers(golden["subgoals"]), 1e-3, "subgoals")
    near(flat(found["center_uv"]), numbers(golden["center_uv"]), 1e-2, "center_uv")
    expect(found["inliers"] == list(numbers(golden["n_inliers"])), "inliers %r", found["inliers"])
    expect(found["sampling"] == "avdc" and found["end"] == "complete" and found["samples"] == 500, "%r", found)
    expect(all(0 < n < (20 if found["fit"] == "lm" else 100000) for n in found["iterations"]), "iterations %r", found["iterations"])
    expect(found["mode"] == ("grasp" if name == "full_size" else "push"), "mode %r", found["mode"])
    expect([len(row) for row in found["matrices"]] == [16] * len(found["inliers"]), "matrices")
    expect([len(row) for row in found["transforms"]] == [6] * len(found["inliers"]), "transforms")


@special("motion", "recorded draws")
def recorded(run):
    against_recording(run, "translation", "")
    against_recording(run, "full_size", "--fit lm")


@special("motion", "recorded draws, reference fit")
def recorded_reference(run):
    against_recording(run, "translation", "--fit reference")


@special("motion", "robust: flows one by one, a depth with the other sign, a seed")
def robust(run):
    one = run_json(run, files("translation"))
    expect(one["sampling"] == "robust" and one["fit"] == "lm", "%r", one)
    at = "{translation}/"
    other = run_json(run, "motion -m %sm.npy -d %spositive.npy --positive-depth -c %sc.npy -f %sf0.npy -f %sf1.npy -f %sf2.npy" % ((at,) * 6))
    for key in ("grasp", "subgoals", "transforms", "inliers"):
        expect(one[key] == other[key], "%s differs", key)
    again = run_json(run, files("translation") + "--seed 1")
    expect(again["grasp"] != one["grasp"], "the seed changes nothing")
    near(flat(again["subgoals"]), flat(one["subgoals"]), 0.02, "subgoals")
    expect(run_json(run, files("translation") + "--samples 60")["samples"] <= 60, "more samples than asked for")
    both = run_json(run, files("translation") + "--median")
    expect(both["samples"] > 0, "nothing is left of the mask")


case("motion", "table", files("full_size"), out=r"(?s)^grasp point .* of \d+ points\nframe  points  error px .*\n    7 .*\nmode grasp: the largest rise")
case("motion", "few points", files("translation") + "--backward {translation}/back.npy --round-trip 0.001 --json",
     err="warning: the plan ends after 0 of 3 flows: too few points", json={"end": "too few points", "transforms": [], "subgoals": lambda s: len(s) == 1, "mode": None})
case("motion", "few points, quiet", files("translation") + "--backward {translation}/back.npy --round-trip 0.001 -q", out="mode unknown: too few subgoals")
case("motion", "backward is not checked", files("translation") + "--backward {translation}/back.npy --round-trip 0 --json", json={"end": "complete"})
case("motion", "navigation", files("nav_ahead", mask=False) + "--navigation --json " + draws("nav_ahead"),
     json={"actions": ["MoveAhead"] * 3, "samples": 1000, "end": "complete", "subgoals": lambda s: len(s) == 3})
case("motion", "navigation, table", files("nav_rotate_right_20deg", mask=False) + "--navigation", out="(?s)^frame .*actions RotateRight RotateRight\n$")
case("motion", "navigation, reference", files("nav_rotate_right_20deg", mask=False) + "--navigation --fit reference", out="actions RotateRight RotateRight\n$")

# ---- what is wrong ------------------------------------------------------------------------------------------

case("motion", "sample at the border", files("border_sample_error") + draws("border_sample_error"), code=1,
     err="sample .* reads past the last column or row of 160x120, where AVDC's sampling fails; 'robust' does not")
case("motion", "empty mask, avdc", files("empty_mask") + draws("empty_mask"), code=1, err="reads past the last column or row")
case("motion", "empty mask, robust", files("empty_mask"), code=1, err="m.npy: object not seen: no pixel of the mask")
case("motion", "no flow", "motion -m {translation}/m.npy -d {translation}/d.npy -c {translation}/c.npy", code=2, err="--flow FILE.npy is missing")
case("motion", "no mask", files("translation", mask=False), code=2, err="--mask FILE is missing")
case("motion", "no depth", "motion -m {translation}/m.npy -f {translation}/f.npy -c {translation}/c.npy", code=2, err="--depth FILE.npy is missing")
case("motion", "draws of another sampling", files("translation") + draws("translation") + "--sampling robust", code=2, err="--draws are of --sampling avdc")
case("motion", "backward with avdc", files("translation") + "--backward {translation}/f.npy --sampling avdc", code=2, err="--backward is of --sampling robust")
case("motion", "navigation with a mask", files("nav_ahead") + "--navigation", code=2, err="--navigation takes no --mask")
case("motion", "unknown fit", files("translation") + "--fit huber", code=2, err="--fit huber: unknown, expected lm or reference")
case("motion", "too many samples", files("translation") + "--samples 100001", code=2, err="--samples 100001: expected an integer from 2 to 100000")
case("motion", "draws that do not fit", files("translation") + draws("nav_ahead"), code=1, err="draw.sample_index has 1000 draws, expected 500")
case("motion", "draws without pairs", files("nav_ahead", mask=False) + "--navigation --samples 500 " + draws("nav_ahead"), code=1, err="draw.sample_index has 1000 draws, expected 500")
case("motion", "no draws", files("translation") + "--draws {tokens}", code=1, err="tokens.npy: ")
case("motion", "a matrix of another shape", "motion -m {translation}/m.npy -d {translation}/d.npy -c {translation}/d.npy -f {translation}/f.npy", code=1, err=r"d.npy: expected shape \[3, 4\], found \[120, 160\]")
case("motion", "a matrix of zeros", "motion -m {translation}/m.npy -d {translation}/d.npy -c {zero_matrix} -f {translation}/f.npy", code=1, err="zero_matrix.npy: camera matrix: its left 3x3 part cannot be inverted")
case("motion", "a depth of another size", "motion -m {translation}/m.npy -d {full_size}/d.npy -c {translation}/c.npy -f {translation}/f.npy", code=1, err=r"m.npy: expected shape \[240, 320\] as the depth has it, found \[120, 160\]")
case("motion", "a mask of another size", "motion -m {image} -d {translation}/d.npy -c {translation}/c.npy -f {translation}/f.npy", code=1, err="[.]png: .* pixels, the depth has 160x120")
case("motion", "a flow of another size", "motion -m {translation}/m.npy -d {translation}/d.npy -c {translation}/c.npy -f {full_size}/f.npy", code=1, err="flow: 240x320 pixels, the depth has 120x160")
case("motion", "flows of two sizes", "motion -m {translation}/m.npy -d {translation}/d.npy -c {translation}/c.npy -f {translation}/f.npy -f {full_size}/f0.npy", code=1, err="f0.npy: 320x240 pixels, the flow before has 160x120")
case("motion", "a flow that is none", "motion -m {translation}/m.npy -d {translation}/d.npy -c {translation}/c.npy -f {translation}/d.npy", code=1, err=r"d.npy: expected shape \[n, H, W, 2\] or \[H, W, 2\], found \[120, 160\]")
case("motion", "a flow of NaN", "motion -m {translation}/m.npy -d {translation}/d.npy -c {translation}/c.npy -f {nan_flow}", code=1, err="flow: element 5 is not finite")
case("motion", "no such file", "motion -m none.npy -d {translation}/d.npy -c {translation}/c.npy -f {translation}/f.npy", code=1, err="none.npy: ")
case("motion", "a mask that is no picture", "motion -m {no_image} -d {translation}/d.npy -c {translation}/c.npy -f {translation}/f.npy", code=1, err="no.png: ")


@made("zero_matrix", "zero_matrix.npy")
def zero_matrix(at, path):
    write_npy(path, [3, 4], [0.0] * 12)


@made("nan_flow", "nan_flow.npy")
def nan_flow(at, path):
    write_npy(path, [1, 120, 160, 2], [0.0] * 5 + [float("nan")] + [0.0] * (2 * 120 * 160 - 6))
