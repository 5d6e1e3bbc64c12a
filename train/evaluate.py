"""python -m train.evaluate --model DIR --data DIR --out DIR: measures a model folder on episodes it was not trained on.

  v error       of the network at ten ranges of timesteps, all held-out clips
  plans         by each sampler from the first frame: PSNR, SSIM and a distance in features (perceptual.py) against the true
                future (all frames, the last one, the pixels that move), beside two baselines: the condition frame repeated,
                and the training clip of the same task and camera whose first frame is nearest; the last frame task by task;
                and once more by the first sampler with a phrasing that was held out
  steering      opposite commands from the same frame: is the plan nearer to the true future of the command, from the
                training scene of that command that looks most like the frame, than to that of its opposite? From the
                first frame, and from amid the episode, where a door is half open and both commands make sense; with --undo
                also from turning points of `vipo sim collect --undo`, where the future of a change of mind is known

Writes evaluation.json, evaluation.md and contact sheets (condition frame and plan, true frames under it).
Samplers are NAME:STEPS, with --vipo also NAME; ddim:N runs in PyTorch unless --vipo names the command, which knows all of its samplers.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np
import torch

from . import measures
from .console import Progress, device_named, run, use_threads
from .dataset import Clip, Dataset, View, open_dataset, read_index
from .files import write_json, write_png, write_text
from .model import Model, vipo_plan
from .perceptual import Perceptual
from .trainer import pick

BINS = 10
START, MIDST, TURNED = "", " from the middle", " from turning points"  # where steering begins
MIDDLE = 0.4  # of a clip, where its object has begun to move
FEATURES = Path(__file__).resolve().parents[1] / "models" / "metaworld-cloning-64"
OPPOSITES = (("faucet-open", "faucet-close"), ("door-open", "door-close"))


class Evaluation:
    """What all measures share."""

    def __init__(self, model: Model, dataset: Dataset, options: argparse.Namespace) -> None:
        self.model, self.dataset, self.vipo = model, dataset, options.vipo
        self.guidance, self.seed, self.threads = options.guidance, options.seed, options.threads
        self.perceptual = Perceptual(options.features, model.device)
        self.view = View(model.crop, model.size, model.config.frames)
        self.view.check(dataset.picture)
        unknown = set(dataset.corpus.tasks) - set(model.values.get("tasks", dataset.corpus.tasks))
        self.train, self.test = dataset.split(options.held_out)
        if not self.test:
            raise ValueError("--held-out 0: expected at least 1 episode of each task to measure with")
        if unknown:
            print(f"note: the model was not trained for {', '.join(sorted(unknown))}")
        self.turned: list[Clip] = []
        if options.undo:
            known = len(dataset.clips)
            dataset.add(open_dataset(options.undo, options.cache, quiet=options.quiet), options.undo)
            self.turned = dataset.clips[known:]

    def video(self, clip: Clip, start: int = 0) -> np.ndarray:
        """float [1+frames][h][w][3] from a frame, the first one unless another is named."""
        return self.view.take(self.dataset, clip, start).astype(np.float32) / 255

    def text(self, task: str) -> str:
        return self.dataset.corpus.texts[task][0]

    def noise(self, clip: Clip, shape: tuple[int, ...]) -> np.ndarray:
        """Of a clip: the same for every sampler and command."""
        key = self.dataset.clips.index(clip)
        return np.random.default_rng([self.seed, key]).standard_normal((1, *shape)).astype(np.float32)

    def plan(self, sampler: str, clip: Clip, text: str, start: int = 0) -> tuple[np.ndarray, float]:
        """[frames][h][w][3], not clipped, and the seconds it took."""
        cond = self.video(clip, start)[0]
        noise = self.noise(clip, (self.view.frames, *cond.shape))
        name, _, steps = sampler.partition(":")
        begun = time.monotonic()
        if self.vipo:
            options = ["-s", name, *(["-n", steps] if steps else []), *(["-g", str(self.guidance)] if self.guidance else [])]
            options += ["-j", str(self.threads)] if self.threads else []
            return vipo_plan(self.vipo, self.model, cond, text, noise, options)[0], time.monotonic() - begun
        device = self.model.device
        inputs = (torch.from_numpy(cond[None]).to(device), self.model.embed([text]), torch.from_numpy(noise).to(device))
        made = self.model.ddim(*inputs, int(steps), self.guidance)[0].cpu().numpy()
        return made, time.monotonic() - begun

    # ---- the network ------------------------------------------------------------------------------------------

    def v_errors(self, clips: Sequence[Clip], progress: Callable[[], None]) -> list[float]:
        """Mean squared error of v at a random time of each of BINS ranges."""
        times, schedule = self.model.schedule.timesteps, self.model.schedule
        errors = np.zeros(BINS)
        for number, clip in enumerate(clips):
            rng = np.random.default_rng([self.seed, 1, number])
            t = torch.from_numpy(((np.arange(BINS) + rng.random(BINS)) / BINS * times).astype(np.int64)).to(self.model.device)
            video = torch.from_numpy(self.video(clip)).to(self.model.device)
            x0 = video[None, 1:] * 2 - 1
            task = self.model.embed([self.text(clip.task)])
            for i in range(BINS):
                noise = torch.from_numpy(rng.standard_normal(tuple(x0.shape)).astype(np.float32)).to(x0.device)
                a, s = schedule.signal_noise(int(t[i]))
                v = self.model.v(a * x0 + s * noise, video[:1], t[i : i + 1], task)
                errors[i] += float((v - (a * noise - s * x0)).square().mean()) / len(clips)
            progress()
        return [round(float(e), 5) for e in errors]

    # ---- plans ------------------------------------------------------------------------------------------------

    def nearest(self, cond: np.ndarray, task: str, camera: str, anywhere: bool = False) -> np.ndarray:
        """Video of the training clip of a task and camera whose first frame, or any frame, is nearest to `cond` in squared error."""
        best: tuple[float, Clip, int] | None = None
        for clip in (c for c in self.train if c.task == task and c.camera == camera):
            starts = list(range(max(clip.count - 1, 1))) if anywhere else [0]
            frames = self.view.pictures(self.dataset, clip, starts).astype(np.float32) / 255
            errors = ((frames - cond) ** 2).mean(axis=(1, 2, 3))
            if best is None or errors.min() < best[0]:
                best = (float(errors.min()), clip, int(errors.argmin()))
        if best is None:
            raise ValueError(f"no clip of {task} from {camera} to compare with")
        return self.video(best[1], best[2])

    def compare(self, made: np.ndarray, video: np.ndarray) -> dict[str, float]:
        """A plan with the true future."""
        made, true = np.clip(made, 0, 1), video[1:]
        moved = measures.moving(video[0], true)
        distances = self.perceptual.distances(made, true)
        return {
            "psnr": measures.psnr(made, true),
            "psnr_last": measures.psnr(made[-1], true[-1]),
            "psnr_moving": measures.psnr_where(made, true, moved),
            "ssim": measures.video_ssim(made, true),
            "ssim_last": measures.ssim(made[-1], true[-1]),
            "features": float(distances.mean()),
            "features_last": float(distances[-1]),
        }

    def baselines(self, clip: Clip) -> dict[str, dict[str, float]]:
        video = self.video(clip)
        other = self.nearest(video[0], clip.task, clip.camera)
        still = video[:1].repeat(self.view.frames, axis=0)
        return {"frame repeated": self.compare(still, video), "nearest training clip": self.compare(other[1:], video)}

    # ---- steering ---------------------------------------------------------------------------------------------

    def steer(self, sampler: str, clip: Clip, command: str, opposite: str, where: str) -> dict[str, Any]:
        """A plan for `command` from a frame of the clip: nearer to its true future than to the opposite's?"""
        start = int(MIDDLE * clip.count) if where == MIDST else 0
        cond = self.video(clip, start)[0]
        made, _ = self.plan(sampler, clip, self.text(command), start)
        distances = []
        for task in (command, opposite):
            true = self.video(clip, start) if task == clip.task else self.nearest(cond, task, clip.camera, where != START)
            # what changes, so that another scene's standing things do not count
            distances.append(float(np.mean(((made - cond[None]) - (true[1:] - true[:1])) ** 2)))
        return {"clip": f"{clip.task}/{clip.camera}/{clip.seed}", "command": command, "to_command": distances[0],
                "to_opposite": distances[1], "right": distances[0] < distances[1]}  # fmt: skip


