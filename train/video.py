"""python -m train.video --data DIR --preset NAME --out RUN: trains a video model.

RUN is made if it is not there; if it is, the training in it goes on from its last checkpoint, with the same losses as if
it had never stopped. Ctrl-C and SIGTERM end after the step under way, with a checkpoint. Then: python -m train.export.

  RUN/checkpoint.pt   everything that the training goes on from
  RUN/config.json     what it is
  RUN/metrics.jsonl   loss, v_mse, learning rate, validation, spread of the task embeddings
  RUN/text/           the text path that it began with (python -m train.text)
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from . import state
from .avdc.diffusion import WEIGHTINGS
from .console import Progress, device_named, duration, run, use_threads
from .dataset import Dataset, Examples, open_dataset
from .files import only_process, read_json, read_safetensors, write_json, write_text
from .presets import Preset, Stage, find, parse_stages, stage_at
from .task_path import TaskPath, load_encoder, load_of_model
from .text import new_path, report_on
from .trainer import GOES_ON, Settings, Trainer


BEGINS_WITH = ("init", "init_skip", "text")  # options that only the beginning of a training looks at


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train.video", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", required=True, metavar="DIR", help="folder of `vipo sim collect`")
    add("--more", action="append", default=[], metavar="DIR", help="another such folder, only to train with; may be repeated")
    add("--preset", required=True, metavar="NAME", help="sizes and schedule (train/presets.py)")
    add("--out", required=True, metavar="RUN", help="folder of the training, made or gone on with")
    add("--cache", metavar="DIR", help="where decoded videos are kept, default DATA/cache")
    add("--cameras", metavar="A,B", help="only clips of these")
    add("--text", metavar="DIR", help="a text path of train.text; default: that of --init, else trained first")
    add("--text-steps", type=int, default=400, help="steps of that training")
    add("--init", metavar="MODEL", help="model folder to take the first weights from")
    add("--init-skip", choices=["task"], help="leave its text path out")
    add("--stages", metavar="SIZE:STEPSxBATCH[/PASSES],...", help="in place of the preset's")
    add("--lr", type=float, help="learning rate at the beginning")
    add("--task-lr-scale", type=float, default=0.0, help="share of it for the text path (0: frozen)")
    add("--anchor", type=float, default=1.0, help="pull of the task embeddings to the initial ones")
    add("--ema", type=float, default=0.999, help="decay of the running mean")
    add("--no-text", type=float, default=0.1, help="share of examples without text")
    add("--first-frame", type=float, default=0.25, help="share of examples that begin at the first frame")
    add("--task-weight", metavar="TASK=N,...", help="how frequent these tasks are, all others 1")
    add("--weighting", choices=WEIGHTINGS, default="min-snr", help="of the timesteps' losses: AVDC's; more for the noisiest; all equal")
    add("--shift", type=int, help="largest shift of the crop in pixels")
    add("--held-out", type=int, default=2, help="episodes of each task for testing only")
    add("--seed", type=int, default=0)
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--precision", choices=["bf16", "fp32"], default="bf16")
    add("--compile", action="store_true", help="torch.compile, where there is one")
    add("--threads", type=int, default=0, help="default: PyTorch's choice")
    add("--minutes", type=float, help="stop after so long, with a checkpoint")
    add("--checkpoint-minutes", type=float, default=2.0)
    add("--log-every", type=int, default=20, help="steps")
    add("--validate-every", type=int, default=500, help="steps; 0: never")
    add("--validate-clips", type=int, default=33)
    add("--quiet", action="store_true")
    options = parser.parse_args(arguments)
    if options.init and options.text and not options.init_skip:
        raise ValueError("--text: the network of --init knows its own text path: leave one of them out, or say --init-skip task")
    if options.init_skip and not options.init:
        raise ValueError("--init-skip leaves something out of --init, which is missing")
    return options


def task_weights(text: str | None) -> dict[str, float] | None:
    """'faucet-open=2,faucet-close=2'"""
    if not text:
        return None
    weights = {}
    for part in text.split(","):
        task, _, number = part.partition("=")
        try:
            weights[task] = float(number)
        except ValueError:
            weights[task] = 0.0
        if not 0 < weights[task] < 1e6:
            raise ValueError(f"--task-weight '{part}': expected TASK=N, N more than 0")
    return weights


def settings_of(options: argparse.Namespace, preset: Preset) -> Settings:
    shares = {"--no-text": options.no_text, "--first-frame": options.first_frame, "--ema": options.ema}
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} {value}: expected 0 to 1")
    shift = preset.shift if options.shift is None else options.shift
    lr = preset.lr if options.lr is None else options.lr
    at_least_0 = {"--task-lr-scale": options.task_lr_scale, "--anchor": options.anchor, "--shift": shift}
    at_least_0.update({"--held-out": options.held_out, "--seed": options.seed, "--validate-every": options.validate_every})
    for name, value in at_least_0.items():
        if value < 0:
            raise ValueError(f"{name} {value}: expected 0 or more")
    if options.seed >= 2**63:
        raise ValueError(f"--seed {options.seed}: expected less than 2^63")
    if not 0 < lr < 1:
        raise ValueError(f"--lr {lr}: expected more than 0, less than 1")
    if options.minutes is not None and options.minutes <= 0:
        raise ValueError(f"--minutes {options.minutes}: expected more than 0")
    if options.log_every < 1 or options.text_steps < 1:
        raise ValueError("--log-every, --text-steps: expected at least 1")
    stages = parse_stages(options.stages) if options.stages else preset.stages
    return Settings(
        stages, lr, options.task_lr_scale, options.anchor, options.ema, options.seed, options.held_out, shift,
        options.first_frame, options.no_text, precision=options.precision, weighting=options.weighting,
        task_weight=task_weights(options.task_weight),
    )  # fmt: skip


def check_data(preset: Preset, settings: Settings, dataset: Dataset) -> None:
    """What would else be found only after the text path has been trained. Each stage's size divides the crop and halves as often
    as the network does."""
    halves = 2 ** (len(preset.unet.channel_mult) - 1)
    for stage in settings.stages:
        if stage.size % halves:
            raise ValueError(f"stage of size {stage.size}: expected a multiple of {halves}, the network halves it")
        if preset.crop % stage.size:
            raise ValueError(f"stage of size {stage.size}: expected a divisor of the crop, {preset.crop}")
    if preset.crop > min(dataset.picture):
        height, width = dataset.picture
        raise ValueError(f"pictures of {height}x{width}, preset with a crop of {preset.crop}: expected larger ones")
    clips, _ = dataset.split(settings.held_out)
    Examples(dataset, clips, settings.seed, settings.shift, settings.first_frame, settings.no_text, settings.task_weight)


def text_path(options: argparse.Namespace, preset: Preset, dataset: Dataset, begins: bool, log: Any) -> TaskPath:
    """RUN/text; where a training begins, it is the one of --init, made from --text, or trained."""
    folder = Path(options.out) / "text"
    if begins:
        if options.init and options.init_skip != "task":
            path = load_of_model(options.init, preset.unet, read_safetensors(Path(options.init) / "unet.safetensors"))
            report = read_json(Path(options.init) / "config.json").get("training", {}).get("text", {})
        elif options.text:
            path, report = load_encoder(options.text, preset.unet), read_json(Path(options.text) / "config.json").get("report", {})
            if not (Path(options.text) / "task_path.safetensors").exists():
                path, report = new_path(
                    dataset.corpus, options.preset, options.text, options.text_steps, options.seed, options.quiet, log
                )
        else:
            path, report = new_path(dataset.corpus, options.preset, None, options.text_steps, options.seed, options.quiet, log)
        report = {**report, **report_on(path.eval(), dataset.corpus)}  # a path from elsewhere may not know these phrases
        path.save(folder, report)
        log(f"text path: {report}")
        hits, total = report["training_phrases_right"]
        if hits < total:
            log(f"note: {total - hits} of {total} phrases to train with are nearer to another task than to their own")
    path = load_encoder(folder, preset.unet).eval()
    return path.requires_grad_(False)


def same_training(now: dict[str, Any], kept: dict[str, Any], where: Path, log: Any) -> None:
    """Refuses to go on with another training than the one that began; says what is changed on the way."""
    for name, value in kept.items():
        if name in BEGINS_WITH and now[name] in (None, value):
            continue  # has had its effect, and may be left out
        if name in now and now[name] != value:
            if name not in GOES_ON:
                raise ValueError(f"{where}: the training there has {name} {value}, not {now[name]}; use another --out")
            log(f"note: {name} was {json.dumps(value)}, and is {json.dumps(now[name])} from here on")


def as_json(settings: Settings) -> dict[str, Any]:
    """As config.json has it."""
    return json.loads(json.dumps(asdict(settings)))


class Metrics:
    """metrics.jsonl, and TensorBoard's files if that is installed; both without what a lost stretch had written."""

    def __init__(self, folder: Path, step: int, log: Any) -> None:
        path = folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(True) if path.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        if len(kept) < len(lines):
            write_text(path, "".join(kept))
        self.file = open(path, "a", encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.board: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        except Exception as problem:  # one that does not fit this NumPy or protobuf fails in many ways; it is optional
            self.board = None
            if not isinstance(problem, ImportError):
                log(f"note: without TensorBoard: {str(problem).splitlines()[0][:200] if str(problem) else type(problem).__name__}")

    def add(self, values: dict[str, Any]) -> None:
        self.file.write(json.dumps(values) + "\n")
        self.file.flush()
        for name, value in values.items():
            if self.board and name != "step" and isinstance(value, (int, float)):
                self.board.add_scalar(name, value, values["step"])

    def close(self) -> None:
        self.file.close()
        if self.board:
            self.board.close()


class Stop:
    """Set by SIGINT and SIGTERM; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


def note_of(stage: Stage, means: dict[str, float], rate: float) -> str:
    return f"{stage.size} px  loss {means['loss']:.4f}  v_mse {means['v_mse']:.4f}  {rate:.2f} examples/s"


def train_loop(trainer: Trainer, options: argparse.Namespace, log: Any, under_way: dict[str, Any]) -> None:
    """under_way: of a training that goes on, the sums and count of the line of metrics.jsonl that it was stopped in."""
    folder, stop, begun = Path(options.out), Stop(), time.monotonic()
    metrics, progress = Metrics(folder, trainer.step, log), Progress(trainer.total_steps, trainer.step, options.quiet)
    saved, spent, examples = begun, 0.0, 0
    sums, count = dict(under_way.get("sums", {})), under_way.get("count", 0)

    def checkpoint() -> None:
        state.save(folder, {**trainer.content(), "line": {"sums": sums, "count": count}})

    try:
        while trainer.step < trainer.total_steps and not stop.asked:
            place = stage_at(trainer.settings.stages, trainer.step)
            stage = trainer.settings.stages[place[0]] if place else trainer.settings.stages[-1]
            before = time.monotonic()
            values = trainer.run_step()
            sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
            count, examples, now = count + 1, examples + stage.batch, time.monotonic()
            spent += now - before  # without validation and checkpoints
            rate = examples / max(spent, 1e-9)
            means = {name: value / count for name, value in sums.items()}
            progress.show(trainer.step, note_of(stage, means, rate))
            last = trainer.step == trainer.total_steps
            line: dict[str, Any] = {}
            if trainer.step % options.log_every == 0 or last:
                line = {**means, "size": stage.size, "spread": trainer.task_spread(), "examples_per_second": rate}
                text = note_of(stage, means, rate)
                sums, count, spent, examples = {}, 0, 0.0, 0
            if options.validate_every and (trainer.step % options.validate_every == 0 or last):
                error = trainer.validate(options.validate_clips)
                if error is not None:
                    line["held_out_v_mse"] = error
            if line:
                metrics.add({"step": trainer.step, **line})
                if not options.quiet:
                    progress.clear()
                    error = line.get("held_out_v_mse")
                    log(f"step {trainer.step} {text if 'loss' in line else ''}" + (f"  held out {error:.4f}" if error else ""))
            if now - saved > 60 * options.checkpoint_minutes:
                checkpoint()
                saved = time.monotonic()
            if options.minutes and now - begun > 60 * options.minutes:
                break
        checkpoint()
    finally:
        progress.clear()
        metrics.close()
    if trainer.step < trainer.total_steps:
        log(f"stopped after step {trainer.step} of {trainer.total_steps}; the same command goes on")
    else:
        log(f"{trainer.step} steps, {duration(time.monotonic() - begun)}")


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    preset = find(options.preset)
    settings = settings_of(options, preset)
    device = device_named(options.device, options.precision)
    if options.compile and not hasattr(torch, "compile"):
        raise ValueError(f"--compile: this PyTorch ({torch.__version__}) has no torch.compile, expected 2.0 or newer")
    use_threads(options.threads)

    def log(text: str) -> None:
        if not options.quiet:
            print(text, flush=True)

    folder = Path(options.out)
    config, begins = folder / "config.json", not (folder / state.NAME).exists()
    now = {"preset": options.preset, **{name: getattr(options, name) for name in BEGINS_WITH}, **as_json(settings)}
    kept = {} if begins else read_json(config)
    if begins and config.exists() and "preset" not in read_json(config):
        raise ValueError(f"{folder}: holds something else than a training, a model perhaps: use another --out")
    same_training(now, kept, config, log)
    cameras = options.cameras.split(",") if options.cameras else None
    dataset = open_dataset(options.data, options.cache, cameras, options.quiet)
    for more in options.more:
        dataset.add(open_dataset(more, options.cache, cameras, options.quiet), more)
    check_data(preset, settings, dataset)
    folder.mkdir(parents=True, exist_ok=True)
    alone = only_process(folder)  # noqa: F841, held until the end
    trainer = Trainer(preset, settings, dataset, text_path(options, preset, dataset, begins, log), device, options.compile)
    under_way: dict[str, Any] = {}
    if not begins:
        content = state.load(folder)
        trainer.restore(content)
        under_way = content.get("line", {})
    elif options.init:
        trainer.start_from(options.init, options.init_skip == "task")
    cameras_used = sorted({clip.camera for clip in dataset.clips})
    began = {name: kept[name] for name in BEGINS_WITH if name in kept}
    write_json(config, {**now, **began, "cameras": cameras_used, "clips": len(trainer.train_clips)})
    parameters = sum(p.numel() for p in trainer.unet.parameters())
    log(
        f"{'beginning' if begins else 'going on'} at step {trainer.step} of {trainer.total_steps}: {parameters / 1e6:.2f} M parameters, "
        f"{len(trainer.train_clips)} clips to train with, {len(trainer.test_clips)} held out, {device}, {settings.precision}"
    )
    train_loop(trainer, options, log, under_way)


if __name__ == "__main__":
    run("train.video", main)
