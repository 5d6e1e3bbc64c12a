"""Sizes of a policy, as its folder's config.json says them (docs/policies.md), and presets by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

KINDS = ("gcp", "bc")
TIMESTEPS = 100

# What the hand can reach in Meta-World, with a margin (metres), and how far the gripper is open: row [0:4] of observations.
HAND_MIN = (-0.6, 0.3, 0.0, 0.0)
HAND_MAX = (0.6, 1.1, 0.5, 1.0)


@dataclass(frozen=True)
class VectorPart:
    """Numbers that the network gets beside pictures: a one-hot over `tasks`, or values that min and max bring to -1..1."""

    name: str
    size: int
    min: tuple[float, ...] | None = None
    max: tuple[float, ...] | None = None
    tasks: tuple[str, ...] | None = None

    def entry(self) -> dict[str, Any]:
        out: dict[str, Any] = {"name": self.name, "size": self.size}
        for key in ("min", "max", "tasks"):
            value = getattr(self, key)
            if value is not None:
                out[key] = list(value)
        return out


HAND = VectorPart("hand", 4, HAND_MIN, HAND_MAX)


@dataclass(frozen=True)
class PolicyConfig:
    kind: str = "gcp"
    image: int = 128
    # encoder
    widths: tuple[int, ...] = (64, 128, 256, 512)
    channels_per_group: int = 16
    keypoints: int = 32
    feature: int = 64
    condition: tuple[str, ...] = ("goal", "obs")
    vector: tuple[VectorPart, ...] = ()
    # actions
    action: int = 4
    horizon: int = 16
    executed: int = 8
    # gcp
    unet_widths: tuple[int, ...] = (256, 512, 1024)
    kernel: int = 5
    groups: int = 8
    step_embedding: int = 128
    prediction: str = "epsilon"
    sampler_steps: int = 8
    # bc
    head: tuple[int, ...] = (256, 256)

    @property
    def vector_size(self) -> int:
        return sum(part.size for part in self.vector)

    @property
    def context(self) -> int:
        """Numbers that the actions are conditioned on: features, then the vector."""
        return self.feature * len(self.condition) + self.vector_size

    def document(self) -> dict[str, Any]:
        """The members of config.json that a reader needs."""
        out: dict[str, Any] = {
            "format": "vipo-policy",
            "version": 1,
            "kind": self.kind,
            "image": {"height": self.image, "width": self.image},
            "encoder": {
                "widths": list(self.widths),
                "blocks": [2] * len(self.widths),
                "stem_channels": self.widths[0],
                "stem_kernel": 7,
                "channels_per_group": self.channels_per_group,
                "keypoints": self.keypoints,
                "feature_size": self.feature,
            },
            "condition": list(self.condition),
            "vector": [part.entry() for part in self.vector],
            "action": {
                "dim": self.action,
                "horizon": self.horizon,
                "executed": self.executed,
                "min": [-1.0] * self.action,
                "max": [1.0] * self.action,
            },
        }
        if self.kind == "bc":
            return {**out, "head": {"widths": list(self.head)}}
        return {
            **out,
            "unet": {
                "widths": list(self.unet_widths),
                "kernel": self.kernel,
                "groups": self.groups,
                "step_embedding": self.step_embedding,
                "cond_predict_scale": True,
            },
            "diffusion": {
                "timesteps": TIMESTEPS,
                "beta_schedule": "squaredcos_cap_v2",
                "prediction_type": self.prediction,
                "clip_sample": True,
                "clip_sample_range": 1.0,
            },
            "sampler": {"name": "ddim", "steps": self.sampler_steps},
        }


# tiny: for tests. small: a folder of about 2 MB that is trained on a processor. gcp: the size of the paper's network.
PRESETS: dict[str, PolicyConfig] = {
    "tiny": PolicyConfig(
        image=32, widths=(16, 16), channels_per_group=8, keypoints=8, feature=16, unet_widths=(16, 32), kernel=3,
        step_embedding=16, prediction="sample", head=(64,),
    ),
    "small": PolicyConfig(
        image=64, widths=(32, 64, 96), feature=48, unet_widths=(32, 64), kernel=3, step_embedding=32, prediction="sample"
    ),
    "gcp": PolicyConfig(),
}


def find(preset: str, kind: str, tasks: tuple[str, ...] = (), image: int | None = None) -> PolicyConfig:
    """A preset for one kind of policy; behaviour cloning is told the task, one of `tasks`, in place of a goal."""
    if preset not in PRESETS:
        raise ValueError(f"preset '{preset}' is unknown, expected one of {', '.join(PRESETS)}")
    if kind not in KINDS:
        raise ValueError(f"kind '{kind}' is unknown, expected one of {', '.join(KINDS)}")
    config = replace(PRESETS[preset], kind=kind, vector=(HAND,))
    if image is not None:
        config = replace(config, image=image)
    if kind == "bc":
        task = VectorPart("task", len(tasks), tasks=tasks)
        config = replace(config, condition=("obs",), vector=(HAND, task))
    return config
