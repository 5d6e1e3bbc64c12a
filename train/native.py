"""Loads native/norm_silu.c, compiled once for this machine into the user's cache. Without a compiler, or with
VIPO_TRAIN_NATIVE=off, training goes on with PyTorch's own operations (train/fast.py), more slowly."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

SOURCES = Path(__file__).parent / "native"
OPTIONS = ["-std=gnu11", "-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-fopenmp", "-fPIC"]
KINDS = {torch.bfloat16: "bf16", torch.float32: "f32"}


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vipo"


def build(compiler: str) -> Path:
    """Raises OSError or CalledProcessError."""
    sources = sorted(SOURCES.iterdir())
    machine = subprocess.run([compiler, *OPTIONS, "-Q", "--help=target"], check=True, capture_output=True).stdout
    key = hashlib.sha256(b"\0".join([machine, repr(OPTIONS).encode(), *(path.read_bytes() for path in sources)]))
    library = cache() / f"norm_silu-{key.hexdigest()[:16]}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = [str(Path(folder) / name) for name in ("norm_silu.o", "norm_silu.so")]
            # Linked without -ffast-math, which would let the whole process flush denormals to zero.
            subprocess.run([compiler, *OPTIONS, "-c", str(SOURCES / "norm_silu.c"), "-o", made[0]], check=True, capture_output=True)
            subprocess.run([compiler, "-shared", "-fopenmp", made[0], "-o", made[1], "-lm"], check=True, capture_output=True)
            os.replace(made[1], library)
    return library


@functools.lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    if os.environ.get("VIPO_TRAIN_NATIVE") == "off":
        return None
    try:
        return ctypes.CDLL(str(build(os.environ.get("CC", "cc"))))
    except (OSError, RuntimeError, subprocess.CalledProcessError):  # RuntimeError: there is no home
        return None


def usable(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in KINDS and library() is not None


def _pointer(x: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if x is None else x.data_ptr())


def _call(name: str, kind: torch.dtype, *arguments: object) -> None:
    values = [_pointer(a) if a is None or isinstance(a, Tensor) else a for a in arguments]
    if getattr(library(), f"{name}_{KINDS[kind]}")(*values):
        raise MemoryError(f"{name}: no memory, or too many channels")


class NormSilu(torch.autograd.Function):
    """SiLU(GroupNorm(x + e)) of x [b][n][c] and e [b][c] or None."""

    @staticmethod
    def forward(ctx, x: Tensor, e: Tensor | None, gain: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:  # type: ignore[override]
        b, n, c = x.shape
        x = x.contiguous()
        wide = None if e is None else e.float().contiguous()
        gain, bias = gain.contiguous(), bias.contiguous()
        y, centred = torch.empty_like(x), torch.empty(b, c)
        mean, rstd = torch.empty(b, groups), torch.empty(b, groups)
        sizes = [ctypes.c_int64(v) for v in (b, n, c, groups)]
        _call("norm_silu", x.dtype, x, wide, gain, bias, *sizes, ctypes.c_float(eps), y, mean, rstd, centred)
        ctx.save_for_backward(x, wide, gain, bias, mean, rstd, centred)
        ctx.groups, ctx.kind = groups, None if e is None else e.dtype
        return y

    @staticmethod
    def backward(ctx, dy: Tensor):  # type: ignore[override,no-untyped-def]
        x, e, gain, bias, mean, rstd, centred = ctx.saved_tensors
        b, n, c = x.shape
        dx, dgain, dbias = torch.empty_like(x), torch.empty_like(gain), torch.empty_like(bias)
        de = None if e is None else torch.empty_like(e)
        sizes = [ctypes.c_int64(v) for v in (b, n, c, ctx.groups)]
        _call("norm_silu_backward", x.dtype, x, dy.to(x.dtype).contiguous(), e, gain, bias, *sizes, mean, rstd, centred,
              dx, de, dgain, dbias)  # fmt: skip
        return dx, None if de is None else de.to(ctx.kind), dgain, dbias, None, None
