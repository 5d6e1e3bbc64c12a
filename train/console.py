"""What a person sees: one line for a failure, a progress bar on a terminal."""

from __future__ import annotations

import sys
import time
from typing import Callable

import torch


def run(name: str, main: Callable[[list[str]], None]) -> None:
    """Runs main; what is wrong with the input becomes one line and status 1."""
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, ImportError) as problem:
        print(f"{name}: {problem}", file=sys.stderr)
        sys.exit(1)
    except torch.cuda.OutOfMemoryError as problem:
        reason = str(problem).split(". ")[0]
        print(f"{name}: {reason}: a smaller batch, or more passes in train.video's --stages SIZE:STEPSxBATCH/PASSES", file=sys.stderr)
        sys.exit(1)


def use_threads(number: int) -> None:
    """Of --threads; 0: PyTorch's choice."""
    if number < 0:
        raise ValueError(f"--threads {number}: expected 0 or more")
    if number:
        torch.set_num_threads(number)


def device_named(name: str, precision: str = "fp32") -> torch.device:
    """'auto', 'cpu', 'cuda', 'cuda:N'; for a precision, of which fp32 means all bits, on a GPU too."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device: torch.device | None = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device '{name}' is unknown, expected auto, cpu or cuda")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device '{name}': this PyTorch sees no GPU, expected cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"device '{name}': this PyTorch sees {torch.cuda.device_count()} of them, counted from 0")
        if precision == "bf16" and not torch.cuda.is_bf16_supported():
            raise ValueError(f"device '{name}' has no bfloat16: use --precision fp32")
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    return device


def duration(seconds: float) -> str:
    """3:07 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """A bar on standard error if that is a terminal; nothing else."""

    WIDTH = 28

    def __init__(self, total: int, done: int = 0, quiet: bool = False) -> None:
        self.total, self.first, self.begun, self.shown = max(total, 1), done, time.monotonic(), 0.0
        self.active = sys.stderr.isatty() and not quiet

    def show(self, done: int, note: str = "") -> None:
        now = time.monotonic()
        if not self.active or (now - self.shown < 0.2 and done < self.total):
            return
        self.shown = now
        rate = (done - self.first) / max(now - self.begun, 1e-9)
        left = duration((self.total - done) / rate) if done > self.first else "?"
        full = self.WIDTH * done // self.total
        bar = "#" * full + "." * (self.WIDTH - full)
        sys.stderr.write(f"\r[{bar}] {done}/{self.total} {left} left  {note}\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Makes room for a line of text."""
        if self.active:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
