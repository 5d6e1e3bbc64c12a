"""python -m train.text --data DIR --preset NAME --out DIR: trains the way from a text to the task embedding.

A small CLIP text transformer and the UNet's resampler are trained together to bring the ways of saying one task
together and those of different tasks apart (supervised contrastive loss, Khosla et al. 2020). The embedding of no text
is drawn to zero, those of texts to a given size, so that the spread over the tasks is there from the first step
of the video training, where it would otherwise collapse. The video training then leaves them as they are.
With --encoder a trained text encoder (CLIP's) is taken as it is and only the resampler is trained.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import tokenizer as tokenizers
from .avdc.config import UNetConfig
from .console import Progress, run, use_threads
from .dataset import Corpus, corpus_of, read_index
from .presets import find
from .task_path import TaskPath, load_encoder, spread

EMBEDDING_SIZE = 0.5  # root mean square of a task embedding while the path is trained
GAIN = 4.0  # of the trained path: the time embedding's is 3.7, and beside it small embeddings are learned from slowly
TEMPERATURE = 0.1
DROPPED_WORDS = 0.15


def drop_words(text: str, rng: np.random.Generator) -> str:
    """Leaves out words at random, but never all."""
    words = text.split()
    kept = [word for word in words if rng.random() >= DROPPED_WORDS]
    return " ".join(kept or words)


def contrastive(embeddings: Tensor, labels: Tensor) -> Tensor:
    """For each embedding [n][c]: the mean log probability of picking one of the same label among all others."""
    unit = F.normalize(embeddings, dim=-1)
    alone = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    logits = (unit @ unit.T / TEMPERATURE).masked_fill(alone, -1e9)
    same = (labels[:, None] == labels[None]) & ~alone
    log_share = logits.log_softmax(dim=1)
    return -((log_share * same).sum(dim=1) / same.sum(dim=1).clamp(min=1))[same.any(dim=1)].mean()


def loss_of(path: TaskPath, texts: list[str], labels: Tensor, features: list[Tensor] | None = None) -> Tensor:
    """Texts are two views of each phrase. features: of the texts and of no text, where they are known."""
    embeddings = path.pool(features) if features else path([*texts, None])
    size = embeddings[:-1].square().mean(dim=1).sqrt()
    away = (size / EMBEDDING_SIZE - 1).square().mean() + embeddings[-1].square().mean() / EMBEDDING_SIZE**2
    common = embeddings[:-1].mean(dim=0).square().mean() / EMBEDDING_SIZE**2
    return contrastive(embeddings[:-1], labels) + away + common


@torch.no_grad()
def report_on(path: TaskPath, corpus: Corpus) -> dict[str, Any]:
    """Spread, the part that all tasks share, and how many phrases are nearest to the mean of their own task."""
    means = torch.stack([path(texts).mean(dim=0) for texts in corpus.texts.values()])

    def right(phrases: dict[str, list[str]]) -> list[int]:
        hits = total = 0
        for label, texts in enumerate(phrases.values()):
            if texts:
                nearest = torch.cdist(path(texts), means).argmin(dim=1)
                hits, total = hits + int((nearest == label).sum()), total + len(texts)
        return [hits, total]

    return {
        "spread": round(spread(means), 4),
        "common": round(float(means.mean(dim=0).square().mean().sqrt()), 4),
        "without_text": round(float(path([None]).square().mean().sqrt()), 4),
        "training_phrases_right": right(corpus.texts),
        "held_out_phrases_right": right(corpus.held_out),
    }


def train_path(
    corpus: Corpus,
    unet: UNetConfig,
    make: Callable[[], TaskPath],
    frozen_encoder: bool,
    steps: int,
    seed: int,
    lr: float = 1e-3,
    quiet: bool = False,
    log: Callable[[str], None] = print,
) -> tuple[TaskPath, dict[str, Any]]:
    """The trained path and its report."""
    torch.manual_seed(seed)
    path = make()
    path.encoder.requires_grad_(not frozen_encoder)
    optimizer = torch.optim.AdamW([p for p in path.parameters() if p.requires_grad], lr=lr, weight_decay=0.01)
    rng = np.random.default_rng(seed)
    phrases = [(text, label) for label, texts in enumerate(corpus.texts.values()) for text in texts]
    most = 32  # phrases in a step
    progress = Progress(steps, quiet=quiet)
    for step in range(steps):
        chosen = [phrases[i] for i in rng.permutation(len(phrases))[:most]]
        texts = [text for text, _ in chosen] + [drop_words(text, rng) for text, _ in chosen]
        labels = torch.tensor([label for _, label in chosen] * 2)
        features = None
        if frozen_encoder:
            with torch.no_grad():
                features = path.features([*texts, None])
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 20) * (1 - step / steps)
        loss = loss_of(path, texts, labels, features)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(path.parameters(), 1.0)
        optimizer.step()
        progress.show(step + 1, f"loss {loss.item():.3f}")
        if not quiet and (step % 50 == 0 or step == steps - 1):
            progress.clear()
            log(f"text step {step + 1} loss {loss.item():.4f}")
    progress.clear()
    path.eval().requires_grad_(False)
    path.resampler[-1].weight *= GAIN
    path.resampler[-1].bias *= GAIN
    return path, {"steps": steps, "seed": seed, **report_on(path, corpus)}


def new_path(
    corpus: Corpus,
    preset_name: str,
    encoder: str | None,
    steps: int,
    seed: int,
    quiet: bool = False,
    log: Callable[[str], None] = print,
) -> tuple[TaskPath, dict[str, Any]]:
    """A path for the preset: trained as a whole, or behind the text encoder of a folder."""
    preset = find(preset_name)

    def make() -> TaskPath:
        if encoder:
            return load_encoder(encoder, preset.unet)
        tokenizer = tokenizers.learn(text for texts in corpus.texts.values() for text in texts)
        return TaskPath(tokenizer, replace(preset.text, vocab_size=len(tokenizer.vocab)), preset.unet)

    return train_path(corpus, preset.unet, make, encoder is not None, steps, seed, quiet=quiet, log=log)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m train.text", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of `vipo sim collect`: its texts are used")
    parser.add_argument("--preset", required=True, metavar="NAME", help="sizes, as for train.video")
    parser.add_argument("--out", required=True, metavar="DIR", help="what train.video takes as --text")
    parser.add_argument("--encoder", metavar="DIR", help="folder with a trained text encoder to build on")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="default: PyTorch's choice")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        raise ValueError(f"--steps {options.steps}: expected at least 1")
    use_threads(options.threads)
    for name in ("checkpoint.pt", "unet.safetensors"):
        if (Path(options.out) / name).exists():
            raise ValueError(f"{options.out}: has a {name}, expected a folder of its own for the text path")
    corpus = corpus_of(read_index(options.data), options.data)
    path, report = new_path(corpus, options.preset, options.encoder, options.steps, options.seed, options.quiet)
    path.save(options.out, report)
    print(f"{options.out}: {report}")


if __name__ == "__main__":
    run("train.text", main)
