#!/usr/bin/env python3
"""test_goal_policy.py VIPO: train.goal_policy on a made-up data set: examples are what they should be, both kinds of policy learn and
say in `vipo act` what they say in PyTorch, an interrupted run gives the same bytes, what is wrong is one line. Skipped (77) without NumPy, PyAV or PyTorch."""
import json
import os
import signal
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [SOURCE, os.path.join(SOURCE, "tests", "support")]
import debian_python  # noqa: E402

TRAIN = [sys.executable, "-B", "-m", "train.goal_policy"]
SMALL = ["--preset", "tiny", "--batch", "24", "--lr", "5e-3", "--threads", "1", "--device", "cpu", "--log-every", "10", "--examine-every", "60",
         "--held-out", "0.1"]


def train(*words):
    return subprocess.run(TRAIN + SMALL + list(words), cwd=SOURCE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def expect_refused(line, *words):
    done = train(*words)
    assert done.returncode in (1, 2) and not done.stdout, (words, done)
    last = done.stderr.strip().splitlines()[-1]
    assert line in last and (done.returncode == 2 or len(done.stderr.strip().splitlines()) == 1), (line, done.stderr)


def log_of(run):
    with open(os.path.join(run, "log.jsonl"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    for line in lines:
        line.pop("seconds")
    return lines


def bytes_of(path):
    with open(path, "rb") as file:
        return file.read()


# ---- examples -----------------------------------------------------------------------------------------------


def check_examples(data):
    import numpy as np

    from train.data import open_clips
    from train.policy import config, pictures as sizes, samples

    plan = config.find("tiny", "gcp")
    learnt, held = samples.read([data], plan, 0.2)
    clips = open_clips(data)
    pictures = {clip.video: clip.frames() for clip in clips}
    assert learnt.tasks == ("reach", "touch")
    seeds = [{(t.task, t.seed) for t in part.tracks} for part in (learnt, held)]
    assert seeds[1] == {(0, 9), (0, 8), (1, 9), (1, 8)} and len(seeds[0]) == 16 and not seeds[0] & seeds[1]
    assert held.count == 4 * 2 * 20 and len(held.frames) == 20 * 2 * 21

    rng = np.random.default_rng(5)
    rows = held.draw(rng, 300)
    batch = held.examples(rng, rows)
    assert len(set(map(tuple, rows))) > 100 and set(batch.task) == {0, 1}
    by_plan = set()
    for i, (number, frame) in enumerate(rows):
        track = held.tracks[number]
        clip = next(c for c in clips if c.task == learnt.tasks[track.task] and c.seed == track.seed
                    and np.array_equal(pictures[c.video], held.frames[track.first : track.first + 21]))
        states, now = clip.states(), clip.steps[frame]
        before = np.concatenate((states["init/obs"][None], states["step/obs"]))
        assert np.allclose(batch.hand[i], before[now][:4])
        wanted = np.clip(states["step/expert"], -1, 1)[now : now + 16]
        assert np.allclose(batch.action[i][: len(wanted)], wanted)
        assert batch.weight[i].sum() == len(wanted) and (batch.weight[i][: len(wanted)] == 1).all()
        frames = pictures[clip.video]
        assert np.array_equal(batch.observation[i], frames[frame])
        goal = clip.steps.index(now + batch.ahead[i])
        assert goal > frame and np.array_equal(batch.goal[i], frames[goal])
        if batch.ahead[i] != 16:
            by_plan.add(int(batch.ahead[i]))
        if i > 60:
            break
    # a plan of 7 frames in 40 steps or fewer is 6 steps apart or less
    ahead = batch.ahead[rows[:, 1] < 12]  # 16 steps are left
    assert 0.3 < np.mean(ahead == 16) < 0.7 and set(ahead) <= {2, 4, 6, 16} and len(by_plan) > 1, sorted(set(ahead))

    executed = samples.read([data], plan, 0.2, "executed")[0]
    states = clips[0].states()
    assert np.allclose(executed.tracks[0].actions, states["step/action"])
    assert np.abs(executed.tracks[0].actions - learnt.tracks[0].actions).max() > 0.1
    assert np.allclose(learnt.mean_actions()[:, 3], [0.5, -0.5])

    frames = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    means = frames.astype(float).reshape(2, 2, 2, 2, 2, 3).mean((2, 4))
    assert np.array_equal(sizes.shrink(frames, 2, "x"), np.floor(means + 0.5))
    try:
        sizes.shrink(frames, 3, "x")
    except ValueError as problem:
        assert "x: pictures of 4x4" in str(problem)
    else:
        raise AssertionError("4x4 was shrunk to 3x3")


def check_noise():
    """The sampler ends where a network that knows the answer says, whatever it predicts; the schedule is a cosine's."""
    import math

    import torch

    from train.policy import diffusion

    alphas = diffusion.alphas_cumprod()
    for t in (0, 30, 84, 98):
        whole = math.cos(((t + 1) / 100 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
        assert abs(float(alphas[t]) - whole) < 1e-5
    generator = torch.Generator().manual_seed(3)
    x0 = torch.rand((2, 16, 4), generator=generator) * 1.8 - 0.9
    noise = torch.randn((2, 16, 4), generator=generator)
    for prediction in ("epsilon", "sample", "v_prediction"):
        times = []

        def network(x, t):
            times.append(int(t[0]))
            a = alphas[t].view(-1, 1, 1)
            right = (x - a.sqrt() * x0) / (1 - a).sqrt()
            return diffusion.target(prediction, x0, right, t, alphas)

        out = diffusion.ddim(network, noise, prediction, 8, alphas)
        assert times == [84, 72, 60, 48, 36, 24, 12, 0] and (out - x0).abs().max() < 1e-4, prediction
    t = torch.tensor([10, 90])
    both = diffusion.add_noise(x0, noise, t, alphas)
    a = alphas[t].view(-1, 1, 1)
    said = diffusion.target("v_prediction", x0, noise, t, alphas)
    assert ((a.sqrt() * both - (1 - a).sqrt() * said) - x0).abs().max() < 1e-5


# ---- runs ---------------------------------------------------------------------------------------------------


def check_learning(data, folder, kind, steps):
    run = os.path.join(folder, kind)
    done = train("--data", data, "--out", run, "--kind", kind, "--steps", str(steps))
    assert done.returncode == 0 and not done.stderr, done.stderr
    lines = log_of(run)
    losses = [line["loss"] for line in lines]
    last = lines[-1]["held_out"]
    print(kind, losses[0], losses[-1], last)
    assert losses[-1] < 0.6 * losses[0], losses
    worse = last["other_goal_error" if kind == "gcp" else "mean_action_error"]  # that it looks at the goal, and at the picture
    assert last["action_error"] < 0.85 * worse, last
    names = {"obs", "vector", "actions"} | ({"goal", "noise"} if kind == "gcp" else set())
    assert set(os.listdir(os.path.join(run, "policy", "check"))) == {name + ".npy" for name in names}
    with open(os.path.join(run, "policy", "config.json"), encoding="utf-8") as file:
        document = json.load(file)
    assert document["kind"] == kind and document["training"]["held_out"] == last
    card = bytes_of(os.path.join(run, "policy", "README.md")).decode()
    assert "%.3f" % last["action_error"] in card and "the middle 32x32 of 48x40" in card, card
    assert document["pictures"].startswith("the middle 32x32 of 48x40 "), document["pictures"]
    return run


def check_export(run):
    """The folder's numbers, read back, say what the run's network said, but for half precision."""
    import torch

    from train.policy.export import load
    from train.policy.learn import WEIGHTS_ONLY

    policy = load(os.path.join(run, "policy"))
    state = torch.load(os.path.join(run, "checkpoint.pt"), weights_only=WEIGHTS_ONLY)["average"]
    for name, value in policy.state_dict().items():
        assert torch.equal(value, state[name].half().float()), name


def check_resumed(data, folder):
    """Stopped in its middle, then gone on with: the same log and the same bytes as in one go."""
    whole, run = os.path.join(folder, "whole"), os.path.join(folder, "parts")
    cache = os.path.join(folder, "pictures.npy")
    words = ["--data", data, "--kind", "gcp", "--steps", "50", "--cache", cache]
    done = train(*words, "--out", whole)
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(TRAIN + SMALL + words + ["--out", run], cwd=SOURCE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not process.stdout.readline().startswith("step 20"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err.strip() == "train.goal_policy: interrupted", (process.returncode, err)
    assert not os.path.exists(os.path.join(run, "policy"))
    stopped = log_of(run)[-1]["step"]
    assert 20 <= stopped < 50
    with open(os.path.join(run, "log.jsonl"), "a", encoding="utf-8") as file:  # as after a kill that lost a checkpoint
        file.write(json.dumps({"step": 10000, "loss": 1.0, "seconds": 1.0}) + "\n")
    expect_refused("this run was begun with lr 0.005, not 0.1", *words, "--out", run, "--lr", "0.1")
    with open(cache + ".key", "w", encoding="utf-8") as file:  # of other clips: not to be used
        file.write("other")
    with open(cache, "wb") as file:
        file.write(b"other")
    done = train(*words, "--out", run)
    assert done.returncode == 0 and "goes on at step" in done.stdout, done
    here, there = log_of(run), log_of(whole)
    assert here == there and len(here) >= 5, (here, there)
    name = os.path.join("policy", "policy.safetensors")
    assert bytes_of(os.path.join(run, name)) == bytes_of(os.path.join(whole, name))


def check_refusals(data, folder):
    nowhere = os.path.join(folder, "nowhere")
    expect_refused("nowhere: no index.jsonl in it", "--data", nowhere, "--out", nowhere)
    expect_refused("no clips of push", "--data", data, "--out", nowhere, "--tasks", "push")
    expect_refused("pictures of 32x32, expected squares of a multiple of 24", "--data", data, "--out", nowhere, "--image-size", "24")
    expect_refused("--steps 0: expected at least 1", "--data", data, "--out", nowhere, "--steps", "0")
    expect_refused("device 'toaster' is unknown, expected auto, cpu or cuda", "--data", data, "--out", nowhere, "--device", "toaster")
    broken = os.path.join(folder, "broken")
    os.makedirs(broken)
    with open(os.path.join(broken, "checkpoint.pt"), "wb") as file:
        file.write(b"not a checkpoint")
    expect_refused("checkpoint.pt: not a checkpoint of this run", "--data", data, "--out", broken)


def main():
    try:
        import av  # noqa: F401
        import numpy  # noqa: F401
        import torch  # noqa: F401
    except ImportError as problem:
        debian_python.missing("%s (scripts/setup.sh test)" % problem)
    import against_vipo
    import made_up

    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data")
        few = os.path.join(folder, "few")
        made_up.make(data, episodes=60, steps=20)
        made_up.make(few, episodes=10)
        check_examples(few)
        check_noise()
        for kind in ("gcp", "bc"):
            run = check_learning(data, folder, kind, 200)
            check_export(run)
            difference, size = against_vipo.greatest_difference(sys.argv[1], os.path.join(run, "policy"), few, 16, 0.1)
            print("vipo act: %.2e of %.2f" % (difference, size))
            assert difference < 1e-4 and size > 0.2
        check_resumed(few, folder)
        check_refusals(few, folder)
    print("done")


main()