def mean_of(results: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: round(float(np.mean([r[key] for r in results])), 4) for key in results[0]}


def by_task(clips: Sequence[Clip], plans: dict[str, list[dict[str, float]]], sampler: str) -> dict[str, dict[str, float]]:
    """PSNR of the last frame of each task: the plan's and the baselines'."""
    rows = {}
    for task in sorted({clip.task for clip in clips}):
        own = [i for i, clip in enumerate(clips) if clip.task == task]
        names = (sampler, "frame repeated", "nearest training clip")
        rows[task] = {name: round(float(np.mean([plans[name][i]["psnr_last"] for i in own])), 2) for name in names}
    return rows


def evaluate(e: Evaluation, options: argparse.Namespace) -> dict[str, Any]:
    clips, out = pick(e.test, options.clips), Path(options.out)
    samplers = options.samplers.split(",")
    pairs = [pair for pair in OPPOSITES if set(pair) <= set(e.dataset.corpus.tasks)]
    steered: dict[str, list[Clip]] = {}
    for where, clips_there in ((START, e.test), (MIDST, e.test), (TURNED, e.turned)):
        own = [[c for c in clips_there if c.task == task] for pair in pairs for task in pair]
        steered[where] = [c for of_task in own if of_task for c in pick(of_task, options.steering_clips)]
    v_clips = pick(e.test, options.v_clips)
    progress = Progress(len(v_clips) + len(clips) * (len(samplers) + 1) + 2 * sum(map(len, steered.values())), quiet=options.quiet)
    done = 0

    def one() -> None:
        nonlocal done
        done += 1
        progress.show(done)

    result: dict[str, Any] = {"model": e.model.values.get("name"), "size": e.model.size, "guidance": e.guidance}
    result["held_out_clips"] = len(e.test)
    if v_clips:
        bins = e.v_errors(v_clips, one)
        result["v_mse"] = {"clips": len(v_clips), "bins": bins, "mean": round(float(np.mean(bins)), 5)}
    plans: dict[str, list[dict[str, float]]] = {}
    for clip in clips:
        for name, values in e.baselines(clip).items():
            plans.setdefault(name, []).append(values)
    unseen = f"{samplers[0]}, unseen phrasing"
    for number, clip in enumerate(clips):
        phrases = e.dataset.corpus.held_out[clip.task]
        if phrases:
            made, _ = e.plan(samplers[0], clip, phrases[number % len(phrases)])
            plans.setdefault(unseen, []).append(e.compare(made, e.video(clip)))
        one()
    for sampler in samplers:
        rows: list[np.ndarray] = []
        for clip in clips:
            video = e.video(clip)
            made, seconds = e.plan(sampler, clip, e.text(clip.task))
            plans.setdefault(sampler, []).append({**e.compare(made, video), "seconds": seconds})
            rows += [np.concatenate((video[:1], made)), video]
            one()
        if rows:
            write_png(out / f"plans-{sampler.replace(':', '-')}.png", measures.contact_sheet(rows))
    result["plans"] = {"clips": len(clips), **{name: mean_of(values) for name, values in plans.items()}}
    result["last_frame_by_task"] = by_task(clips, plans, samplers[0])
    steering: dict[str, Any] = {}
    for pair, where in [(pair, where) for pair in pairs for where in steered]:
        tests = []
        for clip in [c for c in steered[where] if c.task in pair]:
            for command in pair:
                tests.append(e.steer(samplers[0], clip, command, pair[1 - pair.index(command)], where))
                one()
        if tests:
            # what does not simply go on: at a turning point the clip's own command is the change of mind
            changes = [t for t in tests if (t["clip"].split("/")[0] == t["command"]) == (where == TURNED)]
            steering["/".join(pair) + where] = {
                "right": sum(t["right"] for t in tests), "of": len(tests),
                "right_against_the_scene": sum(t["right"] for t in changes), "of_these": len(changes),
                "tests": tests,
            }  # fmt: skip
    result["steering"] = steering
    progress.clear()
    return result


