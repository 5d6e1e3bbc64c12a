"""vipo convert and vipo calibrate."""
import json
import os
import shutil
import signal
import time

from cases import positive
from harness import case, expect, expect_one_line, read_npy, special, write_npy

# ---- convert --------------------------------------------------------------------------------------------------

SQUARE = "convert -c {checkpoint} --config {sizes}"
FOLDER = {"out/config.json": b"{", "out/unet.safetensors": None}

case("convert", "an AVDC checkpoint", SQUARE + " -o out", files=FOLDER,
     out=r"^out: 1255329 parameters, F32, 7 frames of 16x16, without text encoder, 5[.]0 MB\n$")
case("convert", "--json", SQUARE + " -o out --dtype bf16 --frames 5 --json", files=FOLDER,
     json={"out": "out", "parameters": 1255329, "dtype": "BF16", "height": 16, "width": 16, "frames": 5, "text_encoder": False,
           "bytes": positive})
case("convert", "--quiet", SQUARE + " -o out -q", files=FOLDER, out="^$")
case("convert", "online weights", SQUARE + " -o out --weights online", files=FOLDER, out="1255329 parameters")
case("convert", "with a text encoder",
     "convert --from safetensors -c {model}/unet.safetensors --config {model}/config.json --clip {clip} --dtype f16 -o out",
     files=dict(FOLDER, **{"out/text_encoder.safetensors": None, "out/vocab.json": b"{", "out/merges.txt": None}),
     out="F16, 7 frames of 64x64, with text encoder")
case("convert", "neither preset nor config", "convert -c {checkpoint} -o out", code=2, err="one of --preset NAME and --config FILE")
case("convert", "preset and config", SQUARE + " --preset mw -o out", code=2, err="one of --preset NAME and --config FILE")
case("convert", "no checkpoint", "convert --preset mw -o out", code=2, err="--checkpoint FILE is missing")
case("convert", "no destination", SQUARE, code=2, err="--out DIR is missing")
case("convert", "which weights of one set", "convert --from safetensors -c {model}/unet.safetensors --config {model}/config.json --weights online -o out", code=2,
     err="--weights is for --from avdc")
case("convert", "unknown format", SQUARE + " --from onnx -o out", code=2, err="expected avdc, safetensors, gcp or unimatch")
case("convert", "unknown preset", "convert -c {checkpoint} --preset mars -o out", code=2, err="expected mw, thor or bridge")
case("convert", "unknown type", SQUARE + " --dtype f8 -o out", code=2, err="expected f32, f16 or bf16")
case("convert", "another model's sizes", "convert -c {checkpoint} --preset mw -o out", code=1,
     err=r"ema/ema_model.model.unet.time_embed.0.weight: expected shape \[512, 128\], found \[128, 32\]")
case("convert", "missing checkpoint", "convert -c none.pt --preset mw -o out", code=1, err="none.pt: No such file")
case("convert", "cut checkpoint", "convert -c {cut_checkpoint} --config {sizes} -o out", code=1, err="cut.pt: truncated or damaged")
case("convert", "empty checkpoint", "convert -c {empty} --config {sizes} -o out", code=1, err="empty: not a")
case("convert", "a picture", "convert -c {image} --config {sizes} -o out", code=1, err="not a safetensors file")
case("convert", "a checkpoint that wants to run something", "convert -c {evil_checkpoint} --config {sizes} -o out", code=1,
     err=r"evil.pt: data.pkl: refused, its pickle refers to (posix|os).system .*nothing was run")
case("convert", "no CLIP folder", SQUARE + " --clip none -o out", code=1, err="none/config.json: No such file")
case("convert", "CLIP of another width", SQUARE + " --clip {clip} -o out", code=1, err="hidden_size is 128, the network expects task tokens of 64")
case("convert", "destination is a file", SQUARE + " -o {image}", code=1, err="is a file, expected a new folder")
case("convert", "destination is not empty", SQUARE + " -o {model}", code=1, err="is not empty.*force")
case("convert", "destination in a folder that is not there", SQUARE + " -o no/out", code=1, err="no/out: cannot write")
case("convert", "info of a checkpoint", "info {checkpoint}", out=r"ema/ema_model.model.unet.out.0.weight +F32 +\[32\].*665 tensors, ")
case("convert", "info of a checkpoint --json", "info {checkpoint} --json",
     json={"count": 665, "tensors": lambda t: any(x["name"] == "ema/step" and x["dtype"] == "I64" and x["shape"] == [1] for x in t)})
case("convert", "info of an evil checkpoint", "info {evil_checkpoint}", code=1, err="(posix|os).system")


