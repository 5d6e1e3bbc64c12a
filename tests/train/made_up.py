"""A data set as `vipo sim collect` writes it, of a world that is small enough to learn in seconds: a white hand on a dark floor
goes to a red square ("reach") or a green one ("touch"), which are in two of the corners."""
import json
import os

import av
import numpy as np

SIZE, CAMERAS, STRIDE = 32, ("corner", "corner3"), 2
TASKS = ("reach", "touch")
LOW, HIGH = np.array([-0.4, 0.5]), np.array([0.4, 0.9])  # where hand and squares may be, x and y


def picture(hand, squares, camera):
    """uint8 [SIZE, SIZE, 3]; the second camera sees a lighter floor."""
    out = np.full((SIZE, SIZE, 3), 30 if camera == CAMERAS[0] else 60, np.uint8)
    for place, colour, half in [(squares[0], (220, 30, 30), 5), (squares[1], (30, 200, 30), 5), (hand, (250, 250, 250), 3)]:
        x, y = np.round((place - LOW) / (HIGH - LOW) * (SIZE - 8) + 4).astype(int)
        out[max(0, y - half) : y + half, max(0, x - half) : x + half] = colour
    return out


def write_video(path, frames):
    """Without loss: FFV1."""
    with av.open(path, "w", format="matroska") as file:
        stream = file.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "bgr0"
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def write_tensors(path, tensors):
    header, offset = {}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": "F64", "shape": list(value.shape), "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for value in tensors.values():
            file.write(np.ascontiguousarray(value, "<f8").tobytes())


def episode(rng, task, steps):
    """(observations [steps + 1, 39], expert's actions, executed actions, squares)."""
    corners = np.array([[LOW[0], LOW[1]], [LOW[0], HIGH[1]], [HIGH[0], LOW[1]], HIGH])
    squares = corners[rng.choice(4, 2, replace=False)]
    hand = rng.uniform(LOW, HIGH)
    observations, expert, executed = [], [], []
    for _ in range(steps + 1):
        row = np.zeros(39)
        row[:4] = hand[0], hand[1], 0.2, 1
        observations.append(row)
        way = 20 * (squares[task] - hand)  # often beyond +-1: to be cut
        wanted = np.array([way[0], way[1], way[0], 0.5 - task])  # the gripper says which
        noise = rng.normal(0, 0.2, 4)
        expert.append(wanted)
        executed.append(np.clip(np.clip(wanted, -1, 1) + noise, -1, 1))
        hand = np.clip(hand + 0.02 * executed[-1][:2], LOW, HIGH)
    return np.array(observations), np.array(expert[:-1]), np.array(executed[:-1]), squares


def make(folder, episodes, steps=40, seed=0):
    """Writes the data set: episodes of each task."""
    os.makedirs(os.path.join(folder, "videos"))
    os.makedirs(os.path.join(folder, "episodes"))
    with open(os.path.join(folder, "collect.json"), "w", encoding="utf-8") as settings:
        json.dump({"picture_height": 40, "picture_width": 48}, settings)
    rng = np.random.default_rng(seed)
    times = list(range(0, steps + 1, STRIDE))
    with open(os.path.join(folder, "index.jsonl"), "w", encoding="utf-8") as index:
        for task, name in enumerate(TASKS):
            for number in range(episodes):
                observations, expert, executed, squares = episode(rng, task, steps)
                file = "episodes/%s_%05d.safetensors" % (name, number)
                tensors = {"init/obs": observations[0], "step/action": executed, "step/obs": observations[1:], "step/expert": expert}
                write_tensors(os.path.join(folder, file), tensors)
                for camera in CAMERAS:
                    video = "videos/%s_%05d_%s.mkv" % (name, number, camera)
                    write_video(os.path.join(folder, video), [picture(observations[t, :2], squares, camera) for t in times])
                    line = {"format": 1, "task": name, "camera": camera, "seed": number, "video": video, "episode": file,
                            "height": SIZE, "width": SIZE, "frames": len(times), "steps": times, "texts": [name]}
                    index.write(json.dumps(line) + "\n")
