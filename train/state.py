"""Everything that a training goes on from: weights, their running mean, the optimizer, its place, random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .files import write_torch

FORMAT = 1
NAME = "checkpoint.pt"


class Ema:
    """Running mean of a module's parameters; young ones forget faster."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        values = list(self.values.values())
        torch._foreach_mul_(values, keep)
        torch._foreach_add_(values, [p.detach() for p in module.parameters()], alpha=1 - keep)

    def state_dict(self) -> dict[str, Any]:
        return {"decay": self.decay, "updates": self.updates, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["values"].keys() != self.values.keys():
            raise ValueError("the checkpoint's running mean has other parameters")
        self.updates = state["updates"]
        for name, value in state["values"].items():
            self.values[name].copy_(value)


class UsingEma:
    """Within `with`, the module has the running mean's values."""

    def __init__(self, module: nn.Module, ema: Ema) -> None:
        self.module, self.ema = module, ema
        self.kept: dict[str, Tensor] = {}

    @torch.no_grad()
    def _swap(self, values: dict[str, Tensor]) -> None:
        for name, p in self.module.named_parameters():
            p.copy_(values[name])

    def __enter__(self) -> nn.Module:
        self.kept = {name: p.detach().clone() for name, p in self.module.named_parameters()}
        self._swap(self.ema.values)
        return self.module

    def __exit__(self, *exception: object) -> None:
        self._swap(self.kept)


def random_state() -> dict[str, Any]:
    """PyTorch's own generators; examples, times and noise follow from the step alone."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


def save(run: str | Path, content: dict[str, Any]) -> None:
    """Replaces the run's checkpoint; what was there stays until the new one is complete."""
    for left in Path(run).glob(f".{NAME}.*.part"):  # by a process that was killed
        left.unlink(missing_ok=True)
    write_torch(Path(run) / NAME, {"format": FORMAT, "random": random_state(), **content})


def load(run: str | Path) -> dict[str, Any]:
    """On the CPU, wherever it was trained: what takes it over copies it to its own device, and leaves the optimizer's counts of
    steps here, which on a GPU would be waited for at every step."""
    path = Path(run) / NAME
    if not path.exists():
        raise ValueError(f"{path} is missing, expected a folder of python -m train.video")
    try:
        content = torch.load(path, map_location="cpu", **({} if torch.__version__ < "1.14" else {"weights_only": False}))
    except Exception as problem:  # a damaged file raises many kinds
        raise ValueError(f"{path}: {str(problem).splitlines()[0][:200]}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: not a checkpoint of format {FORMAT}")
    return content
