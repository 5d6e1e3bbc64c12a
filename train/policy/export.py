"""A trained policy as a folder that `vipo act` reads: config.json, policy.safetensors, README.md (docs/policies.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..files import read_json, read_safetensors, replacing, write_json, write_safetensors, write_text
from .config import PolicyConfig, VectorPart
from .learn import actions, task_one_hot
from .nets import Policy
from .samples import Samples

# What the network was shown, for those who show it something else.
PICTURES = (
    "{} (--size, --picture of vipo sim collect), rows as glReadPixels returns them, never flipped; means of squares of pixels "
    "down to the network's size"
)
TYPES = {"f16": torch.float16, "f32": torch.float32}


def export(folder: str | Path, policy: Policy, facts: dict[str, Any], card: str, dtype: str = "f16") -> None:
    """facts: added to config.json as "training", its "seen" tells of which part of which pictures frames are; card: the text of
    README.md."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.to(TYPES[dtype]) for name, value in policy.state_dict().items()}
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"{name} is not finite as {dtype}")
    write_safetensors(folder / "policy.safetensors", tensors)
    named = {"name": facts.get("name", folder.name), "licence": "MIT", "pictures": PICTURES.format(facts["seen"])}
    write_json(folder / "config.json", {**policy.config.document(), **named, "training": facts})
    write_text(folder / "README.md", card)


def write_check(folder: str | Path, samples: Samples, count: int = 3) -> None:
    """check/: some examples as `vipo act` takes them, and the actions of the exported numbers in PyTorch: obs, goal, vector,
    noise, actions, as .npy."""
    policy = load(folder)
    rng = np.random.default_rng(11)
    batch = samples.examples(rng, samples.draw(rng, count))
    noise = rng.standard_normal(batch.action.shape, dtype=np.float32)
    arrays = {"obs": batch.observation, "vector": batch.hand, "actions": actions(policy, batch, samples, noise)}
    if policy.config.kind == "gcp":
        arrays.update(goal=batch.goal, noise=noise)
    else:
        arrays["vector"] = np.concatenate((batch.hand, task_one_hot(policy.config, samples, batch.task)), 1)
    place = Path(folder) / "check"
    place.mkdir(exist_ok=True)
    for name, value in arrays.items():
        with replacing(place / f"{name}.npy") as file:
            np.save(file, value)


def tuple_or_none(value: list[Any] | None) -> tuple[Any, ...] | None:
    return None if value is None else tuple(value)


def read_config(folder: str | Path) -> PolicyConfig:
    """Of a folder that export wrote."""
    path = Path(folder) / "config.json"
    entry = read_json(path)
    if entry.get("format") != "vipo-policy":
        raise ValueError(f"{path}: format {json.dumps(entry.get('format'))}, expected \"vipo-policy\"")
    encoder, action = entry["encoder"], entry["action"]
    vector = tuple(
        VectorPart(p["name"], p["size"], *(tuple_or_none(p.get(key)) for key in ("min", "max", "tasks")))
        for p in entry.get("vector", ())
    )
    common = dict(
        kind=entry["kind"],
        image=entry["image"]["height"],
        widths=tuple(encoder["widths"]),
        channels_per_group=encoder["channels_per_group"],
        keypoints=encoder["keypoints"],
        feature=encoder["feature_size"],
        condition=tuple(entry["condition"]),
        vector=vector,
        action=action["dim"],
        horizon=action["horizon"],
        executed=action["executed"],
    )
    if entry["kind"] == "bc":
        return PolicyConfig(**common, head=tuple(entry["head"]["widths"]))
    unet = entry["unet"]
    return PolicyConfig(
        **common,
        unet_widths=tuple(unet["widths"]),
        kernel=unet["kernel"],
        groups=unet["groups"],
        step_embedding=unet["step_embedding"],
        prediction=entry["diffusion"]["prediction_type"],
        sampler_steps=entry["sampler"]["steps"],
    )


def load(folder: str | Path) -> Policy:
    """The policy of an exported folder, its stored numbers in float32."""
    policy = Policy(read_config(folder)).eval()
    tensors: dict[str, Tensor] = {
        name: value.float() for name, value in read_safetensors(Path(folder) / "policy.safetensors").items()
    }
    policy.load_state_dict(tensors)
    return policy
