"""The cases of `vipo sim`, in the form of cases.py. Skipped where vipo was built without MuJoCo or has no OpenGL."""
import json
import os
import subprocess

from cases import PNG, case, positive, special
from harness import SOURCE, Failed, expect, expect_one_line, read_npy

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
case("sim", "sim alone", "sim", code=2, err="unknown command 'sim', .*sim-list, sim-render")
case("sim", "unknown of sim", "sim fly", code=2, err="unknown command 'sim'")

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
    mesh, texture = "objects/meshes/doorlock/door.stl", "textures/wood2.png"
    scene, model = "scene/basic_scene.xml", "sawyer_xyz/sawyer_door_pull.xml"
    for name, content, message in ((mesh, b"solid nothing", "door.stl"), (mesh, None, "door.stl"), (texture, b"\x89PNG", "wood2.png"),
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
