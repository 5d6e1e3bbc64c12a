"""The factorised 3-D UNet of AVDC and its Perceiver resampler, in plain PyTorch.

Own implementation with AVDC's parameter names, so that weights are exchangeable:
[b, c, f, h, w] activations, frames folded into the batch for spatial convolutions and
attention, pixels folded into the batch for temporal convolutions.  The eager order of
operations is kept as AVDC has it: this is the peer that benchmarks compare against.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import config as configs
from .config import PerceiverConfig, UNetConfig

LOGIT_SCALE = 8.0  # of the Perceiver's attention on L2-normalised queries and keys


def frames_to_batch(x: Tensor) -> Tensor:
    """[b, c, f, h, w] -> [b*f, c, h, w]."""
    b, c, f, h, w = x.shape
    return x.permute(0, 2, 1, 3, 4).reshape(b * f, c, h, w)


def batch_to_frames(x: Tensor, b: int) -> Tensor:
    """[b*f, c, h, w] -> [b, c, f, h, w], a view."""
    return x.unflatten(0, (b, -1)).permute(0, 2, 1, 3, 4)


class FactorisedConv(nn.Module):
    """k x k on each frame, then (unless k is 1) 3 taps over frames, zero padded."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.spatial_conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2)
        self.temporal_conv = nn.Conv1d(c_out, c_out, 3, padding=1) if kernel > 1 else None
        if self.temporal_conv is not None:  # starts as an image model
            nn.init.dirac_(self.temporal_conv.weight)
            nn.init.zeros_(self.temporal_conv.bias)

    def zero_(self) -> "FactorisedConv":
        """Zero output at the start.  Only the spatial half is zeroed: with both halves at
        zero neither would ever receive a gradient."""
        nn.init.zeros_(self.spatial_conv.weight)
        nn.init.zeros_(self.spatial_conv.bias)
        return self

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        y = self.spatial_conv(frames_to_batch(x))
        if self.temporal_conv is None:
            return batch_to_frames(y, b)
        c, h, w = y.shape[1:]
        y = y.unflatten(0, (b, -1)).permute(0, 3, 4, 2, 1).reshape(b * h * w, c, -1)
        y = self.temporal_conv(y)
        return y.unflatten(0, (b, h, w)).permute(0, 3, 4, 1, 2)


