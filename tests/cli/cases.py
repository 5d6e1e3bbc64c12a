"""The cases of run.py. A declared case is a command line and what must come of it:

    args    the command line; {name} is an input file of run.py
    code    exit status, default 0
    out     regular expression that stdout matches
    err     the same for stderr; default: empty after success, one line after failure
    usage   True: stderr may have several lines
    json    members that the JSON object on stdout must have: values, or functions that judge them
    rows    function that checks the JSON array on stdout
    files   files it leaves: {name: shape of a .npy | how it begins | None}; default: none
    stdout  path of a file to use as stdout

A case with a function in place of args does its own running.
"""
import json
import math
import os
import shutil
import signal
import subprocess
import time

from harness import Failed, SOURCE, case, expect, expect_one_line, read_npy, special, write_npy

PNG, GIF = b"\x89PNG\r\n\x1a\n", b"GIF89a"
VIDEO = (7, 64, 64, 3)


def positive(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def not_negative(value):
    return value == 0 or positive(value)


# ---- usage: nothing is read or computed -----------------------------------------------------------------

COMMANDS = ["plan", "compare", "denoise", "encode-text", "preprocess", "info", "convert", "calibrate", "bench", "flow", "motion", "act", "sim-list", "sim-render", "sim-expert", "sim-replay", "sim-collect", "eval", "eval-merge", "report", "help", "version"]
EVERY_COMMAND = "".join(r".*  %s " % name for name in COMMANDS)

case("usage", "no command", "", code=2, usage=True, err="^Usage: vipo COMMAND.*plan.*version")
case("usage", "help", "help", out="^Usage: vipo COMMAND" + EVERY_COMMAND)
case("usage", "--help", "--help", out="^Usage: vipo COMMAND" + EVERY_COMMAND)
case("usage", "-h", "-h", out="^Usage: vipo COMMAND" + EVERY_COMMAND)
case("usage", "version", "version", out=r"^vipo \d+\.\d+\.\d+\n$")
case("usage", "--version", "--version", out=r"^vipo \d+\.\d+\.\d+\n$")
case("usage", "version --json", "version --json",
     json={"version": lambda v: v.count(".") == 2, "samplers": ["ddpm", "ddim", "dpm-solver++", "unipc", "ab2", "draft-target", "draft-target-lazy", "auto"]})
case("usage", "unknown command", "pln", code=2, err="unknown command 'pln', did you mean plan[?].*plan, compare.*version")
case("usage", "a command that is nothing like the others", "zzzzzzzz", code=2, err="expected plan, compare")
case("usage", "help on an unknown command", "help nonsense", code=2, err="unknown command 'nonsense'")
case("usage", "a line break in an argument stays one line", "'pl\nan'", code=2, err="unknown command")

for name in COMMANDS:
    text = r"^Usage: vipo %s .*--json.*--threads N.*--device NAME.*--quiet.*--verbose.*--help.*Examples:\n  vipo " % name
    case("usage", name + " --help", name + " --help", out=text)
    case("usage", "help " + name, "help " + name, out=text)
    case("usage", name + " --help wins over what follows", name + " --help --nonsense", out=text)
    case("usage", name + " with an unknown option", name + " --nonsense", code=2, err="^vipo %s: unknown option --nonsense" % name)
    case("usage", name + " --threads 0", name + " --threads 0", code=2, err="--threads 0: expected an integer from 1 to")
    case("usage", name + " --device tpu", name + " --device tpu", code=2, err="expected cpu or cuda")


@special("usage", "help is the same three ways")
def _(run):
    for name in COMMANDS:
        texts = {run.run(line % name)[1] for line in ("help %s", "%s --help", "%s -h")}
        expect(len(texts) == 1, "help %s differs from %s --help", name, name)
        for line in texts.pop().splitlines():
            example = line.startswith("  vipo ") or line.startswith("       ") or line.startswith("Usage:")
            expect(len(line) <= 92 or example, "help of %s has a long line: %s", name, line)


case("usage", "help --man", "help --man", out=r'^[.]TH VIPO 1 "" "vipo [0-9.]+" .*[.]SH NAME.*vipo\\-version')
case("usage", "help --man of a command", "help plan --man", out=r'^[.]TH VIPO\\-PLAN 1 .*[.]SH OPTIONS.*\\fB\\-\\-sampler\\fR \\fINAME\\fR')
case("usage", "help --markdown", "help --markdown", out=r"^[|] command [|] does [|]\n.*commands/version.md")
case("usage", "help --markdown of a command", "help --markdown denoise", out=r"^```\nvipo denoise .*[|] `-T`, `--t LIST` [|] timestep.* [|] required [|]\n")
case("usage", "help --json of a command", "help --json plan",
     json={"name": "plan", "options": lambda o: {"ddim", "draft-target"} <= set(next(x for x in o if x["name"] == "sampler")["choices"])})
case("usage", "help --json", "help --json", rows=lambda rows: expect([r["name"] for r in rows] == COMMANDS, "commands %s", [r["name"] for r in rows]))
for shell, begins in (("bash", "# bash completion for vipo"), ("zsh", "#compdef vipo\n"), ("fish", "# fish completion for vipo")):
    case("usage", "help --completion " + shell, "help --completion " + shell, out="^" + begins)
case("usage", "help: unknown shell", "help --completion tcsh", code=2, err="expected bash, zsh or fish")
case("usage", "help: completion of one command", "help plan --completion bash", code=2, err="for all commands at once, unexpected argument 'plan'")
case("usage", "help: two forms", "help plan --man --markdown", code=2, err="one of --man, --markdown, --completion and --json")

INPUTS = "--model {model} --image {image} --text 'door open'"
case("usage", "plan without a model", "plan --image {image} --text a --out a.gif", code=2, err="--model DIR is missing")
case("usage", "plan without an image", "plan --model {model} --text a --out a.gif", code=2, err="--image FILE .or --cond")
case("usage", "plan without a text", "plan --model {model} --image {image} --out a.gif", code=2, err="--text TEXT .or --tokens")
case("usage", "plan without an output", "plan " + INPUTS, code=2, err="at least one --out FILE")
case("usage", "image and cond", "plan " + INPUTS + " --cond {cond} --out a.gif", code=2, err="--image and --cond, not both")
case("usage", "text and tokens", "plan " + INPUTS + " --tokens {tokens} --out a.gif", code=2, err="--text and --tokens, not both")
case("usage", "unknown extension", "plan " + INPUTS + " --out a.gif --out a.bmp", code=2, err="a.bmp.*[.]gif, [.]mp4, [.]png or [.]npy")
case("usage", "option without its value", "plan --model", code=2, err="--model needs a value: --model DIR")
case("usage", "option in place of a value", "plan --model --json", code=2, err="--model needs a value")
case("usage", "value for a flag", "plan --json=yes", code=2, err="--json takes no value")
case("usage", "unknown short option", "plan -Z", code=2, err="unknown option -Z")
case("usage", "misspelt option", "plan --sampelr ddim", code=2, err="unknown option --sampelr, did you mean --sampler[?]")
case("usage", "abbreviated option", "plan --samp ddim", code=2, err="did you mean --sample(r|s)[?]")
case("usage", "plain argument", "plan frame.png", code=2, err="(--model DIR is missing|unexpected argument)")
case("usage", "plain argument after --", "version -- --json", code=2, err="unexpected argument '--json'")
case("usage", "unknown sampler", "plan " + INPUTS + " --out a.gif --sampler ddmi", code=2,
     err="ddmi: unknown, expected ddpm, ddim, .* or auto .did you mean dd")
case("usage", "unknown chunk rule", "plan --chunk-rule new", code=2, err="expected fresh or remainder")
for option, value in [("chunk", "0"), ("chunk", "-1"), ("chunk", "6x"), ("chunk", "6.5"), ("chunk", "''"), ("chunk", "' 6'"),
                      ("chunk", "1e3"), ("chunk", "99999999999999999999"), ("steps", "0"), ("samples", "0"),
                      ("samples", "nan"), ("threads", "2k"), ("scale", "0"), ("draft-stride", "0"), ("target-stride", "-2")]:
    case("usage", "--%s %s" % (option, value), "plan --%s=%s" % (option, value), code=2,
         err="--%s .*: expected an integer from 1 to" % option)
for option, value in [("threshold", "nan"), ("threshold", "inf"), ("threshold", "-inf"), ("threshold", "1e999"), ("threshold", "11a"),
                      ("threshold", "''"), ("threshold-growth", "one"), ("guidance", "-1"), ("guidance", "' 2'"), ("fps", "0"), ("fps", "nan")]:
    case("usage", "--%s %s" % (option, value), "plan --%s=%s" % (option, value), code=2, err="--%s .*: expected a number from" % option)
for value in ["-1", "1.5", "18446744073709551616", "x", "''"]:
    case("usage", "--seed %s" % value, "plan --seed=%s" % value, code=2, err="--seed .*: expected an integer from 0 to")
case("usage", "chunk with ddim", "plan " + INPUTS + " -o a.gif --sampler ddim --chunk 3", code=2,
     err="--chunk is a setting of draft-target, but the sampler is ddim")
case("usage", "steps with draft-target", "plan " + INPUTS + " -o a.gif -s draft-target -n 3", code=2, err="draft-target has no --steps")
case("usage", "strides that do not divide", "plan " + INPUTS + " -o a.gif -s draft-target --target-stride 3", code=2,
     err="target stride must divide the draft stride, found 3 and 10")
case("usage", "samples and best-of", "plan " + INPUTS + " -o a.gif --samples 2 --best-of 2", code=2, err="--samples and --best-of, not both")
case("usage", "score of nothing", "plan " + INPUTS + " -o a.gif --samples 2 --score consensus", code=2, err="--best-of N, which is missing")
case("usage", "unknown score", "plan " + INPUTS + " -o a.gif --best-of 2 --score concensus", code=2, err="expected consensus or denoising .did you mean consensus")
case("usage", "best of none", "plan " + INPUTS + " -o a.gif --best-of 0", code=2, err="--best-of 0: expected an integer from 1")
case("usage", "auto with steps", "plan " + INPUTS + " -o a.gif -s auto -n 3", code=2, err="auto has no --steps")
case("usage", "auto with a grid", "plan " + INPUTS + " -o a.gif -s auto --grid uniform", code=2, err="--grid is a setting of .*, but the sampler is auto")
case("usage", "auto with a chunk", "plan " + INPUTS + " -o a.gif -s auto --chunk 3", code=2, err="--chunk is a setting of draft-target, but the sampler is auto")
case("usage", "distance with ddim", "plan " + INPUTS + " -o a.gif -s ddim --distance 0.1", code=2, err="--distance is a setting of auto only")
case("usage", "negative distance", "plan " + INPUTS + " -o a.gif -s auto --distance -1", code=2, err="expected a number from 0")
case("usage", "fallback with unipc", "plan " + INPUTS + " -o a.gif -s unipc --fallback 0.1", code=2, err="--fallback is a setting of ab2 only, but the sampler is unipc")
case("usage", "negative fallback", "plan " + INPUTS + " -o a.gif -s ab2 --fallback -1", code=2, err="--fallback -1: expected a number from 0")
case("usage", "start without a plan", "plan " + INPUTS + " -o a.gif --from-step 35", code=2, err="--from-step needs the plan to start from: --warm PLAN.npy")
case("usage", "executed without a plan", "plan " + INPUTS + " -o a.gif --executed 2", code=2, err="--executed needs the plan that was carried out: --warm")
for value in ["-1", "x", "3.5", "''"]:
    case("usage", "--from-step %s" % value, "plan --from-step=%s" % value, code=2, err="--from-step .*: expected an integer from 0 to")
    case("usage", "--executed %s" % value, "plan --executed=%s" % value, code=2, err="--executed .*: expected an integer from 0 to")
for setting in ("--verify", "--no-calibration"):
    case("usage", setting + " with draft-target", "plan " + INPUTS + " -o a.gif -s draft-target " + setting, code=2,
         err=setting + " is a setting of draft-target-lazy only, but the sampler is draft-target")
case("usage", "no CUDA", "plan " + INPUTS + " -o a.gif --device cuda", code=1, err="not built with CUDA, use --device cpu")
case("usage", "no CUDA for version either", "version --device cuda", code=1, err="not built with CUDA")

case("usage", "compare: unknown sampler", "compare " + INPUTS + " --samplers ddim:3,dpm", code=2, err="--samplers: .*dpm: unknown, expected ddpm")
case("usage", "compare: unknown setting", "compare " + INPUTS + " --samplers ddim:3:chnk=3", code=2, err="'chnk' is no setting")
case("usage", "compare: setting of another sampler", "compare " + INPUTS + " --samplers ddim:chunk=3", code=2, err="setting of draft-target")
case("usage", "compare: bad value", "compare " + INPUTS + " --samplers draft-target:chunk=0", code=2, err="chunk 0: expected an integer")
case("usage", "compare: setting without value", "compare " + INPUTS + " --samplers draft-target:chunk", code=2, err="chunk needs a value")
case("usage", "compare: empty list", "compare " + INPUTS + " --samplers=", code=2, err="expected NAME")
case("usage", "compare: empty item", "compare " + INPUTS + " --samplers ddim,,ddpm", code=2, err="expected NAME")
case("usage", "compare: two references", "compare " + INPUTS + " --reference ddim:3,ddpm", code=2, err="--reference: more than 1 sampler")
case("usage", "compare: picture name", "compare " + INPUTS + " --out a.gif", code=2, err="must end in [.]png")
case("usage", "compare: --repeat 0", "compare --repeat 0", code=2, err="--repeat 0: expected")

DENOISE = "denoise --model {model} --x {noise} --cond {cond} --tokens {tokens}"
case("usage", "denoise without t", DENOISE + " --out V.npy", code=2, err="--t LIST is missing")
case("usage", "denoise without x", "denoise --model {model} --t 1", code=2, err="--x FILE.npy is missing")
case("usage", "denoise without an output", DENOISE + " --t 50", code=2, err="give --out FILE.npy, --dump DIR, --profile FILE.csv, --repeat N or --json")
for value in ["1,", ",1", "1,,2", "a", "1;2", "-1", "1.5", "''", "1, 2"]:
    case("usage", "denoise --t '%s'" % value, DENOISE + " --out V.npy '--t=%s'" % value.strip("'"), code=2, err="--t .*expected integers from 0")
case("usage", "denoise: dump and repeat", DENOISE + " --t 1 --dump d --repeat 2", code=2, err="give one of them")
case("usage", "denoise: output name", DENOISE + " --t 1 --out V.png", code=2, err="must end in [.]npy")

case("usage", "encode-text without text", "encode-text --model {model}", code=2, err="--text TEXT is missing")
case("usage", "encode-text: --ids-only and --out", "encode-text -m {model} -t a --ids-only -o K.npy", code=2, err="give one of them")
case("usage", "preprocess by nothing", "preprocess --image {image} --out C.npy", code=2, err="one of --model DIR and --preset NAME")
case("usage", "preprocess by both", "preprocess -m {model} --preset mw -i {image} -o C.npy", code=2, err="one of --model DIR and --preset NAME")
case("usage", "preprocess: unknown preset", "preprocess --preset mww -i {image} -o C.npy", code=2, err="expected mw, thor or bridge .did you mean mw")
case("usage", "preprocess: output name", "preprocess --preset mw -i {image} -o C.gif", code=2, err="must end in [.]npy or [.]png")
case("usage", "info without a name", "info", code=2, err="expected DIR.FILE")
case("usage", "info of two", "info a b", code=2, err="unexpected argument 'b'")

# ---- files: what cannot be read or written ------------------------------------------------------------------

case("files", "no such model", "plan --model nowhere --image {image} --text a --out a.gif", code=1, err="nowhere")
case("files", "model is a file", "plan --model {image} --image {image} --text a --out a.gif", code=1, err="door-open")
case("files", "folder without a network", "plan -m {no_unet} -i {image} -t a -o a.gif", code=1, err="unet.safetensors")
case("files", "truncated network", "plan -m {cut_unet} -i {image} -t a -o a.gif", code=1, err="unet.safetensors")
case("files", "malformed config.json", "plan -m {bad_config} -i {image} -t a -o a.gif", code=1, err="config.json")
case("files", "folder without a text encoder", "plan -m {no_text} -i {image} -t a -o a.gif", code=1, err="(text_encoder|vocab|merges)")
case("files", "no such image", "plan -m {model} -i nowhere.png -t a -o a.gif", code=1, err="nowhere.png")
case("files", "no image", "plan -m {model} -i {no_image} -t a -o a.gif", code=1, err="no.png.*(PNG|JPEG)")
case("files", "empty image", "plan -m {model} -i {empty} -t a -o a.gif", code=1, err="empty")
case("files", "truncated image", "plan -m {model} -i {cut_image} -t a -o a.gif", code=1, err="cut.png")
case("files", "folder as image", "plan -m {model} -i {data} -t a -o a.gif", code=1)
case("files", "no such noise", "plan " + INPUTS + " --noise nowhere.npy -o a.gif", code=1, err="nowhere.npy")
case("files", "noise that is no array", "plan " + INPUTS + " --noise {no_npy} -o a.gif", code=1, err="no.npy")
case("files", "truncated noise", "plan " + INPUTS + " --noise {cut_npy} -o a.gif", code=1, err="cut.npy")
case("files", "noise of the wrong shape", "plan " + INPUTS + " --noise {noise_flat} -o a.gif", code=1, err="noise.*7.*64.*64.*3")
case("files", "noise for another number of samples", "plan " + INPUTS + " --noise {noise2} --samples 1 -o a.gif", code=1, err="noise")
WARM = "plan " + INPUTS + " -o V.npy -s ab2 --warm "
case("files", "no such plan to start from", WARM + "nowhere.npy", code=1, err="nowhere.npy")
case("files", "start from a plan that is no array", WARM + "{no_npy}", code=1, err="no.npy")
case("files", "start from a plan of the wrong shape", WARM + "{noise_flat}", code=1, err="warm start.*expected shape .1 or 1..7..64..64..3., found .7..64..64.")
case("files", "start from more plans than samples", WARM + "{noise2} --samples 3", code=1, err="warm start.*expected shape .3 or 1.*found .2.")
case("files", "start from a plan with NaN", WARM + "{nan_video}", code=1, err="warm start.*element 0 is not a finite number")
case("files", "start beyond the schedule", WARM + "{noise} --from-step 100", code=1, err="from step: 100, expected 0..99")
case("files", "more frames executed than there are", WARM + "{noise} --executed 8", code=1, err="executed: 8, expected 0..7")
case("files", "start between draft times", WARM + "{noise} -s draft-target --from-step 35", code=1, err="the nearest are 29 and 39")
case("files", "cond of the wrong size", "plan -m {model} --cond {cond_small} -t a -o a.gif", code=1, err="cond")
case("files", "tokens of the wrong width", "plan -m {model} -i {image} --tokens {tokens_wide} -o a.gif", code=1, err="tokens")
case("files", "text that is not UTF-8", "plan -m {model} -i {image} -t 'door \udcff' -o a.gif", code=1, err="UTF-8")
case("files", "more steps than timesteps", "plan " + INPUTS + " -s ddim -n 101 -o a.gif", code=1, err="steps")
case("files", "output in no folder", "plan " + INPUTS + " -o nowhere/a.gif", code=1, err="nowhere/a.gif: cannot write: its folder does not exist")
case("files", "output under a file", "plan " + INPUTS + " -o {image}/a.gif", code=1, err="cannot write")
case("files", "trace in no folder", "plan " + INPUTS + " --json --trace nowhere/t.jsonl", code=1, err="nowhere/t.jsonl: cannot write")
case("files", "a bad output among good ones writes none", "plan " + INPUTS + " -n 1 -s ddim -o a.gif -o nowhere/b.gif", code=1, err="nowhere/b.gif")
for kind in ("npy", "png", "gif", "mp4"):
    case("files", "disk full: ." + kind, "plan " + INPUTS + " -s ddim -n 1 -o {full_%s}" % kind, code=1, err="full." + kind)
case("files", "disk full: trace", "plan " + INPUTS + " -s ddim -n 1 --json --trace /dev/full", code=1, err="/dev/full: cannot write")
case("files", "disk full: CSV", "compare " + INPUTS + " --reference ddim:1 --samplers ddim:1 --csv /dev/full", code=1, err="/dev/full: cannot write")
case("files", "compare: output in no folder", "compare " + INPUTS + " --out nowhere/a.png", code=1, err="cannot write")
case("files", "denoise: t beyond the schedule", DENOISE + " --t 100 --out V.npy", code=1, err="99")
case("files", "denoise: two t for one row", DENOISE + " --t 1,2 --out V.npy", code=1)
case("files", "denoise: x of the wrong shape", "denoise -m {model} --x {noise_flat} --cond {cond} --tokens {tokens} --t 1 -o V.npy", code=1, err="x")
case("files", "denoise: dump into a file", DENOISE + " --t 1 --dump {image}", code=1, err="is a file, expected a new folder")
case("files", "denoise: dump in no folder", DENOISE + " --t 1 --dump nowhere/d", code=1, err="nowhere/d: cannot write: its folder does not exist")
case("files", "preprocess: no image", "preprocess --preset mw -i {no_image} -o C.npy", code=1, err="no.png")
case("files", "encode-text: no vocabulary", "encode-text -m {no_text} -t a", code=1, err="(vocab.json|merges.txt)")
case("files", "info of nothing", "info nowhere", code=1, err="nowhere")
case("files", "info of an empty file", "info {empty}", code=1, err="empty")
case("files", "info of a picture", "info {image}", code=1)
case("files", "info of a truncated file", "info {cut_unet}/unet.safetensors", code=1, err="unet.safetensors")

# ---- info -----------------------------------------------------------------------------------------------------

case("info", "model", "info {model}", out=r"7 frames of 64x64.*100 timesteps.*network +4\d{6} parameters, F16, 9.1 MB.*1, 1, 2, 4.*text encoder")
case("info", "model --json", "info {model} --json",
     json={"height": 64, "width": 64, "frames": 7, "timesteps": 100,
           "unet": lambda u: u["channel_mult"] == [1, 1, 2, 4] and u["model_channels"] == 32 and u["file_bytes"] == 9102042,
           "text_encoder": lambda t: t["width"] == 128 and t["layers"] == 2 and t["vocabulary"] == 821,
           "methods": lambda m: m["name"] == "fixed" and sum(layer["uses"] for layer in m["layers"]) == 72 and m["layers"][1] == {
               "kind": "time", "in": 32, "out": 32, "frames": 7, "height": 64, "width": 64, "uses": 8,
               "method": m["layers"][1]["method"], "seconds": None}})
case("info", "model without a text encoder", "info {no_text}", out="text encoder +none")
case("info", "model without a text encoder --json", "info {no_text} --json", json={"text_encoder": None})
case("info", "file", "info {model}/text_encoder.safetensors",
     out=r"\ntext_model.embeddings.token_embedding.weight +F16 +\[821, 128\]\n.*\d+ tensors, \d+ elements, 760.3 kB\n$")
case("info", "file --json", "info {model}/text_encoder.safetensors --json",
     json={"count": positive, "elements": positive, "bytes": positive,
           "tensors": lambda t: [x["shape"] for x in t if x["name"].endswith("position_embedding.weight")] == [[77, 128]]})

# ---- encode-text ----------------------------------------------------------------------------------------------

with open(os.path.join(SOURCE, "models", "metaworld-64", "config.json"), encoding="utf-8") as f:
    for text, ids in json.load(f)["tokenizer"]["tests"].items():
        quoted = "'" + text.replace("'", "'\"'\"'") + "'"
        case("text", "ids of " + text, "encode-text -m {model} -t " + quoted, out="^%s\n$" % " ".join(map(str, ids)))
case("text", "ids need two files only", "encode-text -m {ids_only} -t 'door open' --ids-only", out="^819 526 534 820\n$")
case("text", "ids as JSON", "encode-text -m {ids_only} --text='door open' --json",
     json={"ids": [819, 526, 534, 820], "count": 4, "truncated": False, "shape": None})
case("text", "features", "encode-text -m {model} -t 'door open' -o K.npy", out=r"^819 526 534 820\nK.npy  \d", files={"K.npy": (1, 4, 128)})
case("text", "features, quietly", "encode-text -m {model} -t 'door open' -o K.npy -q", out=r"^819 526 534 820\n$", files={"K.npy": (1, 4, 128)})
case("text", "features as JSON", "encode-text -m {model} -t 'door open' -o K.npy --json",
     json={"ids": [819, 526, 534, 820], "shape": [1, 4, 128], "out": "K.npy"}, files={"K.npy": (1, 4, 128)})
LONG = "encode-text -m {model} -t '" + "door open " * 60 + "'"
case("text", "a long text is cut", LONG + " --json", json={"count": 77, "truncated": True, "ids": lambda i: i[-1] == 820},
     err="^vipo encode-text: warning: .*77.*\n$")
case("text", "a long text is cut, quietly", LONG + " --json -q", json={"count": 77, "truncated": True})
case("text", "features of a long text", LONG + " -o K.npy", err="^vipo encode-text: warning: [^\n]*77[^\n]*\n$", files={"K.npy": (1, 77, 128)})
case("text", "not UTF-8", "encode-text -m {model} -t 'door \udcff'", code=1, err="UTF-8")

# ---- preprocess -----------------------------------------------------------------------------------------------

case("media", "by model", "preprocess -m {model} -i {image} -o C.npy", out="^64x64  C.npy", files={"C.npy": (1, 64, 64, 3)})
case("media", "by model as PNG", "preprocess -m {model} -i {image} -o C.png", files={"C.png": PNG})
case("media", "mw", "preprocess --preset mw -i {image} -o C.npy --json", json={"shape": [1, 128, 128, 3], "out": "C.npy"}, files={"C.npy": (1, 128, 128, 3)})
case("media", "thor", "preprocess --preset thor -i {image} -o C.npy --json", json={"shape": [1, 64, 64, 3]}, files={"C.npy": (1, 64, 64, 3)})
case("media", "bridge", "preprocess --preset bridge -i {image} -o C.npy --json", json={"shape": [1, 48, 64, 3]}, files={"C.npy": (1, 48, 64, 3)})


@special("media", "values lie in [0,1] and are multiples of 1/255")
def _(run):
    run.run("preprocess -m {model} -i {image} -o C.npy")
    _, values = read_npy(run.path("C.npy"))
    expect(all(0 <= v <= 1 and abs(v * 255 - round(v * 255)) < 1e-4 for v in values), "a value is no level of 8 bit")
    expect(max(values) - min(values) > 0.2, "the picture is empty")


# ---- plan -----------------------------------------------------------------------------------------------------

QUICK = " --sampler ddim --steps 2"
PLAN_JSON = {"sampler": "ddim-2", "samples": 1, "seed": 0, "guidance": 0.0, "calls": 2, "evaluations": 2, "network_rows": 2,
             "from_step": 99, "seconds": positive, "text_seconds": not_negative, "load_seconds": positive, "rounds": 0, "drafted": 0, "accepted": 0,
             "fallbacks": 0, "error_estimate": None, "peak_bytes": positive, "compute": lambda c: bool(c), "methods": "fixed", "threads": positive, "outputs": [],
             "video": {"shape": [1, 7, 64, 64, 3]}}
case("plan", "every kind of output", "plan " + INPUTS + QUICK + " -o a.gif --out b.mp4 --out=c.png -oV.npy",
     out=r"^ddim-2: 2 calls, 2 evaluations, .*\na.gif  .*\nb.mp4  .*\nc.png  .*\nV.npy  344.\d kB\n$",
     files={"a.gif": GIF, "b.mp4": None, "c.png": PNG, "V.npy": (1,) + VIDEO})
case("plan", "quiet", "plan " + INPUTS + QUICK + " -o V.npy -q", out=r"^ddim-2: [^\n]*\n$", files={"V.npy": (1,) + VIDEO})
case("plan", "verbose", "plan " + INPUTS + QUICK + " -o V.npy -vv", err="vipo plan: model loaded in", files={"V.npy": (1,) + VIDEO})
case("plan", "JSON without outputs", "plan " + INPUTS + QUICK + " --json", json=PLAN_JSON)
case("plan", "JSON with outputs", "plan " + INPUTS + QUICK + " --json -o a.gif -o V.npy --seed 7 --threads 1",
     json=dict(PLAN_JSON, seed=7, outputs=["a.gif", "V.npy"], threads=1), files={"a.gif": GIF, "V.npy": (1,) + VIDEO})
case("plan", "guidance doubles the rows", "plan " + INPUTS + QUICK + " --json --guidance 2",
     json=dict(PLAN_JSON, guidance=2.0, network_rows=4))
case("plan", "two samples", "plan " + INPUTS + QUICK + " --json --samples 2 -o V.npy -o c.png",
     json=dict(PLAN_JSON, samples=2, evaluations=4, network_rows=4, outputs=["V.npy", "c.png"], video={"shape": [2, 7, 64, 64, 3]}),
     files={"V.npy": (2,) + VIDEO, "c.png": PNG})
case("plan", "as many samples as noise", "plan " + INPUTS + QUICK + " --json --noise {noise2}",
     json=dict(PLAN_JSON, samples=2, evaluations=4, network_rows=4, video={"shape": [2, 7, 64, 64, 3]}))
case("plan", "as many samples as condition frames", "plan -m {model} --cond {cond2} -t 'door open'" + QUICK + " --json",
     json=dict(PLAN_JSON, samples=2, evaluations=4, network_rows=4, video={"shape": [2, 7, 64, 64, 3]}))
case("plan", "no text encoder needed with tokens", "plan -m {no_text} --cond {cond} --tokens {tokens}" + QUICK + " -o V.npy",
     files={"V.npy": (1,) + VIDEO})
case("plan", "ab2 estimates its error", "plan " + INPUTS + " -s ab2 -n 4 --json",
     json={"sampler": "ab2-4", "error_estimate": positive, "fallbacks": 0})
case("plan", "fallback", "plan " + INPUTS + " -s ab2 -n 4 --fallback 1e-9 --json", json={"error_estimate": positive, "fallbacks": 3})
case("plan", "warm start", "plan " + INPUTS + " -s ab2 --warm {noise} --from-step 35 --executed 2 -o V.npy --json",
     json={"sampler": "ab2-12 from 35", "from_step": 35, "evaluations": 6}, files={"V.npy": (1,) + VIDEO})
case("plan", "warm start where it starts by default", "plan " + INPUTS + " -s draft-target --threshold 1e6 --warm {noise} --executed 7 --json",
     json={"sampler": "draft-target k=6 10/2 lambda=1e+06 from 39", "from_step": 39, "rounds": 1, "drafted": 4, "evaluations": 20})
case("plan", "as many samples as plans to start from", "plan " + INPUTS + " -s ddim -n 4 --warm {noise2} --from-step 24 --json",
     json={"sampler": "ddim-4 from 24", "samples": 2, "calls": 1, "evaluations": 2})
case("plan", "caption, scale and speed", "plan " + INPUTS + QUICK + " -o a.gif -o c.png --caption 'door open' --scale 1 --fps 10",
     files={"a.gif": GIF, "c.png": PNG})
case("plan", "scalar kernels", "plan " + INPUTS + " -s ddim -n 1 --compute ref --json", json={"compute": "ref", "sampler": "ddim-1"})
case("plan", "half weights", "plan " + INPUTS + " -s ddim -n 1 --half-weights -o V.npy", out="V.npy", files={"V.npy": (1,) + VIDEO})
case("plan", "unknown kernels", "plan " + INPUTS + QUICK + " --compute fast -o V.npy", code=1, err="fast")
case("plan", "trace alone", "plan " + INPUTS + QUICK + " --trace t.jsonl", out="t.jsonl  ", files={"t.jsonl": b"{"})
case("plan", "a long text is cut", "plan -m {model} -i {image} -t '" + "door open " * 60 + "'" + QUICK + " -o V.npy",
     err="^vipo plan: warning: [^\n]*77[^\n]*\n$", files={"V.npy": (1,) + VIDEO})
case("plan", "draft-target", "plan " + INPUTS + " -s draft-target --threshold 1e6 -o V.npy",
     out=r"18 calls, 50 evaluations.*accepted 10 of 10 drafts in 2 rounds; threshold 1e\+06 [+]1.5 a round .L2; rms 3409.6", files={"V.npy": (1,) + VIDEO})
case("plan", "draft-target that rejects everything", "plan " + INPUTS + " -s draft-target --threshold -1 --threshold-growth 0 --json",
     json={"calls": 85, "evaluations": 225, "rounds": 10, "accepted": 0})
case("plan", "draft-target with all settings", "plan " + INPUTS + " -s draft-target --chunk 3 --draft-stride 20 --target-stride 10 "
     "--threshold 1e6 --threshold-growth 0 --chunk-rule remainder --no-draft-reuse --json",
     json={"rounds": 2, "accepted": 5, "drafted": 5})


BEST = "plan " + INPUTS + " --sampler ddim --steps 1"
case("plan", "best of three", BEST + " --best-of 3 -o V.npy -o c.png",
     out=r"^ddim-1: 1 call, 3 evaluations, .*\nbest of 3 by consensus: plan [012], counted from 0; score -0[.]\d+, [0-9.]+ s\nV.npy",
     files={"V.npy": (1,) + VIDEO, "c.png": PNG})
case("plan", "best by denoising", BEST + " --best-of 2 --score denoising -o V.npy",
     out=r"\nbest of 2 by denoising: plan [01], counted from 0; score -0[.]\d+, 6 further evaluations, ", files={"V.npy": (1,) + VIDEO})
case("plan", "best of one", BEST + " --best-of 1 --json",
     json={"best_of": lambda b: b["scores"] == [0] and b["best"] == 0, "evaluations": 1, "video": {"shape": [1, 7, 64, 64, 3]}})
case("plan", "best of different condition frames", "plan -m {model} --cond {cond2} -t a -s ddim -n 1 --best-of 2 --json", code=1,
     err="one condition frame, found 2")


@special("plan", "best of three is one of three samples")
def _(run):
    for line in [BEST + " --samples 3 -o all.npy -q", BEST + " --best-of 3 -o best.npy --json --trace t.jsonl"]:
        code, out, err = run.run(line)
        expect(code == 0, "%s: exit status %d: %s", line, code, err)
    summary = json.loads(out)
    scores, best = summary["best_of"]["scores"], summary["best_of"]["best"]
    (shape, plans), (_, chosen) = read_npy(run.path("all.npy")), read_npy(run.path("best.npy"))
    size = len(plans) // 3
    samples = [plans[i * size:(i + 1) * size] for i in range(3)]
    expect(list(chosen) == list(samples[best]), "the best plan is not sample %d", best)
    rms = [[2 * math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)) / size) for b in samples] for a in samples]
    expect(all(abs(sum(rms[i]) / 2 + scores[i]) < 1e-4 for i in range(3)), "scores %s, distances %s", scores, rms)
    expect(scores[best] == max(scores) and summary["samples"] == 3 and summary["video"]["shape"][0] == 1, "JSON %s", out[:300])
    with open(run.path("t.jsonl")) as file:
        events = [json.loads(line) for line in file]
    expect([e["event"] for e in events] == ["step", "scores", "end"] and events[1]["best"] == best, "events %s", events)


