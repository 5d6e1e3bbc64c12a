"""The network in PyTorch, in the forms that the peers run.

Every form has the same weights and computes the same function:
  avdc    AVDC's own order of operations: frames folded into the batch for the spatial
          convolutions, pixels for the temporal ones (conv2d, conv1d)
  conv2d  temporal convolutions as 3x1 over [frames, pixels]: no pixels in the batch
  conv3d  1x3x3 and 3x1x1 convolutions on [b, c, f, h, w]: nothing is ever transposed
A peer runs the form that is the fastest with it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "train"), str(Path(__file__).resolve().parent)]

from avdc import config as configs  # noqa: E402
from avdc.unet import (  # noqa: E402
    FactorisedConv,
    UNet3D,
    VideoDenoiser,
    batch_to_frames,
    frames_to_batch,
    load_unet,
)
from serving import Failure, Inputs  # noqa: E402

FORMS = ("avdc", "conv2d", "conv3d")


class Conv3dPair(nn.Module):
    """A FactorisedConv as 1 x k x k, then 3 x 1 x 1."""

    def __init__(self, pair: FactorisedConv) -> None:
        super().__init__()
        space, time = pair.spatial_conv, pair.temporal_conv
        k, stride = space.kernel_size[0], space.stride[0]
        self.space = nn.Conv3d(
            space.in_channels,
            space.out_channels,
            (1, k, k),
            (1, stride, stride),
            (0, k // 2, k // 2),
            device="meta",
        )
        self.space.weight = nn.Parameter(space.weight[:, :, None])
        self.space.bias = space.bias
        self.time: nn.Module = nn.Identity()
        if time is not None:
            self.time = nn.Conv3d(
                time.in_channels, time.out_channels, (3, 1, 1), 1, (1, 0, 0), device="meta"
            )
            self.time.weight = nn.Parameter(time.weight[:, :, :, None, None])
            self.time.bias = time.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.time(self.space(x))


class Conv2dPair(nn.Module):
    """A FactorisedConv whose temporal half is 3 x 1 over [frames, pixels]."""

    def __init__(self, pair: FactorisedConv) -> None:
        super().__init__()
        self.space = pair.spatial_conv
        time = pair.temporal_conv
        self.time = None
        if time is not None:
            self.time = nn.Conv2d(
                time.in_channels, time.out_channels, (3, 1), 1, (1, 0), device="meta"
            )
            self.time.weight = nn.Parameter(time.weight[:, :, :, None])
            self.time.bias = time.bias

    def forward(self, x: Tensor) -> Tensor:
        y = batch_to_frames(self.space(frames_to_batch(x)), x.shape[0])
        if self.time is None:
            return y
        return self.time(y.flatten(3)).unflatten(3, y.shape[3:])


def into_form(module: nn.Module, form: str) -> nn.Module:
    """Replaces every FactorisedConv under `module`; the weights are shared, not copied."""
    if form == "avdc":
        return module
    pair = {"conv2d": Conv2dPair, "conv3d": Conv3dPair}[form]
    for name, child in module.named_children():
        if isinstance(child, FactorisedConv):
            setattr(module, name, pair(child))
        else:
            into_form(child, form)
    return module


class Step(nn.Module):
    """One network step with tensors only: what the exporters trace."""

    def __init__(self, unet: UNet3D) -> None:
        super().__init__()
        self.denoise = VideoDenoiser(unet)

    def forward(self, x: Tensor, cond: Tensor, t: Tensor, task: Tensor) -> Tensor:
        return self.denoise(x, cond, t, None, task)


def load(args: argparse.Namespace) -> UNet3D:
    """The UNet of --model or --preset."""
    if args.model:
        return load_unet(args.model)
    from random_model import randomise

    return randomise(UNet3D(configs.preset(args.preset))).eval()


def read_inputs(args: argparse.Namespace, config: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x [b,f,3,h,w], cond [b,3,h,w], t [b] and tokens [b,l,c]: the given files, else random."""
    height, width = config.image_size
    random = np.random.default_rng(0)

    def read(path: Path | None, fallback: Callable[[tuple[int, ...]], Any], *shape: int) -> Tensor:
        array = np.load(path) if path else fallback(shape)
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    normal, uniform = random.standard_normal, random.random
    x = read(args.x, normal, args.batch, config.frames, height, width, 3)
    cond = read(args.cond, uniform, args.batch, height, width, 3)
    tokens = read(args.tokens, normal, 1, 8, config.task_token_channels)
    if x.shape[0] != args.batch or cond.shape[0] != args.batch:
        raise Failure(f"x and cond must hold {args.batch} samples, as --batch says")
    x = x.permute(0, 1, 4, 2, 3).contiguous()
    cond = cond.permute(0, 3, 1, 2).contiguous()
    tokens = tokens.expand(args.batch, -1, -1).contiguous()
    return x, cond, torch.full((args.batch,), float(args.t)), tokens


def prepare(args: argparse.Namespace, form: str) -> tuple[Step, Inputs]:
    """The step in a form, and its inputs; the text's embedding is computed here, once."""
    unet = load(args)
    x, cond, t, tokens = read_inputs(args, unet.config)
    with torch.no_grad():
        task = unet.embed_task(tokens)
        step = Step(unet)
        into_form(step, form)
    return step.eval(), (x, cond, t, task)
