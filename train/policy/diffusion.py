"""Diffusion over action sequences: the squared cosine schedule and the DDIM sampler as the diffusers package has them, on
which the GCP release and Diffusion Policy rely."""

from __future__ import annotations

import math
from typing import Callable

import torch
from torch import Tensor

from .config import TIMESTEPS


def alphas_cumprod(timesteps: int = TIMESTEPS) -> Tensor:
    """Rounded as the reference does: betas in double, 1 - beta and the product in float32."""

    def level(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - level((i + 1) / timesteps) / level(i / timesteps), 0.999) for i in range(timesteps)]
    return torch.cumprod(1 - torch.tensor(betas, dtype=torch.float32), 0)


def add_noise(x0: Tensor, noise: Tensor, t: Tensor, alphas: Tensor) -> Tensor:
    a = alphas[t].view(-1, 1, 1)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def target(prediction: str, x0: Tensor, noise: Tensor, t: Tensor, alphas: Tensor) -> Tensor:
    """What the network is to say."""
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return x0
    a = alphas[t].view(-1, 1, 1)
    return a.sqrt() * noise - (1 - a).sqrt() * x0


def ddim(network: Callable[[Tensor, Tensor], Tensor], x: Tensor, prediction: str, steps: int, alphas: Tensor) -> Tensor:
    """From noise x [b, horizon, action]; "leading" times, x0 clipped to +-1, the noise that belongs to the unclipped x0."""
    stride = len(alphas) // steps
    for i in reversed(range(steps)):
        t = i * stride
        said = network(x, torch.full((len(x),), t, device=x.device))
        a = float(alphas[t])
        before = float(alphas[t - stride]) if t >= stride else 1.0
        signal, spread = math.sqrt(a), math.sqrt(1 - a)
        if prediction == "epsilon":
            x0, noise = (x - spread * said) / signal, said
        elif prediction == "sample":
            x0, noise = said, (x - signal * said) / spread
        else:
            x0, noise = signal * x - spread * said, signal * said + spread * x
        x = math.sqrt(before) * x0.clamp(-1, 1) + math.sqrt(1 - before) * noise
    return x