def check_auto(auto):
    names = [c["sampler"] for c in auto["candidates"]]
    chosen = auto["candidates"][names.index(auto["chosen"])]
    fits = [c for c in auto["candidates"] if c["distance"] <= auto["distance"]]
    return (auto["within"] and chosen in fits and chosen["predicted_seconds"] == min(c["predicted_seconds"] for c in fits)
            and {"ab2:12", "draft-target", "ddim:100"} <= set(names) and positive(auto["measure_seconds"])
            and sum(auto["batch_seconds"].values()) > 0 and set(auto["batch_seconds"]) == {"fixed", "per_row"})


AUTO = "plan " + INPUTS + " --sampler auto --distance 0.06"
case("plan", "auto", AUTO + " --json",
     json={"auto": check_auto, "sampler": lambda s: s.split("-")[0] in ("ab2", "ddim", "unipc2", "draft"), "calls": positive})
case("plan", "auto says why", AUTO + " -v -o V.npy", out=r"^(ab2|ddim|unipc|draft).* calls, .*chosen by auto: \S+, within distance 0[.]06; measuring took [0-9.]+ s\n",
     err=r"\nvipo plan: sampler auto: [a-z].*, the fastest within distance 0.06 .recorded distance 0.0.* s predicted.; a network call of b rows takes",
     files={"V.npy": (1,) + VIDEO})
