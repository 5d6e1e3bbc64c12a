"""The cases of `vipo sim`, in the form of cases.py. Skipped where vipo was built without MuJoCo or has no OpenGL."""
import json
import os
import random
import shlex
import signal
import struct
import subprocess
import time

from cases import PNG, positive
from harness import SOURCE, Failed, case, expect, expect_one_line, read_npy, special, wait_until_caught

SMALL = "sim render --task door-open --size 64x48 --shadow-size -1 --multisamples -1 "
TASKS = ["door-open", "door-close", "basketball", "shelf-place", "button-press", "button-press-topdown", "faucet-close",
         "faucet-open", "handle-press", "hammer", "assembly"]


def why_skipped(vipo):
    """None if the cases can run."""
    run = subprocess.run([vipo, "sim", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if run.returncode:
        return run.stderr.strip()
    problems = [gl["problem"] for gl in json.loads(run.stdout)["gl"]]
    return None if None in problems else "; ".join(problems)


def with_environment(run, line, **variables):
    return run.run(line, env=dict(os.environ, **variables))


# ---- sim list -------------------------------------------------------------------------------------------

case("sim", "list", "sim list", out="(?s)door-open +door open.*corner, corner2, corner3.*farama-v3, avdc-v2.*MuJoCo +3[.]")
case("sim", "list in one word", "sim-list", out="door-open")
case("sim", "list --json", "sim list --json",
     json={"tasks": lambda tasks: [t["name"] for t in tasks] == TASKS and tasks[2]["text"] == "basketball",
           "cameras": lambda names: names == ["corner", "corner2", "corner3"],
           "profiles": lambda names: names == ["farama-v3", "avdc-v2"],
           "gl": lambda gl: [g["name"] for g in gl] == ["egl", "osmesa"] and all(g["works"] == (g["problem"] is None) for g in gl)})
case("sim", "help", "sim render --help", out="Usage: vipo sim-render --task NAME")
case("sim", "help on two words", "help sim render", out="Usage: vipo sim-render --task NAME")
case("sim", "sim alone", "sim", code=2, err="'sim' needs a second word: list, render, expert, replay or collect$")
case("sim", "sim --help", "sim --help", code=2, err="'sim' needs a second word: list, render")
case("sim", "help sim", "help sim", code=2, err="'sim' needs a second word: list, render")
case("sim", "unknown of sim", "sim fly", code=2, err="unknown command 'sim fly', after 'sim' expected list, render, ")

# ---- sim render -----------------------------------------------------------------------------------------

case("sim", "a picture", SMALL + "--seed 3 -o a.png", out="^a[.]png ", files={"a.png": PNG})
case("sim", "everything", SMALL + "-c corner3 --initial {golden} -o a.png --depth d.npy --segmentation s.npy --mask m.png --matrix c.npy --json",
     json={"task": "door-open", "profile": "farama-v3", "seed": None, "camera": "corner3", "width": 64, "height": 48,
           "mask_pixels": positive, "mujoco": lambda text: text.startswith("3."), "device": lambda text: len(text) > 0,
           "matrix": lambda rows: [len(row) for row in rows] == [4, 4, 4],
           "files": lambda names: names == ["a.png", "d.npy", "s.npy", "m.png", "c.npy"]},
     files={"a.png": PNG, "d.npy": (48, 64), "s.npy": (48, 64, 2), "m.png": PNG, "c.npy": (3, 4)})
case("sim", "only the matrix, nothing drawn", SMALL + "--json", json={"gl": None, "mask_pixels": None, "seed": 0})
case("sim", "avdc-v2", SMALL + "--profile avdc-v2 --seed 1 --json --depth d.npy", json={"profile": "avdc-v2", "seed": 1},
     files={"d.npy": (48, 64)})

case("sim", "after steps", SMALL + "--steps 60 -o a.png --mask m.png --json", json={"steps": 60, "seed": 0, "mask_pixels": positive},
     files={"a.png": PNG, "m.png": PNG})
case("sim", "after the whole episode", SMALL + "--steps 500 --depth a.npy", err="warning: the episode ends after 85 steps: that is what is drawn",
     files={"a.npy": (48, 64)})
case("sim", "steps past the limit", SMALL + "--steps 501 -o a.png", code=2, err="--steps 501: expected an integer from 0 to 500")

case("sim", "unknown task", "sim render --task door -o a.png", code=1, err='unknown task "door", expected one of ' + ", ".join(TASKS))
case("sim", "unknown camera", SMALL + "--camera top -o a.png", code=1, err="unknown camera 'top', expected corner, corner2 or corner3")
case("sim", "unknown profile", SMALL + "--profile v1 -o a.png", code=2, err="--profile v1: expected farama-v3 or avdc-v2")
case("sim", "unknown GL", SMALL + "--gl vulkan -o a.png", code=1, err="OpenGL by 'vulkan': expected egl or osmesa")
case("sim", "no task", "sim render -o a.png", code=2, err="--task NAME is missing")
case("sim", "no output", "sim render -t hammer", code=2, err="give --out, --depth, --segmentation, --mask, --matrix or --json")
for size in ["0x4", "4", "4x", "x4", "-4x4", "4x4x4", "9000x4", "4x99999999999999999999", "4 x4"]:
    case("sim", "--size '%s'" % size, "sim render -t hammer -o a.png --size='%s'" % size, code=2, err="--size .*: expected WIDTHxHEIGHT")
case("sim", "wrong ending", SMALL + "--depth d.png", code=2, err="--depth d.png: the name must end in .npy")
case("sim", "no folder", SMALL + "-o no/a.png", code=1, err="no/a.png")
case("sim", "full disk", SMALL + "-o {full_png}", code=1, err="No space left")
case("sim", "seed and state", SMALL + "--seed 1 --initial {golden} -o a.png", code=2, err="give one of --seed N and --initial FILE")
case("sim", "no state file", SMALL + "--initial none.safetensors -o a.png", code=1, err="none.safetensors: ")
case("sim", "a state that is none", SMALL + "--initial {no_npy} -o a.png", code=1, err="no.npy: ")
case("sim", "no assets", SMALL + "--assets nowhere -o a.png", code=1,
     err="nowhere/sawyer_xyz/sawyer_door_pull.xml: not found; scripts/setup.sh fetches Meta-World's models")


@special("sim", "--initial and --seed of the same state")
def same_state(run):
    for name, line in (("a", "--seed 0 --depth a.npy"), ("b", "--initial {golden} --depth b.npy")):
        code, out, err = run.run(SMALL + line)
        expect(code == 0 and err == "", "%s: exit status %d: %s", name, code, err)
    expect(read_npy(run.path("a.npy")) == read_npy(run.path("b.npy")), "the depths differ")


@special("sim", "--steps is a state of the episode")
def after_steps(run):
    """The door has moved, and door-open's recorded state plus the same steps is the same picture."""
    for name, line in (("a", "--seed 0 --steps 40"), ("b", "--initial {golden} --steps 40"), ("c", "--seed 0")):
        code, out, err = run.run(SMALL + line + " --depth %s.npy" % name)
        expect(code == 0 and err == "", "%s: exit status %d: %s", name, code, err)
    a, b, c = (read_npy(run.path(name + ".npy")) for name in "abc")
    expect(a == b, "the depths differ")
    expect(a != c, "40 steps changed nothing")


@special("sim", "assets by the environment")
def environment(run):
    code, out, err = with_environment(run, SMALL + "-o a.png", VIPO_METAWORLD_ASSETS="elsewhere")
    expect(code == 1 and out == "", "exit status %d", code)
    expect_one_line(err, "elsewhere/sawyer_xyz/sawyer_door_pull.xml: not found")


def assets_of(run):
    """A copy of the models, whose files a case may break."""
    source = os.path.join(SOURCE, "deps", "metaworld-3.1.1", "assets")
    copy = run.path("models")
    subprocess.run(["cp", "-r", source, copy], check=True)
    return copy


@special("sim", "broken models")
def broken(run):
    models = assets_of(run)
    invalid = bytes(80) + struct.pack("<I12fH", 1, *[float("nan")] * 12, 0)  # one triangle
    mesh, texture = "objects/meshes/doorlock/door.stl", "textures/wood2.png"
    scene, model = "scene/basic_scene.xml", "sawyer_xyz/sawyer_door_pull.xml"
    for name, content, message in ((mesh, b"solid nothing", "door.stl"), (mesh, None, "door.stl"), (mesh, invalid, "door.stl' contains invalid vertices"), (texture, b"\x89PNG", "wood2.png"),
                                   (scene, b"<mujocoinclude><asset>", "MuJoCo cannot load it"), (scene, None, "basic_scene.xml"),
                                   (model, b"", "MuJoCo cannot load it"), (model, b"<mujoco><worldbody/></mujoco>", "sawyer_door_pull.xml: "),
                                   (model, b"\x00\xff" * 500, "MuJoCo cannot load it")):
        path = os.path.join(models, name)
        with open(path, "rb") as file:
            before = file.read()
        os.remove(path)
        if content is not None:
            with open(path, "wb") as file:
                file.write(content)
        code, out, err = run.run(SMALL + "-o a.png --assets models")
        expect(code == 1 and out == "", "%s: exit status %d", name, code)
        expect_one_line(err, message)
        expect(not os.path.exists(run.path("a.png")), "%s: a picture was written", name)
        with open(path, "wb") as file:
            file.write(before)
    code, out, err = run.run(SMALL + "-o a.png --assets models")
    expect(code == 0, "the repaired models: %s", err)


@special("sim", "no OpenGL")
def no_gl(run):
    nowhere = {"__EGL_VENDOR_LIBRARY_DIRS": "/nowhere", "__EGL_VENDOR_LIBRARY_FILENAMES": "", "VIPO_GL": "egl"}
    code, out, err = with_environment(run, SMALL + "-o a.png", **nowhere)
    expect(code == 1 and out == "", "exit status %d", code)
    expect_one_line(err, r"no OpenGL to draw with \(egl: .*\): install libegl1 and libgl1-mesa-dri, or libosmesa6")
    expect(run.files() == [], "files %s", run.files())
    code, out, err = with_environment(run, COLLECT + "-o set", **nowhere)
    expect(code == 1 and out == "", "collect: exit status %d", code)
    expect_one_line(err, r"no OpenGL to draw with \(egl: ")
    expect(not os.listdir(run.folder), "left behind: %s", os.listdir(run.folder))
    code, out, err = with_environment(run, "sim list --json", **nowhere)
    expect(code == 0 and not json.loads(out)["gl"][0]["works"], "sim list: %s", out)


@special("sim", "without MuJoCo")
def without_mujoco(run):
    absent = os.path.join(os.path.dirname(run.vipo), "without_mujoco")
    if not os.path.isdir(absent):
        raise Failed("%s was not built" % absent)
    for line in ("sim list", "sim list --json", SMALL + "-o a.png"):
        code, out, err = with_environment(run, line, LD_LIBRARY_PATH=absent)
        expect(code == 1 and out == "", "%s: exit status %d", line, code)
        expect_one_line(err, "this vipo was built without MuJoCo: run scripts/setup.sh, which fetches it, and build again")
    code, out, err = with_environment(run, "sim render --help", LD_LIBRARY_PATH=absent)
    expect(code == 0 and "--task NAME" in out, "help: exit status %d", code)


# ---- sim expert -----------------------------------------------------------------------------------------

RECORDED = os.path.join(SOURCE, "tests", "golden", "metaworld", "")

case("sim", "an expert", "sim expert -t handle-press", out=r"^success at step \d+, \d+ steps, return \d+[.]\d+\n$")
case("sim", "an expert --json", "sim expert -t button-press --seed 2 --json",
     json={"task": "button-press", "profile": "farama-v3", "seed": 2, "first_success": positive, "steps": positive, "return": positive,
           "mujoco": lambda text: text.startswith("3."), "step_seconds": positive, "reset_seconds": positive})
case("sim", "an expert's episodes", "sim expert -t faucet-open --profile avdc-v2 --seed 10 -n 2",
     out=r"^seed 10: success at step 60, 70 steps, return .*\nseed 11: no success, 500 steps, return .*\n1 of 2 succeed\n$")
case("sim", "an expert's episodes --json", "sim expert -t faucet-open --profile avdc-v2 --seed 10 -n 2 --json",
     json={"successes": 1, "episodes": lambda list_: [(e["seed"], e["first_success"], e["steps"]) for e in list_] == [(10, 60, 70), (11, None, 500)]})
case("sim", "an expert in a recorded state", "sim expert -t door-open --initial {golden} --json",
     json={"first_success": 75, "steps": 85, "seed": None, "return": lambda value: abs(value - 375.302339) < 1e-5})
case("sim", "expert: a state and episodes", "sim expert -t door-open --initial {golden} -n 2", code=2, err="--initial is one state")
case("sim", "expert: no episodes", "sim expert -t door-open -n 0", code=2, err="-n 0: expected an integer from 1 to 1000000")
case("sim", "expert: unknown task", "sim expert -t door", code=1, err='unknown task "door", expected one of ' + ", ".join(TASKS))
case("sim", "expert: a seed that NumPy lacks", "sim expert -t hammer --seed 4294967296", code=1, err="NumPy's legacy generator takes 0[.][.]4294967295")
case("sim", "expert: a state of another task", "sim expert -t door-close --initial {golden}", code=1, err="is it of another task[?]")
case("sim", "expert: a state of another kind", "sim expert -t hammer --initial {golden}", code=1, err="tensor init/qpos: expected shape \\[17\\], found \\[10\\]")


@special("sim", "expert: interrupted")
def interrupted(run):
    process = subprocess.Popen([run.vipo, "sim", "expert", "-t", "assembly", "-n", "1000000"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    wait_until_caught(process)
    time.sleep(random.uniform(0, 1))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    expect(process.returncode == 130, "exit status %d", process.returncode)
    expect_one_line(err, "interrupted")


# ---- sim replay -----------------------------------------------------------------------------------------

def tiny(value):
    return 0 <= value < 1e-9


for task in TASKS:
    case("sim", "replay " + task, "sim replay -t %s --episode %sexpert_%s_0.safetensors --json" % (task, RECORDED, task),
         json={"task": task, "first_success": positive, "steps": positive, "max_obs_diff": tiny, "first_obs_diff": tiny, "max_qpos_diff": tiny,
               "max_reward_diff": tiny, "success_diffs": 0})
case("sim", "replay in words", "sim replay -t hammer --episode %sexpert_hammer_0.safetensors" % RECORDED,
     out=r"^74 steps, success at step 64, return .*\ngreatest differences: .*; success in 0 steps\n$")
case("sim", "replay of no success", "sim replay -t hammer --episode %srandom_hammer_0.safetensors" % RECORDED, out="^30 steps, no success, ")
case("sim", "replay under the other profile", "sim replay -t door-open --profile avdc-v2 --episode %srandom_door-open_0.safetensors --json" % RECORDED,
     json={"max_obs_diff": lambda value: value > 1e-4})
case("sim", "replay: no episode", "sim replay -t hammer", code=2, err="--episode FILE is missing")
case("sim", "replay: no file", "sim replay -t hammer --episode none.safetensors", code=1, err="none.safetensors: ")
case("sim", "replay: no recording", "sim replay -t hammer --episode {no_npy}", code=1, err="no.npy: ")
case("sim", "replay: another task", "sim replay -t hammer --episode {golden}", code=1, err="init/qpos: expected shape \\[17\\]")


# ---- sim collect ----------------------------------------------------------------------------------------

COLLECT = "sim collect -t handle-press -c corner -n 1 --size 32x24 --picture 64x48 --max-frames 4 --shadow-size -1 --multisamples -1 "


@special("sim", "collect")
def collect(run):
    code, out, err = run.run(COLLECT + "-o parent/set --json")
    expect(code == 0 and not err, "exit status %d: %s", code, err)
    result = json.loads(out)
    expect([result[name] for name in ("episodes", "clips", "frames", "earlier", "skipped")] == [1, 1, 4, 0, 0], "%s", result)
    expect(result["worst_psnr"] > 38, "%s", result)
    folder = os.path.join(run.folder, "parent", "set")
    with open(os.path.join(folder, "index.jsonl")) as file:
        clip, = [json.loads(line) for line in file]
    expect((clip["task"], clip["camera"], clip["seed"], clip["height"], clip["width"]) == ("handle-press", "corner", 0, 24, 32), "%s", clip)
    expect(clip["text"] == "handle press" and len(clip["texts"]) == 10 and len(clip["held_out_texts"]) == 2, "%s", clip)
    expect(len(set(clip["texts"] + clip["held_out_texts"])) == 12, "%s", clip)
    expect(len(clip["steps"]) == 4 and clip["steps"][0] == 0 and clip["steps"][-1] == clip["first_success"] + 10, "%s", clip)
    expect(os.path.getsize(os.path.join(folder, clip["video"])) == result["video_bytes"], "%s", result)
    code, out, err = run.run("sim replay -t handle-press --json --episode parent/set/" + clip["episode"])
    expect(code == 0 and json.loads(out)["max_obs_diff"] < 1e-9, "replay: %s%s", out, err)
    code, out, err = run.run(COLLECT + "-o parent/set")
    expect(code == 0 and "1 of the episodes were there before" in out, "again: %s%s", out, err)
    code, out, err = run.run(COLLECT + "-o parent/set --seed 5")
    expect(code == 1, "exit status %d", code)
    expect_one_line(err, "begun with seed 0, not 5: give the same options or another folder")


@special("sim", "collect: interrupted")
def collect_interrupted(run):
    line = "sim collect -n 50 -w 1 -o set".split()
    process = subprocess.Popen([run.vipo] + line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=run.folder)
    while process.poll() is None and not os.path.isdir(run.path("set/episodes")):
        time.sleep(0.01)
    time.sleep(random.uniform(0, 1))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    expect(process.returncode == 130, "exit status %d", process.returncode)
    expect_one_line(err, "interrupted; [0-9]+ complete episodes are in set, the same command goes on from there")
    left = [name for folder in ("", "videos", "episodes") for name in os.listdir(os.path.join(run.folder, "set", folder)) if name.endswith(".tmp")]
    expect(not left, "left behind: %s", left)


@special("sim", "collect: a full disk")
def collect_full(run):
    # files of at most 8 blocks of 512 bytes: the first episode's is larger
    process = subprocess.run(["bash", "-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" " + COLLECT + "-o set", run.vipo],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=run.folder)
    expect(process.returncode == 1, "exit status %d: %s", process.returncode, process.stderr)
    expect_one_line(process.stderr, "set/episodes/handle-press_00000.safetensors: cannot write: File too large")


def contents(folder):
    """{name: bytes} of every file below a folder."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


@special("sim", "collect: killed")
def collect_killed(run):
    """Killed again and again at moments that no one chose, then left alone: the same bytes as in one go, and nothing else."""
    line = [run.vipo] + (COLLECT.replace("handle-press", "handle-press,faucet-close").replace("-n 1", "-n 3") + "-w 2 --lossless -o ").split()
    start = time.monotonic()
    code, out, err = run.run(shlex.join(line[1:] + ["whole"]))
    expect(code == 0, "exit status %d: %s", code, err)
    whole, wanted, killed = time.monotonic() - start, contents(run.path("whole")), 0
    expect(len(wanted) == 3 + 2 * 3 * 2, "files %s", sorted(wanted))
    for _ in range(30):
        if killed == 6:
            break
        process = subprocess.Popen(line + ["parts"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=run.folder)
        time.sleep(random.uniform(0, whole))
        process.kill()
        if process.wait(timeout=60) == -signal.SIGKILL:
            killed += 1
        else:  # the machine has become faster
            whole /= 2
        left = contents(run.path("parts")) if os.path.isdir(run.path("parts")) else {}
        for name in left:  # what has its name is complete, whatever happened
            expect(name.endswith(".tmp") or name in wanted, "%s is there", name)
            expect(name.endswith(".tmp") or name.endswith(".jsonl") or left[name] == wanted[name], "%s is not complete", name)
    expect(killed == 6, "killed %d times only", killed)
    code, out, err = run.run(shlex.join(line[1:] + ["parts", "--json"]))
    expect(code == 0 and err == "", "after kills: exit status %d: %s", code, err)
    expect(json.loads(out)["episodes"] == 6, "%s", out)
    found = contents(run.path("parts"))
    expect(sorted(found) == sorted(wanted), "files %s", sorted(found))
    expect(found == wanted, "other bytes in %s", [name for name in wanted if found[name] != wanted[name]])


case("sim", "collect: no folder", "sim collect -t hammer", code=2, err="--out DIR is missing")
case("sim", "collect: unknown task", "sim collect -o set -t hammer,doors", code=1, err='unknown task "doors", expected one of ' + ", ".join(TASKS))
case("sim", "collect: a task twice", "sim collect -o set -t hammer,hammer", code=1, err="task hammer is there twice")
case("sim", "collect: unknown camera", "sim collect -o set -c corner4", code=1, err="unknown camera 'corner4', expected corner")
case("sim", "collect: larger than the picture", "sim collect -o set --size 640x480", code=1, err="frames of 640x480: expected at most .*320x240")
case("sim", "collect: size", "sim collect -o set --size 640", code=2, err="--size 640: expected WIDTHxHEIGHT")
case("sim", "collect: lossless with a quality", "sim collect -o set --lossless --crf 3", code=2, err="--lossless has no --crf")
case("sim", "collect: noise", "sim collect -o set --action-noise 2.5", code=2, err="--action-noise 2.5: expected .*0 to 2")
case("sim", "collect: held noise", "sim collect -o set --noise-hold 8", code=2, err="--noise-hold is of --action-noise, which is not given or 0")
case("sim", "collect: noise held for no step", "sim collect -o set --action-noise .1 --noise-hold 0", code=2, err="--noise-hold 0: expected .*1 to 500")
case("sim", "collect: nothing to undo", "sim collect -o set --undo -t hammer", code=1, err="hammer undoes no other task, expected door-open or door-close")
case("sim", "collect: stride and frames", "sim collect -o set --stride 3 --max-frames 9", code=2, err="one of --stride and --max-frames")
case("sim", "collect: unknown profile", "sim collect -o set --profile v3", code=2, err="expected farama-v3 or avdc-v2")


@special("sim", "collect: no models")
def collect_without_models(run):
    code, out, err = run.run(COLLECT + "--assets nowhere -o set")
    expect(code == 1 and out == "", "exit status %d", code)
    expect_one_line(err, "nowhere/sawyer_xyz/sawyer_handle_press.xml: not found; scripts/setup.sh fetches Meta-World's models")
    expect(not os.listdir(run.folder), "left behind: %s", os.listdir(run.folder))


@special("sim", "collect: another folder")
def collect_elsewhere(run):
    os.mkdir(os.path.join(run.folder, "set"))
    for name in ("draft.tmp", "notes.txt"):  # the first one alone, too
        with open(os.path.join(run.folder, "set", name), "w") as file:
            file.write("mine")
        kept = sorted(os.listdir(run.path("set")))
        code, out, err = run.run(COLLECT + "-o set")
        expect(code == 1, "exit status %d", code)
        expect_one_line(err, "set: the folder holds other files, expected a new or empty one")
        expect(sorted(os.listdir(run.path("set"))) == kept, "files %s", os.listdir(run.path("set")))
