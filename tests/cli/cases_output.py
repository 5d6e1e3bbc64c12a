"""Outputs that cannot be written, files that are there already, signals and limits: whatever happens, old content stays,
nothing half-written is left, and one line says why."""
import json
import os
import resource
import shutil
import signal
import subprocess
import threading
import time

import hostile  # noqa: F401, makes the inputs
from harness import case, expect, expect_one_line, read_npy, special, wait_until_caught

INPUTS = "-m {model} -i {image} -t 'door open'"
QUICK = "plan " + INPUTS + " -s ddim -n 1"
DENOISE = "denoise -m {model} --x {noise} --cond {cond} --tokens {tokens} --t 1"
LONGEST = "n" * 251

case("output", "a name as long as it may be", QUICK + " -o %s.npy" % LONGEST, files={LONGEST + ".npy": (1, 7, 64, 64, 3)}, out="ddim-1")
case("output", "a name that is too long", QUICK + " -o n%s.npy" % LONGEST, code=1, err="cannot write: File name too long")
case("output", "the same file twice", QUICK + " -o a.npy -o ./a.npy", code=2, err="^vipo plan: ./a.npy: two outputs have this name")
case("output", "a plan into its trace", QUICK + " -o a.npy --trace a.npy", code=2, err="a.npy: two outputs have this name")
case("output", "a table into its picture", "compare " + INPUTS + " --out a.png --csv a.png", code=2, err="a.png: two outputs have this name")
case("output", "a device twice", QUICK + " -q --out {null_gif} --out {null_gif}", out="ddim-1")
case("output", "a trace that cannot be written ends the plan before its outputs are written", QUICK + " -o {full_npy} --trace /dev/full",
     code=1, err="^vipo plan: /dev/full: cannot write: No space left on device")
case("output", "an empty name", QUICK + " --json --trace ''", code=1, err="name of a file to write is empty")
case("output", "names with spaces, line breaks and other letters", QUICK + " -q --out 'a b.npy' --trace 'ö\n\udcfe.jsonl'", out="ddim-1",
     files={"a b.npy": (1, 7, 64, 64, 3), "ö\n\udcfe.jsonl": b"{"})
case("output", "JSON of a name that is not UTF-8", QUICK + " --json -o 'ö\udcfe.npy'", json={"outputs": lambda o: o[0].endswith(".npy")},
     files={"ö\udcfe.npy": (1, 7, 64, 64, 3)})
case("output", "a name in front of an option", QUICK + " --json -o=x.npy", json={"outputs": ["=x.npy"]}, files={"=x.npy": (1, 7, 64, 64, 3)})
case("output", "dump: a full disk", DENOISE + " --dump {full_npy}/d", code=1, err="what should be its folder is a file")


@special("output", "relative paths and links")
def _(run):
    os.mkdir(run.path("sub"))
    os.symlink(run.at["model"], run.path("mödel link"))
    os.symlink(run.at["image"], run.path("frame"))
    os.symlink("sub/plan.npy", run.path("link.npy"))
    code, _, err = run.run("plan -m './mödel link/' -i sub/../frame -t a -s ddim -n 1 -q -o sub/plan.npy")
    expect(code == 0, "exit status %d: %s", code, err)
    code, _, err = run.run("plan -m 'mödel link' -i frame -t a -s ddim -n 1 -q -o link.npy")
    expect(code == 0 and os.path.islink(run.path("link.npy")), "exit status %d: %s", code, err)
    expect(os.listdir(run.path("sub")) == ["plan.npy"], "left: %s", run.files())


