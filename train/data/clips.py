"""Reads what `vipo sim collect` wrote (docs/data.md): the index, videos as uint8 [frames][height][width][3], and AVDC's
way of taking eight frames from a clip. Needs NumPy and PyAV."""
import dataclasses
import json
import os

import av
import numpy as np

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Clip:
    folder: str
    info: dict  # its line of index.jsonl

    def __getattr__(self, name):
        try:
            return self.info[name]
        except KeyError:
            raise AttributeError(name) from None

    def frames(self):
        """uint8 [frames][height][width][3], rows as glReadPixels gives them: upright and mirrored, as AVDC's."""
        frames = read_frames(os.path.join(self.folder, self.info["video"]))
        wanted = (self.info["frames"], self.info["height"], self.info["width"], 3)
        if frames.shape != wanted:
            raise ValueError("%s: frames %s, the index says %s" % (self.info["video"], frames.shape, wanted))
        return frames

    def states(self):
        """The recorded episode: {name: float64 array}, rows of step/... are control steps 1, 2, ..."""
        return read_episode(os.path.join(self.folder, self.info["episode"]))


def open_clips(folder, tasks=None, cameras=None, seeds=None):
    """Clips of the index; None: all."""
    clips = []
    with open(os.path.join(folder, "index.jsonl"), encoding="utf-8") as index:
        for line in index:
            info = json.loads(line)
            if info["format"] != FORMAT:
                raise ValueError("%s: format %s, this reads %d" % (folder, info["format"], FORMAT))
            if all(wanted is None or info[key] in wanted
                   for key, wanted in (("task", tasks), ("camera", cameras), ("seed", seeds))):
                clips.append(Clip(folder, info))
    return clips


def read_frames(path):
    """All frames of a video."""
    with av.open(path) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def read_episode(path):
    """A safetensors file of float64."""
    with open(path, "rb") as file:
        data = file.read()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F64":
            raise ValueError("%s: %s is %s, expected F64" % (path, name, entry["dtype"]))
        begin, end = entry["data_offsets"]
        out[name] = np.frombuffer(data[8 + size + begin:8 + size + end], "<f8").reshape(entry["shape"])
    return out


def frame_numbers(n, start, count=8):
    """AVDC's choice: `count` frames from `start` to the last one, evenly, rounded down (Ko et al. 2023, its data loader)."""
    if not 0 <= start < n:
        raise ValueError("start %d: expected 0 to %d" % (start, n - 1))
    length = n - start
    return [start + int(i * (length - 1) / (count - 1)) for i in range(count - 1)] + [n - 1]


def sample(clip, rng, count=8, held_out=False, frames=None):
    """One training example: (uint8 [count][height][width][3], text). The start and the phrase are drawn from rng
    (numpy.random.Generator); held_out takes the phrases that training never sees. frames: the clip's, if already read."""
    frames = clip.frames() if frames is None else frames
    texts = clip.held_out_texts if held_out else clip.texts
    chosen = frame_numbers(len(frames), int(rng.integers(len(frames))), count)
    return frames[chosen], texts[int(rng.integers(len(texts)))]
