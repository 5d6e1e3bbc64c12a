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
import os
import signal
import subprocess
import time

from harness import Failed, SOURCE, case, expect, expect_one_line, read_npy, special

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
QUICK = " --sampler ddim --steps 2"
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
case("usage", "step noise of another sampler", "plan " + INPUTS + " -o a.gif --step-noise n.npy", code=2, err="--step-noise is a setting of ddpm only, but the sampler is unipc")
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
case("usage", "no CUDA", "plan " + INPUTS + " -o a.gif --device cuda", code=1, err="computes on the CPU only, use --device cpu")
case("usage", "no CUDA for version either", "version --device cuda", code=1, err="computes on the CPU only")

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
           "text_encoder": lambda t: t["width"] == 128 and t["layers"] == 2 and t["vocabulary"] == 743,
           "methods": lambda m: m["name"] == "fixed" and sum(layer["uses"] for layer in m["layers"]) == 72 and m["layers"][1] == {
               "kind": "time", "in": 32, "out": 32, "frames": 7, "height": 64, "width": 64, "uses": 8,
               "method": m["layers"][1]["method"], "seconds": None}})
case("info", "model without a text encoder", "info {no_text}", out="text encoder +none")
case("info", "model without a text encoder --json", "info {no_text} --json", json={"text_encoder": None})
case("info", "file", "info {model}/text_encoder.safetensors",
     out=r"\ntext_model.embeddings.token_embedding.weight +F16 +\[743, 128\]\n.*\d+ tensors, \d+ elements, 740.4 kB\n$")
case("info", "file --json", "info {model}/text_encoder.safetensors --json",
     json={"count": positive, "elements": positive, "bytes": positive,
           "tensors": lambda t: [x["shape"] for x in t if x["name"].endswith("position_embedding.weight")] == [[77, 128]]})

# ---- encode-text ----------------------------------------------------------------------------------------------

with open(os.path.join(SOURCE, "models", "metaworld-64", "config.json"), encoding="utf-8") as f:
    for text, ids in json.load(f)["tokenizer"]["tests"].items():
        quoted = "'" + text.replace("'", "'\"'\"'") + "'"
        case("text", "ids of " + text, "encode-text -m {model} -t " + quoted, out="^%s\n$" % " ".join(map(str, ids)))
case("text", "ids need two files only", "encode-text -m {ids_only} -t 'door open' --ids-only", out="^741 526 531 742\n$")
case("text", "ids as JSON", "encode-text -m {ids_only} --text='door open' --json",
     json={"ids": [741, 526, 531, 742], "count": 4, "truncated": False, "shape": None})
case("text", "features", "encode-text -m {model} -t 'door open' -o K.npy", out=r"^741 526 531 742\nK.npy  \d", files={"K.npy": (1, 4, 128)})
case("text", "features, quietly", "encode-text -m {model} -t 'door open' -o K.npy -q", out=r"^741 526 531 742\n$", files={"K.npy": (1, 4, 128)})
case("text", "features as JSON", "encode-text -m {model} -t 'door open' -o K.npy --json",
     json={"ids": [741, 526, 531, 742], "shape": [1, 4, 128], "out": "K.npy"}, files={"K.npy": (1, 4, 128)})
LONG = "encode-text -m {model} -t '" + "door open " * 60 + "'"
case("text", "a long text is cut", LONG + " --json", json={"count": 77, "truncated": True, "ids": lambda i: i[-1] == 742},
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


def wrote_something(run):
    """Whether a file of the run's folder holds bytes. The command may remove or rename one between the listing and the look at it."""
    for name in run.files():
        try:
            if os.path.getsize(run.path(name)) > 0:
                return True
        except FileNotFoundError:
            pass
    return False


def interrupt(run, line, signals):
    """Starts a long command, sends the signals once its trace shows that it is at work."""
    process = run.start(line + " --trace t.jsonl")
    deadline = time.monotonic() + 120
    while not wrote_something(run):
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
    process = subprocess.Popen([run.vipo] + run.words("plan " + INPUTS + " -s ddim -n 50 -o V.npy"), cwd=run.folder,
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