@special("output", "folders and files that may not be written")
def _(run):
    drop = lambda: os.geteuid() == 0 and os.setuid(65534)  # root may write everything
    os.chmod(run.folder, 0o777)
    os.mkdir(run.path("closed"), 0o555)
    with open(run.path("old.gif"), "w") as f:
        f.write("old")
    os.chmod(run.path("old.gif"), 0o444)
    before = run.files()
    for line, name in ((QUICK + " -o closed/a.gif", "closed/a.gif"), (QUICK + " -o old.gif", "old.gif"),
                       (QUICK + " --json --trace closed/t", "closed/t"), (DENOISE + " --dump closed/d", "closed/d"),
                       ("preprocess --preset mw -i {image} -o closed/C.npy", "closed/C.npy"),
                       ("convert -c {checkpoint} --config {sizes} -o closed/out", "closed/out")):
        code, out, err = run.run(line, before=drop)
        expect(code == 1 and out == "", "%s: exit status %d: %s", line, code, err)
        expect_one_line(err, name + ": cannot write: Permission denied")
        expect(run.files() == before, "left: %s", run.files())
    with open(run.path("old.gif")) as f:
        expect(f.read() == "old", "old.gif has changed")


def limited(size):
    """Files may not grow beyond that; by default the system ends a process that tries."""
    def before():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return before


FILLED = [
    ("gif", QUICK + " -o a.gif", 3000), ("mp4", QUICK + " -o a.mp4", 3000), ("png", QUICK + " -o a.png", 3000),
    ("npy", QUICK + " -o V.npy", 3000), ("trace", QUICK + " --json --trace a.jsonl", 30),
    ("CSV", "compare " + INPUTS + " --samplers ddim:1 --reference ddim:1 --csv a.csv", 30),
    ("sheet", "compare " + INPUTS + " --samplers ddim:1 --reference ddim:1 --out a.png", 3000),
    ("output of the network", DENOISE + " -o V.npy", 3000), ("dump", DENOISE + " --dump d", 3000),
    ("condition frame", "preprocess --preset mw -i {image} -o C.npy", 3000), ("features", "encode-text -m {model} -t a -o K.npy", 300),
]
for name, line, size in FILLED:
    @special("output", "no room left: " + name)
    def _(run, line=line, size=size):
        target = line.split()[-1]
        if "." in target:
            with open(run.path(target), "w") as f:
                f.write("old")
        before = sorted(os.listdir(run.folder))
        code, out, err = run.run(line, before=limited(size))
        expect(code == 1 and out == "", "exit status %d, stdout %r: %s", code, out[:100], err)
        expect_one_line(err, "cannot write: File too large")
        expect(sorted(os.listdir(run.folder)) == before, "left: %s", os.listdir(run.folder))
        if "." in target:
            with open(run.path(target)) as f:
                expect(f.read() == "old", "%s has changed", target)


@special("output", "a disk that is full")
def _(run):
    """On a file system of 64 kB, where this process may mount one in a namespace of its own."""
    script = ('mkdir disk && mount -t tmpfs -o size=64k tmpfs disk && for out in a.gif V.npy c.png b.mp4; do "$@" -o disk/$out; '
              'echo "$? $(ls disk | wc -l)"; rm -f disk/*; done')
    line = [run.vipo] + run.words(QUICK + " -q --scale 8 --threads 1")
    process = subprocess.run(["unshare", "-Urm", "sh", "-c", script, "sh"] + line, cwd=run.folder, capture_output=True, text=True)
    if "unshare" in process.stderr or "mount:" in process.stderr:
        return  # RLIMIT_FSIZE above has tried the same
    ends = process.stdout.split()[-8:]
    expect(ends[2:4] == ["1", "0"], "V.npy: %s", process.stdout)
    expect(all(pair in (["1", "0"], ["0", "1"]) for pair in (ends[i:i + 2] for i in (0, 2, 4, 6))), "%s", process.stdout)
    for line in process.stderr.splitlines():
        expect("cannot write: No space left on device" in line, "stderr %r", process.stderr)


