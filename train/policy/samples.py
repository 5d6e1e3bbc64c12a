"""Training examples from data sets of `vipo sim collect`: what the policy saw at a frame, a later frame as its goal, and the
actions that were right from there on.

Times: a frame of step t shows state t; action t was taken in it and led to state t + 1 (docs/data.md)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Callable, Sequence

import numpy as np

from ..data.clips import Clip, open_clips
from .config import PolicyConfig
from .pictures import read_pictures

PLAN_FRAMES = 7  # frames that a video model imagines, evenly spaced to the end of the episode (Ko et al. 2023)
HAND = 4  # leading numbers of an observation: x, y, z of the hand, opening of the gripper


@dataclass
class Example:
    """One batch, as NumPy arrays."""

    observation: np.ndarray  # uint8 [b, size, size, 3]
    goal: np.ndarray  # uint8, the same shape
    ahead: np.ndarray  # int [b]: steps from observation to goal
    hand: np.ndarray  # float32 [b, 4]
    task: np.ndarray  # int [b]: place in Samples.tasks
    action: np.ndarray  # float32 [b, horizon, 4], in [-1, 1]; behind the episode's end the last one again
    weight: np.ndarray  # float32 [b, horizon]: 1, behind the end 0


@dataclass
class Track:
    """A clip with its episode."""

    task: int
    seed: int
    steps: np.ndarray  # int [n]: of each frame
    first: int  # of its frames in Samples.frames
    hands: np.ndarray  # float32 [states, 4]
    actions: np.ndarray  # float32 [steps, 4]


@dataclass
class Samples:
    tasks: tuple[str, ...]
    frames: np.ndarray  # uint8 [frames, size, size, 3], of all tracks and perhaps of others
    tracks: list[Track]
    horizon: int
    # rows[task]: (track, frame) pairs to start from
    rows: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        pairs: list[list[tuple[int, int]]] = [[] for _ in self.tasks]
        for number, track in enumerate(self.tracks):
            for frame in range(len(track.steps) - 1):  # the last one has nothing ahead of it
                if track.steps[frame] < len(track.actions):
                    pairs[track.task].append((number, frame))
        self.rows = [np.array(pair, np.int64).reshape(-1, 2) for pair in pairs]

    @property
    def count(self) -> int:
        return sum(map(len, self.rows))

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """n rows [n, 2]: a task first, so that all count the same, then any of its rows."""
        there = [rows for rows in self.rows if len(rows)]
        chosen = [there[i] for i in rng.integers(len(there), size=n)]
        return np.stack([rows[rng.integers(len(rows))] for rows in chosen])

    def goal_frame(self, rng: np.random.Generator, track: Track, frame: int) -> int:
        """A later frame of the clip. One half of the time `horizon` steps ahead, as GCP trains; else where a plan's next frame
        would be: a plan that began at some earlier frame and has PLAN_FRAMES frames, evenly to the episode's end."""
        now, end = track.steps[frame], track.steps[-1]
        if rng.random() < 0.5:
            wanted = float(now + self.horizon)
        else:
            begun = track.steps[rng.integers(frame + 1)]
            spacing = (end - begun) / PLAN_FRAMES
            wanted = begun + (np.floor((now - begun) / spacing + 1e-9) + 1) * spacing
        nearest = int(np.abs(track.steps - wanted).argmin())
        return max(nearest, frame + 1)

    def examples(self, rng: np.random.Generator, rows: np.ndarray) -> Example:
        n = len(rows)
        out = Example(
            np.empty((n,) + self.frames.shape[1:], np.uint8),
            np.empty((n,) + self.frames.shape[1:], np.uint8),
            np.empty(n, np.int64),
            np.empty((n, HAND), np.float32),
            np.empty(n, np.int64),
            np.empty((n, self.horizon, self.tracks[0].actions.shape[1]), np.float32),
            np.empty((n, self.horizon), np.float32),
        )
        for i, (number, frame) in enumerate(rows):
            track = self.tracks[number]
            goal = self.goal_frame(rng, track, frame)
            now = track.steps[frame]
            index = now + np.arange(self.horizon)
            out.observation[i] = self.frames[track.first + frame]
            out.goal[i] = self.frames[track.first + goal]
            out.ahead[i] = track.steps[goal] - now
            out.hand[i] = track.hands[now]
            out.task[i] = track.task
            out.action[i] = track.actions[np.minimum(index, len(track.actions) - 1)]
            out.weight[i] = index < len(track.actions)
        return out

    def mean_actions(self) -> np.ndarray:
        """[tasks, 4]: the best that can be said without looking."""
        out = np.zeros((len(self.tasks), self.tracks[0].actions.shape[1]), np.float32)
        for task, rows in enumerate(self.rows):
            if len(rows):
                actions = [self.tracks[number].actions[self.tracks[number].steps[frame]] for number, frame in rows]
                out[task] = np.mean(actions, axis=0)
        return out


