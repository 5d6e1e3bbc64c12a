"""A video training as an object: steps, validation, checkpoints (train/video.py is the command)."""

from __future__ import annotations

import contextlib
import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import fast, state
from .avdc import config as configs
from .avdc.diffusion import Schedule
from .avdc.unet import UNet3D
from .dataset import Clip, Dataset, Examples, View
from .files import read_json, read_safetensors
from .presets import Preset, Stage, examples_seen, stage_at
from .task_path import TASK, TaskPath, load_of_model, spread

VALIDATION_TIMES = (10, 30, 50, 70, 90)
WARM_UP = 50  # steps, at the beginning of each stage
LAST_LR = 0.05  # share of the learning rate that is left at the end


@dataclass(frozen=True)
class Settings:
    """What a training is, besides its preset. Those of GOES_ON may change when it goes on."""

    stages: tuple[Stage, ...]
    lr: float
    task_lr_scale: float = 0.0  # of the resampler; 0: it stays as train.text left it
    anchor: float = 1.0  # weight of the task embeddings' squared distance from the initial ones
    ema: float = 0.999
    seed: int = 0
    held_out: int = 2
    shift: int = 4
    first_frame: float = 0.25
    no_text: float = 0.1
    clip: float = 1.0
    precision: str = "bf16"
    weighting: str = "min-snr"  # of the timesteps' losses (Schedule.weights)
    task_weight: dict[str, float] | None = None  # how frequent a task is; 1 where it is not named


GOES_ON = ("weighting", "stages", "lr", "task_lr_scale", "anchor", "ema", "clip", "precision")


def load_weights(unet: UNet3D, folder: str | Path, skip_task: bool, texts: list[str]) -> None:
    """Weights of a model folder. Without its task path: what that adds on average over `texts` goes into the bias of
    the time embedding, so that a network whose text path had collapsed stays the function that it was."""
    folder = Path(folder)
    weights = {name: value.float() for name, value in read_safetensors(folder / "unet.safetensors").items()}
    own = dict(unet.state_dict())
    if skip_task:
        if "text_encoder" in read_json(folder / "config.json"):
            path = load_of_model(folder, configs.load(folder), weights)
            with torch.no_grad():
                weights["time_embed.2.bias"] += path(texts).mean(dim=0)
        weights = {k: v for k, v in weights.items() if not k.startswith(TASK)}
        own = {k: v for k, v in own.items() if not k.startswith(TASK)}
    for name, value in own.items():
        if name not in weights:
            raise ValueError(f"{folder}: no {name}, which this preset has")
        if weights[name].shape != value.shape:
            raise ValueError(f"{folder}: {name} is {list(weights[name].shape)}, this preset has {list(value.shape)}")
    if len(weights) != len(own):
        raise ValueError(f"{folder}: {sorted(set(weights) - set(own))[0]} is not part of this preset")
    unet.load_state_dict(weights, strict=False)


