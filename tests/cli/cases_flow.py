"""The cases of `vipo flow`, in the form of cases.py. Where vipo was built without OpenCV, method dis must say so."""
import array
import json
import math
import os
import random
import struct
import zlib

from harness import SOURCE, case, expect, expect_one_line, made, read_npy, special

WIDTH, HEIGHT = 96, 64
NO_OPENCV = "this vipo was built without OpenCV, which the flow method dis needs: run scripts/setup.sh"


def write_png(path, width, height, pixel):
    """pixel(x, y) -> three bytes"""
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def waves(x, y):
    """A picture without edges, moved by 3 and -2 pixels a step."""
    value = sum(math.sin(2 * math.pi * (x * math.cos(i * 1.3) + y * math.sin(i * 1.3)) / (6 + 2 * i) + i) for i in range(8))
    level = int(127 + 14 * value)
    return level, max(0, level - 30), min(255, level + 20)


for step in range(3):
    made("wave%d" % step, "wave%d.png" % step)(
        lambda at, path, step=step: write_png(path, WIDTH, HEIGHT, lambda x, y: waves(x - 3 * step, y + 2 * step)))
made("tiny", "tiny.png")(lambda at, path: write_png(path, 23, 23, waves))


def write_flow_weights(path, leave_out=None):
    """A safetensors file with the tensors of the flow network; small numbers that repeat."""
    with open(os.path.join(SOURCE, "tests", "golden", "flow", "param_manifest.json")) as f:
        params = [p for p in json.load(f)["params"] if p["name"] != leave_out]
    numbers = random.Random(4)
    pattern = array.array("f", [numbers.uniform(-1, 1) for _ in range(4099)])
    header, parts, offset = {}, [], 0
    for p in params:
        size = math.prod(p["shape"])
        scaled = array.array("f", [p["offset"] + p["scale"] * v for v in pattern])
        values = (scaled * (size // len(scaled) + 1))[:size].tobytes()
        header[p["name"]] = {"dtype": "F32", "shape": p["shape"], "data_offsets": [offset, offset + len(values)]}
        parts.append(values)
        offset += len(values)
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


made("flow_weights", "flow_weights.safetensors")(lambda at, path: write_flow_weights(path))
made("flow_weights_less", "flow_weights_less.safetensors")(lambda at, path: write_flow_weights(path, "refine_proj.bias"))


def built_without(run):
    """True, and the message is checked, if there is no method dis."""
    code, out, err = run.run("flow -i {wave0} -i {wave1} -o F.npy")
    if code == 0:
        os.remove(run.path("F.npy"))
        return False
    expect_one_line(err, NO_OPENCV)
    expect(code == 1 and out == "" and run.files() == [], "exit status %d, files %s", code, run.files())
    return True


def medians(values):
    """Of x and of y, away from the border."""
    inner = [2 * (y * WIDTH + x) for y in range(12, HEIGHT - 12) for x in range(12, WIDTH - 12)]
    return [sorted(values[i + k] for i in inner)[len(inner) // 2] for k in (0, 1)]


def expect_motion(values, x, y):
    found = medians(values)
    expect(abs(found[0] - x) < 0.1 and abs(found[1] - y) < 0.1, "motion of %s, expected %s", found, (x, y))


@special("flow", "two pictures, forward and backward")
def two_pictures(run):
    if built_without(run):
        return
    code, out, err = run.run("flow --method dis -i {wave0} -i {wave1} -o F.npy --backward B.npy --json")
    expect(code == 0 and err == "", "exit status %d: %s", code, err)
    found = json.loads(out)
    expect(found["method"] == "dis" and found["shape"] == [HEIGHT, WIDTH, 2] and found["out"] == "F.npy", "%s", found)
    expect(3 < found["mean_length"] < 4.5 <= found["max_length"] + 2 and found["seconds"] >= 0, "%s", found)
    for name, sign in (("F.npy", 1), ("B.npy", -1)):
        shape, values = read_npy(run.path(name))
        expect(shape == (HEIGHT, WIDTH, 2), "%s has shape %s", name, shape)
        expect_motion(values, 3 * sign, -2 * sign)
    run.run("flow -i {wave0} -i {wave1} -o again.npy -q --threads 7")
    expect(open(run.path("again.npy"), "rb").read() == open(run.path("F.npy"), "rb").read(), "threads change the result")
    code, out, err = run.run("flow -i {wave0} -i {wave1} -o F.npy")
    expect(out.startswith("dis: vectors of ") and "F.npy  49.3 kB" in out, "%s", out)


@special("flow", "three pictures")
def three_pictures(run):
    if built_without(run):
        return
    code, out, err = run.run("flow -i {wave0} -i {wave1} -i {wave2} -o F.npy --json")
    expect(code == 0 and json.loads(out)["shape"] == [2, HEIGHT, WIDTH, 2], "exit status %d: %s%s", code, out, err)
    shape, values = read_npy(run.path("F.npy"))
    expect(shape == (2, HEIGHT, WIDTH, 2), "%s", shape)
    for i in range(2):
        expect_motion(values[i * HEIGHT * WIDTH * 2:], 3, -2)


@special("flow", "a picture that is too small")
def too_small(run):
    if built_without(run):
        return
    code, out, err = run.run("flow -i {tiny} -i {tiny} -o F.npy")
    expect_one_line(err, "flow method dis: pictures of 23x23 .*, expected sides of at least 24")
    expect(code == 1 and run.files() == [], "exit status %d, files %s", code, run.files())


@special("flow", "the network, from conversion to flow")
def network(run):
    code, out, err = run.run("convert --from unimatch -c {flow_weights} -o flow")
    expect(code == 0 and err == "", "exit status %d: %s", code, err)
    expect(out.startswith("flow: gmflow-scale2-regrefine6, 7360688 parameters, F32, optical flow at 640x480, 29.5 MB"), "%s", out)
    expect(run.files() == ["flow/config.json", "flow/flow.safetensors"], "%s", run.files())
    code, out, err = run.run("convert --from unimatch -c {flow_weights} -o flow")
    expect_one_line(err, "flow: ")
    expect(code == 1, "replaced a folder without --force")
    code, out, err = run.run("convert --from unimatch -c {flow_weights} -o flow --force --json")
    expect(json.loads(out)["parameters"] == 7360688 and json.loads(out)["height"] == 480, "%s%s", out, err)

    code, out, err = run.run("flow -m flow --native -i {wave0} -i {wave1} -o F.npy --json")
    expect(code == 0 and err == "", "exit status %d: %s", code, err)
    found = json.loads(out)
    expect(found["method"] == "unimatch" and found["shape"] == [HEIGHT, WIDTH, 2], "%s", found)
    shape, values = read_npy(run.path("F.npy"))
    expect(shape == (HEIGHT, WIDTH, 2) and all(v - v == 0 for v in values) and max(values) > 1, "%s", shape)
    run.run("flow --method unimatch -m flow --native -i {wave0} -i {wave1} --threads 3 -o again.npy --backward B.npy -q")
    expect(open(run.path("again.npy"), "rb").read() == open(run.path("F.npy"), "rb").read(), "threads or --backward change the result")
    code, out, err = run.run("flow -m flow --compute mmx -i {wave0} -i {wave1} -o G.npy")
    expect(code == 2, "exit status %d for unknown kernels", code)
    code, out, err = run.run("plan -m flow -i {image} -t x -o plan.gif")
    expect_one_line(err, "flow/config.json")
    expect(code == 1, "planned with an optical flow network")


case("flow", "network: a tensor is missing", "convert --from unimatch -c {flow_weights_less} -o flow", code=1,
     err="refine_proj[.]bias")
case("flow", "network: another checkpoint", "convert --from unimatch -c {checkpoint} -o flow", code=1, err="holds no optical flow network")
case("flow", "network: no checkpoint", "convert --from unimatch -c {no_image} -o flow", code=1, err="no.png")
case("flow", "network: options of other conversions", "convert --from unimatch -c {flow_weights} --preset mw -o flow", code=2,
     err="--preset is not for --from unimatch")
case("flow", "network: a folder of another kind", "flow -m {model} -i {wave0} -i {wave1} -o F.npy", code=1,
     err="config.json: kind is .*vipo convert --from unimatch makes one")
case("flow", "network: no such folder", "flow -m nowhere -i {wave0} -i {wave1} -o F.npy", code=1, err="nowhere/config.json")
case("flow", "unimatch without a model", "flow --method unimatch -i {wave0} -i {wave1} -o F.npy", code=2, err="needs --model DIR")
case("flow", "dis with a model", "flow --method dis -m {model} -i {wave0} -i {wave1} -o F.npy", code=2, err="dis takes no --model")
case("flow", "native without a model", "flow --native -i {wave0} -i {wave1} -o F.npy", code=2, err="--native is for --method unimatch")
case("flow", "help names the methods", "flow --help", out="Methods:\n.*dis .*no weights.*unimatch .*--model")
case("flow", "one picture", "flow -i {wave0} -o F.npy", code=2, err="give --image at least twice")
case("flow", "no picture", "flow -o F.npy", code=2, err="--image")
case("flow", "no output", "flow -i {wave0} -i {wave1}", code=2, err="--out")
case("flow", "unknown method", "flow --method dix -i {wave0} -i {wave1} -o F.npy", code=2, err="did you mean dis")
case("flow", "output name", "flow -i {wave0} -i {wave1} -o F.png", code=2, err="--out F.png: the name must end in [.]npy")
case("flow", "backward name", "flow -i {wave0} -i {wave1} -o F.npy --backward B", code=2, err="--backward B: the name must end in [.]npy")
case("flow", "both outputs in one file", "flow -i {wave0} -i {wave1} -o F.npy --backward ./F.npy", code=2, err="two outputs have this name")
case("flow", "pictures of two sizes", "flow -i {wave0} -i {image} -o F.npy", code=1, err="expected 64x96 .height x width. as in .*wave0.png")
case("flow", "no such picture", "flow -i {wave0} -i nowhere.png -o F.npy", code=1, err="nowhere.png")
case("flow", "no picture at all", "flow -i {wave0} -i {no_image} -o F.npy", code=1, err="no.png: not a PNG or JPEG")
case("flow", "unwritable output", "flow -i {wave0} -i {wave1} -o nowhere/F.npy", code=1, err="nowhere")
