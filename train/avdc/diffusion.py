"""Cosine schedule, v-prediction loss and the DDIM and DDPM samplers of AVDC.

a_t = sqrt(abar_t), s_t = sqrt(1 - abar_t); x_t = a x0 + s eps, v = a eps - s x0.
Videos are in [-1, 1] here; (x + 1) / 2 gives pixels.
"""

from __future__ import annotations

import math
from typing import Callable, Sequence

import torch
from torch import Tensor, nn

Denoiser = Callable[[Tensor, Tensor], Tensor]  # v(x [b, ...], t [b])

COSINE_OFFSET = 0.008
BETA_MAX = 0.999
MIN_SNR_GAMMA = 5.0
WEIGHTINGS = ("min-snr", "min-snr+1", "v")


class Schedule(nn.Module):
    """Per-timestep coefficients, computed in float64 and kept in `dtype`."""

    def __init__(self, timesteps: int = 100, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.timesteps = timesteps
        u = torch.linspace(0, 1, timesteps + 1, dtype=torch.float64)
        level = torch.cos((u + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2
        betas = (1 - level[1:] / level[:-1]).clamp(0, BETA_MAX)
        abar = torch.cumprod(1 - betas, 0)
        abar_prev = torch.cat((abar.new_ones(1), abar[:-1]))
        variance = betas * (1 - abar_prev) / (1 - abar)
        snr = abar / (1 - abar)
        values = {
            "betas": betas,
            "alphas_cumprod": abar,
            "alphas_cumprod_prev": abar_prev,
            "sqrt_alphas_cumprod": abar.sqrt(),
            "sqrt_one_minus_alphas_cumprod": (1 - abar).sqrt(),
            "log_one_minus_alphas_cumprod": (1 - abar).log(),
            "sqrt_recip_alphas_cumprod": (1 / abar).sqrt(),
            "sqrt_recipm1_alphas_cumprod": (1 / abar - 1).sqrt(),
            "posterior_variance": variance,
            "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
            "posterior_mean_coef1": betas * abar_prev.sqrt() / (1 - abar),
            "posterior_mean_coef2": (1 - abar_prev) * (1 - betas).sqrt() / (1 - abar),
            "loss_weight": snr.clamp(max=MIN_SNR_GAMMA) / (snr + 1),
        }
        for name, value in values.items():
            self.register_buffer(name, value.to(dtype))

    def weights(self, name: str) -> Tensor:
        """Of the squared error of v at each timestep. "min-snr": AVDC's (Hang et al. 2023), which is near 0 for the
        noisiest times, where only the text can tell what will happen. "min-snr+1" has the same share of a clean video
        and at least 1 in terms of v: (min(snr, gamma) + 1) / (snr + 1). "v": all 1 (SNR + 1 of Salimans & Ho 2022)."""
        abar = self.alphas_cumprod
        if name == "min-snr":
            return self.loss_weight
        if name == "min-snr+1":
            return ((abar / (1 - abar)).clamp(max=MIN_SNR_GAMMA) + 1) * (1 - abar)
        if name == "v":
            return torch.ones_like(abar)
        raise ValueError(f"weighting '{name}' is unknown, expected one of {', '.join(WEIGHTINGS)}")

    def signal_noise(self, t: int) -> tuple[float, float]:
        """(a_t, s_t); t = -1 is the clean video."""
        if t < 0:
            return 1.0, 0.0
        return float(self.sqrt_alphas_cumprod[t]), float(self.sqrt_one_minus_alphas_cumprod[t])

    def loss(self, denoiser: Denoiser, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Weighted squared error of v for videos x0 [b, ...] at times t [b]."""
        shape = (-1,) + (1,) * (x0.dim() - 1)
        a = self.sqrt_alphas_cumprod[t].view(shape)
        s = self.sqrt_one_minus_alphas_cumprod[t].view(shape)
        error = denoiser(a * x0 + s * noise, t) - (a * noise - s * x0)
        return (error.square().flatten(1).mean(dim=1) * self.loss_weight[t]).mean()


def guided(conditional: Denoiser, unconditional: Denoiser, weight: float) -> Denoiser:
    """Classifier-free guidance combined on v: the same as on the noise in exact
    arithmetic, without dividing by a_t (0.0005 at t = 99)."""
    if weight == 0:
        return conditional

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return (1 + weight) * conditional(x, t) - weight * unconditional(x, t)

    return denoise


def ddim_times(steps: int, timesteps: int = 100) -> list[int]:
    """Descending times, the last is -1."""
    grid = torch.linspace(-1, timesteps - 1, steps + 1)
    return [int(t) for t in reversed(grid.tolist())]


def ddim(schedule: Schedule, denoiser: Denoiser, x: Tensor, steps: int) -> Tensor:
    """Deterministic DDIM from noise x; the predicted video is not clipped."""
    times = ddim_times(steps, schedule.timesteps)
    for now, then in zip(times[:-1], times[1:]):
        v = denoiser(x, torch.full(x.shape[:1], now, device=x.device))
        a, s = schedule.signal_noise(now)
        x0, eps = a * x - s * v, a * v + s * x
        a, s = schedule.signal_noise(then)
        x = a * x0 + s * eps
    return x


def ddpm(
    schedule: Schedule, denoiser: Denoiser, x: Tensor, noise: Sequence[Tensor] | None = None
) -> Tensor:
    """Ancestral sampling over all timesteps; noise[i] belongs to the i-th step."""
    for i, t in enumerate(reversed(range(schedule.timesteps))):
        v = denoiser(x, torch.full(x.shape[:1], t, device=x.device))
        a, s = schedule.signal_noise(t)
        x0 = (a * x - s * v).clamp(-1, 1)
        x = schedule.posterior_mean_coef1[t] * x0 + schedule.posterior_mean_coef2[t] * x
        if t > 0:
            z = torch.randn_like(x) if noise is None else noise[i]
            x = x + (0.5 * schedule.posterior_log_variance_clipped[t]).exp() * z
    return x
