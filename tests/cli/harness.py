"""What the cases of cases.py are made of: input files, a folder to run in, checks."""
import array
import json
import os
import pickle
import random
import re
import shlex
import shutil
import signal
import struct
import subprocess
import time
import zipfile

CASES = []  # every module cases*.py adds its own

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIMEOUT = 300  # seconds for one command; builds with sanitizers are slow


# Measured methods are for the cases about them, which name a folder; none writes to the user's home.
os.environ["VIPO_TUNE"] = "off"
os.environ.pop("VIPO_CACHE", None)


class Failed(Exception):
    pass


def case(group, name, args=None, **expected):
    CASES.append(dict(expected, group=group, name=name, **({} if args is None else {"args": args})))


def special(group, name):
    def add(function):
        CASES.append({"group": group, "name": name, "check": function})
        return function
    return add


# ---- input files --------------------------------------------------------------------------------------

def write_npy(path, shape, values):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }" % "".join("%d, " % n for n in shape)
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        f.write(array.array("f", values).tobytes())


def read_npy(path):
    """-> shape, values"""
    with open(path, "rb") as f:
        content = f.read()
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise Failed("%s is no .npy file" % path)
    length = struct.unpack("<H", content[8:10])[0]
    header = content[10:10 + length].decode()
    if "'<f4'" not in header or "'fortran_order': False" not in header:
        raise Failed("%s: not float32 in C order: %s" % (path, header.strip()))
    shape = tuple(int(n) for n in re.search(r"'shape': \(([\d, ]*)\)", header).group(1).replace(" ", "").split(",") if n)
    values = array.array("f")
    values.frombytes(content[10 + length:])
    return shape, values


def make_npy(path, shape, kind):
    numbers = random.Random(1)
    n = 1
    for size in shape:
        n *= size
    draw = {"normal": lambda: numbers.gauss(0, 1), "unit": numbers.random, "nan": lambda: float("nan")}[kind]
    write_npy(path, shape, [draw() for _ in range(n)])


class Evil:
    """Unpickling this would make a file."""

    def __reduce__(self):
        return os.system, ("touch pickle-was-run",)


def make_evil_checkpoint(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"model": Evil()}, protocol=2))


MAKERS = {}  # name of an input -> how its file (or folder) ends, function(at, path) that makes it


def made(name, file=None):
    """The decorated function makes the input {name} when a case first asks for it."""
    def add(function):
        MAKERS[name] = (file or name, function)
        return function
    return add


class Inputs(dict):
    """Path of each input file by name; those of MAKERS appear when they are needed."""

    def __init__(self, folder):
        super().__init__(data=folder)

    def __missing__(self, name):
        file, make = MAKERS[name]
        self[name] = os.path.join(self["data"], file)
        make(self, self[name])
        return self[name]


