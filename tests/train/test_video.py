#!/usr/bin/env python3
"""test_video.py VIPO: a video model is trained from nothing on made-up clips, interrupted and gone on with, exported, and
plans the same in `vipo` as in PyTorch. Skipped (77) without PyTorch, NumPy or PyAV. `make test` has installed them for
Debian's Python; if this one lacks them, that one goes on."""
import contextlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [SOURCE, os.path.join(SOURCE, "tests", "support")]
import debian_python  # noqa: E402

try:
    import av
    import numpy as np
    import torch
except ImportError as problem:
    debian_python.missing("%s (scripts/setup.sh test)" % problem)

from train import dataset, evaluate, export, fast, files, measures, model, native, perceptual, presets, text, tokenizer, trainer, video  # noqa: E402
from train.avdc.diffusion import Schedule  # noqa: E402
from train.avdc.unet import UNet3D, VideoDenoiser  # noqa: E402
from train.task_path import load_encoder, spread  # noqa: E402

SIZE, FRAMES = 32, 20
TEXTS = {
    "door-open": (["go left", "move left", "move to the left side", "push it left"], ["please go left"]),
    "door-close": (["go right", "move right", "move to the right side", "push it right"], ["please go right"]),
}


def make_clip(path, task, seed):
    """A square on a striped floor that goes left (door-open) or right; lossless."""
    rng = np.random.default_rng([seed, len(task)])
    floor = (np.indices((SIZE, SIZE)).sum(axis=0) // 4 % 2 * 60 + 40).astype(np.uint8)
    top, colour = int(rng.integers(4, 20)), rng.integers(150, 255, 3).astype(np.uint8)
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264rgb", rate=10)
        stream.width = stream.height = SIZE
        stream.pix_fmt, stream.options = "rgb24", {"qp": "0"}
        for i in range(FRAMES):
            picture = np.repeat(floor[:, :, None], 3, axis=2)
            left = 12 + (i * 10 // FRAMES) * (1 if task == "door-close" else -1)
            picture[top:top + 8, left:left + 8] = colour
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def make_data(folder, episodes=4):
    os.makedirs(os.path.join(folder, "videos"))
    with open(os.path.join(folder, "index.jsonl"), "w") as index:
        for task, (texts, held_out) in TEXTS.items():
            for seed in range(episodes):
                name = "videos/%s_%d.mp4" % (task, seed)
                make_clip(os.path.join(folder, name), task, seed)
                index.write(json.dumps({"format": 1, "task": task, "camera": "front", "seed": seed, "video": name, "episode": "",
                                        "height": SIZE, "width": SIZE, "frames": FRAMES, "text": texts[0], "texts": texts,
                                        "held_out_texts": held_out}) + "\n")


def refused(main, arguments, *words):
    """main must say what is wrong in one line with these words."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main(arguments)
        except (ValueError, OSError) as problem:
            line = str(problem)
        else:
            raise AssertionError("accepted: %s" % arguments)
    assert "\n" not in line and all(word in line for word in words), line


# ---- parts ------------------------------------------------------------------------------------------------------

def check_tokenizer(vipo):
    """The command's ids, and those of a vocabulary that was learned."""
    mine = tokenizer.load(os.path.join(SOURCE, "models", "metaworld-64"))
    for words in ("door open", "Open  the DOOR!!", "close the d\u00f4or's 12 handles", "turn it 3 times\u2026", "it's 4you", ""):
        done = subprocess.run([vipo, "encode-text", "-m", os.path.join(SOURCE, "models", "metaworld-64"), "-t", words, "--json"],
                              check=True, stdout=subprocess.PIPE)
        assert json.loads(done.stdout)["ids"] == mine.encode(words), words
    learned = tokenizer.learn(["push the block", "push the button"])
    assert len(learned.encode("push the button")) == 5 and len(learned.vocab) == len(set(learned.vocab.values()))
    assert learned.encode("push " * 100)[-1] == learned.end and len(learned.encode("push " * 100)) == 77


def check_examples(data):
    """The same place, the same example; frames as AVDC takes them; a shift repeats the border."""
    assert dataset.frame_numbers(45, 0, 8) == [0, 6, 12, 18, 25, 31, 37, 44] and dataset.frame_numbers(10, 9, 8) == [9] * 8
    view = dataset.View(32, 16, 7)
    train, test = data.split(1)
    assert {c.seed for c in test} == {3} and len(train) == 6 and len(test) == 2
    examples = dataset.Examples(data, train, 5, 3, 0.25, 0.3)
    whole = examples.batch(0, 40, view)
    again = examples.batch(30, 10, view)
    assert np.array_equal(whole[0][30:], again[0]) and whole[1][30:] == again[1]
    assert whole[0].shape == (40, 8, 16, 16, 3) and 4 <= whole[1].count(None) <= 20
    assert set(whole[1]) - {None} <= {t for texts, _ in TEXTS.values() for t in texts}
    rare = dataset.Examples(data, train, 5, 3, 0.25, 0.0, {"door-open": 0.25}).batch(0, 200, view)[1]
    assert 20 <= sum(t in TEXTS["door-open"][0] for t in rare) <= 60  # a fifth of 200
    pictures = data.sources[0][:1]
    moved = dataset.window(pictures, 32, 0, 3)
    assert np.array_equal(moved[:, :, :29], pictures[:, :, 3:]) and (moved[:, :, 29:] == pictures[:, :, 31:]).all()
    more = dataset.Dataset(255 - data.sources[0], list(data.clips), data.corpus)
    both = dataset.Dataset(data.sources[0], list(data.clips), data.corpus)
    both.add(more, "more")
    more_train, more_test = both.split(1)
    assert more_test == test and len(more_train) == 2 * len(train) and both.total == 2 * data.total
    assert {c.seed for c in more_train} == {0, 1, 2}, "the scenes of held-out clips are in another source"
    assert np.array_equal(view.take(both, more_train[-1]), view.take(more, train[-1]))
    boxes = pictures.reshape(1, 16, 2, 16, 2, 3).astype(int).sum(axis=(2, 4))
    assert np.array_equal(dataset.box_mean(pictures, 2), (boxes + 2) // 4)


def check_network():
    """The UNet without copies is the UNet, forward and backward; the group norm's own backward is right, in C as in PyTorch."""
    torch.manual_seed(0)
    x = torch.randn(2, 48, 8, dtype=torch.double, requires_grad=True)
    gain, bias = (torch.randn(8, dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda *a: fast.NormSilu.apply(*a, 4, 1e-5), (x, gain, bias))
    unet = UNet3D(presets.find("tiny").unet)
    for p in unet.parameters():
        if not p.any():
            torch.nn.init.normal_(p, 0, 0.05)
    video, cond, t, task = torch.randn(2, 7, 16, 16, 3), torch.rand(2, 16, 16, 3), torch.tensor([3, 80]), torch.randn(2, 128)
    results = []
    for forward in (lambda: VideoDenoiser(unet)(video.permute(0, 1, 4, 2, 3), cond.permute(0, 3, 1, 2), t, task=task).permute(0, 1, 3, 4, 2),
                    lambda: fast.forward(unet, video, cond, t, task), lambda: without_native(lambda: fast.forward(unet, video, cond, t, task))):
        unet.zero_grad()
        v = forward()
        v.square().mean().backward()
        results.append((v.detach(), {n: p.grad.clone() for n, p in unet.named_parameters() if p.grad is not None}))
    v, gradients = results[0]
    largest = max(g.norm() for g in gradients.values())
    for fast_v, fast_gradients in results[1:]:
        assert (v - fast_v).norm() < 2e-5 * v.norm() and gradients.keys() == fast_gradients.keys()
        worst = max(float((g - fast_gradients[n]).norm() / largest) for n, g in gradients.items())
        print("v apart by %.1e, gradients by %.1e" % ((v - fast_v).norm() / v.norm(), worst))
        assert worst < 2e-5


def without_native(call):
    """As where there is no compiler."""
    usable, native.usable = native.usable, lambda x: False
    try:
        return call()
    finally:
        native.usable = usable


def check_native():
    """norm_silu.c beside PyTorch in double, for more rows than a chunk has and for both types; ungainly shapes."""
    if native.library() is None:
        print("norm_silu.c: no compiler, not tested")
        return
    torch.manual_seed(0)
    for kind, most in ((torch.float32, 2e-6), (torch.bfloat16, 4e-3)):
        for b, n, c, groups, with_e in ((2, 3000, 64, 32, True), (1, 1, 6, 2, True), (3, 517, 33, 11, False)):
            x, e = (torch.randn(b, n, c) * 2 + 1).to(kind), torch.randn(b, c) if with_e else None
            gain, bias, dy = torch.randn(c), torch.randn(c), torch.randn(b, n, c).to(kind)

            def reference(x, e, gain, bias):
                whole = x.double() if e is None else x.double() + e.double()[:, None]
                normed = torch.nn.functional.group_norm(whole.permute(0, 2, 1), groups, gain.double(), bias.double(), 1e-5)
                return torch.nn.functional.silu(normed).permute(0, 2, 1)

            results = []
            for function in (reference, lambda *a: native.NormSilu.apply(*a, groups, 1e-5)):
                values = [v if v is None else v.clone().requires_grad_() for v in (x, e, gain, bias)]
                y = function(*values)
                y.backward(dy.to(y.dtype))
                results.append([y.detach(), *(v.grad for v in values if v is not None)])
            scale = max(float(r.norm()) for r in results[0][1:])
            for i, (a, b_) in enumerate(zip(*results)):
                apart = float((a.double() - b_.double()).norm()) / (float(a.norm()) if i == 0 else scale)
                assert apart < most, (kind, (b, n, c), i, apart)


def check_weighting():
    """At the noisiest times AVDC's weights vanish, the others do not; at the cleanest all but "v" do."""
    schedule = Schedule()
    avdc, floored, flat = (schedule.weights(name) for name in ("min-snr", "min-snr+1", "v"))
    assert avdc[99] < 1e-3 and floored[99] > 0.99 and (flat == 1).all() and floored[0] < 0.01
    assert ((floored - avdc) / (1 - schedule.alphas_cumprod) - 1).abs().max() < 1e-3


# ---- a training -------------------------------------------------------------------------------------------------

def lines_of(run):
    path = os.path.join(run, "metrics.jsonl")
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file.read().split("\n")[:-1]]


def train_interrupted(arguments, run, stops):
    """The training as its own process: killed, then asked to end twice, each some lines after it began or went on;
    -> the last step with a line. On a busy machine it may do more before the signal comes, or even all."""
    command = [sys.executable, "-B", "-m", "train.video", *arguments, "--out", run]
    for at, number in zip(stops, (signal.SIGKILL, signal.SIGTERM, signal.SIGTERM)):
        before = len(lines_of(run))
        process = subprocess.Popen(command, cwd=SOURCE, stdout=subprocess.DEVNULL)
        while process.poll() is None and not (len(lines_of(run)) >= max(at, before + 2) and os.path.exists(os.path.join(run, "checkpoint.pt"))):
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait() in ((-number,) if number == signal.SIGKILL else (0,)), "status %d, lines %d" % (process.returncode, len(lines_of(run)))
    return lines_of(run)[-1]["step"]


def bytes_in(folder):
    """{name: content} of the files that lie in a folder, but for a training's lock."""
    found = {}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and name != "lock":
            with open(path, "rb") as file:
                found[name] = file.read()
    return found


def check_training(folder, data):
    stages, steps = "8:30x4,16:10x2/2,8:120x4,16:40x2/2", 200
    arguments = ["--data", data, "--preset", "tiny", "--held-out", "1", "--log-every", "3", "--validate-every", "20", "--precision", "fp32",
                 "--text-steps", "20", "--threads", "1", "--stages", stages, "--task-lr-scale", "0.02"]
    whole, parts = os.path.join(folder, "whole"), os.path.join(folder, "parts")
    with contextlib.redirect_stdout(io.StringIO()):
        video.main([*arguments, "--out", whole])
    done = train_interrupted([*arguments, "--checkpoint-minutes", "0.005"], parts, (4, 9, 12))
    a, b = lines_of(whole), lines_of(parts)
    assert a[-1]["step"] == steps and len(b) >= 12 and done >= 30, (a[-1], len(b), done)
    for x, y in zip(a, b):
        differ = {k: (x[k], y.get(k)) for k in x if k != "examples_per_second" and x[k] != y.get(k)}
        assert not differ, "another training after the interruption: step %d %s" % (x["step"], differ)
    first, last = (np.mean([line["v_mse"] for line in part]) for part in ([line for line in a[:5] if "loss" in line], [line for line in a[-8:] if "loss" in line]))
    held_out = [line["held_out_v_mse"] for line in a if "held_out_v_mse" in line]
    print("%d steps, v error %.3f -> %.3f, held out %.3f -> %.3f" % (steps, first, last, held_out[0], held_out[-1]))
    print("interrupted twice and gone on with: the same numbers over %d steps" % done)
    assert last < 0.5 * first and held_out[-1] < held_out[0]
    assert all(line["spread"] > 0.8 * a[0]["spread"] for line in a if "spread" in line), "the task embeddings collapsed"
    report = files.read_json(os.path.join(whole, "text", "config.json"))["report"]
    assert report["training_phrases_right"] == [8, 8] and report["spread"] > 0.2, report
    return whole, arguments


def check_changes(folder, data, run, arguments):
    """What may change when a training goes on is said; text embeddings that are frozen then are those that are exported."""
    changed, out = os.path.join(folder, "changed"), os.path.join(folder, "changed-model")
    shutil.copytree(run, changed)
    arguments = [*arguments[:arguments.index("--task-lr-scale")], "--out", changed, "--stages", "8:30x4,16:10x2/2,8:120x4,16:41x2/2"]
    refused(video.main, [*arguments, "--init", folder], "init None")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        video.main(arguments)
        export.main(["--run", changed, "--data", data, "--out", out, "--last", "--dtype", "f32"])
    assert "note: task_lr_scale was 0.02, and is 0.0" in said.getvalue() and "201 steps" in said.getvalue(), said.getvalue()
    trained = lines_of(changed)[-1]["spread"]
    exported = float(spread(model.Model(out).embed([texts[0] for texts, _ in TEXTS.values()])))
    assert abs(trained - exported) < 1e-5 * exported, (trained, exported)
    assert files.read_json(os.path.join(out, "config.json"))["training"]["examples"] == {"8x8": 600, "16x16": 102}


def check_export(folder, data, run, vipo):
    """vipo's plan from the same noise is PyTorch's."""
    out = os.path.join(folder, "model")
    with contextlib.redirect_stdout(io.StringIO()):
        export.main(["--run", run, "--data", data, "--out", out])
    made = model.Model(out)
    assert made.size == 16 and made.crop == 32
    clips = dataset.open_dataset(data, quiet=True)
    cond = dataset.View(32, 16, 7).take(clips, clips.clips[0])[0] / np.float32(255)
    noise = np.random.default_rng(1).standard_normal((2, 7, 16, 16, 3)).astype(np.float32)
    theirs = made.ddim(torch.from_numpy(cond).expand(2, -1, -1, -1), made.embed(["go left"] * 2), torch.from_numpy(noise), 5).numpy()
    ours = model.vipo_plan(vipo, made, cond, "go left", noise, ["-s", "ddim", "-n", "5"])
    apart = float(np.sqrt(np.mean((ours - theirs) ** 2)))
    print("plans of vipo and PyTorch apart by %.1e (rms), deviation %.2f" % (apart, theirs.std()))
    assert apart < 1e-3 and theirs.std() > 0.05
    other = made.ddim(torch.from_numpy(cond).expand(2, -1, -1, -1), made.embed(["go right"] * 2), torch.from_numpy(noise), 5).numpy()
    assert np.sqrt(np.mean((other - theirs) ** 2)) > 10 * apart, "the text changes nothing"


def check_from_model(folder, data, run):
    """A training that begins with a model folder goes on with its text path, and is as good from the first step on."""
    made, begun = os.path.join(folder, "model"), os.path.join(folder, "begun")
    arguments = ["--data", data, "--preset", "tiny", "--held-out", "1", "--precision", "fp32", "--threads", "1", "--init", made, "--stages",
                 "16:2x2", "--lr", "1e-6", "--validate-every", "1"]
    with contextlib.redirect_stdout(io.StringIO()):
        video.main([*arguments, "--out", begun])
    texts, before = ["go left", "push it right", None], model.Model(made)
    assert torch.equal(before.embed(texts), load_encoder(os.path.join(begun, "text"), before.config)(texts))
    ended, now = ([line["held_out_v_mse"] for line in lines_of(r) if "held_out_v_mse" in line] for r in (run, begun))
    print("held out at a training's end %.4f, where another begins with its model %.4f" % (ended[-1], now[0]))
    assert abs(now[0] - ended[-1]) < 0.02 * ended[-1]
    other, mixed = os.path.join(folder, "other-text"), os.path.join(folder, "mixed")
    with contextlib.redirect_stdout(io.StringIO()):
        text.main(["--data", data, "--preset", "tiny", "--out", other, "--steps", "5", "--seed", "5", "--quiet"])
        video.main([*arguments, "--init-skip", "task", "--text", other, "--out", os.path.join(folder, "skipped")])
    refused(video.main, [*arguments, "--text", other, "--out", mixed], "--text", "--init-skip")
    settings = trainer.Settings((presets.Stage(16, 1, 2),), 1e-3)
    wrong = trainer.Trainer(presets.find("tiny"), settings, dataset.open_dataset(data, quiet=True), load_encoder(other, before.config), torch.device("cpu"))
    try:
        wrong.start_from(made, False)
    except ValueError as problem:
        assert "not the one" in str(problem), problem
    else:
        raise AssertionError("another text path was taken")


def check_evaluation(folder, data, vipo):
    """The measures, and their report on the model just made."""
    rng = np.random.default_rng(0)
    a = rng.random((3, 16, 16, 3))
    assert measures.psnr(a, a) == 100 and abs(measures.psnr(a, a + 0.1) - 20) < 1e-9
    assert abs(measures.ssim(a[0], a[0]) - 1) < 1e-12 and measures.ssim(a[0], a[1]) < 0.3 < measures.ssim(a[0], a[0] * 0.9)
    filtered = measures.box_filter(a[0])
    assert filtered.shape == (10, 10, 3) and np.allclose(filtered[2, 3], a[0, 2:9, 3:10].mean(axis=(0, 1)))
    moved = a.copy()
    moved[1, 4:6, 7] += 0.5
    assert measures.moving(a[0], np.stack([a[0], moved[1] - a[1] + a[0]])).sum() == 2
    alike = perceptual.Perceptual(evaluate.FEATURES)
    scene = np.kron(rng.random((2, 8, 8, 3)), np.ones((1, 8, 8, 1)))
    near = alike.distances(scene, scene + 0.02 * rng.standard_normal(scene.shape))
    assert near.shape == (2,) and (alike.distances(scene, scene) == 0).all()
    assert (0 < near).all() and (near * 3 < alike.distances(scene, scene[::-1])).all(), near
    assert alike.distances(scene.repeat(2, axis=1).repeat(2, axis=2), scene).max() < 1e-6, "another size"
    sheet = measures.contact_sheet([a, a[:2]], scale=2)
    assert sheet.shape == (2 * 34 + 2, 3 * 34 + 2, 3) and (sheet[36:, 70:] == 255).all()
    out = os.path.join(folder, "evaluation")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        evaluate.main(["--model", os.path.join(folder, "model"), "--data", data, "--out", out, "--held-out", "1", "--vipo", vipo,
                       "--samplers", "ddim:5,ab2:4", "--steering-clips", "1"])
    result = files.read_json(os.path.join(out, "evaluation.json"))
    plans, steering = result["plans"], result["steering"]["door-open/door-close"]
    print("plans: psnr %.1f, frame repeated %.1f; steering %d of %d" % (plans["ddim:5"]["psnr"], plans["frame repeated"]["psnr"], steering["right"], steering["of"]))
    assert set(plans) == {"clips", "frame repeated", "nearest training clip", "ddim:5", "ddim:5, unseen phrasing", "ab2:4"}
    assert 0 < plans["ddim:5"]["features"] and 0 < plans["frame repeated"]["features_last"]
    assert plans["clips"] == 2 and set(result["last_frame_by_task"]) == set(TEXTS)
    assert len(result["v_mse"]["bins"]) == 10 and 0 < result["v_mse"]["mean"] < 1
    assert result["steering"]["door-open/door-close from the middle"]["of"] == 4
    assert steering["of"] == 4 and steering["of_these"] == 2 and "Steering" in printed.getvalue()
    with open(os.path.join(out, "plans-ab2-4.png"), "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    refused(evaluate.main, ["--model", os.path.join(folder, "model"), "--data", data, "--out", out, "--held-out", "1", "--samplers", "ab2"], "ab2", "--vipo")
    with contextlib.redirect_stdout(io.StringIO()):  # the same clips as if they began at turning points
        evaluate.main(["--model", os.path.join(folder, "model"), "--data", data, "--out", out, "--vipo", vipo,
                       "--samplers", "ddim:2", "--clips", "9", "--v-clips", "0", "--steering-clips", "1", "--undo", data])
    # held out are as many as in the training, where nothing is said: one episode of each of two tasks
    assert files.read_json(os.path.join(out, "evaluation.json"))["plans"]["clips"] == 2
    turned = files.read_json(os.path.join(out, "evaluation.json"))["steering"]["door-open/door-close from turning points"]
    assert turned["of"] == 4 and turned["of_these"] == 2 and sorted(t["command"] for t in turned["tests"]) == sorted(2 * list(TEXTS))
    refused(evaluate.main, ["--model", data, "--data", data, "--out", out], "config.json")


def check_refusals(folder, data, run, arguments):
    refused(video.main, ["--data", data, "--preset", "huge", "--out", run], "huge", "expected one of tiny")
    refused(video.main, ["--data", folder, "--preset", "tiny", "--out", run + "2"], "index.jsonl", "vipo sim collect")
    refused(video.main, [*arguments, "--out", run, "--seed", "7"], "seed 0, not 7")
    refused(video.main, [*arguments, "--out", run, "--held-out", "4"], "held_out 1, not 4")
    refused(video.main, ["--data", data, "--preset", "metaworld-64", "--out", run + "2"], "32x32", "128")
    refused(video.main, ["--data", data, "--preset", "tiny", "--out", run + "2", "--held-out", "9"], "9 episodes", "there are 4")
    refused(video.main, ["--data", data, "--preset", "tiny", "--out", run + "2", "--stages", "16:5"], "16:5", "SIZE:STEPSxBATCH")
    refused(video.main, ["--data", data, "--preset", "tiny", "--out", run + "2", "--stages", "12:5x2"], "size 12", "divisor")
    refused(video.main, ["--data", data, "--preset", "tiny", "--out", run + "2", "--device", "abacus"], "abacus", "cpu")
    refused(video.main, ["--data", data, "--preset", "tiny", "--out", run + "2", "--task-weight", "door-open"], "door-open", "TASK=N")
    refused(video.main, ["--data", data, "--preset", "tiny", "--out", run + "2", "--task-weight", "sit=2"], "'sit'", "door-open")
    refused(text.main, ["--data", data, "--preset", "tiny", "--out", run + "3", "--steps", "0"], "--steps 0")
    refused(export.main, ["--run", folder, "--data", data, "--out", run + "3"], "config.json")
    refused(video.main, ["--data", data, "--preset", "tiny", "--out", run + "2", "--seed", str(2**63)], "--seed", "2^63")
    refused(video.main, ["--data", data, "--preset", "tiny", "--out", run + "2", "--minutes", "0"], "--minutes", "more than 0")
    check_folders(folder, data, run, arguments)
    check_full_disk(folder)
    os.truncate(os.path.join(run, "checkpoint.pt"), 5000)
    refused(video.main, [*arguments, "--out", run], "checkpoint.pt")
    assert not [name for name in os.listdir(run) if name.endswith(".part")]


def check_folders(folder, data, run, arguments):
    """What is in a folder already is not taken for something else, nor written over."""
    made, kept = os.path.join(folder, "model"), bytes_in(os.path.join(folder, "model"))
    refused(video.main, [*arguments, "--init", made, "--out", made], "model: holds something else")
    refused(text.main, ["--data", data, "--preset", "tiny", "--out", made], "unet.safetensors")
    assert bytes_in(made) == kept
    kept = bytes_in(run)
    refused(text.main, ["--data", data, "--preset", "tiny", "--out", run], "checkpoint.pt")
    refused(export.main, ["--run", run, "--data", data, "--out", run], "is the folder of a training")
    refused(export.main, ["--run", run, "--data", data, "--out", run + "3", "--size", "-16"], "--size -16")
    with files.only_process(run):
        refused(video.main, [*arguments, "--out", run], "another training is at work")
    other = os.path.join(folder, "other-phrases")  # as many clips and frames, but other texts
    os.makedirs(other)
    for name in os.listdir(data):
        if name != "index.jsonl":
            os.symlink(os.path.join(data, name), os.path.join(other, name))
    with open(os.path.join(data, "index.jsonl")) as before, open(os.path.join(other, "index.jsonl"), "w") as after:
        after.write(before.read().replace("go left", "walk left"))
    refused(video.main, [*arguments, "--data", other, "--out", run], "other clips or texts")
    assert bytes_in(run) == kept
    with open(os.path.join(other, "index.jsonl"), "a") as index:
        index.write('{"task": "door-open"}\n')
    refused(video.main, [*arguments, "--data", other, "--out", run], "no camera, seed, video")

    with contextlib.redirect_stdout(io.StringIO()):  # an author's card stays, what it was checked with does not
        with open(os.path.join(made, "README.md"), "w") as card:
            card.write("mine")
        with open(os.path.join(made, "check.safetensors"), "w") as check:
            check.write("of other weights")
        export.main(["--run", run, "--data", data, "--out", made])
    assert bytes_in(made)["README.md"] == b"mine" and "README.new.md" in os.listdir(made) and "check.safetensors" not in os.listdir(made)
    assert files.read_json(os.path.join(made, "config.json"))["training"]["held_out"] == 1

    clip = os.path.join(folder, "clip")  # the text encoder as CLIP is published
    os.makedirs(clip)
    for name in ("vocab.json", "merges.txt"):
        os.symlink(os.path.join(made, name), os.path.join(clip, name))
    os.symlink(os.path.join(made, "text_encoder.safetensors"), os.path.join(clip, "model.safetensors"))
    files.write_json(os.path.join(clip, "config.json"), {"text_config": files.read_json(os.path.join(made, "config.json"))["text_encoder"]})
    unet = model.Model(made).config
    one, same = (load_encoder(path, unet).features(["go left"])[0] for path in (made, clip))
    assert torch.equal(one, same)

    cache = os.path.join(data, "cache")  # an array that was removed to make room is made again
    for name in os.listdir(cache):
        if name.endswith(".npy"):
            os.remove(os.path.join(cache, name))
    with open(os.path.join(cache, ".%s.1.part" % name.replace(".json", ".npy")), "w"):
        pass
    assert dataset.open_dataset(data, quiet=True).total > 0 and not [name for name in os.listdir(cache) if name.endswith(".part")]


def check_full_disk(folder):
    """One line, the old checkpoint, and nothing else."""
    path, before = os.path.join(folder, "checkpoint.pt"), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    files.write_torch(path, {"step": 1})
    kept, (soft, hard) = bytes_in(folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, hard))
    try:
        files.write_torch(path, {"step": torch.zeros(100000)})
        raise AssertionError("written")
    except OSError as problem:
        print("full disk: %s" % problem)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert bytes_in(folder) == kept


def main():
    torch.set_num_threads(1)
    vipo = os.path.abspath(sys.argv[1])
    check_tokenizer(vipo)
    check_network()
    check_native()
    check_weighting()
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data")
        make_data(data)
        check_examples(dataset.open_dataset(data, quiet=True))
        run, arguments = check_training(folder, data)
        check_changes(folder, data, run, arguments)
        check_export(folder, data, run, vipo)
        check_from_model(folder, data, run)
        check_evaluation(folder, data, vipo)
        check_refusals(folder, data, run, arguments)
    print("done")


main()
