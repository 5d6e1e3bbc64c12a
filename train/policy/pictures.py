"""Pictures of clips at the size of a network."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Callable, Sequence

import numpy as np

from ..data.clips import Clip
from ..files import replacing


def shrink(frames: np.ndarray, size: int, name: str) -> np.ndarray:
    """Means of squares of pixels, rounded."""
    n, height, width, colours = frames.shape
    if height != width or height % size:
        raise ValueError(f"{name}: pictures of {width}x{height}, expected squares of a multiple of {size}")
    if height == size:
        return frames
    by = height // size
    sums = frames.reshape(n, size, by, size, by, colours).astype(np.uint32).sum((2, 4))
    return ((sums + by * by // 2) // (by * by)).astype(np.uint8)


def fingerprint(clips: Sequence[Clip], size: int) -> str:
    """Of everything that the pictures depend on; of the videos their sizes and times."""
    parts: list[object] = [size]
    for clip in clips:
        state = os.stat(os.path.join(clip.folder, clip.video))
        parts += [clip.info, os.path.abspath(clip.folder), state.st_size, state.st_mtime_ns]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_pictures(
    clips: Sequence[Clip], size: int, cache: str | None, note: Callable[[int, int], None]
) -> tuple[np.ndarray, list[int]]:
    """All frames, uint8 [frames, size, size, 3], and which is the first of each clip. cache: a file that keeps them for the
    next call (.npy, and .key beside it); it is written again if it is of other clips."""
    counts = [clip.info["frames"] for clip in clips]
    first = [int(n) for n in np.cumsum([0] + counts[:-1])]
    key = fingerprint(clips, size) if cache else ""
    if cache and Path(cache).exists() and Path(cache + ".key").exists() and Path(cache + ".key").read_text() == key:
        return np.load(cache, mmap_mode="r"), first
    frames = np.empty((sum(counts), size, size, 3), np.uint8)
    for number, clip in enumerate(clips):
        frames[first[number] : first[number] + counts[number]] = shrink(clip.frames(), size, clip.video)
        note(number + 1, len(clips))
    if cache:
        Path(cache + ".key").unlink(missing_ok=True)
        with replacing(cache) as file:
            np.save(file, frames)
        with replacing(cache + ".key") as file:
            file.write(key.encode())
    return frames, first
