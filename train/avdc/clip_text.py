"""CLIP's text transformer with Hugging Face's parameter names (text_model.*)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ClipTextConfig:
    """Sizes as in Hugging Face's CLIPTextConfig."""

    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    vocab_size: int = 49408
    layer_norm_eps: float = 1e-5


def config_from_dict(values: dict[str, Any]) -> ClipTextConfig:
    """Reads a text_encoder section; activations other than quick-GELU are refused."""
    act = values.get("hidden_act", "quick_gelu")
    if act != "quick_gelu":
        raise ValueError(f"hidden_act '{act}' is not supported, expected quick_gelu")
    known = ClipTextConfig.__dataclass_fields__
    return ClipTextConfig(**{k: v for k, v in values.items() if k in known})


class Attention(nn.Module):
    """Multi-head self-attention; `mask` [b or 1, 1, L, L] is true where keys count."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
        y = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1) @ v
        return self.out_proj(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers around quick-GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class EncoderLayer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        dim, eps = config.hidden_size, config.layer_norm_eps
        self.self_attn = Attention(dim, config.num_attention_heads)
        self.layer_norm1 = nn.LayerNorm(dim, eps)
        self.mlp = Mlp(dim, config.intermediate_size)
        self.layer_norm2 = nn.LayerNorm(dim, eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))


class TextTransformer(nn.Module):
    """Ids [b, L] -> last_hidden_state [b, L, hidden], after the final norm."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.embeddings = nn.ModuleDict(
            {
                "token_embedding": nn.Embedding(config.vocab_size, dim),
                "position_embedding": nn.Embedding(config.max_position_embeddings, dim),
            }
        )
        self.encoder = nn.ModuleDict(
            {"layers": nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))}
        )
        self.final_layer_norm = nn.LayerNorm(dim, config.layer_norm_eps)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        length = ids.shape[1]
        positions = self.embeddings["position_embedding"].weight
        if length > positions.shape[0]:
            raise ValueError(f"text has {length} ids, at most {positions.shape[0]} are possible")
        x = self.embeddings["token_embedding"](ids) + positions[:length]
        mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=ids.device).tril()
        if attention_mask is not None:
            mask = mask & attention_mask.bool()[:, None, None, :]
        for layer in self.encoder["layers"]:
            x = layer(x, mask)
        return self.final_layer_norm(x)


class ClipTextModel(nn.Module):
    """Holds the transformer under the name that published weights use."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.text_model = TextTransformer(config)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.text_model(ids, attention_mask)

    def load_published(self, state: dict[str, Tensor]) -> None:
        """Loads text_model.* and ignores the other half of a full CLIP file."""
        own = {
            k: v
            for k, v in state.items()
            if k.startswith("text_model.") and not k.endswith("position_ids")
        }
        self.load_state_dict(own)


def load_clip_text(folder: str | Path) -> ClipTextModel:
    """The text encoder of a model folder, in evaluation mode."""
    from safetensors.torch import load_file

    folder = Path(folder)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = ClipTextModel(config_from_dict(values["text_encoder"]))
    model.load_published(load_file(folder / "text_encoder.safetensors"))
    return model.eval()
