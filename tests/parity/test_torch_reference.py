#!/usr/bin/env python3
"""Checks the PyTorch model under train/ against tensors recorded from AVDC's modules.

Run by hand or under pytest: python tests/parity/test_torch_reference.py
Needs torch and numpy; exits with 77 (skipped) without them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import types
import unittest
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "train"), str(ROOT / "tests" / "support")]

import debian_python  # noqa: E402

try:
    import torch
except ImportError as error:
    if __name__ == "__main__":
        debian_python.missing(error)
    raise unittest.SkipTest(str(error)) from error

from train.files import read_safetensors as load_file  # noqa: E402

try:
    import safetensors.torch  # noqa: F401
except ImportError:  # Debian has no such package: train's own reader stands in for it
    stand_in = types.ModuleType("safetensors.torch")
    stand_in.load_file = load_file  # type: ignore[attr-defined]
    sys.modules["safetensors"] = types.ModuleType("safetensors")
    sys.modules["safetensors.torch"] = stand_in

from avdc import config as configs  # noqa: E402
from avdc.clip_text import ClipTextModel, config_from_dict, load_clip_text  # noqa: E402
from avdc.diffusion import Schedule, ddim, ddim_times, ddpm, guided  # noqa: E402
from avdc.unet import (  # noqa: E402
    PerceiverResampler,
    UNet3D,
    VideoDenoiser,
    frames_to_batch,
    load_unet,
    timestep_embedding,
)

Tensors = dict[str, torch.Tensor]

GOLDEN = ROOT / "tests" / "golden"
MODEL = ROOT / "models" / "metaworld-64"

# Relative L2.  The reference's own float32 noise is at most 1.3e-6 (v), 6e-7 (embeddings, text)
# and 6e-7 (videos without guidance).
TOLERANCE = 1e-5
TOLERANCE_EMBEDDING = 3e-6
TOLERANCE_TEXT = 5e-6
TOLERANCE_VIDEO = 2e-5

worst: dict[str, tuple[float, str]] = {}


def check(test: str, name: str, got: torch.Tensor, want: torch.Tensor, limit: float) -> None:
    """Compares shapes and relative L2; keeps the largest for the summary."""
    assert got.shape == want.shape, f"{name}: shape {list(got.shape)}, expected {list(want.shape)}"
    want = want.double()
    error = float((got.double() - want).norm() / want.norm())
    worst[test] = max(worst.get(test, (0.0, "")), (error, name))
    assert error <= limit, f"{name}: relative L2 {error:.2e}, allowed {limit:.0e}"


def unet_weights(name: str) -> Tensors:
    """Weights of a test network: the EMA copy of `square`'s checkpoint; those of `wide` are generated."""
    checkpoint = GOLDEN / "unet" / f"{name}.model-24.pt"
    if checkpoint.exists():
        prefix = "ema_model.model.unet."
        ema = torch.load(checkpoint, map_location="cpu")["ema"]
        return {k[len(prefix) :]: v for k, v in ema.items() if k.startswith(prefix)}
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"{name}.weights.safetensors"
        recipe = GOLDEN / "unet" / f"{name}.weights.gen.json"
        script = GOLDEN / "unet" / "make_weights.py"
        command = [sys.executable, str(script), str(recipe), str(made)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return {k: v.clone() for k, v in load_file(made).items()}


def golden_unet(name: str) -> UNet3D:
    """A test network in evaluation mode."""
    unet = UNet3D(configs.load(GOLDEN / "unet" / f"{name}.config.json"))
    unet.load_state_dict(unet_weights(name))
    return unet.eval()


def record(unet: UNet3D) -> Tensors:
    """Hooks every module of the UNet; the dict fills when it runs."""
    seen: Tensors = {}

    def keep(name: str) -> None:
        def hook(_module: torch.nn.Module, _args: object, output: torch.Tensor) -> None:
            seen[name] = output

        unet.get_submodule(name).register_forward_hook(hook)

    for name, _ in unet.named_modules():
        if name:
            keep(name)
    return seen


def recorded_name(key: str) -> str:
    """Module name of a golden key."""
    if key.startswith("detail.perceiver."):
        key = key.removeprefix("detail.perceiver.")
        key = key.replace("mean_pooled_latents", "to_latents_from_mean_pooled_seq")
        key = key.replace("attn_branch", "0").replace("ff_branch", "1")
        return f"task_attnpool.0.{key}"
    if key == "perceiver_out":
        return "task_attnpool.0"
    return key.removeprefix("detail.")


def check_unet(name: str) -> None:
    """Every recorded intermediate of a test network, then v and v_uncond."""
    test = f"unet/{name}"
    io = load_file(GOLDEN / "unet" / f"{name}.io.safetensors")
    values = json.loads((GOLDEN / "unet" / f"{name}.config.json").read_text())
    frames = values["frames_kept_in_intermediates"]
    unet = golden_unet(name)
    seen = record(unet)
    denoise = VideoDenoiser(unet)
    with torch.inference_mode():
        v = denoise(io["x"], io["x_cond"], io["t"], io["task_tokens"])
    seen["v"] = v
    seen["time_sinusoid"] = timestep_embedding(io["t"], unet.config.model_channels)
    seen["task_embed"] = seen["task_attnpool.1"].mean(dim=1)
    seen["emb"] = seen["time_embed"] + seen["task_embed"]
    seen = dict(seen)
    inputs = {"x", "x_cond", "t", "task_tokens", "v_f64", "v_uncond", "v_online_weights"}
    for key in sorted(io.keys() - inputs):
        got = seen[recorded_name(key)]
        if key.startswith(("input_blocks", "middle_block", "output_blocks")):
            got = got[:, :, frames]
        embedding = key.startswith(("time", "task", "emb", "perceiver", "detail.perceiver"))
        check(test, key, got, io[key], TOLERANCE_EMBEDDING if embedding else TOLERANCE)
    check(test, "v_f64", v, io["v_f64"], TOLERANCE)
    with torch.inference_mode():
        zero = denoise(io["x"], io["x_cond"], io["t"], io["task_tokens"] * 0)
        check(test, "v_uncond", zero, io["v_uncond"], TOLERANCE)
        ready = denoise(io["x"], io["x_cond"], io["t"], task=unet.embed_task(io["task_tokens"]))
    assert torch.equal(ready, v), "a ready task embedding must give the same v"


def test_unet_square() -> None:
    """16x16, 7 frames, batch 1, with the insides of one block."""
    check_unet("square")


def test_unet_wide() -> None:
    """12x16, 6 frames, three levels, batch 2 with two timesteps."""
    check_unet("wide")


def test_parameter_names() -> None:
    """Names, shapes and order of the published sizes."""
    for preset, name in (("mw", "MW"), ("thor", "Thor"), ("bridge", "Bridge")):
        text = (GOLDEN / "unet" / f"param_manifest.{name}.json").read_text()
        want = {k.removeprefix("unet."): v for k, v in json.loads(text)["parameters"].items()}
        # PyTorch 2 can do without memory for the weights.
        with torch.device("meta") if hasattr(torch.device, "__enter__") else nullcontext():
            state = UNet3D(configs.preset(preset)).state_dict()
        got = {k: list(v.shape) for k, v in state.items()}
        assert list(got.items()) == list(want.items()), f"{preset}: parameters differ"
        again = configs.from_dict(configs.to_model_folder(configs.preset(preset)))
        assert again == configs.preset(preset), f"{preset}: config.json does not read back"


def test_metaworld_64() -> None:
    """The model in models/: text features, v at t = 40, ten DDIM steps."""
    io = load_file(MODEL / "check.safetensors")
    with torch.inference_mode():
        tokens = load_clip_text(MODEL)(io["ids"][None])
        check("metaworld-64", "text_hidden", tokens[0], io["text_hidden"], TOLERANCE_TEXT)
        model = VideoDenoiser(load_unet(MODEL))
        x = io["noise"].transpose(0, 1)[None].contiguous()
        cond, text = io["cond"][None], io["text_hidden"][None]
        v = model(x, cond, torch.tensor([40]), text)
        check("metaworld-64", "v_t40", v[0].transpose(0, 1), io["v_t40"], TOLERANCE)
        video = ddim(Schedule(), lambda x, t: model(x, cond, t, text), x, 10)[0].transpose(0, 1)
        video = (video + 1) / 2  # the file holds pixels
        check("metaworld-64", "ddim10", video, io["ddim10"], TOLERANCE_VIDEO)


def test_clip_text() -> None:
    """Small CLIP text tower: single texts, the longest, a padded batch."""
    folder = GOLDEN / "clip"
    values = json.loads((folder / "text.config.json").read_text())["config"]
    model = ClipTextModel(config_from_dict(values))
    model.load_published(load_file(folder / "text.weights.safetensors"))
    io = load_file(folder / "text.io.safetensors")
    with torch.inference_mode():
        for case in ("single0", "single1", "long77", "batch"):
            got = model.eval()(io[f"{case}.input_ids"], io[f"{case}.attention_mask"])
            want = io[f"{case}.last_hidden_state_f64"]
            check("clip", case, got, want, TOLERANCE_TEXT)


def test_schedule() -> None:
    """All 13 buffers, in both precisions, and the DDIM times."""
    io = load_file(GOLDEN / "sampler" / "schedule.safetensors")
    single, double = Schedule(), Schedule(dtype=torch.float64)
    for name, value in single.named_buffers():
        check("schedule", name, value, io[name], 1e-6)
        check("schedule f64", name, double.get_buffer(name), io[f"f64.{name}"], 1e-11)
    traces = json.loads((GOLDEN / "sampler" / "samplers.json").read_text())
    for steps, times in traces["ddim_times"].items():
        assert ddim_times(int(steps)) == times, f"DDIM times for {steps} steps differ"


def test_samplers() -> None:
    """DDIM-10 with and without guidance, DDPM-100 with recorded noise."""
    io = load_file(GOLDEN / "sampler" / "samplers.safetensors")
    model, schedule = VideoDenoiser(golden_unet("square")), Schedule()
    cond, tokens = io["x_cond"], io["task_tokens"]

    def with_text(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return model(x, cond, t, tokens)

    def without_text(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return model(x, cond, t, tokens * 0)

    with torch.inference_mode():
        for weight in (0, 2):
            denoise = guided(with_text, without_text, weight)
            video = (ddim(schedule, denoise, io["x_T"], 10) + 1) / 2
            want = io[f"ddim10.g{weight}.video_f64"]
            check("samplers", f"ddim10.g{weight}", video, want, TOLERANCE_VIDEO)
        video = (ddpm(schedule, with_text, io["x_T"], io["ddpm_noise"]) + 1) / 2
        check("samplers", "ddpm100.g0", video, io["ddpm100.g0.video_f64"], TOLERANCE_VIDEO)


def test_small_helpers() -> None:
    """What the golden tensors do not show."""
    x = torch.arange(2 * 3 * 4 * 5 * 6.0).reshape(2, 3, 4, 5, 6)
    assert torch.equal(frames_to_batch(x)[4 + 1], x[1, :, 1])
    resampler = PerceiverResampler(8, configs.PerceiverConfig(max_seq_len=5))
    assert resampler(torch.zeros(1, 5, 8)).shape == (1, 68, 8)


def main() -> int:
    """Runs every test; 0 when all pass."""
    failed = 0
    for name, test in [(n, f) for n, f in globals().items() if n.startswith("test_")]:
        try:
            test()
            print(f"ok    {name}")
        except Exception as error:  # noqa: BLE001  one failing test must not hide the others
            failed += 1
            print(f"FAIL  {name}: {error or type(error).__name__}")
    for test, (error, where) in worst.items():
        print(f"      {test}: worst relative L2 {error:.1e} ({where})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
