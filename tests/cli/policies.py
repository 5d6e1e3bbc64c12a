"""Folders of action policies, made up: names and shapes of tensors as PyTorch modules would have them."""
import array
import json
import math
import os
import random
import struct

SMALL = {
    "format": "vipo-policy", "version": 1, "kind": "gcp", "name": "small",
    "image": {"height": 20, "width": 24},
    "encoder": {"widths": [4, 8], "blocks": [1, 2], "channels_per_group": 2, "keypoints": 3, "feature_size": 5},
    "action": {"dim": 2, "horizon": 8, "executed": 4, "min": [-1, 0], "max": [1, 10]},
    "unet": {"widths": [8, 16], "kernel": 3, "groups": 4, "step_embedding": 8},
    "diffusion": {"timesteps": 20},
    "sampler": {"name": "ddim", "steps": 5},
}
CLONING = {
    "format": "vipo-policy", "version": 1, "kind": "bc", "name": "cloning",
    "image": {"height": 20, "width": 24},
    "encoder": {"widths": [4, 8], "channels_per_group": 2, "keypoints": 3, "feature_size": 5},
    "vector": [{"name": "hand", "size": 3, "min": [-1, 0, 0], "max": [1, 2, 1]},
               {"name": "task", "size": 2, "tasks": ["door-open", "faucet-close"]}],
    "action": {"dim": 4, "horizon": 6, "executed": 3},
    "head": {"widths": [12, 10]},
}


def changed(config, **members):
    """A copy with members replaced, "unet_kernel" for unet.kernel; None takes one out."""
    copy = json.loads(json.dumps(config))
    for name, value in members.items():
        part, _, key = name.partition("_")
        inside = copy if name in copy or not isinstance(copy.get(part), dict) else copy[part]
        key = name if inside is copy else key
        if value is None:
            inside.pop(key, None)
        else:
            inside[key] = value
    return copy


def condition_of(config):
    pictures = config.get("condition", ["goal", "obs"] if config["kind"] == "gcp" else ["obs"])
    vector = sum(part["size"] for part in config.get("vector", []))
    return pictures, len(pictures) * config["encoder"]["feature_size"] + vector


def encoder_tensors(config, picture):
    e = config["encoder"]
    widths = e["widths"]
    blocks = e.get("blocks", [2] * len(widths))
    stem, kernel = e.get("stem_channels", widths[0]), e.get("stem_kernel", 7)
    p = "obs_encoder.key_model_map.img_%s_1." % picture
    net = p + "nets.0.nets."
    out = {net + "0.weight": [stem, 3, kernel, kernel], net + "1.weight": [stem], net + "1.bias": [stem]}
    channels = stem
    for stage, width in enumerate(widths):
        for i in range(blocks[stage]):
            b = "%s%d.%d." % (net, stage + 4, i)
            out[b + "conv1.weight"] = [width, channels, 3, 3]
            out[b + "conv2.weight"] = [width, width, 3, 3]
            norms = ["bn1", "bn2"]
            if channels != width or (stage > 0 and i == 0):
                out[b + "downsample.0.weight"] = [width, channels, 1, 1]
                norms.append("downsample.1")
            for norm in norms:
                out[b + norm + ".weight"] = out[b + norm + ".bias"] = [width]
            channels = width
    keypoints, feature = e["keypoints"], e["feature_size"]
    out[p + "nets.1.temperature"] = [1]
    out[p + "nets.1.nets.weight"], out[p + "nets.1.nets.bias"] = [keypoints, channels, 1, 1], [keypoints]
    out[p + "nets.3.weight"], out[p + "nets.3.bias"] = [feature, 2 * keypoints], [feature]
    return out


def unet_tensors(config, condition):
    u = config["unet"]
    widths, kernel, step, dim = u["widths"], u["kernel"], u["step_embedding"], config["action"]["dim"]
    out = {}

    def layer(name, shape):
        out["model." + name + ".weight"], out["model." + name + ".bias"] = shape, [shape[0]]

    def block(name, inputs, outputs):
        for k in range(2):
            layer("%s.blocks.%d.block.0" % (name, k), [outputs, outputs if k else inputs, kernel])
            layer("%s.blocks.%d.block.1" % (name, k), [outputs])
        factor = 2 if u.get("cond_predict_scale", True) else 1
        layer(name + ".cond_encoder.1", [factor * outputs, step + condition])
        if inputs != outputs:
            layer(name + ".residual_conv", [outputs, inputs, 1])

    layer("diffusion_step_encoder.1", [4 * step, step])
    layer("diffusion_step_encoder.3", [step, 4 * step])
    for i, (inputs, outputs) in enumerate(zip([dim] + widths, widths)):
        block("down_modules.%d.0" % i, inputs, outputs)
        block("down_modules.%d.1" % i, outputs, outputs)
        if i + 1 < len(widths):
            layer("down_modules.%d.2.conv" % i, [outputs, outputs, 3])
    for i in range(2):
        block("mid_modules.%d" % i, widths[-1], widths[-1])
    for i in range(len(widths) - 1):
        inputs, outputs = widths[-1 - i], widths[-2 - i]
        block("up_modules.%d.0" % i, 2 * inputs, outputs)
        block("up_modules.%d.1" % i, outputs, outputs)
        layer("up_modules.%d.2.conv" % i, [outputs, outputs, 4])
    layer("final_conv.0.block.0", [widths[0], widths[0], kernel])
    layer("final_conv.0.block.1", [widths[0]])
    layer("final_conv.1", [dim, widths[0], 1])
    return out


def tensors_of(config):
    """Shape of each tensor by name."""
    pictures, condition = condition_of(config)
    out = {}
    for picture in pictures:
        out.update(encoder_tensors(config, picture))
    if config["kind"] == "gcp":
        out.update(unet_tensors(config, condition))
        return out
    for i, width in enumerate(config["head"]["widths"] + [config["action"]["dim"] * config["action"]["horizon"]]):
        out["head.%d.weight" % (2 * i)], out["head.%d.bias" % (2 * i)] = [width, condition], [width]
        condition = width
    return out


def values_of(name, shape, seed):
    numbers = random.Random("%d %s" % (seed, name))
    n = math.prod(shape)
    if name.endswith("temperature"):
        return [0.7] * n
    if len(shape) == 1:
        middle = 1 if name.endswith("weight") else 0
        return [middle + numbers.uniform(-0.2, 0.2) for _ in range(n)]
    scale = math.sqrt(3 / (n / shape[0]))
    return [numbers.uniform(-scale, scale) for _ in range(n)]


def write_safetensors(path, tensors):
    """tensors: name -> (shape, floats)"""
    header, blobs, at = {}, [], 0
    for name in sorted(tensors):
        shape, values = tensors[name]
        blob = array.array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def write_policy(folder, config, seed=1, change=None):
    """A folder with made-up weights; change(tensors) may alter them."""
    tensors = {name: (shape, values_of(name, shape, seed)) for name, shape in tensors_of(config).items()}
    if change:
        change(tensors)
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f)
    write_safetensors(os.path.join(folder, "policy.safetensors"), tensors)
