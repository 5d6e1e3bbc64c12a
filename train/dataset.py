"""Clips of `vipo sim collect` (docs/data.md) as training examples.

All videos are decoded once into one uint8 array on the disk, which is mapped into memory. Which example comes at which
place of a training follows from the seed and that place alone (a counter-based generator), so that a training which
goes on after an interruption sees what it would have seen.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .console import Progress
from .files import read_json, replacing, write_json

CACHE_FORMAT = 1
INDEX = ("task", "camera", "seed", "video", "frames", "height", "width")  # of a line


@dataclass(frozen=True)
class Clip:
    """One video: frames start .. start+count-1 of the array of a source."""

    task: str
    camera: str
    seed: int
    start: int
    count: int
    source: int = 0


@dataclass(frozen=True)
class Corpus:
    """Ways to say each task: the first of `texts` is its name; `held_out` is for testing."""

    texts: dict[str, list[str]]
    held_out: dict[str, list[str]]

    @property
    def tasks(self) -> list[str]:
        return list(self.texts)


def corpus_of(infos: list[dict[str, Any]], where: str) -> Corpus:
    """The texts of an index; a task must have the same ones in all of its lines, and no text two tasks."""
    texts: dict[str, list[str]] = {}
    held_out: dict[str, list[str]] = {}
    for info in infos:
        task = info["task"]
        if "texts" not in info or "held_out_texts" not in info:
            raise ValueError(f"{where}: a clip of {task} has no texts and held_out_texts")
        own = texts.setdefault(task, info["texts"])
        others = held_out.setdefault(task, info["held_out_texts"])
        if own != info["texts"] or others != info["held_out_texts"]:
            raise ValueError(f"{where}: clips of {task} have different texts, expected the same for all")
    owner: dict[str, str] = {}
    for task in texts:
        if not texts[task]:
            raise ValueError(f"{where}: {task} has no texts, expected at least one")
        for text in texts[task] + held_out[task]:
            if owner.setdefault(text, task) != task:
                raise ValueError(f"{where}: '{text}' stands for {owner[text]} and {task}, expected one task")
        both = set(texts[task]) & set(held_out[task])
        if both:
            raise ValueError(f"{where}: '{both.pop()}' of {task} is for training and held out, expected one of both")
    return Corpus(texts, held_out)


def picture_size(folder: str | Path) -> list[int]:
    """[height, width] of the pictures that were drawn, of which the frames are the middle; AVDC's where the set does not tell."""
    path = Path(folder) / "collect.json"
    settings = read_json(path) if path.exists() else {}
    return [settings.get("picture_height", 240), settings.get("picture_width", 320)]


