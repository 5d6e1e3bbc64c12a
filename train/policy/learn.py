"""Losses, one step of training, what the result is worth on held-out episodes. A batch is a function of seed and step alone,
so a run that is gone on with is the same run."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..files import write_torch
from .config import PolicyConfig
from .diffusion import add_noise, alphas_cumprod, ddim, target
from .nets import Policy, scale_vector
from .samples import Example, Samples

# PyTorch 1.13 refuses numbers in a checkpoint that it is to read as weights only.
WEIGHTS_ONLY = not torch.__version__.startswith("1.")


@dataclass(frozen=True)
class Settings:
    """What a run's result depends on, beside the data and the network's sizes."""

    steps: int = 4000
    batch: int = 64
    lr: float = 5e-4
    warmup: int = 200
    decay: float = 1e-4
    seed: int = 0
    shift: int = 2  # pictures move by up to this many pixels of 64
    jitter: float = 0.1  # of brightness and contrast
    half: bool = False
    labels: str = "expert"
    held_out: float = 0.1


# ---- batches ------------------------------------------------------------------------------------------------


def task_one_hot(config: PolicyConfig, samples: Samples, task: np.ndarray) -> np.ndarray:
    """One-hot over the names in the config, whatever order the samples have."""
    names = next(part.tasks for part in config.vector if part.tasks is not None)
    assert names is not None
    columns = np.array([names.index(samples.tasks[i]) for i in task])
    return np.eye(len(names), dtype=np.float32)[columns]


def vector(config: PolicyConfig, samples: Samples, example: Example) -> Tensor:
    parts = {"hand": torch.from_numpy(example.hand)}
    if any(part.name == "task" for part in config.vector):
        parts["task"] = torch.from_numpy(task_one_hot(config, samples, example.task))
    return scale_vector(config, parts)


def pictures(config: PolicyConfig, example: Example) -> dict[str, Tensor]:
    """uint8 [b, h, w, 3] to float [b, 3, h, w] in [-1, 1]."""
    source = {"obs": example.observation, "goal": example.goal}
    return {name: torch.from_numpy(source[name]).float().permute(0, 3, 1, 2) / 127.5 - 1 for name in config.condition}


def moved(frames: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Every picture by its own number of pixels; the edges are repeated."""
    n, height, width, _ = frames.shape
    rows = np.clip(np.arange(height) + dy[:, None], 0, height - 1)
    columns = np.clip(np.arange(width) + dx[:, None], 0, width - 1)
    return frames[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def augment(example: Example, settings: Settings, rng: np.random.Generator) -> Example:
    """Observation and goal are moved together."""
    n, size = len(example.hand), example.observation.shape[1]
    most = settings.shift * size // 64
    if most < 1:
        return example
    dy, dx = rng.integers(-most, most + 1, (2, n))
    return dataclasses.replace(
        example, observation=moved(example.observation, dy, dx), goal=moved(example.goal, dy, dx)
    )


def recolour(given: dict[str, Tensor], settings: Settings, rng: np.random.Generator) -> dict[str, Tensor]:
    """Brightness and contrast, the same for both pictures; half of the goals are blurred and made noisy, for those that a
    video model imagines are not sharp."""
    n = len(next(iter(given.values())))
    gain = torch.from_numpy(rng.uniform(1 - settings.jitter, 1 + settings.jitter, (n, 1, 1, 1)).astype(np.float32))
    offset = torch.from_numpy(rng.uniform(-settings.jitter, settings.jitter, (n, 1, 1, 1)).astype(np.float32))
    out = {name: (value * gain + offset).clamp(-1, 1) for name, value in given.items()}
    if "goal" in out:
        goal = out["goal"]
        share = torch.from_numpy((rng.random((n, 1, 1, 1)) * (rng.random((n, 1, 1, 1)) < 0.5)).astype(np.float32))
        blurred = torch.nn.functional.avg_pool2d(goal, 3, 1, 1, count_include_pad=False)
        noise = torch.from_numpy(rng.standard_normal(goal.shape, dtype=np.float32))
        out["goal"] = (goal + share * (blurred - goal) + 0.06 * share * noise).clamp(-1, 1)
    return out


# ---- losses -------------------------------------------------------------------------------------------------


def weighted_error(said: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Mean square over the actions that were taken."""
    return ((said - wanted).square().mean(-1) * weight).sum() / weight.sum()


@torch.no_grad()
def actions(policy: Policy, batch: Example, samples: Samples, noise: np.ndarray) -> np.ndarray:
    """What the policy says, [b, horizon, 4] in [-1, 1]; from noise of that shape, if it is a diffusion."""
    config, device = policy.config, next(policy.parameters()).device
    given = {name: value.to(device) for name, value in pictures(config, batch).items()}
    condition = policy.encode(given, vector(config, samples, batch).to(device))
    if config.kind == "bc":
        return policy.say(condition).clamp(-1, 1).cpu().numpy()
    said = ddim(
        lambda x, t: policy.model(x, t, condition),
        torch.from_numpy(noise).to(device),
        config.prediction,
        config.sampler_steps,
        alphas_cumprod().to(device),
    )
    return said.clamp(-1, 1).cpu().numpy()


class Trainer:
    def __init__(self, config: PolicyConfig, settings: Settings, train: Samples, held: Samples, device: torch.device):
        torch.manual_seed(settings.seed)
        self.config, self.settings, self.device = config, settings, device
        self.train, self.held = train, held
        self.policy = Policy(config).to(device, memory_format=torch.channels_last)
        self.average = Policy(config).to(device, memory_format=torch.channels_last)
        self.average.load_state_dict(self.policy.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.policy.parameters(), settings.lr, betas=(0.95, 0.999), weight_decay=settings.decay
        )
        self.alphas = alphas_cumprod().to(device)
        self.step = 0
        self.seconds = 0.0
        self.losses: list[float] = []  # since the last line of the log

    def loss(self, policy: Policy, batch: Example, samples: Samples, rng: np.random.Generator, plain: bool) -> Tensor:
        """plain: neither moved nor recoloured."""
        config, settings = self.config, self.settings
        if not plain:
            batch = augment(batch, settings, rng)
        given = pictures(config, batch)
        if not plain:
            given = recolour(given, settings, rng)
        given = {name: value.to(self.device, memory_format=torch.channels_last) for name, value in given.items()}
        condition = policy.encode(given, vector(config, samples, batch).to(self.device), settings.half)
        action = torch.from_numpy(batch.action).to(self.device)
        weight = torch.from_numpy(batch.weight).to(self.device)
        if config.kind == "bc":
            return weighted_error(policy.say(condition), action, weight)
        t = torch.from_numpy(rng.integers(len(self.alphas), size=len(action))).to(self.device)
        noise = torch.from_numpy(rng.standard_normal(action.shape, dtype=np.float32)).to(self.device)
        said = policy.model(add_noise(action, noise, t, self.alphas), t, condition)
        return weighted_error(said, target(config.prediction, action, noise, t, self.alphas), weight)

    def rate(self) -> float:
        """Linear warm-up, then half a cosine down to a fiftieth."""
        settings = self.settings
        done = self.step / settings.steps
        warmup = min(settings.warmup, max(1, settings.steps // 10))
        return min(1.0, (self.step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))

    def advance(self) -> float:
        """One step; returns its loss."""
        begun = time.monotonic()
        rng = np.random.default_rng([self.settings.seed, self.step])
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr * self.rate()
        self.policy.train()
        batch = self.train.examples(rng, self.train.draw(rng, self.settings.batch))
        loss = self.loss(self.policy, batch, self.train, rng, plain=False)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimizer.step()
        keep = min(1 - (1 + self.step) ** -0.75, 0.9999) if self.step else 0.0  # the EMA of the diffusers package
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.policy.parameters()):
                mean.lerp_(value, 1 - keep)
        self.step += 1
        value = float(loss.detach())
        self.seconds += time.monotonic() - begun
        if not math.isfinite(value):
            raise ValueError(f"the loss of step {self.step} is not finite: take a lower --lr")
        return value

    # ---- what it is worth -----------------------------------------------------------------------------------

    def act(self, batch: Example, samples: Samples, seed: int) -> np.ndarray:
        """Actions [b, horizon, 4] of the averaged network, in [-1, 1]."""
        noise = np.random.default_rng(seed).standard_normal(batch.action.shape, dtype=np.float32)
        return actions(self.average, batch, samples, noise)

    @torch.no_grad()
    def examine(self, count: int, seed: int = 1) -> dict[str, Any]:
        """On held-out episodes: loss, and mean absolute errors of the actions that would be executed, beside those of the
        task's mean action and, with goals, of the same policy shown the goal of another example."""
        self.average.eval()
        rng = np.random.default_rng([seed, 0x686c64])
        batch = self.held.examples(rng, self.held.draw(rng, count))
        loss = float(self.loss(self.average, batch, self.held, rng, plain=True))
        executed = self.config.executed
        weight = batch.weight[:, :executed, None]

        def error(said: np.ndarray) -> float:
            off = np.abs(said[:, :executed] - batch.action[:, :executed]) * weight
            return float(off.sum() / (weight.sum() * off.shape[-1]))

        said = self.act(batch, self.held, seed)
        hand = np.abs(said - batch.action)[:, :executed, :3] * weight
        out = {
            "loss": round(loss, 5),
            "action_error": round(error(said), 4),
            "hand_error": round(float(hand.sum() / (weight.sum() * 3)), 4),
            "mean_action_error": round(error(self.train.mean_actions()[batch.task][:, None]), 4),
        }
        if "goal" in self.config.condition:
            other = dataclasses.replace(batch, goal=np.roll(batch.goal, 1, 0))
            out["other_goal_error"] = round(error(self.act(other, self.held, seed)), 4)
        return out

    # ---- keeping --------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        state = {
            "policy": self.policy.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
        }
        write_torch(path, state)

    def load(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location="cpu", weights_only=WEIGHTS_ONLY)
            self.policy.load_state_dict(state["policy"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except OSError:
            raise
        except Exception as problem:  # pickles fail in many ways
            reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
            raise ValueError(f"{path}: not a checkpoint of this run: {reason}") from None
        self.step, self.seconds, self.losses = state["step"], state["seconds"], list(state.get("losses", []))