@special("output", "a dump into a folder that holds one keeps it when it fails")
def _(run):
    code, _, err = run.run(DENOISE + " --dump d -q")
    expect(code == 0, "exit status %d: %s", code, err)
    names = sorted(os.listdir(run.path("d")))
    with open(run.path("d/mine.txt"), "w") as f:
        f.write("mine")
    with open(run.path("d/" + names[0]), "w") as f:
        f.write("old")
    code, _, err = run.run(DENOISE + " --dump d", before=limited(3000))
    expect(code == 1, "exit status %d: %s", code, err)
    expect(sorted(os.listdir(run.path("d"))) == sorted(names + ["mine.txt"]) and os.listdir(run.folder) == ["d"], "left: %s", run.files())
    expect(os.path.getsize(run.path("d/" + names[0])) == 3, "%s was overwritten", names[0])
    code, _, err = run.run(DENOISE + " --dump d")
    expect(code == 0 and os.path.getsize(run.path("d/" + names[0])) > 3, "exit status %d: %s", code, err)
    expect(sorted(os.listdir(run.path("d"))) == sorted(names + ["mine.txt"]) and os.listdir(run.folder) == ["d"], "left: %s", run.files())


@special("output", "a pipe is written, and waiting for its reader can be interrupted")
def _(run):
    os.mkfifo(run.path("pipe.npy"))
    parts = []
    reader = threading.Thread(target=lambda: parts.append(open(run.path("pipe.npy"), "rb").read()))
    reader.start()
    code, _, err = run.run(QUICK + " -q -o pipe.npy")
    reader.join()
    expect(code == 0 and len(parts[0]) == 344192, "exit status %d: %s", code, err)
    process = run.start(QUICK + " -vv -o pipe.npy")
    wait_until_caught(process)
    while process.poll() is None:  # as soon as it waits, or before
        with open("/proc/%d/stat" % process.pid) as f:
            if f.read().rsplit(")", 1)[1].split()[0] == "S":
                break
    process.send_signal(signal.SIGINT)
    code, _, err = run.finish(process)
    expect(code == 130 and err.endswith("vipo plan: interrupted, nothing was written\n"), "exit status %d: %s", code, err)
    expect(os.listdir(run.folder) == ["pipe.npy"], "left: %s", run.files())


@special("output", "standard output as a file")
def _(run):
    """Written in place, in whatever it is, never replaced."""
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        with open(run.path("all"), "wb") as f:
            process = run.start(QUICK + " -q --trace " + name, stdout=f)
            code, _, err = run.finish(process)
        expect(code == 0, "%s: exit status %d: %s", name, code, err)
        with open(run.path("all")) as f:
            lines = f.read().splitlines()
        expect(len(lines) >= 2 and any('"end"' in line for line in lines), "%s: %s", name, lines)
        expect(os.listdir(run.folder) == ["all"], "left: %s", run.files())
    expect(os.path.islink("/dev/stdout") or not os.path.isfile("/dev/stdout"), "/dev/stdout was replaced")


@special("output", "several runs write the same file")
def _(run):
    processes = [run.start(QUICK + " -q --seed %d -o V.npy -o a.gif --threads 1" % seed) for seed in range(4)]
    for process in processes:
        code, _, err = run.finish(process)
        expect(code == 0, "exit status %d: %s", code, err)
    expect(run.files() == ["V.npy", "a.gif"], "left: %s", run.files())
    expect(read_npy(run.path("V.npy"))[0] == (1, 7, 64, 64, 3), "V.npy is damaged")


# ---- signals and limits -----------------------------------------------------------------------------------

def wait_for(process, name):
    """Until the process has a file whose path ends so mapped or open."""
    folder = "/proc/%d/" % process.pid
    while process.poll() is None:
        try:
            with open(folder + "maps") as f:
                found = [line.split()[-1] for line in f]
            found += [os.readlink(folder + "fd/" + fd) for fd in os.listdir(folder + "fd")]
        except OSError:
            continue
        if any(name in path for path in found):
            return


STAGES = [("loading", QUICK + " -o a.gif --trace t.jsonl", "unet.safetensors"), ("planning", "plan " + INPUTS + " -s ddpm -o a.gif --trace t.jsonl", ".tmp"),
          ("converting", "convert -c {checkpoint} --config {sizes} -o out", ".tmp"), ("dumping", DENOISE + " --dump d -o V.npy", ".tmp"),
          ("encoding", "encode-text -m {model} -t a -o K.npy", "text_encoder.safetensors"),
          ("comparing", "compare " + INPUTS + " --repeat 50 --csv a.csv --out a.png", "unet.safetensors")]