class Downsample(nn.Module):
    """Spatial stride 2; frames stay."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = FactorisedConv(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Nearest x2 in height and width, then a convolution pair."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = FactorisedConv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        f, h, w = x.shape[2:]
        return self.conv(F.interpolate(x, (f, 2 * h, 2 * w), mode="nearest"))


class ResBlock(nn.Module):
    """Two norm-SiLU-convolution steps with the embedding added between them."""

    def __init__(self, c_in: int, c_out: int, c_emb: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(groups, c_in), nn.SiLU(), FactorisedConv(c_in, c_out)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(c_emb, c_out))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, c_out),
            nn.SiLU(),
            nn.Dropout(dropout),
            FactorisedConv(c_out, c_out).zero_(),
        )
        self.skip_connection: nn.Module = (
            nn.Identity() if c_in == c_out else FactorisedConv(c_in, c_out, kernel=1)
        )

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class QKVAttention(nn.Module):
    """Attention on head-major qkv: per head q, k, v of `head_channels` channels each."""

    def __init__(self, head_channels: int) -> None:
        super().__init__()
        self.head_channels = head_channels

    def forward(self, qkv: Tensor) -> Tensor:
        n, width, length = qkv.shape
        d = self.head_channels
        q, k, v = qkv.reshape(n * width // (3 * d), 3 * d, length).split(d, dim=1)
        scale = d**-0.25  # on both sides: smaller intermediates than d**-0.5 on one
        weight = torch.einsum("bct,bcs->bts", q * scale, k * scale).softmax(dim=-1)
        return torch.einsum("bts,bcs->bct", weight, v).reshape(n, width // 3, length)


class AttentionBlock(nn.Module):
    """Self-attention over the pixels of one frame; the norm is per frame too."""

    def __init__(self, channels: int, head_channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.attention = QKVAttention(head_channels)
        self.proj_out = nn.Conv1d(channels, channels, 1)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x: Tensor) -> Tensor:
        b, h, w = x.shape[0], x.shape[3], x.shape[4]
        y = frames_to_batch(x).flatten(2)
        y = y + self.proj_out(self.attention(self.qkv(self.norm(y))))
        return batch_to_frames(y.unflatten(2, (h, w)), b)


class Stage(nn.Sequential):
    """A sequence whose residual blocks also get the embedding."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class GainLayerNorm(nn.Module):
    """LayerNorm with a gain `g` and no bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.g, None, 1e-5)


class PerceiverAttention(nn.Module):
    """Latents attend to the text and to themselves."""

    def __init__(self, dim: int, config: PerceiverConfig) -> None:
        super().__init__()
        inner = config.heads * config.dim_head
        self.heads = config.heads
        self.q_scale = nn.Parameter(torch.ones(config.dim_head))
        self.k_scale = nn.Parameter(torch.ones(config.dim_head))
        self.norm = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, dim, bias=False), nn.LayerNorm(dim))

    def _split(self, x: Tensor) -> Tensor:
        """[b, n, heads*d] -> [b, heads, n, d]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        latents = self.norm_latents(latents)
        keys = torch.cat((self.norm(x), latents), dim=1)
        k, v = self.to_kv(keys).chunk(2, dim=-1)
        q = F.normalize(self._split(self.to_q(latents)), dim=-1) * self.q_scale
        k = F.normalize(self._split(k), dim=-1) * self.k_scale
        logits = torch.einsum("bhid,bhjd->bhij", q, k) * LOGIT_SCALE
        y = torch.einsum("bhij,bhjd->bhid", logits.softmax(dim=-1), self._split(v))
        return self.to_out(y.transpose(1, 2).flatten(2))