def markdown(result: dict[str, Any]) -> str:
    """For a model card."""
    lines = [f"Held out: {result['held_out_clips']} clips.", ""]
    if "v_mse" in result:
        bins = ", ".join(f"{b:.4f}" for b in result["v_mse"]["bins"])
        lines += [f"v-MSE {result['v_mse']['mean']:.4f}; at ten ranges of timesteps, clean to noisy: {bins}.", ""]
    lines += [
        f"Against the true future, mean of {result['plans']['clips']} clips:", "",
        "| | PSNR | last frame | moving pixels | SSIM | last frame | features | last frame |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, values in result["plans"].items():
        if name != "clips":
            numbers = [f"{values[k]:.2f}" for k in ("psnr", "psnr_last", "psnr_moving")]
            numbers += [f"{values[k]:.3f}" for k in ("ssim", "ssim_last", "features", "features_last")]
            lines.append(f"| {name} | " + " | ".join(numbers) + " |")
    rows = result["last_frame_by_task"]
    names = list(next(iter(rows.values())))
    lines += ["", "| PSNR of the last frame | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    lines += [f"| {task} | " + " | ".join(f"{row[n]:.2f}" for n in names) + " |" for task, row in rows.items()]
    for pair, values in result["steering"].items():
        lines += ["", f"Steering {pair}: {values['right']} of {values['of']} plans nearer to the future of their command; where the scene is "
                  f"that of the opposite command, {values['right_against_the_scene']} of {values['of_these']}."]  # fmt: skip
    return "\n".join(lines) + "\n"


def check_samplers(samplers: Sequence[str], vipo: str | None) -> None:
    """Before the first plan is made, since the last sampler's turn comes late."""
    if vipo and not (Path(vipo).is_file() and os.access(vipo, os.X_OK)):
        raise ValueError(f"--vipo {vipo}: not a program")
    for sampler in samplers:
        name, _, steps = sampler.partition(":")
        if name != "ddim" and not vipo:
            raise ValueError(f"sampler '{sampler}' needs --vipo; without it expected ddim:STEPS")
        if (steps or not vipo) and not (steps.isdigit() and 1 <= int(steps)):
            raise ValueError(f"sampler '{sampler}': expected NAME:STEPS" + (" or NAME" if vipo else ""))


def cameras_for(model: Model, data: str) -> list[str] | None:
    """Those of the data that the model was trained with; None: all."""
    there = sorted({info["camera"] for info in read_index(data)})
    known = [camera for camera in there if camera in model.values.get("cameras", there)]
    if not known:
        raise ValueError(f"{data}: cameras {', '.join(there)}, the model was trained with {', '.join(model.values['cameras'])}")
    if known != there:
        print(f"note: only cameras that the model was trained with: {', '.join(known)}")
    return known


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m train.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, metavar="DIR", help="model folder (train.export)")
    add("--data", required=True, metavar="DIR", help="folder of `vipo sim collect`")
    add("--out", required=True, metavar="DIR", help="where results go")
    add("--cache", metavar="DIR", help="where decoded videos are kept, default DATA/cache")
    add("--held-out", type=int, help="episodes of each task, as in the training (default: what the model's config.json says, or 2)")
    add("--samplers", default="ddim:20", metavar="A,B", help="the first one is used for the steering test")
    add("--vipo", metavar="FILE", help="the command, to plan with in place of PyTorch")
    add("--undo", metavar="DIR", help="folder of `vipo sim collect --undo`, not trained with")
    add("--features", default=str(FEATURES), metavar="DIR", help="policy folder whose picture encoder tells how alike pictures are")
    add("--guidance", type=float, default=0.0)
    add("--clips", type=int, default=33, help="at most so many held-out clips are planned")
    add("--v-clips", type=int, default=66, help="at most so many for the v error")
    add("--steering-clips", type=int, default=6, help="of each task of a pair")
    add("--seed", type=int, default=0)
    add("--device", default="auto")
    add("--precision", choices=["bf16", "fp32"], default="fp32")
    add("--threads", type=int, default=0)
    add("--quiet", action="store_true")
    options = parser.parse_args(arguments)
    if min(options.clips, options.v_clips, options.steering_clips) < 0 or options.clips < 1:
        raise ValueError("--clips: expected at least 1, --v-clips and --steering-clips: 0 or more")
    use_threads(options.threads)
    check_samplers(options.samplers.split(","), options.vipo)
    model = Model(options.model, device_named(options.device, options.precision), options.precision == "bf16")
    trained = model.values.get("training", {}).get("held_out", 2)
    if options.held_out is None:
        options.held_out = trained
    elif options.held_out > trained:
        print(f"note: the training held out {trained} episodes of each task; of {options.held_out}, some were trained with")
    dataset = open_dataset(options.data, options.cache, cameras_for(model, options.data), options.quiet)
    Path(options.out).mkdir(parents=True, exist_ok=True)
    e = Evaluation(model, dataset, options)
    result = evaluate(e, options)
    write_json(Path(options.out) / "evaluation.json", result)
    text = markdown(result)
    write_text(Path(options.out) / "evaluation.md", text)
    print(text, end="")


if __name__ == "__main__":
    run("train.evaluate", main)