def make_inputs(folder):
    """The files that cases refer to as {name}."""
    model = os.path.join(SOURCE, "models", "metaworld-64")
    frames = os.path.join(SOURCE, "examples", "frames")
    at = Inputs(folder)
    at["model"] = model
    at["image"] = os.path.join(frames, "00_door-open_corner_seed1000.png")
    at["image2"] = os.path.join(frames, "03_shelf-place_corner_seed1002.png")
    golden = os.path.join(SOURCE, "tests", "golden", "unet")
    at["checkpoint"] = os.path.join(golden, "square.model-24.pt")
    at["golden"] = os.path.join(SOURCE, "tests", "golden", "metaworld", "render_door-open_0.safetensors")
    at["sizes"] = os.path.join(golden, "square.config.json")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)

    def new(name, file):
        at[name] = os.path.join(folder, file)
        return at[name]

    video = (7, 64, 64, 3)
    make_npy(new("cond", "cond.npy"), (1, 64, 64, 3), "unit")
    make_npy(new("cond2", "cond2.npy"), (2, 64, 64, 3), "unit")
    make_npy(new("cond_small", "cond_small.npy"), (1, 32, 32, 3), "unit")
    make_npy(new("noise", "noise.npy"), (1,) + video, "normal")
    make_npy(new("noise2", "noise2.npy"), (2,) + video, "normal")
    make_npy(new("nan_video", "nan_video.npy"), (1,) + video, "nan")
    make_npy(new("noise_flat", "noise_flat.npy"), (7, 64, 64), "normal")
    make_npy(new("tokens", "tokens.npy"), (1, 4, 128), "normal")
    make_npy(new("tokens_wide", "tokens_wide.npy"), (1, 4, 64), "normal")
    with open(new("no_npy", "no.npy"), "w") as f:
        f.write("this is no array\n")
    with open(new("no_image", "no.png"), "w") as f:
        f.write("this is no picture\n")
    with open(at["image"], "rb") as f, open(new("cut_image", "cut.png"), "wb") as g:
        g.write(f.read()[:5000])
    with open(at["noise"], "rb") as f, open(new("cut_npy", "cut.npy"), "wb") as g:
        g.write(f.read()[:5000])
    open(new("empty", "empty"), "w").close()
    for kind in ("npy", "png", "gif", "mp4"):  # writing to these fails with "no space left on device"
        os.symlink("/dev/full", new("full_" + kind, "full." + kind))

    def folder_of(name, *files):
        path = new(name, name)
        os.mkdir(path)
        for file in files:
            os.symlink(os.path.join(model, file), os.path.join(path, file))
        return path

    folder_of("ids_only", "vocab.json", "merges.txt")
    folder_of("no_text", "config.json", "unet.safetensors")
    folder_of("no_unet", "config.json", "text_encoder.safetensors", "vocab.json", "merges.txt")
    cut = folder_of("cut_unet", "config.json", "text_encoder.safetensors", "vocab.json", "merges.txt")
    with open(os.path.join(model, "unet.safetensors"), "rb") as f:
        with open(os.path.join(cut, "unet.safetensors"), "wb") as g:
            g.write(f.read(1000000))
    broken = folder_of("bad_config", "unet.safetensors")
    with open(os.path.join(broken, "config.json"), "w") as f:
        f.write('{"unet": ')
    clip = folder_of("clip", "vocab.json", "merges.txt")
    with open(os.path.join(model, "config.json")) as f, open(os.path.join(clip, "config.json"), "w") as g:
        json.dump({"text_config": json.load(f)["text_encoder"]}, g)
    os.symlink(os.path.join(model, "text_encoder.safetensors"), os.path.join(clip, "model.safetensors"))
    frames_in = new("frames_folder", "frames")
    os.mkdir(frames_in)
    os.symlink(at["image"], os.path.join(frames_in, "a.png"))

    def frames_file(name, content):
        with open(new(name, os.path.join("frames", name + ".json")), "w") as f:
            f.write(content if isinstance(content, str) else json.dumps(content))

    frames_file("frames", [{"file": "a.png", "text": "door open", "more": 1}, {"file": at["image2"], "text": "shelf place"}])
    frames_file("frames_malformed", "[{")
    frames_file("frames_object", {"file": "a.png", "text": "door open"})
    frames_file("frames_empty", [])
    frames_file("frames_no_text", [{"file": "a.png", "text": "door open"}, {"file": "a.png"}])
    frames_file("frames_no_image", [{"file": "a.png", "text": "door open"}, {"file": "b.png", "text": "door open"}])
    with open(at["checkpoint"], "rb") as f, open(new("cut_checkpoint", "cut.pt"), "wb") as g:
        g.write(f.read()[:-1000])
    make_evil_checkpoint(new("evil_checkpoint", "evil.pt"))
    return at


# ---- one case -----------------------------------------------------------------------------------------

