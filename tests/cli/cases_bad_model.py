"""Model folders that are incomplete, broken or lie: one line that names the file, and nothing is written."""
import os
import shutil
import signal

import hostile  # noqa: F401, makes the inputs
from harness import case, expect, expect_one_line, special

INPUTS = "-m {%s} -i {image} -t 'door open'"
PLAN = "plan " + INPUTS + " -s ddim -n 1 -o a.gif -o V.npy --trace t.jsonl"
EXPECTED = [
    ("config_missing", "config.json: No such file"),
    ("config_folder", "config.json: is a folder, expected a regular file"),
    ("config_pipe", "config.json: is a pipe or device, expected a regular file"),
    ("config_empty", "config.json: empty file, expected JSON"),
    ("config_bytes", "config.json: line 1, column 10: unable to decode byte 0xff"),
    ("config_deep", "config.json: line 1, column 2049: maximum parsing depth"),
    ("config_deep_objects", "config.json: line 1, .*maximum parsing depth"),
    ("config_null", "config.json: line 1, .*expected near 'null'"),
    ("config_list", "config.json: expected a JSON object"),
    ("config_twice", "config.json: line 1, .*duplicate object key"),
    ("config_nul", "config.json: line 1, .*u0000 is not allowed"),
    ("config_infinite", "config.json: line 1, .*real number overflow"),
    ("config_huge", "config.json: line 1, .*too big integer"),
    ("config_large", r"config.json: unet.model_channels: expected an integer in 1..4096, found 2147483648"),
    ("config_negative", "config.json: image.height: expected an integer in 1..2048, found -64"),
    ("config_text", 'config.json: unet.num_res_blocks: expected an integer in 1..32, found string "two"'),
    ("config_escape", r'found string "\?\[2J\?\?2J\?'),  # no byte of it moves the cursor
    ("config_other_size", r"unet.safetensors: tensor time_embed.0.weight: expected shape \[256, 64\], found \[128, 32\]"),
    ("config_other_text", "config.json: text_encoder.hidden_size 64 and task_token_channels 128 differ"),
    ("config_few_words", "vocab.json: has 743 tokens, config.json says vocab_size 100"),
    ("unet_empty", "unet.safetensors: not a safetensors file: 0 bytes"),
    ("unet_folder", "unet.safetensors: is a folder"),
    ("unet_torch", "unet.safetensors: not a safetensors file"),
    ("unet_cut_header", "unet.safetensors: truncated inside its header: 1008 bytes, the header alone ends at"),
    ("unet_cut", "unet.safetensors: truncated: tensor .* ends at byte 9066498 of 9066497"),
    ("unet_long_header", "unet.safetensors: not a safetensors file: expected the length of a JSON header"),
    ("unet_short_header", "unet.safetensors: bad header: premature end"),
    ("unet_no_header", "unet.safetensors: not a safetensors file"),
    ("unet_bytes_header", "unet.safetensors: bad header: unable to decode byte 0xff"),
    ("unet_deep_header", "unet.safetensors: bad header: maximum parsing depth"),
    ("unet_overlap", "unet.safetensors: tensor .*: its bytes overlap another's or leave a hole"),
    ("unet_hole", "unet.safetensors: tensor .*: its bytes overlap another's or leave a hole"),
    ("unet_after", "unet.safetensors: 1 bytes after the last tensor"),
    ("unet_twice", "unet.safetensors: bad header: duplicate object key"),
    ("unet_renamed", r"unet.safetensors: tensor time_embed.0.weight is missing, expected shape \[128, 32\]"),
    ("unet_extra", r"unet.safetensors: 1 tensors are not part of the network .* first is a\?\[31mb\?\?2J\?c$"),
    ("unet_shape", r"unet.safetensors: tensor time_embed.0.weight: expected shape \[128, 32\], found \[32, 128\]"),
    ("unet_overflow", "unet.safetensors: tensor time_embed.0.weight: bad shape"),
    ("unet_negative", "unet.safetensors: tensor time_embed.0.weight: bad shape"),
    ("unet_dtype", "unet.safetensors: tensor time_embed.0.weight: expected F32, F16 or BF16, found I16"),
    ("unet_f8", 'unet.safetensors: tensor time_embed.0.weight: unknown dtype "F8_E4M3", expected F32'),
    ("unet_f64", "unet.safetensors: tensor time_embed.0.weight: expected F32, F16 or BF16, found F64"),
    ("unet_nan", "unet.safetensors: tensor time_embed.0.weight: element 5 is NaN, expected a finite number"),
    ("unet_infinite", "unet.safetensors: tensor time_embed.0.weight: element 5 is infinite"),
    ("unet_sparse", r"unet.safetensors: tensor time_embed.0.weight: expected shape \[128, 32\], found \[549755813888\]"),
    ("text_empty", "text_encoder.safetensors: not a safetensors file"),
    ("text_shape", r"text_encoder.safetensors: tensor .*final_layer_norm.weight: expected shape \[128\], found \[64, 2\]"),
    ("text_missing", r"text_encoder.safetensors: tensor .*final_layer_norm.weight is missing, expected shape \[128\]"),
    ("text_nan", "text_encoder.safetensors: tensor .*final_layer_norm.weight: element 0 is NaN"),
    ("vocab_missing", "vocab.json: No such file"),
    ("vocab_cut", "vocab.json: line 1, column 12"),
    ("vocab_bytes", "vocab.json: line 1, column 2: unable to decode byte 0xff"),
    ("vocab_id", "vocab.json: a: expected an integer in 0..16777215"),
    ("vocab_ids", 'vocab.json: token "b" has id 1, which another token has'),
    ("vocab_few", "vocab.json: .*missing, expected an integer"),
    ("merges_missing", "merges.txt: No such file"),
    ("merges_line", 'merges.txt: line 3: expected two tokens and a space between them, found "th"'),
    ("merges_unknown", 'merges.txt: line 2: "qqq" is not in the vocabulary'),
    ("merges_bytes", "merges.txt: line 1: expected two tokens and a space between them"),
]
for name, err in EXPECTED:
    case("bad-model", "plan: " + name, PLAN % name, code=1, err=r"^vipo plan: [^\n]*/%s/.*%s" % (name, err) if "shape" not in err else err)