def read_index(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of index.jsonl."""
    path = Path(folder) / "index.jsonl"
    if not path.exists():
        raise ValueError(f"{path} is missing, expected a folder that `vipo sim collect` has completed")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: no clips")
    infos = []
    for number, line in enumerate(lines, 1):
        try:
            infos.append(json.loads(line))
        except ValueError:
            raise ValueError(f"{path}:{number}: not JSON") from None
        missing = [name for name in INDEX if not isinstance(infos[-1], dict) or name not in infos[-1]]
        if missing:
            raise ValueError(f"{path}:{number}: no {', '.join(missing)}")
    sizes = {(info["height"], info["width"]) for info in infos}
    if len(sizes) > 1:
        raise ValueError(f"{path}: clips of {len(sizes)} sizes, expected one")
    return infos


class Dataset:
    """sources: uint8 [all][height][width][3] each; clips say where they are in them. Those of the first source may be
    held out; those of others are for training only."""

    def __init__(self, frames: np.ndarray, clips: list[Clip], corpus: Corpus) -> None:
        self.sources, self.clips, self.corpus = [frames], clips, corpus

    @property
    def total(self) -> int:
        """Number of frames."""
        return sum(int(frames.shape[0]) for frames in self.sources)

    @property
    def picture(self) -> tuple[int, int]:
        return self.sources[0].shape[1], self.sources[0].shape[2]

    def take(self, clip: Clip, numbers: list[int]) -> np.ndarray:
        """Frames of a clip, uint8 [numbers][height][width][3]."""
        return self.sources[clip.source][clip.start + np.asarray(numbers)]

    def add(self, other: Dataset, where: str) -> None:
        """Its clips become training examples of this one."""
        if other.picture != self.picture:
            raise ValueError(f"{where}: pictures of {other.picture[0]}x{other.picture[1]}, expected {self.picture[0]}x{self.picture[1]}")
        for task in other.corpus.tasks:
            if other.corpus.texts[task] != self.corpus.texts.get(task) or other.corpus.held_out[task] != self.corpus.held_out[task]:
                raise ValueError(f"{where}: {task} has other texts than in the first data set, expected the same")
        number = len(self.sources)
        self.sources.extend(other.sources)
        self.clips.extend(replace(clip, source=clip.source + number) for clip in other.clips)

    def fingerprint(self) -> str:
        """Of which clips there are, in which order, and what is said of them; not of their pixels."""
        clips = [(clip.source, clip.task, clip.camera, clip.seed, clip.count) for clip in self.clips]
        return hashlib.sha256(json.dumps([clips, self.corpus.texts, self.corpus.held_out]).encode()).hexdigest()[:16]

    def split(self, held_out: int) -> tuple[list[Clip], list[Clip]]:
        """Clips for training, clips for testing: of each task the `held_out` largest seeds of the first source are for
        testing. Clips of these seeds in other sources, which begin in the same scenes, are left out."""
        last: dict[str, set[int]] = {}
        for task in self.corpus.tasks:
            seeds = sorted({clip.seed for clip in self.clips if clip.task == task and clip.source == 0})
            if held_out >= len(seeds):
                raise ValueError(f"{held_out} episodes of {task} to hold out, but there are {len(seeds)}: expected fewer")
            last[task] = set(seeds[len(seeds) - held_out :])
        test = [clip for clip in self.clips if clip.source == 0 and clip.seed in last[clip.task]]
        return [clip for clip in self.clips if clip.seed not in last.get(clip.task, ())], test


def decode_all(folder: Path, infos: list[dict[str, Any]], path: Path, quiet: bool) -> None:
    """Writes the array of all frames."""
    from .data import clips as reader  # needs PyAV

    total = sum(info["frames"] for info in infos)
    shape = (total, infos[0]["height"], infos[0]["width"], 3)
    progress = Progress(len(infos), quiet=quiet)
    with replacing(path) as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": shape}  # type: ignore[arg-type]
        )
        for i, info in enumerate(infos):
            file.write(np.ascontiguousarray(reader.Clip(str(folder), info).frames()).tobytes())
            progress.show(i + 1, "decoding")
    progress.clear()


def open_dataset(
    folder: str | Path, cache: str | Path | None = None, cameras: list[str] | None = None, quiet: bool = False
) -> Dataset:
    """The clips of a folder; decodes them into `cache` (FOLDER/cache if None) unless they are there already."""
    folder = Path(folder)
    infos = read_index(folder)
    known = sorted({info["camera"] for info in infos})
    for camera in cameras or []:
        if camera not in known:
            raise ValueError(f"camera '{camera}' is not in {folder}, there are {', '.join(known)}")
    infos = [info for info in infos if cameras is None or info["camera"] in cameras]
    cache = Path(cache) if cache else folder / "cache"
    os.makedirs(cache, exist_ok=True)
    # Lossy clips collected twice may differ: their sizes and times stand for their content.
    names = [(info["video"], info["frames"], (folder / info["video"]).stat().st_mtime_ns) for info in infos]
    key = hashlib.sha256(json.dumps([CACHE_FORMAT, names]).encode()).hexdigest()[:16]
    path, note = cache / f"frames-{key}.npy", cache / f"frames-{key}.json"
    if not (note.exists() and path.exists()):
        for left in cache.glob(f".{path.name}.*.part"):  # by a process that was killed
            left.unlink(missing_ok=True)
        decode_all(folder, infos, path, quiet)
        write_json(note, {"format": CACHE_FORMAT, "clips": len(infos)})
    if read_json(note).get("format") != CACHE_FORMAT:
        raise ValueError(f"{note}: another format, remove {cache}")
    clips, start = [], 0
    for info in infos:
        clips.append(Clip(info["task"], info["camera"], int(info["seed"]), start, int(info["frames"])))
        start += int(info["frames"])
    frames = np.load(path, mmap_mode="r")
    if frames.shape[0] != start:
        raise ValueError(f"{path}: {frames.shape[0]} frames, the index has {start}: remove {cache}")
    return Dataset(frames, clips, corpus_of(infos, str(folder / "index.jsonl")))


def frame_numbers(n: int, start: int, count: int) -> list[int]:
    """AVDC's choice: evenly from `start` to the last frame, rounded down (Ko et al. 2023)."""
    return [start + i * (n - 1 - start) // (count - 1) for i in range(count - 1)] + [n - 1]


def window(pictures: np.ndarray, crop: int, dy: int, dx: int) -> np.ndarray:
    """The middle crop x crop of uint8 [n][h][w][3], moved down by dy and right by dx; beyond the border its pixels repeat."""
    height, width = pictures.shape[1:3]
    rows = np.clip(np.arange(crop) + (height - crop) // 2 + dy, 0, height - 1)
    columns = np.clip(np.arange(crop) + (width - crop) // 2 + dx, 0, width - 1)
    return pictures[:, rows][:, :, columns]


def box_mean(pictures: np.ndarray, factor: int) -> np.ndarray:
    """uint8 [n][h][w][3] -> [n][h/factor][w/factor][3], rounded to nearest as `vipo preprocess` does."""
    if factor == 1:
        return pictures
    n, height, width, _ = pictures.shape
    boxes = pictures.reshape(n, height // factor, factor, width // factor, factor, 3)
    return ((boxes.sum(axis=(2, 4), dtype=np.uint32) + factor * factor // 2) // (factor * factor)).astype(np.uint8)


@dataclass(frozen=True)
class View:
    """How pictures become frames of the model: a square of side `crop`, then boxes down to `size`."""

    crop: int
    size: int
    frames: int  # without the condition frame

    def check(self, picture: tuple[int, int]) -> None:
        if self.crop > min(picture):
            raise ValueError(f"pictures of {picture[0]}x{picture[1]} have no middle of {self.crop}x{self.crop}")
        if self.crop % self.size:
            raise ValueError(f"size {self.size} does not divide the crop of {self.crop}")

    def take(self, dataset: Dataset, clip: Clip, start: int = 0, dy: int = 0, dx: int = 0) -> np.ndarray:
        """uint8 [1+frames][size][size][3]: the condition frame, then those to come."""
        return self.pictures(dataset, clip, frame_numbers(clip.count, start, self.frames + 1), dy, dx)

    def pictures(self, dataset: Dataset, clip: Clip, numbers: list[int], dy: int = 0, dx: int = 0) -> np.ndarray:
        """These frames of a clip: uint8 [numbers][size][size][3]."""
        pictures = dataset.take(clip, numbers)
        return box_mean(window(pictures, self.crop, dy, dx), self.crop // self.size)


class Examples:
    """The endless list of training examples.

    shift: largest displacement of the window, in pixels of the crop. first_frame: share of examples from the first
    frame, where plans begin. no_text: share of examples without text, for guidance. task_weight: how frequent a task
    is, 1 where it is not named."""

    def __init__(
        self,
        dataset: Dataset,
        clips: list[Clip],
        seed: int,
        shift: int,
        first_frame: float,
        no_text: float,
        task_weight: dict[str, float] | None = None,
    ) -> None:
        self.dataset, self.seed, self.shift = dataset, seed, shift
        self.first_frame, self.no_text = first_frame, no_text
        self.by_task: dict[str, list[Clip]] = {}
        for clip in clips:
            self.by_task.setdefault(clip.task, []).append(clip)
        self.tasks = sorted(self.by_task)
        for task in task_weight or {}:
            if task not in self.by_task:
                raise ValueError(f"task '{task}' to weight is not in the data, there are {', '.join(self.tasks)}")
        weights = np.array([(task_weight or {}).get(task, 1.0) for task in self.tasks])
        self.bounds = weights.cumsum() / weights.sum() if task_weight else None

    def _task(self, rng: np.random.Generator) -> str:
        if self.bounds is None:
            return self.tasks[int(rng.integers(len(self.tasks)))]
        return self.tasks[min(int(np.searchsorted(self.bounds, rng.random(), side="right")), len(self.tasks) - 1)]

    def one(self, index: int, view: View) -> tuple[np.ndarray, str | None]:
        """uint8 [1+frames][size][size][3] and its text, None: without."""
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, index]))
        own = self.by_task[self._task(rng)]
        clip = own[int(rng.integers(len(own)))]
        start = 0 if rng.random() < self.first_frame else int(rng.integers(clip.count))
        dy, dx = (int(v) for v in rng.integers(-self.shift, self.shift + 1, 2))
        phrases = self.dataset.corpus.texts[clip.task]
        text = phrases[int(rng.integers(len(phrases)))]
        return view.take(self.dataset, clip, start, dy, dx), None if rng.random() < self.no_text else text

    def batch(self, first: int, count: int, view: View) -> tuple[np.ndarray, list[str | None]]:
        """Examples first .. first+count-1: uint8 [count][1+frames][size][size][3] and their texts."""
        videos, texts = zip(*(self.one(index, view) for index in range(first, first + count)))
        return np.stack(videos), list(texts)