case("plan", "auto that cannot be as near", "plan " + INPUTS + " -s auto --distance 0 --json", json={"auto": lambda a: a["within"] is False})


@special("plan", "trace of auto")
def _(run):
    code, out, err = run.run(AUTO + " --trace t.jsonl --json")
    expect(code == 0, "exit status %d: %s", code, err)
    with open(run.path("t.jsonl")) as file:
        events = [json.loads(line) for line in file]
    summary = json.loads(out)
    expect([e["event"] for e in events].count("auto") == 1 and events[0]["event"] == "auto", "events %s", events[:2])
    expect(events[0]["sampler"] == summary["auto"]["chosen"], "%s in the trace, %s printed", events[0]["sampler"], summary["auto"]["chosen"])
    for ours, printed in zip(events[0]["candidates"], summary["auto"]["candidates"]):
        expect(ours["sampler"] == printed["sampler"] and abs(ours["distance"] - printed["distance"]) < 1e-6
               and abs(ours["predicted_seconds"] / printed["predicted_seconds"] - 1) < 1e-6, "%s in the trace, %s printed", ours, printed)
    expect(events[-1]["sampler"] == summary["sampler"], "last event %s", events[-1])


@special("plan", "the same seed gives the same plan, with any number of threads")
def _(run):
    line = "plan " + INPUTS + QUICK + " -q -o %s --seed %d --threads %d"
    contents = []
    for name, seed, threads in (("a.npy", 1, 1), ("b.npy", 1, 2), ("c.npy", 1, 3), ("d.npy", 2, 2)):
        code, _, err = run.run(line % (name, seed, threads))
        expect(code == 0, "exit status %d: %s", code, err)
        with open(run.path(name), "rb") as file:
            contents.append(file.read())
    expect(contents[0] == contents[1] == contents[2], "the plan depends on the number of threads")
    expect(contents[0] != contents[3], "the plan does not depend on the seed")