# The other commands read the same files.
NETWORK = " --cond {cond} --tokens {tokens}"
for name, err in EXPECTED:
    if name in ("config_deep", "unet_nan", "unet_shape"):
        case("bad-model", "compare: " + name, "compare %s --samplers ddim:1 --reference ddim:1 -o a.png --csv a.csv" % (INPUTS % name),
             code=1, err=err)
        case("bad-model", "denoise: " + name, "denoise -m {%s} --x {noise} --t 1 -o V.npy --dump d" % name + NETWORK, code=1, err=err)
    if name in ("config_deep", "vocab_cut", "merges_line", "text_shape"):
        case("bad-model", "encode-text: " + name, "encode-text -m {%s} -t a -o K.npy" % name, code=1, err=err)
    if name in ("config_deep", "config_bytes", "config_negative"):
        case("bad-model", "preprocess: " + name, "preprocess -m {%s} -i {image} -o C.npy" % name, code=1, err=err)
    if name.startswith("unet_") and name not in ("unet_shape", "unet_dtype", "unet_f64", "unet_nan", "unet_infinite", "unet_sparse",
                                                 "unet_renamed", "unet_extra", "unet_torch"):
        case("bad-model", "info: " + name, "info {%s}" % name, code=1, err=err)
case("bad-model", "info: escapes in names", "info {unet_extra}/unet.safetensors", out=r"^a\?\[31mb\?2J\?c +F16 +\[1\]\n")
case("bad-model", "convert: NaN", "convert --from safetensors -c {unet_nan}/unet.safetensors --config {model}/config.json -o out",
     code=1, err="time_embed.0.weight: element 5 is NaN")
case("bad-model", "convert: wrong type", "convert --from safetensors -c {unet_dtype}/unet.safetensors --config {model}/config.json -o out",
     code=1, err="time_embed.0.weight: expected F32, F16 or BF16, found I16")
case("bad-model", "convert: a deep config", "convert -c {checkpoint} --config {config_deep}/config.json -o out", code=1, err="maximum parsing depth")
case("bad-model", "convert: a broken vocabulary", "convert --from safetensors -c {model}/unet.safetensors --config {model}/config.json "
     "--clip {vocab_cut} -o out", code=1, err="(config|vocab).json")


@special("bad-model", "a file that is cut short while it is read")
def _(run):
    messages = []
    path = run.path("unet.safetensors")
    for line in ("convert --from safetensors -c unet.safetensors --config {model}/config.json --dtype f32 -o out",
                 "plan -m . --cond {cond} --tokens {tokens} -s ddim -n 1 -o a.gif --trace t.jsonl") * 2:
        for name in ("config.json", "unet.safetensors"):
            shutil.copyfile(os.path.join(run.at["model"], name), run.path(name))
        process = run.start(line)
        while process.poll() is None:  # until the file is mapped
            try:
                with open("/proc/%d/maps" % process.pid) as f:
                    if "/unet.safetensors" in f.read():
                        break
            except OSError:
                break
        process.send_signal(signal.SIGSTOP)
        os.truncate(path, 100000)
        process.send_signal(signal.SIGCONT)
        code, _, err = run.finish(process)
        expect(code in (0, 1), "exit status %d: %s", code, err)  # 0: it had read everything
        if code == 1:
            expect_one_line(err, "(cut short while it was being read, nothing was written|truncated|not a safetensors file)")
            expect(sorted(os.listdir(run.folder)) == ["config.json", "unet.safetensors"], "left: %s", run.files())
        messages.append(err)
        for name in os.listdir(run.folder):
            shutil.rmtree(run.path(name)) if os.path.isdir(run.path(name)) else os.remove(run.path(name))
    expect(any("cut short" in message for message in messages), "no run met the change: %s", messages)


@special("bad-model", "folders that may not be read or written")
def _(run):
    drop = lambda: os.geteuid() == 0 and os.setuid(65534)  # root may read everything
    path = run.path("model")
    shutil.copytree(run.at["model"], path)
    os.chmod(run.folder, 0o755)
    line = "plan -m %s -i {image} -t a -s ddim -n 1 --json -q" % path
    for folder, file in ((0o555, 0o444),):  # a model that nobody may write is fine
        for name in os.listdir(path):
            os.chmod(os.path.join(path, name), file)
        os.chmod(path, folder)
        code, _, err = run.run(line, before=drop)
        expect(code == 0 and err == "", "exit status %d: %s", code, err)
    for name in ("unet.safetensors", "config.json", "vocab.json"):
        os.chmod(os.path.join(path, name), 0)
        code, _, err = run.run(line, before=drop)
        expect(code == 1, "exit status %d", code)
        expect_one_line(err, name + ": Permission denied")
        os.chmod(os.path.join(path, name), 0o444)
    os.chmod(path, 0)
    code, _, err = run.run(line, before=drop)
    expect(code == 1, "exit status %d", code)
    expect_one_line(err, "Permission denied")
    os.chmod(path, 0o755)