class Trainer:
    """`path` gives the task embeddings; its resampler becomes the UNet's and, with task_lr_scale 0, stays as it is."""

    def __init__(
        self, preset: Preset, settings: Settings, dataset: Dataset, path: TaskPath, device: torch.device, compiled: bool = False
    ) -> None:
        self.preset, self.settings, self.dataset, self.device = preset, settings, dataset, device
        torch.manual_seed(settings.seed)
        self.unet = UNet3D(preset.unet).to(device)
        self.unet.task_attnpool.load_state_dict(path.resampler.state_dict())
        self.schedule = Schedule().to(device)
        self.weight = self.schedule.weights(settings.weighting)
        corpus = dataset.corpus
        self.texts: list[str | None] = [t for task in corpus.tasks for t in corpus.texts[task]] + [None]
        self.row = {text: row for row, text in enumerate(self.texts)}
        with torch.no_grad():
            self.features = [f.to(device) for f in path.features(self.texts)]
            self.initial = path(self.texts).to(device)
            self.frozen = self._embedded()
        self.seen: dict[str, int] = {}  # examples so far, by size: {"32x32": 48000}
        self.train_clips, self.test_clips = dataset.split(settings.held_out)
        self.examples = Examples(
            dataset, self.train_clips, settings.seed, settings.shift, settings.first_frame, settings.no_text,
            settings.task_weight,
        )  # fmt: skip
        task = [p for n, p in self.unet.named_parameters() if n.startswith(TASK)]
        rest = [p for n, p in self.unet.named_parameters() if not n.startswith(TASK)]
        for p in task:
            p.requires_grad_(settings.task_lr_scale > 0)
        groups = [{"params": rest, "scale": 1.0}, {"params": task, "scale": settings.task_lr_scale}]
        self.optimizer = torch.optim.Adam(groups, lr=settings.lr, betas=(0.9, 0.99))
        self.ema = state.Ema(self.unet, settings.ema)
        self.step = 0
        self.forward = self._plain_forward
        if compiled:
            self.forward = torch.compile(self._plain_forward, dynamic=False)
        self.pool = ThreadPoolExecutor(1) if device.type == "cuda" else None
        self.coming: tuple[int, Future[Any]] | None = None

    def _plain_forward(self, x: Tensor, cond: Tensor, t: Tensor, task: Tensor) -> Tensor:
        return fast.forward(self.unet, x, cond, t, task)

    def start_from(self, folder: str | Path, skip_task: bool) -> None:
        """Weights of a model folder in place of random ones. Unless its task path is left out, `path` must have been it."""
        load_weights(self.unet, folder, skip_task, [t for t in self.texts if t is not None])
        with torch.no_grad():
            self.frozen = self._embedded()
        apart = float((self.frozen - self.initial).square().mean().sqrt() / self.initial.square().mean().sqrt())
        if apart > 0.01:
            raise ValueError(f"{folder}: its text path is not the one to train with, texts differ by {apart:.3g} of their size")
        self.ema = state.Ema(self.unet, self.settings.ema)

    @property
    def total_steps(self) -> int:
        return sum(stage.steps for stage in self.settings.stages)

    def view(self, size: int) -> View:
        return View(self.preset.crop, size, self.preset.unet.frames)

    def _autocast(self) -> Any:
        if self.settings.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def embeddings(self) -> Tensor:
        """Of self.texts."""
        return self.frozen if self.settings.task_lr_scale == 0 else self._embedded()

    def _embedded(self) -> Tensor:
        """By the UNet's own resampler, which is what is exported."""
        out: list[Tensor] = [self.initial[0]] * len(self.texts)
        for length in {len(f) for f in self.features}:
            rows = [r for r, f in enumerate(self.features) if len(f) == length]
            for row, value in zip(rows, self.unet.embed_task(torch.stack([self.features[r] for r in rows]))):
                out[row] = value
        return torch.stack(out)

    def task_spread(self) -> float:
        """Over the tasks' names: what must not collapse."""
        rows = [self.row[texts[0]] for texts in self.dataset.corpus.texts.values()]
        with torch.no_grad():
            return spread(self.embeddings()[rows])

    # ---- a step -------------------------------------------------------------------------------------------

    def _batch(self, step: int) -> tuple[np.ndarray, list[str | None]]:
        stage, _, first = self._place(step)
        return self.examples.batch(first, stage.batch, self.view(stage.size))

    def _place(self, step: int) -> tuple[Stage, int, int]:
        """The stage of a step, steps of it done, examples seen before."""
        place = stage_at(self.settings.stages, step)
        if place is None:
            raise ValueError(f"step {step} is beyond the last one, {self.total_steps}")
        return self.settings.stages[place[0]], place[1], place[2]

    def _next_batch(self) -> tuple[np.ndarray, list[str | None]]:
        if self.pool is None:
            return self._batch(self.step)
        step, future = self.coming or (self.step, self.pool.submit(self._batch, self.step))
        batch = future.result() if step == self.step else self._batch(self.step)
        self.coming = None
        if self.step + 1 < self.total_steps:
            self.coming = (self.step + 1, self.pool.submit(self._batch, self.step + 1))
        return batch

    def learning_rate(self) -> float:
        _, done, _ = self._place(self.step)
        share = LAST_LR + (1 - LAST_LR) * 0.5 * (1 + math.cos(math.pi * self.step / self.total_steps))
        return self.settings.lr * share * min(1.0, (done + 1) / WARM_UP)

    def _times_and_noise(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """From the seed and the step alone. Times are spread over all of them: one in each of as many parts."""
        generator = torch.Generator().manual_seed((self.settings.seed * 1_000_003 + self.step) % 2**63)
        n = shape[0]
        order = torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)
        t = (order / n * self.schedule.timesteps).long().clamp(max=self.schedule.timesteps - 1)
        return t, torch.randn(shape, generator=generator)

    def run_step(self) -> dict[str, float]:
        """One optimizer step: {"loss", "v_mse", "grad"}."""
        stage, _, _ = self._place(self.step)
        pictures, texts = self._next_batch()
        videos = torch.from_numpy(pictures).to(self.device).float().div_(255)
        target, cond = videos[:, 1:] * 2 - 1, videos[:, 0]
        t, noise = (x.to(self.device) for x in self._times_and_noise(tuple(target.shape)))
        rows = torch.tensor([self.row[text] for text in texts], device=self.device)
        lr = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        self.unet.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = v_mse = 0.0
        for part in torch.arange(stage.batch).chunk(stage.parts):
            i = part.to(self.device)
            part_loss, error = self._loss(target[i], cond[i], t[i], noise[i], rows[i])
            (part_loss * (len(i) / stage.batch)).backward()
            loss += part_loss.item() * len(i) / stage.batch
            v_mse += error.item() * len(i) / stage.batch
        norm = float(nn.utils.clip_grad_norm_(self.unet.parameters(), self.settings.clip))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise ValueError(f"step {self.step + 1}: the loss is {loss}, its gradient {norm}: try a smaller --lr or --precision fp32")
        self.optimizer.step()
        self.ema.update(self.unet)
        self.step += 1
        name = f"{stage.size}x{stage.size}"
        self.seen[name] = self.seen.get(name, 0) + stage.batch
        return {"loss": loss, "v_mse": v_mse, "grad": norm, "lr": lr}

    def _loss(self, x0: Tensor, cond: Tensor, t: Tensor, noise: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, 1, 1, 1, 1)
        a = self.schedule.sqrt_alphas_cumprod[t].view(shape)
        s = self.schedule.sqrt_one_minus_alphas_cumprod[t].view(shape)
        table = self.embeddings()
        with self._autocast():
            v = self.forward(a * x0 + s * noise, cond, t, table[rows])
        error = (v.float() - (a * noise - s * x0)).square().flatten(1).mean(dim=1)
        loss = (error * self.weight[t]).mean()
        if self.settings.task_lr_scale > 0:
            loss = loss + self.settings.anchor * (table - self.initial).square().mean()
        return loss, error.detach().mean()

    # ---- validation -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def validate(self, most: int) -> float | None:
        """v error of the running mean on clips never trained on, from their first frames; None: there are none."""
        clips = pick(self.test_clips, most)
        if not clips:
            return None
        place = stage_at(self.settings.stages, max(self.step - 1, 0))  # of the last step, not of the next one
        view, errors = self.view(self.settings.stages[place[0] if place else -1].size), []
        generator = torch.Generator().manual_seed(self.settings.seed)
        with state.UsingEma(self.unet, self.ema):
            self.unet.eval()
            table = self.embeddings()
            for clip in clips:
                video = torch.from_numpy(view.take(self.dataset, clip)).to(self.device).float().div_(255)
                x0, cond = (video[1:] * 2 - 1).expand(len(VALIDATION_TIMES), -1, -1, -1, -1), video[:1]
                t = torch.tensor(VALIDATION_TIMES, device=self.device)
                noise = torch.randn(tuple(x0.shape), generator=generator).to(self.device)
                row = self.row[self.dataset.corpus.texts[clip.task][0]]
                a = self.schedule.sqrt_alphas_cumprod[t].view(-1, 1, 1, 1, 1)
                s = self.schedule.sqrt_one_minus_alphas_cumprod[t].view(-1, 1, 1, 1, 1)
                with self._autocast():
                    v = fast.forward(
                        self.unet, a * x0 + s * noise, cond.expand(len(t), -1, -1, -1), t, table[row].expand(len(t), -1)
                    )
                errors.append(float((v.float() - (a * noise - s * x0)).square().mean()))
        return sum(errors) / len(errors)

    # ---- checkpoints ------------------------------------------------------------------------------------------

    def content(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seen": self.seen,
            "unet": self.unet.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "clips": len(self.dataset.clips),
            "frames": self.dataset.total,
            "data": self.dataset.fingerprint(),
        }

    def restore(self, content: dict[str, Any]) -> None:
        now = (len(self.dataset.clips), self.dataset.total)
        if (content["clips"], content["frames"]) != now:
            raise ValueError(
                f"the training began with {content['clips']} clips of {content['frames']} frames, "
                f"the data has {now[0]} of {now[1]}: expected the same data"
            )
        data = self.dataset.fingerprint()
        if content.get("data", data) != data:
            raise ValueError("the training began with other clips or texts, though with as many: expected the same data, in the same order")
        try:
            self.unet.load_state_dict(content["unet"])
            self.ema.load_state_dict(content["ema"])
            self.optimizer.load_state_dict(content["optimizer"])
        except RuntimeError as problem:
            raise ValueError(f"the checkpoint does not fit: {str(problem).splitlines()[-1].strip()}") from None
        for group, scale in zip(self.optimizer.param_groups, (1.0, self.settings.task_lr_scale)):
            group["scale"] = scale
        self.step, self.seen = content["step"], content.get("seen") or examples_seen(self.settings.stages, content["step"])
        with torch.no_grad():
            self.frozen = self._embedded()
        state.set_random_state(content["random"])


def pick(clips: list[Clip], most: int) -> list[Clip]:
    """At most `most` of them, evenly."""
    if len(clips) <= most:
        return clips
    return [clips[i * len(clips) // most] for i in range(most)]