def restore_signals():
    # Whoever runs the tests in the background ignores SIGINT, and children would inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Run:
    """What a case needs: the command, the input files, and the folder it runs in."""

    def __init__(self, vipo, at, folder):
        self.vipo, self.at, self.folder = vipo, at, folder

    def words(self, line):
        return [word.format_map(self.at) for word in shlex.split(line)]

    def start(self, line, stdout=subprocess.PIPE, **more):
        return subprocess.Popen([self.vipo] + self.words(line), cwd=self.folder, stdin=subprocess.DEVNULL,
                                stdout=stdout, stderr=subprocess.PIPE, preexec_fn=more.pop("before", restore_signals),
                                **more)

    def finish(self, process):
        """-> exit status, stdout, stderr"""
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failed("did not end within %d s" % TIMEOUT)
        return process.returncode, (out or b"").decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def run(self, line, **more):
        return self.finish(self.start(line, **more))

    def files(self):
        found = []
        for where, _, names in os.walk(self.folder):
            found += [os.path.relpath(os.path.join(where, name), self.folder) for name in names]
        return sorted(found)

    def path(self, name):
        return os.path.join(self.folder, name)


def wait_until_caught(process, number=signal.SIGINT):
    """Until the process has a handler for a signal, which before would end it; or until it ends."""
    while process.poll() is None:
        with open("/proc/%d/status" % process.pid) as status:
            caught, = [int(line.split()[1], 16) for line in status if line.startswith("SigCgt:")]
        if caught >> (number - 1) & 1:
            return
        time.sleep(0.002)


def expect(condition, message, *values):
    if not condition:
        raise Failed(message % values if values else message)


def expect_one_line(err, pattern=""):
    expect(err.count("\n") == 1 and err.endswith("\n"), "expected one line on stderr, found %r", err[:400])
    expect(re.match(r"vipo[ :]", err), "stderr does not begin with 'vipo': %r", err[:200])
    expect(re.search(pattern, err), "stderr does not match %r: %r", pattern, err[:400])


def same(value, wanted):
    if callable(wanted):
        return wanted(value)
    return type(value) is type(wanted) and value == wanted


def check_file(run, name, wanted):
    """wanted: a tuple (shape of a .npy), bytes (how the file begins), or None (any non-empty file)"""
    path = run.path(name)
    if isinstance(wanted, tuple):
        shape, values = read_npy(path)
        expect(shape == wanted, "%s: expected shape %s, found %s", name, wanted, shape)
        n = 1
        for size in shape:
            n *= size
        expect(len(values) == n, "%s: %d values for shape %s", name, len(values), shape)
        expect(all(v - v == 0 for v in values), "%s holds values that are not finite", name)
        return
    with open(path, "rb") as f:
        content = f.read()
    expect(content, "%s is empty", name)
    if wanted:
        expect(content[:len(wanted)] == wanted, "%s begins with %r", name, content[:12])


def check_declared(run, case):
    """A case of cases.py: what is not said is strict. Success: nothing on stderr. Failure: nothing on
    stdout, one line on stderr. In both: no files but those named."""
    more = {}
    if "stdout" in case:
        more["stdout"] = open(case["stdout"], "wb")
    code, out, err = run.run(case["args"], **more)
    wanted = case.get("code", 0)
    expect(code == wanted, "exit status %d, expected %d; stderr %r", code, wanted, err[:400])
    if wanted == 0:
        if "err" in case:
            expect(re.search(case["err"], err, re.S), "stderr does not match %r: %r", case["err"], err[:400])
        else:
            expect(err == "", "stderr is not empty: %r", err[:400])
    elif case.get("usage"):
        expect(re.search(case["err"], err, re.S), "stderr does not match %r: %r", case["err"], err[:400])
    else:
        expect_one_line(err, case.get("err", ""))
    if wanted:
        expect(out == "", "stdout is not empty: %r", out[:200])
    if "out" in case:
        expect(re.search(case["out"], out, re.S), "stdout does not match %r: %r", case["out"], out[:400])
    if "json" in case:
        found = json.loads(out)
        for key, value in case["json"].items():
            expect(isinstance(found, dict) and key in found, "JSON has no %r: %s", key, out[:300])
            expect(same(found[key], value), "JSON %r is %r", key, found[key])
    if "rows" in case:
        case["rows"](json.loads(out))
    files = case.get("files", {})
    expect(run.files() == sorted(files), "files %s, expected %s", run.files(), sorted(files))
    for name, content in files.items():
        check_file(run, name, content)
