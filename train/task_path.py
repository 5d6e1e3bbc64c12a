"""From a text to the task embedding that the UNet adds to the time embedding: tokenizer, text encoder, resampler."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Mapping, Sequence

import torch
from torch import Tensor, nn

from . import tokenizer as tokenizers
from .avdc.clip_text import ClipTextConfig, ClipTextModel, config_from_dict
from .avdc.config import UNetConfig
from .avdc.unet import PerceiverResampler
from .files import read_json, read_safetensors, write_json, write_safetensors

TASK = "task_attnpool."  # of the UNet's names


class TaskPath(nn.Module):
    """`resampler` has the names and shapes of the UNet's task_attnpool."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, text: ClipTextConfig, unet: UNetConfig) -> None:
        super().__init__()
        if text.hidden_size != unet.task_token_channels:
            raise ValueError(
                f"the text encoder has {text.hidden_size} channels, the UNet takes {unet.task_token_channels}: expected the same"
            )
        if text.vocab_size < len(tokenizer.vocab):
            raise ValueError(f"vocab.json has {len(tokenizer.vocab)} tokens, the text encoder {text.vocab_size}")
        self.tokenizer, self.text_config = tokenizer, text
        self.encoder = ClipTextModel(text)
        self.resampler = nn.Sequential(
            PerceiverResampler(unet.task_token_channels, unet.perceiver),
            nn.Linear(unet.task_token_channels, unet.embed_channels),
        )

    def features(self, texts: Sequence[str | None]) -> list[Tensor]:
        """[length][channels] of each text; a missing text has the features of an empty one, times 0, as AVDC has it.
        Texts are never padded: a plan is made from one text."""
        ids = [self.tokenizer.encode(text or "", self.text_config.max_position_embeddings) for text in texts]
        device = self.encoder.text_model.final_layer_norm.weight.device
        out: list[Tensor] = [torch.empty(0)] * len(texts)
        for length in {len(i) for i in ids}:
            rows = [r for r, i in enumerate(ids) if len(i) == length]
            states = self.encoder(torch.tensor([ids[r] for r in rows], device=device))
            for state, row in zip(states, rows):
                out[row] = state if texts[row] is not None else state * 0
        return out

    def pool(self, features: Sequence[Tensor]) -> Tensor:
        """Features -> task embeddings [n][4 * model channels]."""
        out: dict[int, Tensor] = {}
        for length in {len(f) for f in features}:
            rows = [r for r, f in enumerate(features) if len(f) == length]
            pooled = self.resampler(torch.stack([features[r] for r in rows])).mean(dim=1)
            out.update(zip(rows, pooled))
        return torch.stack([out[r] for r in range(len(features))])

    def forward(self, texts: Sequence[str | None]) -> Tensor:
        return self.pool(self.features(texts))

    def save(self, folder: str | Path, report: dict[str, Any]) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(folder)
        write_safetensors(folder / "text_encoder.safetensors", self.encoder.state_dict())
        write_safetensors(folder / "task_path.safetensors", self.resampler.state_dict())
        write_json(folder / "config.json", {"text_encoder": encoder_json(self), "report": report})


def encoder_json(path: TaskPath) -> dict[str, Any]:
    """The text_encoder section of a model folder."""
    ids = {"bos_token_id": path.tokenizer.begin, "eos_token_id": path.tokenizer.end, "pad_token_id": path.tokenizer.end}
    return {"type": "CLIPTextModel", **asdict(path.text_config), "hidden_act": "quick_gelu", **ids}


def load_encoder(folder: str | Path, unet: UNetConfig) -> TaskPath:
    """A folder with config.json, vocab.json, merges.txt and text_encoder.safetensors, or one of CLIP as Hugging Face has it
    (text_config, model.safetensors); the resampler stays random unless there is task_path.safetensors."""
    folder = Path(folder)
    values, weights = read_json(folder / "config.json"), folder / "text_encoder.safetensors"
    section = values.get("text_encoder")
    if section is None:
        section = values if values.get("model_type") == "clip_text_model" else values.get("text_config")
        weights = folder / "model.safetensors"
    if section is None:
        raise ValueError(f"{folder / 'config.json'}: no text_encoder section, and no text_config")
    path = TaskPath(tokenizers.load(folder), config_from_dict(section), unet)
    try:
        path.encoder.load_published({k: v.float() for k, v in read_safetensors(weights).items()})
        if (folder / "task_path.safetensors").exists():
            path.resampler.load_state_dict(read_safetensors(folder / "task_path.safetensors"))
    except RuntimeError as problem:
        raise ValueError(f"{folder}: weights do not fit: {str(problem).splitlines()[-1].strip()}") from None
    return path


def load_of_model(folder: str | Path, unet: UNetConfig, weights: Mapping[str, Tensor]) -> TaskPath:
    """The whole path of a model folder; weights: those of its UNet, which the resampler is part of."""
    path = load_encoder(folder, unet)
    try:
        path.resampler.load_state_dict({k[len(TASK) :]: v.float() for k, v in weights.items() if k.startswith(TASK)})
    except RuntimeError as problem:
        raise ValueError(f"{folder}: weights do not fit: {str(problem).splitlines()[-1].strip()}") from None
    return path


def spread(embeddings: Tensor) -> float:
    """Root mean square distance of embeddings [n][c] from their mean, per channel."""
    return float((embeddings - embeddings.mean(dim=0)).square().mean().sqrt())
