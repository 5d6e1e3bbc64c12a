"""Networks of the policies, with the state-dict names of the GCP release (Luo and Du 2024) and of Diffusion Policy (Chi et
al. 2023, ConditionalUnet1D): a ResNet with group normalisation and a spatial softmax per picture, then a 1-D U-Net that
denoises the actions, or an MLP that says them (behaviour cloning)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .config import PolicyConfig

# ---- pictures -----------------------------------------------------------------------------------------------


class GroupNorm(nn.GroupNorm):
    """Computes in the type of x: PyTorch 1.13 does not mix bfloat16 with float32."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class BasicBlock(nn.Module):
    def __init__(self, channels: int, out: int, stride: int, per_group: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = GroupNorm(out // per_group, out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = GroupNorm(out // per_group, out)
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), GroupNorm(out // per_group, out)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + skip)


class Backbone(nn.Module):
    """ResNet without its pooling and classifier; every normalisation is by groups."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        channels, per_group = config.widths[0], config.channels_per_group
        layers = [
            nn.Conv2d(3, channels, 7, 2, 3, bias=False),
            GroupNorm(channels // per_group, channels),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        ]
        for stage, width in enumerate(config.widths):
            first = BasicBlock(channels, width, 1 if stage == 0 else 2, per_group)
            layers.append(nn.Sequential(first, BasicBlock(width, width, 1, per_group)))
            channels = width
        self.nets = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.nets(x)


class SpatialSoftmax(nn.Module):
    """Expected place (x, y) of each keypoint, -1..1 from the first to the last cell."""

    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.nets = nn.Conv2d(channels, keypoints, 1)
        self.register_buffer("temperature", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        logits = self.nets(x)
        b, k, h, w = logits.shape
        share = torch.softmax(logits.reshape(b, k, h * w) / self.temperature, -1).reshape(b, k, h, w)
        at_x = torch.linspace(-1, 1, w, device=x.device)
        at_y = torch.linspace(-1, 1, h, device=x.device)
        return torch.stack(((share.sum(2) * at_x).sum(-1), (share.sum(3) * at_y).sum(-1)), -1)


class PictureEncoder(nn.Module):
    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.nets = nn.Sequential(
            Backbone(config),
            SpatialSoftmax(config.widths[-1], config.keypoints),
            nn.Flatten(),
            nn.Linear(2 * config.keypoints, config.feature),
        )

    def forward(self, picture: Tensor, half: bool = False) -> Tensor:
        """picture [b, 3, h, w] in [-1, 1]; half: the convolutions in bfloat16, what follows in float32."""
        with torch.autocast(picture.device.type, torch.bfloat16, enabled=half):
            cells = self.nets[0](picture)
        return self.nets[3](self.nets[2](self.nets[1](cells.float())))


class ObservationEncoder(nn.Module):
    """An encoder of its own for each picture."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.condition = config.condition
        self.key_model_map = nn.ModuleDict({f"img_{name}_1": PictureEncoder(config) for name in config.condition})

    def forward(self, pictures: dict[str, Tensor], half: bool = False) -> Tensor:
        return torch.cat([self.key_model_map[f"img_{name}_1"](pictures[name], half) for name in self.condition], -1)


# ---- actions ------------------------------------------------------------------------------------------------


class StepEmbedding(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.half = size // 2

    def forward(self, t: Tensor) -> Tensor:
        frequency = torch.exp(torch.arange(self.half, device=t.device) * (-math.log(10000) / (self.half - 1)))
        angle = t.float()[:, None] * frequency
        return torch.cat((angle.sin(), angle.cos()), -1)


class Block1d(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv1d(channels, out, kernel, padding=kernel // 2), nn.GroupNorm(groups, out), nn.Mish()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class ResidualBlock1d(nn.Module):
    """The condition scales and shifts what lies between the two convolutions."""

    def __init__(self, channels: int, out: int, context: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList((Block1d(channels, out, kernel, groups), Block1d(out, out, kernel, groups)))
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(context, 2 * out))
        self.residual_conv = nn.Conv1d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        scale, bias = self.cond_encoder(context)[:, :, None].chunk(2, 1)
        return self.blocks[1](scale * self.blocks[0](x) + bias) + self.residual_conv(x)


class Downsample1d(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample1d(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(channels, channels, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ConditionalUnet1D(nn.Module):
    """As in the reference every up level doubles the length, so the first skip is never used."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        widths, size = config.unet_widths, config.step_embedding
        context = size + config.context

        def block(channels: int, out: int) -> ResidualBlock1d:
            return ResidualBlock1d(channels, out, context, config.kernel, config.groups)

        self.diffusion_step_encoder = nn.Sequential(
            StepEmbedding(size), nn.Linear(size, 4 * size), nn.Mish(), nn.Linear(4 * size, size)
        )
        self.down_modules, self.up_modules = nn.ModuleList(), nn.ModuleList()
        channels = config.action
        for level, width in enumerate(widths):
            last = level == len(widths) - 1
            down = nn.Identity() if last else Downsample1d(width)
            self.down_modules.append(nn.ModuleList((block(channels, width), block(width, width), down)))
            channels = width
        self.mid_modules = nn.ModuleList((block(channels, channels), block(channels, channels)))
        for width, wider in reversed(list(zip(widths[:-1], widths[1:]))):
            self.up_modules.append(nn.ModuleList((block(2 * wider, width), block(width, width), Upsample1d(width))))
        self.final_conv = nn.Sequential(
            Block1d(widths[0], widths[0], config.kernel, config.groups), nn.Conv1d(widths[0], config.action, 1)
        )

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """x [b, horizon, action], t [b], condition [b, context] -> [b, horizon, action]."""
        context = torch.cat((self.diffusion_step_encoder(t), condition), -1)
        x, skips = x.transpose(1, 2), []
        for first, second, down in self.down_modules:
            x = second(first(x, context), context)
            skips.append(x)
            x = down(x)
        for middle in self.mid_modules:
            x = middle(x, context)
        for first, second, up in self.up_modules:
            x = up(second(first(torch.cat((x, skips.pop()), 1), context), context))
        return self.final_conv(x).transpose(1, 2)


# ---- policies -----------------------------------------------------------------------------------------------


class Policy(nn.Module):
    """Pictures and vector to a condition; `model` (gcp) or `head` (bc) from there to actions in [-1, 1]."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.obs_encoder = ObservationEncoder(config)
        if config.kind == "gcp":
            self.model = ConditionalUnet1D(config)
            return
        layers: list[nn.Module] = []
        size = config.context
        for width in config.head:
            layers += [nn.Linear(size, width), nn.ReLU()]
            size = width
        self.head = nn.Sequential(*layers, nn.Linear(size, config.horizon * config.action))

    def encode(self, pictures: dict[str, Tensor], vector: Tensor, half: bool = False) -> Tensor:
        """pictures [b, 3, h, w] in [-1, 1]; vector [b, n], scaled as the config says."""
        return torch.cat((self.obs_encoder(pictures, half), vector), -1)

    def say(self, condition: Tensor) -> Tensor:
        """bc: [b, context] -> [b, horizon, action]."""
        return self.head(condition).reshape(-1, self.config.horizon, self.config.action)


def scale_vector(config: PolicyConfig, parts: dict[str, Tensor]) -> Tensor:
    """Concatenates the parts of the vector in the config's order; those with min and max go to -1..1."""
    out = []
    for part in config.vector:
        value = parts[part.name].float()
        if part.min is not None and part.max is not None:
            low, high = value.new_tensor(part.min), value.new_tensor(part.max)
            value = 2 * (value - low) / (high - low) - 1
        out.append(value)
    return torch.cat(out, -1) if out else torch.zeros(0)