@special("plan", "image and text are the same as preprocess and encode-text")
def _(run):
    lines = ["plan " + INPUTS + QUICK + " -q -o a.npy", "preprocess -m {model} -i {image} -o C.npy",
             "encode-text -m {model} -t 'door open' -o K.npy", "plan -m {no_text} --cond C.npy --tokens K.npy -q" + QUICK + " -o b.npy"]
    for line in lines:
        code, _, err = run.run(line)
        expect(code == 0, "%s: exit status %d: %s", line, code, err)
    expect(read_npy(run.path("a.npy")) == read_npy(run.path("b.npy")), "the plans differ")


@special("plan", "an output that exists is replaced")
def _(run):
    with open(run.path("a.gif"), "w") as file:
        file.write("old")
    code, _, err = run.run("plan " + INPUTS + QUICK + " -o a.gif")
    expect(code == 0, "exit status %d: %s", code, err)
    with open(run.path("a.gif"), "rb") as file:
        expect(file.read(6) == GIF, "a.gif is not new")
    expect(run.files() == ["a.gif"], "files %s", run.files())


@special("plan", "trace of draft-target")
def _(run):
    code, out, err = run.run("plan " + INPUTS + " -s draft-target --threshold 1e6 --trace t.jsonl --json")
    expect(code == 0, "exit status %d: %s", code, err)
    with open(run.path("t.jsonl")) as file:
        events = [json.loads(line) for line in file]
    rounds, end, summary = [e for e in events if e["event"] == "round"], events[-1], json.loads(out)
    expect(len(rounds) == 2 and end["event"] == "end", "events %s", [e["event"] for e in events])
    expect([r["k"] for r in rounds] == [6, 4], "k %s", [r["k"] for r in rounds])
    expect(all(len(r["distances"]) == r["k"] for r in rounds), "a round has the wrong number of distances")
    for round_key in ("video", "round", "start_token", "start_t", "threshold", "accepted", "advance", "calls", "evals"):
        expect(all(round_key in r for r in rounds), "a round has no %s", round_key)
    expect(end["calls"] == summary["calls"] and end["evals"] == summary["evaluations"], "end %s", end)
    expect("seconds" in end and "peak_bytes" in end, "end %s", end)