for name, line, file in STAGES:
    @special("signals", "twice while " + name)
    def _(run, line=line, file=file):
        for first, second in ((signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGHUP)):
            process = run.start(line)
            wait_for(process, file)
            process.send_signal(first)
            time.sleep(0.001)
            process.send_signal(second)
            code, _, err = run.finish(process)
            if code == 0:  # it was too fast
                for left in os.listdir(run.folder):
                    shutil.rmtree(run.path(left)) if os.path.isdir(run.path(left)) else os.remove(run.path(left))
                continue
            expect(code == 128 + first, "exit status %d: %s", code, err)
            expect_one_line(err, "interrupted, nothing was written")
            expect(os.listdir(run.folder) == [], "left: %s", os.listdir(run.folder))


@special("signals", "a closed terminal")
def _(run):
    process = run.start("plan " + INPUTS + " -s ddpm --samples 8 -o a.gif --trace t.jsonl")
    wait_for(process, ".tmp")
    process.send_signal(signal.SIGHUP)
    code, _, err = run.finish(process)
    expect(code == 129 and run.files() == [], "exit status %d, files %s: %s", code, run.files(), err)


@special("signals", "a fault that is not a file's ends the process")
def _(run):
    process = run.start("plan " + INPUTS + " -s ddpm --samples 8 -o a.gif")
    wait_for(process, "unet.safetensors")
    process.send_signal(signal.SIGBUS)
    code, _, _ = run.finish(process)
    expect(code == -signal.SIGBUS, "exit status %d", code)


@special("signals", "a reader of standard output that stops reading")
def _(run):
    process = run.start("info {checkpoint} --json")
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    code, _, err = run.finish(process)
    expect(code in (0, 128 + signal.SIGTERM, -signal.SIGTERM), "exit status %d: %s", code, err)
    for line in ("plan " + INPUTS + " -s ddim -n 1 --json", "encode-text -m {model} -t a --json"):
        process = run.start(line)
        process.stdout.close()
        process.stdout = None
        code, _, err = run.finish(process)
        expect(code == -signal.SIGPIPE and err == "", "%s: exit status %d, stderr %r", line, code, err[:300])


@special("signals", "little memory")
def _(run):
    """From too little to load the model to enough: one line each time, and no file."""
    if b"__asan_init" in open(run.vipo, "rb").read():
        return  # sanitizers reserve terabytes
    line = QUICK + " --samples 2 -o a.gif -o b.mp4 -o c.png -o V.npy --threads 2"
    codes = []
    for megabytes in list(range(150, 400, 25)) + [1000]:
        limit = megabytes << 20
        code, out, err = run.run(line, before=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        codes.append(code)
        if code == 1:
            expect_one_line(err, "(out of memory|cannot start thread)")
            # an output that is there is complete
            expect(not [name for name in run.files() if name.endswith(".tmp")], "left: %s", run.files())
        elif code != 127:  # the loader of libraries had not enough
            expect(code == 0, "%d MB: exit status %d: %s", megabytes, code, err)
        for name in run.files():
            os.remove(run.path(name))
    expect(1 in codes and codes[-1] == 0, "exit statuses %s", codes)


@special("signals", "few descriptors, no home, another locale")
def _(run):
    for name, value in (("HOME", None), ("LC_ALL", "de_DE.UTF-8"), ("LC_NUMERIC", "de_DE.UTF-8"), ("TERM", ""), ("PATH", ""), ("LANG", "xx")):
        more = {k: v for k, v in os.environ.items() if k != name}
        if value is not None:
            more[name] = value
        code, out, err = run.run(QUICK + " --json --guidance 1.5", env=more)
        expect(code == 0 and json.loads(out)["guidance"] == 1.5, "%s: exit status %d: %s", name, code, err)
    limit = lambda n: lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))
    code, _, err = run.run(QUICK + " -o V.npy", before=limit(4))
    expect(code == 0 or (code == 1 and err.count("\n") == 1), "exit status %d: %s", code, err)
