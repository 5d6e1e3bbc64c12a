#!/usr/bin/env python3
"""Makes the files of this folder from complete recordings (README.md): trim.py FOLDER."""
import json
import os
import struct
import sys

KEPT = 73  # numbers of a large tensor
PICKS = (0, 1, 2, 25, 50, 75, 97, 98)  # steps of DDPM
WHOLE = ("ddim.", "ddim_init_noise", "ddpm.action_pred", "norm.", "sched.", "unet_x", "unet_t", "unet.out", "global_cond")


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            tensors[name] = (entry["dtype"], entry["shape"], data[8 + length + first : 8 + length + end])
    return tensors


def write(path, tensors):
    header, blob = {}, b""
    for name, (dtype, shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + blob)


def rows(tensor, picks):
    """The rows of a tensor's first dimension."""
    dtype, shape, data = tensor
    size = len(data) // shape[0]
    return dtype, [len(picks)] + shape[1:], b"".join(data[i * size : (i + 1) * size] for i in picks)


def main():
    source = sys.argv[1]
    here = os.path.dirname(os.path.abspath(__file__))
    tensors = read(os.path.join(source, "case_full.safetensors"))
    case = json.load(open(os.path.join(source, "case_full.json")))
    manifest = json.load(open(os.path.join(source, "param_manifest.json")))
    out, described = {}, {}
    for name, tensor in tensors.items():
        dtype, shape, data = tensor
        if name.startswith(("train", "obs_u8", "goal", "enc.goal", "ddpm")) and name != "ddpm.action_pred":
            continue
        count = len(data) // 4
        if not name.startswith(WHOLE) and count > KEPT:
            data = b"".join(data[4 * (i * count // KEPT) :][:4] for i in range(KEPT))
            tensor = (dtype, [KEPT], data)
            described[name] = {"of": count}
        out[name] = tensor
        numbers = case["tensors"].get(name)
        if numbers:
            bound = max(10 * numbers["err_f32_vs_f64"], 2e-6 * numbers["max_abs"])
            described.setdefault(name, {})["bound"] = float("%.3g" % bound)
    following = [i + 1 for i in PICKS]
    out["ddpm.x_in"] = rows(tensors["ddpm.x_in"], PICKS + (99,))
    out["ddpm.eps"] = rows(tensors["ddpm.eps"], PICKS + (99,))
    out["ddpm.x_out"] = rows(tensors["ddpm.x_in"], following)
    out["ddpm.noise"] = rows(tensors["ddpm_step_noise"], PICKS)
    write(os.path.join(here, "case.safetensors"), out)
    with open(os.path.join(here, "case.json"), "w") as file:
        weights = [
            [p["name"], p["fixed"][0], 0] if p.get("fixed") else [p["name"], p["offset"], p["scale"]]
            for p in manifest["params"]
        ]
        lines = ",\n".join(json.dumps(w, separators=(",", ":")) for w in weights)
        sums = json.dumps({w["name"]: w["crc32"] for w in case["weights"][::40]}, separators=(",", ":"))
        parts = ",\n".join('"%s":%s' % (n, json.dumps(d, separators=(",", ":"))) for n, d in described.items())
        file.write('{"seed":%d,\n"crc32":%s,\n"tensors":{\n%s},\n"weights":[\n%s]}\n' % (case["seed"], sums, parts, lines))


if __name__ == "__main__":
    main()
