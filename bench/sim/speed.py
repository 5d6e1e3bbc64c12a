#!/usr/bin/env python3
"""speed.py [OUT.csv] [--library build/libvipo_sim.so] [--rounds 7] [--tasks door-open,...]: the simulator's library beside the Python
packages (bench/sim/requirements.txt): `make bench-sim` installs them and runs this.

Both sides live in a process of their own and take turns, part by part, in every round (A B, then B A, ...). Of each task:
  open      load the scene and make the initial state of a seed
  reset     the initial state again: the Python package pulls the hand to its start twice, vipo once, to the same state
  step      a control step: five MuJoCo steps, observation, reward; the same actions on both sides
  context   OpenGL context, textures and shaders: the first picture's time less that of a later one
  rgb+depth a picture of 320x240 with its depth, quality as authored, from the three cameras in turn
  segments  what is seen in each pixel, 320x240
Python's rgb+depth is gymnasium's (Meta-World's own renderer), one drawing for both; segments is mujoco.Renderer's, for gymnasium's
has no object numbers under NumPy 2. Before anything is timed the results of both sides are compared; if they differ, nothing is
recorded. Prints and writes medians over the rounds, the fastest round (what a machine that others use too would do alone) and the
median of the rounds' ratios (above 1: vipo is faster)."""
import argparse
import csv
import ctypes
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

WIDTH, HEIGHT = 320, 240
CAMERAS = ["corner", "corner2", "corner3"]
PARTS = ["open", "reset", "step", "context", "rgb+depth", "segments"]


def clock(work, *args):
    start = time.perf_counter()
    result = work(*args)
    return time.perf_counter() - start, result


# ---- the two sides ----------------------------------------------------------------------------------------------------

class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 512)]


class Options(ctypes.Structure):
    _fields_ = [("profile", ctypes.c_int), ("assets", ctypes.c_char_p), ("gl", ctypes.c_char_p), ("shadow_size", ctypes.c_int),
                ("multisamples", ctypes.c_int)]


class StepResult(ctypes.Structure):
    _fields_ = [("observation", ctypes.c_double * 39), ("reward", ctypes.c_double), ("success", ctypes.c_bool)]


class Image(ctypes.Structure):
    _fields_ = [("data", ctypes.POINTER(ctypes.c_uint8)), ("height", ctypes.c_int), ("width", ctypes.c_int)]


class Array(ctypes.Structure):
    _fields_ = [("data", ctypes.POINTER(ctypes.c_float)), ("rank", ctypes.c_int), ("shape", ctypes.c_size_t * 6)]


class Picture(ctypes.Structure):
    _fields_ = [("height", ctypes.c_int), ("width", ctypes.c_int), ("rgb", Image), ("depth", Array),
                ("type", ctypes.POINTER(ctypes.c_int32)), ("id", ctypes.POINTER(ctypes.c_int32))]


class Vipo:
    """vipo/sim.h through ctypes."""

    def __init__(self, library):
        self.library = ctypes.CDLL(os.path.abspath(library))
        self.library.vipo_sim_gl_device.restype = ctypes.c_char_p
        self.error, self.sim, self.picture = Error(), ctypes.c_void_p(), None
        self.observation, self.result = (ctypes.c_double * 39)(), StepResult()

    def call(self, name, *args):
        if getattr(self.library, name)(*args, ctypes.byref(self.error)):
            raise RuntimeError(self.error.message.decode())

    def open(self, task, seed):
        self.seed = ctypes.c_uint64(seed)
        self.library.vipo_sim_close(ctypes.byref(self.sim))
        options = Options()
        self.library.vipo_sim_default_options(ctypes.byref(options))
        self.call("vipo_sim_open", ctypes.byref(self.sim), task.encode(), ctypes.byref(options))
        return self.reset()

    def reset(self):
        self.call("vipo_sim_reset", self.sim, self.seed, self.observation)
        return self.observation

    def expert(self, observation):
        action = (ctypes.c_double * 4)()
        self.call("vipo_sim_expert", self.sim, observation, action)
        return list(action)

    def prepare(self, actions):
        return [(ctypes.c_double * 4)(*action) for action in actions]

    def step(self, action):
        self.call("vipo_sim_step", self.sim, action, ctypes.byref(self.result))
        return self.result.observation

    def render(self, camera, parts):
        picture = Picture()
        self.call("vipo_sim_render", self.sim, camera.encode(), HEIGHT, WIDTH, parts, ctypes.byref(picture))
        return picture

    def free(self, picture):
        self.library.vipo_sim_picture_free(ctypes.byref(picture))

    def rgb_depth(self, camera):
        return self.render(camera, 3)

    def segments(self, camera):
        return self.render(camera, 4)

    def arrays(self, pictures):
        rgbd, segments = pictures
        shape = (HEIGHT, WIDTH)
        return {"rgb": np.ctypeslib.as_array(rgbd.rgb.data, shape + (3,)).copy(), "1/depth": 1 / np.ctypeslib.as_array(rgbd.depth.data, shape),
                "type": np.ctypeslib.as_array(segments.type, shape).copy(), "id": np.ctypeslib.as_array(segments.id, shape).copy()}

    def device(self):
        return self.library.vipo_sim_gl_device(self.sim).decode()


