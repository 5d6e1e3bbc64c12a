"""The UNet's forward pass for training: the function of avdc.unet.UNet3D on its parameters, without copies.

A feature map stays one block of memory [sample][frame][y][x][channel]. Convolutions in space see it as channels-last
pictures with the frames in the batch; convolutions over time as one picture per sample whose rows are frames and
whose columns are pixels; group norms as one long picture per sample. On processors with bfloat16 matrix units that is
several times faster than avdc.unet, which keeps AVDC's order of operations. Dropout is not supported.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import native
from .avdc.unet import AttentionBlock, Downsample, FactorisedConv, ResBlock, UNet3D, Upsample, timestep_embedding

# A map is a tensor [batch * frames, channels, height, width] in channels-last memory.


class NormSilu(torch.autograd.Function):
    """SiLU(GroupNorm(x)) of x [b][n][c]: PyTorch's own backward of a channels-last group norm takes half of a training step.

    With x' = x - mean, r = 1/std of a group, z = r g x' + d and dz the gradient of z:
    dx = r (g dz - mean(g dz) - r^2 x' mean(g dz x')), dg = sum of r dz x', dd = sum of dz."""

    @staticmethod
    def forward(ctx, x: Tensor, gain: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:  # type: ignore[override]
        n = x.shape[1]
        mean = group_mean(total(x) / n, groups)
        centred = x - mean.to(x.dtype)
        square = group_mean(total(centred * centred) / n, groups)
        scale = (square + eps).rsqrt()
        ctx.save_for_backward(centred, scale, gain, bias)
        ctx.groups = groups
        return F.silu(affine(centred, scale, gain, bias))

    @staticmethod
    def backward(ctx, dy: Tensor):  # type: ignore[override,no-untyped-def]
        centred, scale, gain, bias = ctx.saved_tensors
        n = centred.shape[1]
        dz = torch.ops.aten.silu_backward(dy.contiguous(), affine(centred, scale, gain, bias))
        first = total(dz)
        second = total(dz * centred)
        shift = -scale * group_mean(gain * first / n, ctx.groups)
        slope = -(scale**3) * group_mean(gain * second / n, ctx.groups)
        kind = centred.dtype
        dx = torch.addcmul(shift.to(kind), dz, (scale * gain).to(kind)).addcmul_(centred, slope.to(kind))
        return dx, (scale * second).sum((0, 1)).to(gain.dtype), first.sum((0, 1)).to(bias.dtype), None, None


def total(x: Tensor) -> Tensor:
    """The sum over rows of [b][n][c] as [b][1][c]. Of 16-bit numbers short sums are rounded to 16 bits, the rest is in
    float32: PyTorch would copy all of x to float32 first."""
    b, n, c = x.shape
    if x.dtype in (torch.bfloat16, torch.float16) and n % 16 == 0:
        x = x.reshape(b, n // 16, 16, c).sum(2).float()
    return x.sum(1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))


def group_mean(values: Tensor, groups: int) -> Tensor:
    """[b][1][c]: each channel gets the mean of its group."""
    b, _, c = values.shape
    means = values.reshape(b, 1, groups, c // groups).mean(dim=3, keepdim=True)
    return means.expand(-1, -1, -1, c // groups).reshape(b, 1, c)


def affine(centred: Tensor, scale: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    kind = centred.dtype
    return torch.addcmul(bias.to(kind), centred, (scale * gain).to(kind))


def norm_silu(x: Tensor, norm: nn.GroupNorm, batch: int, added: Tensor | None = None) -> Tensor:
    """SiLU(GroupNorm(x + added)), added [batch][c]. Statistics over all frames of a sample."""
    n, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch, n // batch * h * w, c)
    if native.usable(rows):
        y = native.NormSilu.apply(rows, added, norm.weight, norm.bias, norm.num_groups, norm.eps)
    else:
        if added is not None:
            rows = rows + added[:, None].to(rows.dtype)
        y = NormSilu.apply(rows, norm.weight, norm.bias, norm.num_groups, norm.eps)
    return y.reshape(n, h, w, c).permute(0, 3, 1, 2)


def conv(x: Tensor, pair: FactorisedConv, batch: int) -> Tensor:
    """k x k in space, then (unless k is 1) 3 taps over frames."""
    space, time = pair.spatial_conv, pair.temporal_conv
    y = F.conv2d(x, space.weight, space.bias, space.stride, space.padding)
    if time is None:
        return y
    n, c, h, w = y.shape
    rows = y.permute(0, 2, 3, 1).reshape(batch, n // batch, h * w, c).permute(0, 3, 1, 2)
    rows = F.conv2d(rows, time.weight[:, :, :, None], time.bias, padding=(1, 0))
    return rows.permute(0, 2, 3, 1).reshape(n, h, w, c).permute(0, 3, 1, 2)


def res_block(x: Tensor, emb: Tensor, block: ResBlock, batch: int) -> Tensor:
    h = conv(norm_silu(x, block.in_layers[0], batch), block.in_layers[2], batch)
    h = conv(norm_silu(h, block.out_layers[0], batch, block.emb_layers(emb)), block.out_layers[3], batch)
    skip = block.skip_connection
    return h + (conv(x, skip, batch) if isinstance(skip, FactorisedConv) else x)


def attention(x: Tensor, block: AttentionBlock) -> Tensor:
    """Within a frame; the norm is per frame too."""
    n, c, h, w = x.shape
    normed = F.group_norm(x, block.norm.num_groups, block.norm.weight, block.norm.bias, block.norm.eps)
    tokens = normed.permute(0, 2, 3, 1).reshape(n, h * w, c)
    d = block.attention.head_channels
    qkv = F.linear(tokens, block.qkv.weight[:, :, 0], block.qkv.bias)
    q, k, v = qkv.reshape(n, h * w, c // d, 3, d).permute(3, 0, 2, 1, 4)
    if x.device.type != "cpu" and hasattr(F, "scaled_dot_product_attention"):
        y = F.scaled_dot_product_attention(q, k, v)
    else:  # on a processor its backward is several times slower than that of two products
        y = (q * d**-0.5 @ k.transpose(2, 3)).softmax(dim=-1).to(v.dtype) @ v
    y = F.linear(y.transpose(1, 2).reshape(n, h * w, c), block.proj_out.weight[:, :, 0], block.proj_out.bias)
    return x + y.reshape(n, h, w, c).permute(0, 3, 1, 2)


def stage(x: Tensor, emb: Tensor, layers: nn.Sequential, batch: int) -> Tensor:
    for layer in layers:
        if isinstance(layer, ResBlock):
            x = res_block(x, emb, layer, batch)
        elif isinstance(layer, AttentionBlock):
            x = attention(x, layer)
        elif isinstance(layer, Downsample):
            x = conv(x, layer.op, batch)
        elif isinstance(layer, Upsample):
            x = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"), layer.conv, batch)
        else:
            x = conv(x, layer, batch)
    return x


def forward(unet: UNet3D, x: Tensor, cond: Tensor, t: Tensor, task: Tensor) -> Tensor:
    """v [b][f][h][w][3] for videos x of the same shape in [-1,1], condition frames [b][h][w][3] in [0,1], times [b]
    and task embeddings [b][4 * model channels]."""
    b, f, h, w, c = x.shape
    whole = torch.cat((x, cond[:, None].expand(-1, f, -1, -1, -1)), dim=-1)
    y = whole.reshape(b * f, h, w, 2 * c).permute(0, 3, 1, 2)
    emb = unet.time_embed(timestep_embedding(t, unet.config.model_channels)) + task
    skips = []
    for layers in unet.input_blocks:
        y = stage(y, emb, layers, b)
        skips.append(y)
    y = stage(y, emb, unet.middle_block, b)
    for layers in unet.output_blocks:
        y = stage(torch.cat((y, skips.pop()), dim=1), emb, layers, b)
    y = conv(norm_silu(y, unet.out[0], b), unet.out[2], b)
    return y.permute(0, 2, 3, 1).reshape(b, f, h, w, -1)
