"""Sizes and schedules by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Sequence

from .avdc.clip_text import ClipTextConfig
from .avdc.config import PRESETS as AVDC
from .avdc.config import PerceiverConfig, UNetConfig


@dataclass(frozen=True)
class Stage:
    """Some steps at one resolution: `size` pixels, `batch` examples in `parts` passes."""

    size: int
    steps: int
    batch: int
    parts: int = 1


@dataclass(frozen=True)
class Preset:
    """`crop`: the middle of the pictures that becomes a frame. The last stage has the size of the model."""

    unet: UNetConfig
    text: ClipTextConfig
    crop: int
    stages: tuple[Stage, ...]
    lr: float
    shift: int = 4


SMALL_TEXT = ClipTextConfig(128, 256, 2, 4)  # its vocabulary is learned


def small(size: int, channel_mult: tuple[int, ...] = (1, 1, 2, 4), attention_ds: tuple[int, ...] = (4, 8)) -> UNetConfig:
    return UNetConfig((size, size), 7, 32, channel_mult, 1, attention_ds, task_token_channels=128)


# tiny: for tests. metaworld-*: networks small enough to plan, and to train, on a processor. mw, thor: AVDC's sizes.
PRESETS: dict[str, Preset] = {
    "tiny": Preset(
        replace(small(16, (1, 2), (2,)), perceiver=PerceiverConfig(1, 2, 32, 8, 2, 64, 2)),
        ClipTextConfig(128, 128, 1, 4),
        32,
        (Stage(8, 100, 4), Stage(16, 100, 4)),
        2e-3,
        1,
    ),
    "metaworld-64": Preset(small(64), SMALL_TEXT, 128, (Stage(32, 6000, 16), Stage(64, 6000, 8)), 6e-4),
    "metaworld-128": Preset(
        small(128), SMALL_TEXT, 128, (Stage(32, 6000, 16), Stage(64, 4000, 8), Stage(128, 2000, 4)), 6e-4
    ),
    "metaworld-128-wide": Preset(
        replace(small(128, (1, 1, 2, 3, 4), (8, 16)), model_channels=64),
        SMALL_TEXT,
        128,
        (Stage(32, 20000, 32), Stage(64, 40000, 32), Stage(128, 60000, 32)),
        3e-4,
    ),
    "mw": Preset(AVDC["mw"], ClipTextConfig(), 128, (Stage(128, 60000, 16, 2),), 1e-4, 16),
    "thor": Preset(AVDC["thor"], ClipTextConfig(), 128, (Stage(64, 60000, 32, 2),), 1e-4, 16),
}


def find(name: str) -> Preset:
    if name not in PRESETS:
        raise ValueError(f"preset '{name}' is unknown, expected one of {', '.join(PRESETS)}")
    return PRESETS[name]


def parse_stages(text: str) -> tuple[Stage, ...]:
    """'32:6000x16,64:4000x8/2': size, steps, examples per step and, after /, passes that they are computed in."""
    stages = []
    for part in text.split(","):
        try:
            size, _, rest = part.partition(":")
            steps, _, rest = rest.partition("x")
            batch, _, parts = rest.partition("/")
            stage = Stage(int(size), int(steps), int(batch), int(parts or 1))
        except ValueError:
            raise ValueError(f"stage '{part}': expected SIZE:STEPSxBATCH or SIZE:STEPSxBATCH/PASSES") from None
        if min(stage.size, stage.steps, stage.batch, stage.parts) < 1 or stage.batch % stage.parts:
            raise ValueError(f"stage '{part}': expected positive numbers, the batch a multiple of the passes")
        stages.append(stage)
    return tuple(stages)


def examples_seen(stages: Sequence[Stage], step: int) -> dict[str, int]:
    """{"32x32": examples, ...} after `step` steps of these stages."""
    out: dict[str, int] = {}
    for stage in stages:
        steps = min(step, stage.steps)
        step -= steps
        if steps:
            name = f"{stage.size}x{stage.size}"
            out[name] = out.get(name, 0) + steps * stage.batch
    return out


def stage_at(stages: tuple[Stage, ...], step: int) -> tuple[int, int, int] | None:
    """(index of the stage, steps of it done, examples of all stages done) after `step` steps; None: all are done."""
    examples = 0
    for i, stage in enumerate(stages):
        if step < stage.steps:
            return i, step, examples + step * stage.batch
        step -= stage.steps
        examples += stage.steps * stage.batch
    return None