@special("plan", "a warm start goes on from a plan, and its trace says where")
def _(run):
    lines = ["plan " + INPUTS + " -s ab2 -n 4 -o a.npy",
             "plan " + INPUTS + " -s ab2 -n 4 --seed 1 -o cold.npy",
             "plan " + INPUTS + " -s ab2 -n 4 --seed 1 --warm a.npy --from-step 10 -o warm.npy --trace t.jsonl"]
    for line in lines:
        code, _, err = run.run(line)
        expect(code == 0, "%s: exit status %d: %s", line, code, err)
    first, cold, warm = (read_npy(run.path(name + ".npy"))[1] for name in ("a", "cold", "warm"))
    distance = [sum((x - y) ** 2 for x, y in zip(first, other)) for other in (cold, warm)]
    expect(0 < distance[1] < 0.25 * distance[0], "squared distances %s", distance)
    with open(run.path("t.jsonl")) as file:
        events = [json.loads(line) for line in file]
    expect("error_rms" not in events[0], "the first step cannot estimate its error: %s", events[0])
    expect([e["t"] for e in events[:-1]] == [10] and events[0]["t_next"] == -1, "events %s", events)
    expect(events[-1]["sampler"] == "ab2-4 from 10" and events[-1]["evals"] == 1, "end %s", events[-1])


