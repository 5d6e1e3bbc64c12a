#!/usr/bin/env python3
"""`vipo act` on made-up policies of several shapes against the same networks written down in PyTorch.

    test_policy_torch.py build/vipo

Exit status 77: PyTorch is not installed.
"""
import array
import json
import math
import os
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, "cli"), os.path.join(TESTS, "support")]
import debian_python  # noqa: E402
import harness  # noqa: E402
from policies import CLONING, SMALL, changed, condition_of, write_policy  # noqa: E402

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    debian_python.missing(error)

BOUND = 2e-5
CASES = {
    "small": SMALL,
    "ddpm": changed(SMALL, sampler={"name": "ddpm", "steps": 7}),
    "all steps of ddpm": changed(SMALL, sampler={"name": "ddpm"}),
    "other order, other kernels": changed(
        SMALL, condition=["obs", "goal"], unet_kernel=7, encoder_stem_kernel=3, encoder_stem_channels=6),
    "one level": changed(SMALL, unet_widths=[12], action={"dim": 3, "horizon": 5, "executed": 5}),
    "three levels, odd sizes": changed(
        SMALL, unet_widths=[8, 12, 24], unet_step_embedding=12, image={"height": 37, "width": 29},
        encoder_widths=[6, 4, 10], encoder_blocks=None),
    "only summands": changed(SMALL, unet_cond_predict_scale=False, unet_kernel=1),
    "v": changed(SMALL, diffusion={"timesteps": 50, "prediction_type": "v_prediction"}),
    "x0, a vector, no goal": changed(
        SMALL, condition=["obs"], diffusion={"timesteps": 13, "prediction_type": "sample", "clip_sample_range": 0.5},
        vector=[{"name": "hand", "size": 3, "min": [0, 0, 1], "max": [1, 2, 5]}, {"name": "rest", "size": 1}]),
    "cloning": CLONING,
    "cloning with a goal, no hidden layer": changed(
        CLONING, condition=["goal", "obs"], head={"widths": []}, vector=None),
}