class Metaworld:
    """metaworld, gymnasium and mujoco."""

    def __init__(self, _library):
        import warnings
        warnings.filterwarnings("ignore")
        import mujoco
        from gymnasium.envs.mujoco.mujoco_rendering import OffScreenViewer
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
        self.mujoco, self.viewer_class, self.classes = mujoco, OffScreenViewer, ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
        self.env = self.viewer = self.renderer = None

    def open(self, task, seed):
        for used in (self.viewer, self.renderer):
            if used is not None:
                used.close()
        self.viewer = self.renderer = None
        self.env = self.classes[task + "-v3-goal-observable"](seed=seed)
        return self.reset()

    def reset(self):
        return self.env.reset()[0]

    def prepare(self, actions):
        return [np.array(action, np.float32) for action in actions]

    def step(self, action):
        return self.env.step(action)[0]

    def rgb_depth(self, camera):
        if self.viewer is None:  # as MujocoEnv does with its width and height
            self.env.model.vis.global_.offwidth, self.env.model.vis.global_.offheight = WIDTH, HEIGHT
            self.viewer = self.viewer_class(self.env.model, self.env.data, WIDTH, HEIGHT)
        self.viewer.make_context_current()
        return self.viewer.render("rgbd_tuple", camera_id=self.env.model.camera(camera).id)

    def segments(self, camera):
        if self.renderer is None:
            self.renderer = self.mujoco.Renderer(self.env.model, HEIGHT, WIDTH)
            self.renderer.enable_segmentation_rendering()
        self.renderer.update_scene(self.env.data, camera)
        return self.renderer.render()

    def free(self, picture):
        pass

    def arrays(self, pictures):
        (rgb, depth), segments = pictures
        near = self.env.model.vis.map.znear * self.env.model.stat.extent
        one_over_depth = (1 - depth[::-1].astype(float) * (1 - self.env.model.vis.map.znear / self.env.model.vis.map.zfar)) / near
        return {"rgb": rgb[::-1], "1/depth": one_over_depth, "type": segments[::-1, :, 1], "id": segments[::-1, :, 0]}


class Side:
    """What the process of a side does when it is asked for a part."""

    def __init__(self, make, library):
        self.it, self.actions = make(library), []

    def expert(self, task, seed):
        """The actions of 60 steps of the scripted policy."""
        observation, actions = self.it.open(task, seed), []
        for _ in range(60):
            actions.append(self.it.expert(observation))
            observation = self.it.step(self.it.prepare(actions[-1:])[0])
        return actions

    def check(self, task, seed, actions, path):
        """Everything that will be timed, as numbers."""
        out = {"reset": np.array(self.it.open(task, seed))}
        self.actions = self.it.prepare(actions)
        out["steps"] = np.array([np.array(self.it.step(action)) for action in self.actions])
        for camera in CAMERAS:
            pictures = self.it.rgb_depth(camera), self.it.segments(camera)
            out.update({camera + " " + name: array for name, array in self.it.arrays(pictures).items()})
            for picture in pictures:
                self.it.free(picture)
        np.savez(path, **out)

    def time(self, part, task, seed):
        if part == "open":
            return [clock(self.it.open, task, seed)[0]]
        if part == "reset":
            return [clock(self.it.reset)[0] for _ in range(7)]
        if part == "step":
            times = []
            for _ in range(7):
                self.it.reset()
                times.append(clock(lambda: [self.it.step(action) for action in self.actions])[0] / len(self.actions))
            return times
        draw = self.it.segments if part == "segments" else self.it.rgb_depth
        times = []
        for camera in {"context": CAMERAS[:1], "rgb+depth": CAMERAS, "segments": CAMERAS * 3}[part]:
            seconds, picture = clock(draw, camera)
            self.it.free(picture)
            times.append(seconds)
        return times

    def device(self):
        return self.it.device()