@special("plan", "--rng torch")
def _(run):
    plans = []
    for name, more in (("a", "--rng torch"), ("b", "--rng torch"), ("c", ""), ("d", "--rng torch --seed 1")):
        code, out, err = run.run("plan " + INPUTS + QUICK + " -o %s.npy --json %s" % (name, more))
        expect(code == 0, "exit status %d: %s", code, err)
        expect(json.loads(out)["rng"] == ("torch" if more else "philox"), "JSON %s", out[:200])
        plans.append(read_npy(run.path(name + ".npy"))[1])
    expect(plans[0] == plans[1], "two plans from one seed differ")
    expect(plans[0] != plans[2] and plans[0] != plans[3], "different noise gave the same plan")


case("plan", "--rng of another", "plan " + INPUTS + QUICK + " --rng numpy -o V.npy", code=2, err="expected philox or torch")


LAZY = " -s draft-target-lazy --draft-stride 20 --target-stride 10 --threshold 1e6"


@special("plan", "draft-target-lazy --verify")
def _(run):
    summaries, plans = [], []
    for name, more in (("a", ""), ("b", " --verify --trace t.jsonl"), ("c", " --no-calibration")):
        code, out, err = run.run("plan " + INPUTS + LAZY + more + " --json -o %s.npy" % name)
        expect(code == 0 and err == "", "exit status %d: %s", code, err)
        summaries.append(json.loads(out))
        plans.append(read_npy(run.path(name + ".npy"))[1])
    plain, verified, uncalibrated = summaries
    expect(plans[0] == plans[1], "verification changes the plan")
    for key in ("calls", "evaluations", "rounds", "drafted", "accepted", "sampler"):
        expect(plain[key] == verified[key], "%s: %s without, %s with verification", key, plain[key], verified[key])
    expect(plain["verified"] == plain["verify_calls"] == plain["verify_evaluations"] == 0, "plain %s", plain)
    expect(verified["verified"] == verified["agreed"] == 4, "verified %s", verified)
    expect(verified["verify_calls"] == 1 and verified["verify_evaluations"] == 4, "verified %s", verified)
    expect(verified["network_rows"] == plain["network_rows"] + 4, "network rows %s", verified["network_rows"])
    expect(uncalibrated["calibrated"] is False and uncalibrated["sampler"].endswith(" uncalibrated"), "uncalibrated %s", uncalibrated)
    with open(run.path("t.jsonl")) as file:
        events = [json.loads(line) for line in file]
    expect(len(events) == 2 and len(events[0]["true_distances"]) == len(events[0]["distances"]) == 4, "events %s", events)
    expect(events[1]["verified"] == events[1]["agreed"] == 4 and events[1]["verify_evals"] == 4, "end %s", events[1])


