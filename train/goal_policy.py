"""Trains the policy that follows an imagined video, or one by behaviour cloning, on data sets of `vipo sim collect`:

    python -m train.goal_policy --data out/explore --out runs/goal
    python -m train.goal_policy --data out/explore --out runs/bc --kind bc

The same command goes on with a run that was interrupted. RUN/policy is the trained folder (docs/policies.md)."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import torch

from . import console
from .dataset import picture_size, read_index
from .policy import config as sizes
from .policy.export import export, write_check
from .policy.learn import Settings, Trainer
from .policy.run import Run, run
from .policy.samples import Samples, read

NAMES = {"gcp": "goal-conditioned diffusion policy", "bc": "behaviour cloning"}


def parse(argv: list[str]) -> argparse.Namespace:
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m train.goal_policy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", action="append", required=True, metavar="DIR", help="data set of `vipo sim collect`; may be repeated")
    add("--out", required=True, metavar="RUN", help="folder of the run: a new one, or one to go on with")
    add("--kind", default="gcp", choices=sizes.KINDS, help="gcp: follows a goal picture; bc: is told the task")
    add("--preset", default="small", choices=sorted(sizes.PRESETS), help="sizes of the network (default: %(default)s)")
    add("--image-size", type=int, metavar="N", help="pixels of a side (default: the preset's)")
    add("--tasks", metavar="LIST", help="names with commas between them (default: all of the data)")
    add("--labels", default=default.labels, choices=("expert", "executed"),
        help="actions to learn: the scripted policy's in the states it came to, or those that were done there, exploration "
             "included (default: %(default)s)")
    add("--steps", type=int, default=default.steps, metavar="N", help="(default: %(default)s)")
    add("--batch", type=int, default=default.batch, metavar="N", help="examples of a step (default: %(default)s)")
    add("--lr", type=float, default=default.lr, metavar="X", help="greatest learning rate (default: %(default)s)")
    add("--shift", type=int, default=default.shift, metavar="N",
        help="pictures are moved by up to N of 64 pixels (default: %(default)s)")
    add("--seed", type=int, default=default.seed, metavar="N", help="(default: %(default)s)")
    add("--held-out", type=float, default=default.held_out, metavar="X",
        help="share of each task's seeds, the last ones, that is not learnt from (default: %(default)s)")
    add("--cache", metavar="FILE", help="keeps the decoded pictures for the next run (.npy)")
    add("--bf16", action="store_true", help="convolutions of pictures in bfloat16")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add("--threads", type=int, metavar="N", help="of the processor (default: PyTorch's)")
    add("--log-every", type=int, default=50, metavar="N", help="steps of a line of the log (default: %(default)s)")
    add("--examine-every", type=int, default=500, metavar="N",
        help="steps between looks at held-out episodes (default: %(default)s)")
    add("--save-seconds", type=float, default=120, metavar="X", help="least time between checkpoints, which are written with lines of the log (default: %(default)s)")
    add("--quiet", action="store_true", help="print only the last line")
    options = parser.parse_args(argv)
    for name, least in (("steps", 1), ("batch", 1), ("log_every", 1), ("examine_every", 1), ("shift", 0), ("seed", 0)):
        if getattr(options, name) < least:
            parser.error(f"--{name.replace('_', '-')} {getattr(options, name)}: expected at least {least}")
    if not 0 < options.lr < 1:
        parser.error(f"--lr {options.lr}: expected more than 0 and less than 1")
    if not 0 < options.held_out < 1:
        parser.error(f"--held-out {options.held_out}: expected more than 0 and less than 1")
    if options.image_size is not None and options.image_size < 16:
        parser.error(f"--image-size {options.image_size}: expected at least 16")
    if options.threads is not None and options.threads < 1:
        parser.error(f"--threads {options.threads}: expected at least 1")
    return options


def settings_of(options: argparse.Namespace) -> Settings:
    return Settings(
        steps=options.steps, batch=options.batch, lr=options.lr, seed=options.seed, shift=options.shift,
        half=options.bf16, labels=options.labels, held_out=options.held_out,
    )


def describe(data: Samples) -> dict[str, int]:
    return {
        "episodes": len({(track.task, track.seed) for track in data.tracks}),
        "clips": len(data.tracks),
        "frames": sum(len(track.steps) for track in data.tracks),
        "examples": data.count,
    }


def seen(folders: list[str]) -> str:
    """The part of which pictures the network is shown."""
    parts = []
    for folder in folders:
        (height, width), frame = picture_size(folder), read_index(folder)[0]
        parts.append(f"the middle {frame['width']}x{frame['height']} of {width}x{height}")
    return " or ".join(dict.fromkeys(parts))


def card(facts: dict[str, Any], policy: sizes.PolicyConfig) -> str:
    """README.md of the exported folder."""
    held, kind = facts["held_out"], policy.kind
    whose = "the scripted policy's action" if facts["labels"] == "expert" else "the executed action"
    see = "the observed picture and a goal picture" if kind == "gcp" else "the observed picture"
    know = "the hand's place and the gripper's opening" + ("" if kind == "gcp" else ", and which task it is")
    lines = [
        f"# {facts['name']}: {NAMES[kind]} for Meta-World",
        "",
        f"From {see} ({policy.image}x{policy.image}, {facts['seen']}, rows as glReadPixels gives them), {know}, to the",
        f"next {policy.horizon} actions, of which {policy.executed} are executed. {facts['parameters']:,} parameters. "
        "Licence of the weights: MIT.",
        "",
        "| | |",
        "|---|---|",
        f"| tasks | {', '.join(facts['tasks'])} |",
        f"| data | {facts['train']['episodes']} episodes of scripted experts, {facts['train']['clips']} clips, "
        f"{facts['train']['frames']} frames, {facts['train']['examples']} starts |",
        f"| training | {facts['steps']} steps of {facts['batch']} examples, {facts['steps'] * facts['batch']:,} in all, "
        f"{facts['seconds'] / 60:.0f} minutes on {facts['device']} |",
        f"| loss at the end, training | {facts['loss']:.4f} |",
        f"| held-out episodes | {facts['held']['episodes']} ({facts['held']['examples']} starts, 1024 times one of them drawn) |",
        f"| loss, held out | {held['loss']:.4f} |",
        f"| error of an executed action, held out | {held['action_error']:.3f} (of 1; the hand's three numbers {held['hand_error']:.3f}) |",
        f"| the same of the task's mean action | {held['mean_action_error']:.3f} |",
    ]
    if "other_goal_error" in held:
        lines.append(f"| the same when shown another example's goal | {held['other_goal_error']:.3f} |")
    lines += [
        "",
        f"Errors are means of absolute differences from {whose}, cut to +-1, in the states of held-out episodes.",
        "They say little about success in closed loop: see `vipo eval`.",
        "",
        "Repeat with `python -m train.goal_policy` (docs/policies.md); `config.json` has the settings.",
        "",
    ]
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    options = parse(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = console.device_named(options.device)
    settings = settings_of(options)
    tasks = options.tasks.split(",") if options.tasks else None
    plan = sizes.find(options.preset, options.kind, tuple(tasks or ()), options.image_size)
    reading = console.Progress(1, quiet=options.quiet)

    def note(done: int, of: int) -> None:
        reading.total = of
        reading.show(done, "reading clips")

    train, held = read(options.data, plan, settings.held_out, settings.labels, tasks, note, options.cache)
    reading.clear()
    policy = sizes.find(options.preset, options.kind, train.tasks, options.image_size)
    facts: dict[str, Any] = {"tasks": list(train.tasks), "train": describe(train), "held": describe(held)}
    folder = Run(options.out, {**dataclasses.asdict(settings), "kind": options.kind, "preset": options.preset,
                               "image": policy.image, **facts})
    trainer = Trainer(policy, settings, train, held, device)
    again = folder.go_on(trainer)
    if not options.quiet:
        print(f"{facts['train']['examples']} starts in {facts['train']['episodes']} episodes, "
              f"{facts['held']['episodes']} episodes held out" + (f"; goes on at step {trainer.step}" if again else ""))
    bar = console.Progress(settings.steps, trainer.step, options.quiet)
    for line in run(trainer, folder, options.log_every, options.examine_every, options.save_seconds):
        bar.clear()
        if not options.quiet:
            held_out = "".join(f"  {key} {value}" for key, value in line.get("held_out", {}).items())
            print(f"step {line['step']}  loss {line['loss']:.5f}  {console.duration(line['seconds'])}{held_out}", flush=True)
        bar.show(line["step"], f"loss {line['loss']:.4f}")
    bar.clear()
    last = [line for line in folder.lines() if "held_out" in line][-1]
    facts.update(
        seen=seen(options.data),
        name=f"metaworld-{ {'gcp': 'goal', 'bc': 'cloning'}[options.kind] }-{policy.image}".replace(" ", ""),
        parameters=sum(p.numel() for p in trainer.average.parameters()),
        steps=trainer.step, batch=settings.batch, lr=settings.lr, seed=settings.seed, labels=settings.labels,
        seconds=round(trainer.seconds), device=device.type, loss=last["loss"], held_out=last["held_out"],
    )
    export(Path(options.out) / "policy", trainer.average, facts, card(facts, policy))
    write_check(Path(options.out) / "policy", held)
    print(f"{options.out}/policy: held-out action error {last['held_out']['action_error']:.4f}, "
          f"the mean action's {last['held_out']['mean_action_error']:.4f}")


if __name__ == "__main__":
    console.run("train.goal_policy", main)
