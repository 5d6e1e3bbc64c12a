"""A model folder in PyTorch, and plans by it or by the `vipo` command."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from torch import Tensor

from . import fast
from .avdc import config as configs
from .avdc.diffusion import Schedule, ddim, guided
from .avdc.unet import UNet3D
from .files import read_json, read_safetensors
from .task_path import TaskPath, load_of_model


class Model:
    """config.json's values, network, task path and schedule of a folder; videos are [b][frames][h][w][3]."""

    def __init__(self, folder: str | Path, device: torch.device | str = "cpu", bf16: bool = False) -> None:
        self.folder, self.device, self.bf16 = Path(folder), torch.device(device), bf16
        self.values: dict[str, Any] = read_json(self.folder / "config.json")
        self.config = configs.from_dict(self.values)
        weights = {k: v.float() for k, v in read_safetensors(self.folder / "unet.safetensors").items()}
        self.unet = UNet3D(self.config)
        try:
            self.unet.load_state_dict(weights)
        except RuntimeError as problem:
            raise ValueError(f"{folder}: weights do not fit: {str(problem).splitlines()[-1].strip()}") from None
        self.path: TaskPath = load_of_model(self.folder, self.config, weights)
        self.unet.to(self.device).eval().requires_grad_(False)
        self.path.eval().requires_grad_(False)
        self.schedule = Schedule(int(self.values.get("diffusion", {}).get("timesteps", 100))).to(self.device)

    @property
    def size(self) -> int:
        return self.config.image_size[0]

    @property
    def crop(self) -> int:
        """Side of the square of the picture that becomes a frame."""
        return self.size * next((int(p.split("x")[0]) for p in self.values["image"]["preprocess"] if "box mean" in p), 1)

    @torch.no_grad()
    def embed(self, texts: Sequence[str | None]) -> Tensor:
        return self.path(texts).to(self.device)

    @torch.no_grad()
    def v(self, x: Tensor, cond: Tensor, t: Tensor, task: Tensor) -> Tensor:
        """x [b][f][h][w][3], cond [b][h][w][3] in [0,1], t [b], task [b][c]."""
        context = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else contextlib.nullcontext()
        with context:
            return fast.forward(self.unet, x, cond, t, task).float()

    def ddim(self, cond: Tensor, task: Tensor, noise: Tensor, steps: int, guidance: float = 0.0) -> Tensor:
        """Plans in [0,1], not clipped."""
        without = self.embed([None]).expand(len(noise), -1)
        denoise = guided(lambda x, t: self.v(x, cond, t, task), lambda x, t: self.v(x, cond, t, without), guidance)
        return (ddim(self.schedule, denoise, noise, steps) + 1) / 2


def vipo_plan(vipo: str, model: Model, cond: np.ndarray, text: str, noise: np.ndarray, options: Sequence[str]) -> np.ndarray:
    """float32 [b][f][h][w][3] by the command, from the same noise; cond [h][w][3]."""
    with tempfile.TemporaryDirectory() as folder:
        places = {name: str(Path(folder) / f"{name}.npy") for name in ("cond", "noise", "plan")}
        np.save(places["cond"], cond[None].astype(np.float32))
        np.save(places["noise"], noise.astype(np.float32))
        command = [vipo, "plan", "-m", str(model.folder), "--cond", places["cond"], "-t", text, "--noise", places["noise"],
                   "-o", places["plan"], "-q", *options]  # fmt: skip
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise ValueError(f"{' '.join(command[:2])}: {done.stderr.strip()}")
        return np.load(places["plan"])