case("plan", "draft-target-lazy --verify as text", "plan " + INPUTS + LAZY + " --verify -o V.npy -q", files={"V.npy": (1,) + VIDEO},
     out="\n4 of 4 decisions as with true distances .1 more calls, 4 evaluations.\n$")


# ---- compare --------------------------------------------------------------------------------------------------

COMPARE = "compare " + INPUTS + " --reference ddim:4 --samplers ddim:4,ddim-2,draft-target:threshold=1e6,target-stride=10:no-draft-reuse"


def check_rows(rows):
    expect([r["sampler"] for r in rows[:2]] == ["ddim-4", "ddim-2"] and len(rows) == 3, "rows %s", [r["sampler"] for r in rows])
    expect(rows[2]["sampler"].startswith("draft-target"), "third row %s", rows[2]["sampler"])
    expect(rows[0]["reference"] and not rows[1]["reference"], "the reference is not the first")
    expect(rows[0]["rms"] == 0 and rows[0]["speed_up"] == 1, "reference row %s", rows[0])
    expect(rows[1]["rms"] > 0 and rows[1]["seconds"] > 0 and rows[1]["calls"] == 2, "second row %s", rows[1])
    expect(rows[2]["accepted"] == rows[2]["drafted"] == 10, "third row %s", rows[2])


case("compare", "table", COMPARE, out=r"^sampler +calls +evaluations +time .s. +speed-up +rms +accepted\nddim-4 +4 +4 .*1.00x +0.0000 +-\n.*10/10\n.*to ddim-4")
case("compare", "JSON", COMPARE + " --json --repeat 3", rows=check_rows)
case("compare", "picture and CSV", COMPARE + " --out c.png --csv c.csv", out="c.png  .*c.csv  ", files={"c.png": PNG, "c.csv": b"sampler,calls,evaluations,"})
case("compare", "the reference need not be in the list", "compare " + INPUTS + " --reference ddim:3 --samplers ddim:1 --json",
     rows=lambda rows: expect([r["sampler"] for r in rows] == ["ddim-3", "ddim-1"], "rows %s", rows))
case("compare", "noise and guidance", "compare " + INPUTS + " --reference ddim:2 --samplers ddim:1,ddim:1:guidance=0 -g 2 --noise {noise2} --json",
     rows=lambda rows: expect([r["network_rows"] for r in rows] == [8, 4, 2], "rows %s", rows))

case("compare", "auto", "compare " + INPUTS + " --reference ddim:2 --samplers auto:distance=0.06,auto:distance=1 --json",
     rows=lambda rows: expect(len(rows) == 3 and all(r["sampler"] and r["rms"] > 0 for r in rows[1:]), "rows %s", rows))
