"""A run in its folder: begun, stopped, gone on with."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any, Iterator

import numpy as np

from ..files import only_process, read_json, write_json, write_text
from .learn import Trainer


class Run:
    """The folder of a run: settings.json, log.jsonl, checkpoint.pt."""

    def __init__(self, folder: str | Path, settings: dict[str, Any]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.alone = only_process(self.folder)
        self.checkpoint, self.log = self.folder / "checkpoint.pt", self.folder / "log.jsonl"
        path = self.folder / "settings.json"
        if not path.exists():
            write_json(path, settings)
            return
        before = read_json(path)
        for key in sorted(set(before) | set(settings)):
            if before.get(key) != settings.get(key):
                raise ValueError(
                    f"{path}: this run was begun with {key} {before.get(key)}, not {settings.get(key)}: "
                    "give the same options or another folder"
                )

    def lines(self) -> list[dict[str, Any]]:

        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines() if line.strip()]

    def go_on(self, trainer: Trainer) -> bool:
        """From the checkpoint, if there is one; what the log says of later steps is forgotten."""
        if not self.checkpoint.exists():
            write_text(self.log, "")
            return False

        trainer.load(self.checkpoint)
        kept = [line for line in self.lines() if line["step"] <= trainer.step]
        write_text(self.log, "".join(json.dumps(line) + "\n" for line in kept))
        return True

    def note(self, line: dict[str, Any]) -> None:

        with open(self.log, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Stop:
    """Ctrl-C and SIGTERM end a run after its step."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Stop:
        self.before = {number: signal.signal(number, self.ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def ask(self, *_: Any) -> None:
        self.asked = True

    def __exit__(self, *_: Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def run(trainer: Trainer, folder: Run, every: int, examine_every: int, save_seconds: float) -> Iterator[dict[str, Any]]:
    """Trains to the last step, or until it is asked to stop; yields a line of the log every `every` steps and wherever
    the held-out part is examined."""
    saved = time.monotonic()
    with Stop() as stop:
        while trainer.step < trainer.settings.steps and not stop.asked:
            trainer.losses.append(trainer.advance())
            last = trainer.step == trainer.settings.steps
            examined = trainer.step % examine_every == 0 or last
            if trainer.step % every == 0 or examined:
                line: dict[str, Any] = {
                    "step": trainer.step,
                    "loss": round(float(np.mean(trainer.losses)), 6),
                    "seconds": round(trainer.seconds, 1),
                }
                trainer.losses = []
                if examined:
                    line.update(held_out=trainer.examine(1024 if last else 256))
                folder.note(line)
                yield line
            if time.monotonic() - saved > save_seconds:
                trainer.save(folder.checkpoint)
                saved = time.monotonic()
        trainer.save(folder.checkpoint)
    if stop.asked:
        raise KeyboardInterrupt