class Policy:
    """A folder's networks, tensor by tensor."""

    def __init__(self, folder):
        with open(os.path.join(folder, "config.json")) as file:
            self.config = json.load(file)
        with open(os.path.join(folder, "policy.safetensors"), "rb") as file:
            data = file.read()
        length = int.from_bytes(data[:8], "little")
        self.t = {}
        for name, entry in json.loads(data[8:8 + length]).items():
            first, end = (8 + length + at for at in entry["data_offsets"])
            self.t[name] = torch.tensor(array.array("f", data[first:end])).reshape(entry["shape"])

    def norm(self, x, name, groups):
        return F.group_norm(x, groups, self.t[name + ".weight"], self.t[name + ".bias"])

    def encode(self, picture, x):
        e = self.config["encoder"]
        per_group, widths = e["channels_per_group"], e["widths"]
        p = "obs_encoder.key_model_map.img_%s_1." % picture
        net = p + "nets.0.nets."
        weight = self.t[net + "0.weight"]
        x = F.conv2d(x, weight, stride=2, padding=weight.shape[2] // 2)
        x = F.max_pool2d(F.relu(self.norm(x, net + "1", x.shape[1] // per_group)), 3, 2, 1)
        for stage, width in enumerate(widths):
            for i in range(e.get("blocks", [2] * len(widths))[stage]):
                b, stride = "%s%d.%d." % (net, stage + 4, i), 2 if stage > 0 and i == 0 else 1
                groups = width // per_group
                y = F.conv2d(x, self.t[b + "conv1.weight"], stride=stride, padding=1)
                y = F.relu(self.norm(y, b + "bn1", groups))
                y = self.norm(F.conv2d(y, self.t[b + "conv2.weight"], padding=1), b + "bn2", groups)
                if b + "downsample.0.weight" in self.t:
                    x = self.norm(F.conv2d(x, self.t[b + "downsample.0.weight"], stride=stride),
                                  b + "downsample.1", groups)
                x = F.relu(y + x)
        logits = F.conv2d(x, self.t[p + "nets.1.nets.weight"], self.t[p + "nets.1.nets.bias"])
        n, k, h, w = logits.shape
        share = F.softmax(logits.reshape(n, k, h * w) / self.t[p + "nets.1.temperature"], -1).reshape(n, k, h, w)
        x = (share.sum(2) * torch.linspace(-1, 1, w)).sum(2)
        y = (share.sum(3) * torch.linspace(-1, 1, h)).sum(2)
        points = torch.stack([x, y], 2).reshape(n, 2 * k)
        return F.linear(points, self.t[p + "nets.3.weight"], self.t[p + "nets.3.bias"])

    def layer(self, call, x, name, **arguments):
        return call(x, self.t["model." + name + ".weight"], self.t["model." + name + ".bias"], **arguments)

    def block(self, x, name, g):
        u = self.config["unet"]
        y = x
        for k in range(2):
            y = self.layer(F.conv1d, y, "%s.blocks.%d.block.0" % (name, k), padding=u["kernel"] // 2)
            y = F.mish(self.norm(y, "model.%s.blocks.%d.block.1" % (name, k), u["groups"]))
            if k == 0:
                film = self.layer(F.linear, F.mish(g), name + ".cond_encoder.1")[:, :, None]
                if u.get("cond_predict_scale", True):
                    factor, film = film.chunk(2, 1)
                    y = y * factor
                y = y + film
        return y + (self.layer(F.conv1d, x, name + ".residual_conv")
                    if "model.%s.residual_conv.weight" % name in self.t else x)

    def unet(self, x, t, condition):
        u = self.config["unet"]
        half, levels = u["step_embedding"] // 2, len(u["widths"])
        angles = t * torch.exp(torch.arange(half) * (-math.log(10000) / (half - 1)))
        g = torch.cat([angles.sin(), angles.cos()])[None].repeat(x.shape[0], 1)
        g = self.layer(F.linear, F.mish(self.layer(F.linear, g, "diffusion_step_encoder.1")),
                       "diffusion_step_encoder.3")
        g = torch.cat([g, condition], 1)
        x, skips = x.transpose(1, 2), []
        for i in range(levels):
            x = self.block(self.block(x, "down_modules.%d.0" % i, g), "down_modules.%d.1" % i, g)
            skips.append(x)
            if i + 1 < levels:
                x = self.layer(F.conv1d, x, "down_modules.%d.2.conv" % i, stride=2, padding=1)
        for i in range(2):
            x = self.block(x, "mid_modules.%d" % i, g)
        for i in range(levels - 1):
            x = torch.cat([x, skips.pop()], 1)
            x = self.block(self.block(x, "up_modules.%d.0" % i, g), "up_modules.%d.1" % i, g)
            x = self.layer(F.conv_transpose1d, x, "up_modules.%d.2.conv" % i, stride=2, padding=1)
        x = self.layer(F.conv1d, x, "final_conv.0.block.0", padding=u["kernel"] // 2)
        x = F.mish(self.norm(x, "model.final_conv.0.block.1", u["groups"]))
        return self.layer(F.conv1d, x, "final_conv.1").transpose(1, 2)

    def condition(self, pictures, vector):
        parts = [self.encode(name, pictures[name] * 2 - 1) for name in condition_of(self.config)[0]]
        at = 0
        for part in self.config.get("vector", []):
            x = vector[:, at:at + part["size"]]
            at += part["size"]
            if "min" in part:
                low, high = torch.tensor(part["min"]), torch.tensor(part["max"])
                x = 2 * (x - low) / (high - low) - 1
            parts.append(x)
        return torch.cat(parts, 1)

    def sample(self, condition, x, step_noise):
        """The scheduler's steps, in double; alphas as the package rounds them."""
        d, name = self.config["diffusion"], self.config["sampler"]["name"]
        n = d["timesteps"]
        steps = self.config["sampler"].get("steps", n)

        def bar(u):
            return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = torch.tensor([min(1 - bar((i + 1) / n) / bar(i / n), 0.999) for i in range(n)], dtype=torch.float32)
        products = torch.cumprod(1 - betas, 0).double()
        x = x.double()
        for i in range(steps):
            t, before = n // steps * (steps - 1 - i), n // steps * (steps - 2 - i)
            a, b = products[t], products[before] if before >= 0 else torch.tensor(1.0).double()
            out = self.unet(x.float(), t, condition).double()
            kind = d.get("prediction_type", "epsilon")
            x0 = (x - (1 - a).sqrt() * out) / a.sqrt() if kind == "epsilon" else out if kind == "sample" else \
                a.sqrt() * x - (1 - a).sqrt() * out
            noise = out if kind == "epsilon" else (x - a.sqrt() * out) / (1 - a).sqrt() if kind == "sample" else \
                a.sqrt() * out + (1 - a).sqrt() * x
            limit = d.get("clip_sample_range", 1)
            x0 = x0.clamp(-limit, limit)
            if name == "ddim":
                x = b.sqrt() * x0 + (1 - b).sqrt() * noise
                continue
            alpha = a / b
            x = b.sqrt() * (1 - alpha) / (1 - a) * x0 + alpha.sqrt() * (1 - b) / (1 - a) * x
            if i + 1 < steps:
                x = x + ((1 - b) / (1 - a) * (1 - alpha)).clamp(min=1e-20).sqrt() * step_noise[i]
        return x.float()

    def act(self, pictures, vector, noise, step_noise):
        action, condition = self.config["action"], self.condition(pictures, vector)
        if self.config["kind"] == "gcp":
            x = self.sample(condition, noise, step_noise)
        else:
            layers = len(self.config["head"]["widths"]) + 1
            x = condition
            for i in range(layers):
                x = F.linear(x, self.t["head.%d.weight" % (2 * i)], self.t["head.%d.bias" % (2 * i)])
                x = F.relu(x) if i + 1 < layers else x
            x = x.reshape(-1, action["horizon"], action["dim"])
        low = torch.tensor(action.get("min", [-1.0] * action["dim"]))
        high = torch.tensor(action.get("max", [1.0] * action["dim"]))
        return (x.clamp(-1, 1) + 1) / 2 * (high - low) + low


def compare(vipo, folder, name, config, samples):
    torch.manual_seed(len(name))
    path = os.path.join(folder, "%s %d" % (name, samples))
    write_policy(path, config, seed=samples)
    policy = Policy(path)
    names, _ = condition_of(config)
    height, width, action = config["image"]["height"], config["image"]["width"], config["action"]
    pictures = {n: torch.rand(samples, 3, height, width) for n in names}
    vector = torch.rand(samples, max(1, sum(p["size"] for p in config.get("vector", []))))
    shape = [samples, action["horizon"], action["dim"]]
    steps = config.get("sampler", {}).get("steps", config.get("diffusion", {}).get("timesteps", 1))
    noise, step_noise = torch.randn(shape), torch.randn([max(1, steps - 1)] + shape)
    arguments = [vipo, "act", "--model", path, "--out", path + ".npy", "--samples", str(samples), "--quiet"]
    inputs = {n: pictures[n] for n in names}
    if config.get("vector"):
        inputs["vector"] = vector
    if config["kind"] == "gcp":
        inputs["noise"] = noise
        if config["sampler"]["name"] == "ddpm":
            inputs["step-noise"] = step_noise
    for key, value in inputs.items():
        harness.write_npy("%s.%s.npy" % (path, key), list(value.shape), value.reshape(-1).tolist())
        arguments += ["--" + key, "%s.%s.npy" % (path, key)]
    subprocess.run(arguments, check=True)
    found_shape, values = harness.read_npy(path + ".npy")
    with torch.no_grad():
        expected = policy.act(pictures, vector, noise, step_noise)
    if list(found_shape) != (shape if samples > 1 else shape[1:]):
        return "shape %s" % (found_shape,)
    scale = max(1.0, expected.abs().max().item())
    error = (torch.tensor(values) - expected.reshape(-1)).abs().max().item() / scale
    spread = expected.std().item()
    print("%s, %d samples: off by at most %.1e (deviation %.2f)" % (name, samples, error, spread))
    return None if error <= BOUND and spread > 0.01 else "off by %g, deviation %g" % (error, spread)


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, config in CASES.items():
            for samples in (1, 3):
                problem = compare(os.path.abspath(sys.argv[1]), folder, name, config, samples)
                if problem:
                    print("FAILED %s, %d samples: %s" % (name, samples, problem))
                    failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
