"""Sizes of the video model: presets, model folders and flat test configurations."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PerceiverConfig:
    """Sizes of the resampler that turns text features into the task embedding."""

    depth: int = 2
    heads: int = 8
    dim_head: int = 64
    num_latents: int = 64
    num_latents_mean_pooled: int = 4
    max_seq_len: int = 512
    ff_mult: int = 4


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of the UNet; `attention_ds` holds downsampling factors, not image sizes."""

    image_size: tuple[int, int]  # height, width in pixels
    frames: int
    model_channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    attention_ds: tuple[int, ...]
    in_channels: int = 6
    out_channels: int = 3
    num_head_channels: int = 32
    task_token_channels: int = 512
    norm_groups: int = 32
    dropout: float = 0.0
    perceiver: PerceiverConfig = field(default_factory=PerceiverConfig)

    @property
    def embed_channels(self) -> int:
        """Width of the time and task embeddings."""
        return 4 * self.model_channels


# Published sizes.  LIBERO models have the sizes of mw.
PRESETS: dict[str, UNetConfig] = {
    "mw": UNetConfig((128, 128), 7, 128, (1, 2, 3, 4, 5), 2, (8, 16)),
    "thor": UNetConfig((64, 64), 7, 128, (1, 2, 4), 3, (4, 8)),
    "bridge": UNetConfig((48, 64), 6, 160, (1, 2, 4), 3, (4, 8)),
}


def _perceiver(values: dict[str, Any]) -> PerceiverConfig:
    names = dict(values)
    names["depth"] = names.get("depth", names.get("perceiver_depth", 2))
    known = PerceiverConfig.__dataclass_fields__
    return PerceiverConfig(**{k: int(v) for k, v in names.items() if k in known})


def from_dict(values: dict[str, Any]) -> UNetConfig:
    """Reads a model folder's config.json or the flat style of the test data."""
    nested = "unet" in values
    unet = values["unet"] if nested else values
    frames = values["image"]["future_frames"] if nested else unet["frames"]
    attention = unet["attention_resolutions"] if nested else unet["attention_ds"]
    perceiver = unet.get("task_attnpool" if nested else "perceiver", {})
    height, width = unet["image_size"]
    return UNetConfig(
        image_size=(int(height), int(width)),
        frames=int(frames),
        model_channels=int(unet["model_channels"]),
        channel_mult=tuple(int(m) for m in unet["channel_mult"]),
        num_res_blocks=int(unet["num_res_blocks"]),
        attention_ds=tuple(int(d) for d in attention),
        in_channels=int(unet["in_channels"]),
        out_channels=int(unet["out_channels"]),
        num_head_channels=int(unet["num_head_channels"]),
        task_token_channels=int(unet["task_token_channels"]),
        norm_groups=int(unet.get("group_norm_groups", 32)),
        dropout=float(unet.get("dropout", 0.0)),
        perceiver=_perceiver(perceiver),
    )


def load(path: str | Path) -> UNetConfig:
    """Configuration of a model folder or of a JSON file."""
    path = Path(path)
    if path.is_dir():
        path = path / "config.json"
    return from_dict(json.loads(path.read_text(encoding="utf-8")))


def preset(name: str, **changes: Any) -> UNetConfig:
    """A published size by name, with optional changes."""
    if name not in PRESETS:
        raise ValueError(f"preset '{name}' is unknown; known: {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)


def to_model_folder(config: UNetConfig) -> dict[str, Any]:
    """The content of a model folder's config.json (no text encoder, no tasks)."""
    height, width = config.image_size
    perceiver = asdict(config.perceiver)
    perceiver["perceiver_depth"] = perceiver.pop("depth")
    return {
        "format": "avdc-unet",
        "version": 1,
        "dtype": "float32",
        "image": {
            "height": height,
            "width": width,
            "channels": config.out_channels,
            "future_frames": config.frames,
            "condition_range": [0, 1],
            "target_range": [-1, 1],
        },
        "unet": {
            "image_size": [height, width],
            "in_channels": config.in_channels,
            "model_channels": config.model_channels,
            "out_channels": config.out_channels,
            "num_res_blocks": config.num_res_blocks,
            "attention_resolutions": list(config.attention_ds),
            "dropout": config.dropout,
            "channel_mult": list(config.channel_mult),
            "conv_resample": True,
            "dims": 3,
            "num_classes": None,
            "task_tokens": True,
            "task_token_channels": config.task_token_channels,
            "use_checkpoint": False,
            "use_fp16": False,
            "num_head_channels": config.num_head_channels,
            "num_heads": 1,
            "num_heads_upsample": -1,
            "use_scale_shift_norm": False,
            "resblock_updown": False,
            "use_new_attention_order": False,
            "group_norm_groups": config.norm_groups,
            "task_attnpool": {
                **perceiver,
                "pool": "mean over all latents after the linear layer",
            },
        },
        "diffusion": {
            "timesteps": 100,
            "beta_schedule": "cosine",
            "cosine_s": 0.008,
            "beta_max": 0.999,
            "objective": "pred_v",
            "loss": "l2",
            "min_snr_gamma": 5,
            "ddim_eta": 0.0,
            "clip_x_start": False,
        },
    }