# ---- reading ------------------------------------------------------------------------------------------------


def held_out_seeds(clips: Sequence[Clip], share: float) -> set[tuple[str, int]]:
    """(task, seed) of the last `share` of each task's seeds, at least one."""
    out = set()
    for task in {clip.task for clip in clips}:
        seeds = sorted({clip.seed for clip in clips if clip.task == task})
        if len(seeds) < 2:
            raise ValueError(f"{task}: {len(seeds)} episode, expected at least 2: one is held out")
        last = min(max(1, round(share * len(seeds))), len(seeds) - 1)
        out |= {(task, seed) for seed in seeds[-last:]}
    return out


def read(
    folders: Sequence[str],
    config: PolicyConfig,
    share: float,
    labels: str = "expert",
    tasks: Sequence[str] | None = None,
    note: Callable[[int, int], None] = lambda done, of: None,
    cache: str | None = None,
) -> tuple[Samples, Samples]:
    """Training and held-out samples. labels: "expert", what the scripted policy would do in each state, or "executed", what
    was done, exploration included; both cut to +-1, as the arm does. cache: see read_pictures."""
    clips: list[Clip] = []
    for folder in folders:
        if not os.path.isfile(os.path.join(folder, "index.jsonl")):
            raise ValueError(f"{folder}: no index.jsonl in it, expected a data set of `vipo sim collect`")
        clips += open_clips(folder, tasks)
    if not clips:
        raise ValueError(f"{', '.join(folders)}: no clips" + (f" of {', '.join(tasks)}" if tasks else ""))
    missing = sorted(set(tasks or ()) - {clip.task for clip in clips})
    if missing:
        raise ValueError(f"{', '.join(folders)}: no clips of {', '.join(missing)}, expected tasks that are there")
    order: dict[str, None] = dict.fromkeys(clip.task for clip in clips)
    names = tuple(order)
    held_out = held_out_seeds(clips, share)
    frames, first = read_pictures(clips, config.image, cache, note)
    parts: tuple[list[Track], list[Track]] = ([], [])
    episodes: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for number, clip in enumerate(clips):
        path = os.path.join(clip.folder, clip.episode)
        if path not in episodes:
            episodes[path] = actions_and_hands(clip, labels)
        actions, hands = episodes[path]
        part = (clip.task, clip.seed) in held_out
        parts[part].append(Track(names.index(clip.task), clip.seed, np.array(clip.steps), first[number], hands, actions))
    train, held = (Samples(names, frames, tracks, config.horizon) for tracks in parts)
    if not train.count or not held.count:
        raise ValueError(f"{', '.join(folders)}: clips of one frame only, expected more (vipo sim collect --stride)")
    return train, held


def actions_and_hands(clip: Clip, labels: str) -> tuple[np.ndarray, np.ndarray]:
    states = clip.states()
    name = "step/expert" if labels == "expert" and "step/expert" in states else "step/action"
    actions = np.clip(states[name], -1, 1).astype(np.float32)
    observations = np.concatenate((states["init/obs"][None], states["step/obs"]))
    if clip.steps[-1] != len(actions):
        raise ValueError(f"{clip.episode}: {len(actions)} actions, but the video ends at step {clip.steps[-1]}")
    return actions, observations[:, :HAND].astype(np.float32)