@special("convert", "a converted model plans")
def _(run):
    write_npy(run.path("c.npy"), (1, 16, 16, 3), [0.5] * 768)
    write_npy(run.path("k.npy"), (1, 4, 64), [0.1] * 256)
    code, _, err = run.run(SQUARE + " -o out")
    expect(code == 0, "exit status %d: %s", code, err)
    code, _, err = run.run("plan -m out --cond c.npy --tokens k.npy -s ddim -n 1 -o v.npy")
    expect(code == 0, "exit status %d: %s", code, err)
    shape, values = read_npy(run.path("v.npy"))
    expect(shape == (1, 7, 16, 16, 3) and all(v - v == 0 for v in values), "shape %s", shape)


@special("convert", "--force keeps other files")
def _(run):
    os.mkdir(run.path("out"))
    with open(run.path("out/notes.txt"), "w") as f:
        f.write("mine")
    code, _, err = run.run(SQUARE + " -o out")
    expect(code == 1 and run.files() == ["out/notes.txt"], "exit status %d, files %s", code, run.files())
    expect_one_line(err, "is not empty")
    code, _, err = run.run(SQUARE + " -o out --force")
    expect(code == 0, "exit status %d: %s", code, err)
    expect(run.files() == ["out/config.json", "out/notes.txt", "out/unet.safetensors"], "files %s", run.files())


@special("convert", "a full disk leaves nothing")
def _(run):
    import resource

    def before():  # files may not grow beyond 1 MB, and that is an error and not a signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000000, 1000000))
    code, out, err = run.run(SQUARE + " -o out", before=before)
    expect(code == 1 and out == "", "exit status %d, stdout %r", code, out)
    expect_one_line(err, "unet.safetensors: cannot write: File too large")
    expect(os.listdir(run.folder) == [], "left: %s", os.listdir(run.folder))


@special("convert", "interrupted it leaves nothing or everything")
def _(run):
    for i in range(12):
        process = run.start(SQUARE + " -o out%d" % i)
        time.sleep(0.004 * i)
        process.send_signal(signal.SIGINT)
        code, _, err = run.finish(process)
        names = [name for name in os.listdir(run.folder) if name.startswith("out%d" % i)]
        if code == 0:
            expect(names == ["out%d" % i] and len(os.listdir(run.path(names[0]))) == 2, "left: %s", names)
        else:  # by the signal itself if it came before it was caught
            expect(code in (130, -signal.SIGINT), "exit status %d: %s", code, err)
            expect(names == [], "left: %s", names)
        if os.path.isdir(run.path("out%d" % i)):
            shutil.rmtree(run.path("out%d" % i))


# ---- calibrate ------------------------------------------------------------------------------------------------

ONE = "--image {image} --text 'door open' --draft-stride 50 --target-stride 25"
case("calibrate", "no model", "calibrate --frames {frames}", code=2, err="--model DIR is missing")
case("calibrate", "no observation", "calibrate -m {model}", code=2, err="--frames FILE.json or --image FILE with --text TEXT is missing")
case("calibrate", "image without text", "calibrate -m {model} -i {image}", code=2, err="--image FILE with --text TEXT is missing")
case("calibrate", "frames and image", "calibrate -m {model} -f {frames} -i {image} -t a", code=2, err="--frames and --image with --text, not both")
case("calibrate", "target stride as long as the draft's", "calibrate -m {model} -f {frames} --target-stride 10", code=2,
     err="must be less than the draft stride and divide it, found 10 and 10")
case("calibrate", "strides that do not divide", "calibrate -m {model} -f {frames} --target-stride 3", code=2, err="found 3 and 10")
case("calibrate", "draft stride that does not divide the timesteps", "calibrate -m {model} -f {frames} --draft-stride 30 --dry-run", code=1,
     err="draft stride: 30 does not divide the model's 100 timesteps")
case("calibrate", "one token", "calibrate -m {model} -f {frames} --draft-stride 100 --target-stride 50 --dry-run", code=1,
     err="draft stride 100 makes 1 tokens of 100 timesteps, expected 2 to 129")
case("calibrate", "no such model", "calibrate -m nowhere -f {frames}", code=1, err="nowhere")
case("calibrate", "no text encoder", "calibrate -m {no_text} -f {frames} --dry-run", code=1, err="text_encoder")
case("calibrate", "no such frames file", "calibrate -m {model} -f nowhere.json --dry-run", code=1, err="nowhere.json: No such file")
case("calibrate", "malformed frames file", "calibrate -m {model} -f {frames_malformed} --dry-run", code=1, err="frames_malformed.json: line 1, column 2")
case("calibrate", "frames file is a picture", "calibrate -m {model} -f {image} --dry-run", code=1, err="png: line 1")
for name in ("frames_object", "frames_empty"):
    case("calibrate", name, "calibrate -m {model} -f {%s} --dry-run" % name, code=1,
         err=name + ".json: expected an array of 1 to 4096 objects with members file and text")
case("calibrate", "a frame without text", "calibrate -m {model} -f {frames_no_text} --dry-run", code=1,
     err='frames_no_text.json: .1.: expected an object with the texts "file" and "text"')