class PerceiverResampler(nn.Module):
    """Text features [b, L, dim] -> latents [b, mean-pooled + learned, dim]."""

    def __init__(self, dim: int, config: PerceiverConfig) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(config.num_latents, dim))
        self.pos_emb = nn.Embedding(config.max_seq_len, dim)
        pooled = config.num_latents_mean_pooled
        self.to_latents_from_mean_pooled_seq = nn.Sequential(
            GainLayerNorm(dim), nn.Linear(dim, pooled * dim), nn.Unflatten(-1, (pooled, dim))
        )
        hidden = config.ff_mult * dim
        self.layers = nn.ModuleList(
            nn.ModuleList(
                (
                    PerceiverAttention(dim, config),
                    nn.Sequential(
                        GainLayerNorm(dim),
                        nn.Linear(dim, hidden, bias=False),
                        nn.GELU(),
                        GainLayerNorm(hidden),
                        nn.Linear(hidden, dim, bias=False),
                    ),
                )
            )
            for _ in range(config.depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        # The pooled latents see the text without positions and come first.
        pooled = self.to_latents_from_mean_pooled_seq(x.mean(dim=1))
        latents = self.latents.expand(x.shape[0], -1, -1)
        latents = torch.cat((pooled, latents), dim=1)
        x = x + self.pos_emb.weight[: x.shape[1]]
        for attention, feed_forward in self.layers:
            latents = attention(x, latents) + latents
            latents = feed_forward(latents) + latents
        return latents


def timestep_embedding(t: Tensor, dim: int) -> Tensor:
    """[b] -> [b, dim]: cosines, then sines, of frequencies from 1 down to about 1e-4."""
    half = dim // 2
    index = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float()[:, None] * torch.exp(-math.log(10000.0) / half * index)
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class UNet3D(nn.Module):
    """v(x, t, text).  Input channels: 3 noisy, then 3 of the condition frame."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        base, emb, groups = config.model_channels, config.embed_channels, config.norm_groups
        self.time_embed = nn.Sequential(nn.Linear(base, emb), nn.SiLU(), nn.Linear(emb, emb))
        dim = config.task_token_channels
        self.task_attnpool = nn.Sequential(
            PerceiverResampler(dim, config.perceiver), nn.Linear(dim, emb)
        )

        def res(c_in: int, c_out: int) -> ResBlock:
            return ResBlock(c_in, c_out, emb, groups, config.dropout)

        def attention(channels: int) -> AttentionBlock:
            return AttentionBlock(channels, config.num_head_channels, groups)

        c = base * config.channel_mult[0]
        self.input_blocks = nn.ModuleList([Stage(FactorisedConv(config.in_channels, c))])
        skips, ds = [c], 1
        last = len(config.channel_mult) - 1
        for level, mult in enumerate(config.channel_mult):
            for _ in range(config.num_res_blocks):
                stage = Stage(res(c, base * mult))
                c = base * mult
                if ds in config.attention_ds:
                    stage.append(attention(c))
                self.input_blocks.append(stage)
                skips.append(c)
            if level != last:
                self.input_blocks.append(Stage(Downsample(c)))
                skips.append(c)
                ds *= 2
        self.middle_block = Stage(res(c, c), attention(c), res(c, c))
        self.output_blocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(config.channel_mult))):
            for i in range(config.num_res_blocks + 1):
                stage = Stage(res(c + skips.pop(), base * mult))
                c = base * mult
                if ds in config.attention_ds:
                    stage.append(attention(c))
                if level and i == config.num_res_blocks:
                    stage.append(Upsample(c))
                    ds //= 2
                self.output_blocks.append(stage)
        self.out = nn.Sequential(
            nn.GroupNorm(groups, c), nn.SiLU(), FactorisedConv(c, config.out_channels).zero_()
        )

    def embed_task(self, tokens: Tensor) -> Tensor:
        """Text features [b, L, C] -> task embedding [b, 4*base]."""
        return self.task_attnpool(tokens).mean(dim=1)

    def forward(
        self, x: Tensor, t: Tensor, tokens: Tensor | None = None, task: Tensor | None = None
    ) -> Tensor:
        """x [b, 6, f, h, w], t [b], tokens [b, L, C] or a ready `task` embedding."""
        if task is None:
            if tokens is None:
                raise ValueError("UNet3D needs text tokens or a task embedding")
            task = self.embed_task(tokens)
        emb = self.time_embed(timestep_embedding(t, self.config.model_channels)) + task
        skips = []
        h = x
        for stage in self.input_blocks:
            h = stage(h, emb)
            skips.append(h)
        h = self.middle_block(h, emb)
        for stage in self.output_blocks:
            h = stage(torch.cat((h, skips.pop()), dim=1), emb)
        return self.out(h)


class VideoDenoiser(nn.Module):
    """The UNet behind the layout of videos: x and v are [b, f, 3, h, w]."""

    def __init__(self, unet: UNet3D) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self,
        x: Tensor,
        cond: Tensor,
        t: Tensor,
        tokens: Tensor | None = None,
        task: Tensor | None = None,
    ) -> Tensor:
        """cond [b, 3, h, w] in [0, 1] (AVDC does not normalise it), x in [-1, 1]."""
        video = x.transpose(1, 2)
        frame = cond[:, :, None].expand(-1, -1, x.shape[1], -1, -1)
        return self.unet(torch.cat((video, frame), dim=1), t, tokens, task).transpose(1, 2)


def load_unet(folder: str | Path) -> UNet3D:
    """The UNet of a model folder (config.json, unet.safetensors), in evaluation mode."""
    from safetensors.torch import load_file

    unet = UNet3D(configs.load(folder))
    unet.load_state_dict(load_file(Path(folder) / "unet.safetensors"))
    return unet.eval()