case("compare", "verified decisions", "compare " + INPUTS + " --reference ddim:1 --samplers draft-target-lazy:draft-stride=50:target-stride=25:threshold=1e6:verify",
     out="accepted +agreed\nddim-1 .* - +-\ndraft-target-lazy k=6 50/25 .* 2/2 +1/1\n.*agreed: decisions as with true distances")
case("compare", "verified decisions as JSON",
     "compare " + INPUTS + " --reference ddim:1 --samplers draft-target-lazy:draft-stride=50:target-stride=25:threshold=1e6:verify:no-calibration --json",
     rows=lambda rows: expect([(r["verified"], r["agreed"], r["verify_calls"], r["calibrated"]) for r in rows] == [(0, 0, 0, False), (1, 1, 1, False)],
                              "rows %s", rows))

# ---- denoise --------------------------------------------------------------------------------------------------

case("denoise", "tokens", DENOISE + " --t 50 --out V.npy", out="1 row, network .*V.npy", files={"V.npy": (1,) + VIDEO})
case("denoise", "text and image", "denoise " + INPUTS + " --x {noise} --t 50 --out V.npy", files={"V.npy": (1,) + VIDEO})
case("denoise", "two rows", "denoise -m {model} --x {noise2} --cond {cond2} --tokens {tokens} --t 50,3 --out V.npy", files={"V.npy": (2,) + VIDEO})
case("denoise", "no text encoder needed", "denoise -m {no_text} --x {noise} --cond {cond} --tokens {tokens} --t 0 -o V.npy", files={"V.npy": (1,) + VIDEO})
case("denoise", "unconditional", DENOISE + " --t 50 --unconditional --out V.npy", files={"V.npy": (1,) + VIDEO})
case("denoise", "repeat", DENOISE + " --t 50 --repeat 3 --json",
     json={"seconds": lambda s: len(s) == 3 and all(map(positive, s)), "median": positive, "rows": 1, "shape": [1, 7, 64, 64, 3],
           "compute": lambda c: bool(c), "methods": "fixed", "threads": positive, "load_seconds": positive, "out": None, "dumped": 0})
case("denoise", "repeat as text", DENOISE + " --t 50 --repeat 2", out="^call 1: .* s\ncall 2: .* s\n1 row, median")


@special("denoise", "dump")
def _(run):
    code, out, err = run.run(DENOISE + " --t 50 --dump layers --json")
    expect(code == 0, "exit status %d: %s", code, err)
    names = os.listdir(run.path("layers"))
    expect(len(names) == json.loads(out)["dumped"] > 10, "%d files", len(names))
    expect(all(name.endswith(".npy") for name in names) and "input_blocks.0.npy" in names, "files %s", sorted(names)[:5])


@special("denoise", "rows do not depend on each other")
def _(run):
    for line in ["denoise -m {model} --x {noise2} --cond {cond} --tokens {tokens} --t 50 -q -o two.npy", DENOISE + " --t 50 -q -o one.npy"]:
        code, _, err = run.run(line)
        expect(code == 0, "exit status %d: %s", code, err)
    # {noise} is the first row of {noise2}
    expect(read_npy(run.path("two.npy"))[1][:7 * 64 * 64 * 3] == read_npy(run.path("one.npy"))[1], "the first rows differ")


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


# ---- system: standard output, signals ---------------------------------------------------------------------------

for line in ["version", "help", "plan --help", "info {model}", "info {model} --json", "encode-text -m {model} -t a",
             "info {model}/unet.safetensors", "version --json"]:
    case("system", "full disk under stdout: " + line, line, stdout="/dev/full", code=1, err="cannot write to standard output: No space left")


@special("system", "closed stdout")
def _(run):
    code, _, err = run.run("version", before=lambda: os.close(1))
    expect(code == 1, "exit status %d", code)
    expect_one_line(err, "cannot write to standard output")


@special("system", "closed standard descriptors do not catch the output")
def _(run):
    code, _, _ = run.run("preprocess --preset mw -i {image} -o C.npy", before=lambda: os.closerange(0, 3))
    expect(code == 1, "exit status %d", code)
    expect(read_npy(run.path("C.npy"))[0] == (1, 128, 128, 3), "C.npy is damaged")


@special("system", "a reader that went away ends it without a word")
def _(run):
    for line in ("info {model}/unet.safetensors", "plan --help"):
        process = run.start(line)
        process.stdout.close()
        process.stdout = None
        code, _, err = run.finish(process)
        expect(code == -signal.SIGPIPE and err == "", "%s: exit status %d, stderr %r", line, code, err[:300])


def interrupt(run, line, signals):
    """Starts a long command, sends the signals once its trace shows that it is at work."""
    process = run.start(line + " --trace t.jsonl")
    deadline = time.monotonic() + 120
    while not any(os.path.getsize(run.path(name)) > 0 for name in run.files()):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise Failed("ended or hung before it could be interrupted: %s" % run.finish(process)[2])
        time.sleep(0.005)
    for number in signals:
        process.send_signal(number)
    return run.finish(process)


LONG_PLAN = "plan " + INPUTS + " --sampler ddpm --samples 8 -o a.gif -o V.npy"


@special("system", "Ctrl-C")
def _(run):
    code, out, err = interrupt(run, LONG_PLAN, [signal.SIGINT])
    expect(code == 130, "exit status %d", code)
    expect(err == "vipo plan: interrupted, nothing was written\n", "stderr %r", err)
    expect(out == "" and run.files() == [], "stdout %r, files %s", out, run.files())


@special("system", "termination")
def _(run):
    code, _, err = interrupt(run, LONG_PLAN, [signal.SIGTERM])
    expect(code == 143 and run.files() == [], "exit status %d, files %s", code, run.files())
    expect_one_line(err, "interrupted, nothing was written")


@special("system", "an ignored SIGINT stays ignored")
def _(run):
    before = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = run.start("plan " + INPUTS + QUICK + " -o V.npy", before=before)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    code, _, err = run.finish(process)
    expect(code == 0 and run.files() == ["V.npy"], "exit status %d: %s", code, err)


@special("system", "a bar on a terminal, none in a pipe")
def _(run):
    import pty
    controller, terminal = pty.openpty()
    process = subprocess.Popen([run.vipo] + run.words("plan " + INPUTS + " -s ddim -n 100 --samples 4 -o V.npy"), cwd=run.folder,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal, env=dict(os.environ, TERM="xterm"))
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(controller, 4096)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        shown += part
    os.close(controller)
    process.communicate()
    expect(process.returncode == 0, "exit status %d", process.returncode)
    expect(b"left" in shown and b"[=" in shown, "no bar: %r", shown[-200:])
    expect(shown.endswith(b"\r\x1b[K"), "the bar was not erased: %r", shown[-100:])