case("calibrate", "a frame whose picture is not there", "calibrate -m {model} -f {frames_no_image} --dry-run", code=1, err="frames/b.png")
case("calibrate", "an image that is none", "calibrate -m {model} -i {no_image} -t a --dry-run", code=1, err="no.png")
case("calibrate", "dry run", "calibrate -m {model} " + ONE + " --dry-run --seeds 1",
     out=r"^draft-target-lazy 50/25 on 1 plan: 1 frame, 1 seed\n\n.*\n  49  +\d+[.]\d{3} +0[.]0 % .*\nall, by other seeds' ratios .*%\nall, without ratios .*%\n$")


@special("calibrate", "stores and leaves the rest as it was")
def _(run):
    old = own_model(run)
    code, out, err = run.run("calibrate -m own --frames {frames} --seeds 1 --draft-stride 50 --target-stride 25 --dry-run --json")
    expect(code == 0 and err == "", "exit status %d: %s", code, err)
    dry = json.loads(out)
    expect(config_text(run) == old, "a dry run changed config.json")
    code, out, err = run.run("calibrate -m own --frames {frames} --seeds 1 --draft-stride 50 --target-stride 25 --json")
    expect(code == 0 and err == "", "exit status %d: %s", code, err)
    wet = json.loads(out)
    expect((dry.pop("stored"), wet.pop("stored")) == (False, True) and dry == wet, "dry %s, wet %s", dry, wet)
    expect((wet["frames"], wet["seeds"], wet["plans"], wet["decisions"], len(wet["tokens"])) == (2, 1, 2, 2, 1), "JSON %s", wet)
    token = wet["tokens"][0]
    expect(token["t"] == 49 and 0.01 < token["ratio"] < 100 and token["log_spread"] >= 0 and token["distance"] > 0, "token %s", token)
    expect(len(wet["thresholds"]) == len(token["agreed"]) == len(wet["agreed"]) == len(wet["agreed_uncalibrated"]), "JSON %s", wet)
    new = config_text(run)
    expect(new[:len(old) - 2].startswith(old.rstrip()[:-1].rstrip()), "other members of config.json have changed")
    stored = json.loads(new)["calibration"]["draft_target_lazy"]
    expect(abs(stored["ratios"][0] / token["ratio"] - 1) < 1e-5 and stored["plans"] == 2, "stored %s", stored)
    expect(run.files() == ["own/" + name for name in ("config.json", "merges.txt", "text_encoder.safetensors", "unet.safetensors", "vocab.json")],
           "files %s", run.files())
    code, out, _ = run.run("info own --json")
    expect(code == 0 and json.loads(out)["calibration"] == stored, "info %s", out[:300])
    code, out, _ = run.run("info own")
    expect(code == 0 and "\ncalibration     draft-target-lazy 50/25, measured on 2 plans\n  ratios " in out, "info %s", out)
    for more, calibrated in (("", True), (" --no-calibration", False), (" --target-stride 10", True), (" --draft-stride 20 --target-stride 10", False)):
        code, out, err = run.run("plan -m own -i {image} -t 'door open' -s draft-target-lazy --draft-stride 50 --target-stride 25 --json" + more)
        expect(code == 0 and json.loads(out)["calibrated"] is calibrated, "plan%s: %s %s", more, out[:300], err)


def own_model(run):
    """A model folder `own` whose config.json may be written; the file's text."""
    with open(os.path.join(run.at["model"], "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    config.pop("calibration", None)
    os.mkdir(run.path("own"))
    for name in ("unet.safetensors", "text_encoder.safetensors", "vocab.json", "merges.txt"):
        os.symlink(os.path.join(run.at["model"], name), run.path("own/" + name))
    with open(run.path("own/config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, indent=1, ensure_ascii=False)
    return config_text(run)


def config_text(run):
    with open(run.path("own/config.json"), encoding="utf-8") as f:
        return f.read()


@special("calibrate", "a full disk leaves config.json as it was")
def _(run):
    import resource

    def before():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    old = own_model(run)
    code, out, err = run.run("calibrate -m own --seeds 1 " + ONE, before=before)
    expect(code == 1 and out == "", "exit status %d, stdout %r", code, out)
    expect_one_line(err, "own/config.json: cannot write: File too large")
    expect(config_text(run) == old and len(run.files()) == 5, "files %s", run.files())


@special("calibrate", "Ctrl-C leaves config.json as it was")
def _(run):
    old = own_model(run)
    process = run.start("calibrate -m own -i {image} -t 'door open' --seeds 500 -v")
    line = process.stderr.readline()  # "model loaded in ..."
    expect(b"model loaded" in line, "stderr %r", line)
    process.send_signal(signal.SIGINT)
    code, out, err = run.finish(process)
    expect(code == 130 and out == "", "exit status %d, stdout %r", code, out)
    expect(err.endswith("vipo calibrate: interrupted, nothing was written\n"), "stderr %r", err)
    expect(config_text(run) == old and len(run.files()) == 5, "files %s", run.files())