def serve(side):
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what packages print goes elsewhere
    for line in sys.stdin:
        name, args = json.loads(line)
        print(json.dumps(getattr(side, name)(*args)), file=out, flush=True)


class Process:
    def __init__(self, name, library):
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MUJOCO_GL="egl", VIPO_GL="egl", EGL_LOG_LEVEL="fatal")
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--serve", name, "--library", library], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, name, *args):
        print(json.dumps([name, args]), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit("speed.py: a side ended in %s" % name)
        return json.loads(line)


# ---- comparison -------------------------------------------------------------------------------------------------------

def compare(task, folder):
    a, b = (np.load(os.path.join(folder, name + ".npz")) for name in ("vipo", "metaworld"))
    greatest = {}
    for name in a.files:
        if a[name].shape != b[name].shape:
            sys.exit("%s: %s: shapes %s and %s" % (task, name, a[name].shape, b[name].shape))
        kind = name.split()[-1]
        greatest[kind] = max(greatest.get(kind, 0), float(np.max(np.abs(a[name].astype(float) - b[name]))))
    # gymnasium's depth is 1 at the far end, where floats are coarse: 2e-5/m are 0.02 mm at 1 m, 2 mm at 10 m
    if max(greatest["reset"], greatest["steps"]) > 1e-9 or greatest["1/depth"] > 2e-5 or greatest["rgb"] + greatest["type"] + greatest["id"] > 0:
        sys.exit("%s: the two sides differ: %s" % (task, greatest))
    print("%s: greatest differences: %s" % (task, ", ".join("%s %.2g" % item for item in greatest.items())))


def processor():
    """As in bench/compare_peers.py."""
    with open("/proc/cpuinfo") as file:
        fields = dict(re.findall(r"^(.*?)\s*:\s*(.*)$", file.read().split("\n\n")[0], re.M))
    family = " (family %s, model %s)" % (fields["cpu family"], fields["model"]) if "cpu family" in fields else ""
    return fields.get("model name", platform.machine()) + family


def measure(args, sides, task, folder):
    actions = sides["vipo"]("expert", task, args.seed)
    for name, side in sides.items():
        side("check", task, args.seed, actions, os.path.join(folder, name))
    compare(task, folder)
    rounds = {part: [] for part in PARTS}
    for i in range(args.rounds):
        one = {part: {} for part in PARTS}
        for part in PARTS:
            for name, side in list(sides.items())[::1 if i % 2 == 0 else -1]:
                one[part][name] = statistics.median(side("time", part, task, args.seed))
        for name in sides:
            one["context"][name] -= one["rgb+depth"][name]
        for part in PARTS:
            rounds[part].append(one[part])
    return rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?")
    parser.add_argument("--library", default="build/libvipo_sim.so")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", default="door-open,basketball,shelf-place,button-press,hammer,assembly")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(Side({"vipo": Vipo, "metaworld": Metaworld}[args.serve], args.library))
    if args.rounds < 1:
        parser.error("--rounds: expected at least 1")
    sides, rows, pooled = {name: Process(name, args.library) for name in ("vipo", "metaworld")}, [], {part: [] for part in PARTS}

    def add(task, part, rounds):
        median = {name: statistics.median(one[name] for one in rounds) for name in sides}
        best = {name: min(one[name] for one in rounds) for name in sides}
        ratio = statistics.median(one["metaworld"] / one["vipo"] for one in rounds)
        rows.append([datetime.date.today().isoformat(), processor(), os.cpu_count(), sides["vipo"]("device"), task, part, len(rounds)] +
                    ["%.4g" % (1e3 * value) for value in (*median.values(), *best.values())] + ["%.3f" % ratio])
        print("%-14s %-10s vipo %9.3f ms (best %9.3f)   Python %9.3f ms (best %9.3f)   ratio %.2f" % (
            task, part, 1e3 * median["vipo"], 1e3 * best["vipo"], 1e3 * median["metaworld"], 1e3 * best["metaworld"], ratio), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        for task in args.tasks.split(","):
            for part, rounds in measure(args, sides, task, folder).items():
                add(task, part, rounds)
                pooled[part] += rounds
    for part, rounds in pooled.items():
        add("all", part, rounds)
    if args.out:
        with open(args.out, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow("date,cpu,cores,opengl,task,part,rounds,vipo_ms,python_ms,vipo_best_ms,python_best_ms,ratio".split(","))
            writer.writerows(rows)
    return 0


sys.exit(main())
