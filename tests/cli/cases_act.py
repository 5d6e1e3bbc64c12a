"""The cases of `vipo act`, on made-up policies."""
import json
import os
import shlex

from harness import SOURCE, case, expect, made, make_npy, read_npy, special, write_npy
from policies import CLONING, SMALL, changed, tensors_of, values_of, write_policy, write_safetensors

ACT = "act -m {small} --obs {obs} --goal {goal}"


@made("small")
def _(at, folder):
    write_policy(folder, SMALL)


@made("cloning")
def _(at, folder):
    write_policy(folder, CLONING)


@made("other_sizes")
def _(at, folder):
    write_policy(folder, SMALL)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(changed(SMALL, encoder_keypoints=4), f)


@made("no_weights")
def _(at, folder):
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(SMALL, f)


@made("nan_policy")
def _(at, folder):
    def spoil(tensors):
        shape, values = tensors["model.final_conv.1.bias"]
        values[1] = float("nan")
    write_policy(folder, SMALL, change=spoil)


@made("overflowing")
def _(at, folder):
    def grow(tensors):
        for name in ("model.final_conv.0.block.1.weight", "model.final_conv.1.weight"):
            shape, values = tensors[name]
            tensors[name] = shape, [3e38] * len(values)
    write_policy(folder, changed(SMALL, diffusion={"timesteps": 20, "clip_sample": False}), change=grow)


for name, shape, kind in [("obs", (20, 24, 3), "unit"), ("goal", (1, 3, 20, 24), "unit"), ("obs3", (3, 20, 24, 3), "unit"),
                          ("obs_small", (10, 24, 3), "unit"), ("obs_nan", (20, 24, 3), "nan"), ("hand", (3,), "unit"),
                          ("all_numbers", (5,), "unit"), ("start", (8, 2), "normal"), ("start3", (3, 8, 2), "normal"),
                          ("ten_steps", (9, 1, 8, 2), "normal"), ("wrong_start", (8, 3), "normal")]:
    def maker(at, path, shape=shape, kind=kind):
        make_npy(path, shape, kind)
    made(name, name + ".npy")(maker)


@made("obs_255", "obs_255.npy")
def _(at, path):
    write_npy(path, (20, 24, 3), [i % 256 for i in range(20 * 24 * 3)])


case("act", "ddim", ACT + " -o a.npy", out=r"^gcp ddim-5: 8 actions of 2 numbers, the first 4 to execute.*a\.npy",
     files={"a.npy": (8, 2)})
case("act", "quiet", ACT + " -q -o a.npy", out="^$", files={"a.npy": (8, 2)})
case("act", "json", ACT + " --json --sampler ddim --steps 8",
     json={"kind": "gcp", "sampler": "ddim-8", "shape": [8, 2], "executed": 4, "calls": 8, "out": None,
           "actions": lambda rows: len(rows) == 8 and all(len(r) == 2 and -1 <= r[0] <= 1 and 0 <= r[1] <= 10 for r in rows)})
case("act", "ddpm", ACT + " --sampler ddpm -o a.npy", out="ddpm-20", files={"a.npy": (8, 2)})
case("act", "ddpm with noise", ACT + " -s ddpm --steps 10 --noise {start} --step-noise {ten_steps} -o a.npy", out="ddpm-10",
     files={"a.npy": (8, 2)})
case("act", "several", "act -m {small} --obs {obs3} --goal {goal} --noise {start3} -o a.npy", out="gcp", files={"a.npy": (3, 8, 2)})
case("act", "samples", ACT + " --samples 4 -o a.npy", out="gcp", files={"a.npy": (4, 8, 2)})
case("act", "repeat", ACT + " --repeat 3 --json", json={"seconds": lambda s: len(s) == 3 and min(s) > 0})
case("act", "cloning", "act -m {cloning} --obs {obs} --vector {all_numbers} -o a.npy", out="^bc: 6 actions of 4", files={"a.npy": (6, 4)})
case("act", "cloning by task", "act -m {cloning} --obs {obs} --vector {hand} --task faucet-close --json",
     json={"kind": "bc", "sampler": None, "calls": 1, "shape": [6, 4]})
case("act", "a goal too many", "act -m {cloning} --obs {obs} --goal {goal} --vector {all_numbers} -o a.npy", out="bc",
     err="warning.*--goal is not used", files={"a.npy": (6, 4)})

case("act", "info", "info {small}", out="^name +small\nkind +gcp\nlooks at +obs, goal of 24x20\nactions +8 of 2 numbers, the first 4 to execute\n"
     r"diffusion +20 timesteps, ddim with 5 steps\nnetworks +\d+ parameters, F32, ")
case("act", "info of cloning", "info {cloning}", out="looks at +obs of 24x20\nvector +hand, 3 numbers\n +task, 2 numbers: one of the tasks\n"
     "tasks +door-open, faucet-close\n")
case("act", "info --json", "info {cloning} --json",
     json={"kind": "bc", "pictures": ["obs"], "vector_dim": 5, "tasks": ["door-open", "faucet-close"], "sampler": None, "steps": None,
           "action_ranges": [[-1, 1]] * 4, "dtype": "F32"})

case("act", "nothing to give", ACT, code=2, usage=True, err="give --out FILE.npy, --repeat N or --json")
case("act", "no model", "act --obs {obs} -o a.npy", code=2, usage=True, err="--model")
case("act", "no goal", "act -m {small} --obs {obs} -o a.npy", code=2, usage=True, err="give --goal FILE, the policy looks at this")
case("act", "no observation", "act -m {small} --goal {goal} -o a.npy", code=2, usage=True, err="give --obs FILE")
case("act", "seed and noise", ACT + " --seed 1 --noise {start} -o a.npy", code=2, usage=True, err="--seed or --noise")
case("act", "wrong ending", ACT + " -o a.txt", code=2, usage=True, err="must end in .npy")
case("act", "unknown sampler", ACT + " -s unipc -o a.npy", code=2, usage=True, err="ddim or ddpm")
case("act", "no steps", ACT + " --steps 0 -o a.npy", code=2, usage=True, err="--steps")
for name, line, message in [
        ("too many steps", ACT + " --steps 21 -o a.npy", "steps: 21, the policy has 1..20"),
        ("another size", "act -m {small} --obs {obs_small} --goal {goal} -o a.npy", r"obs_small.npy: shape \[10\]\[24\]\[3\], expected"),
        ("a picture of another size", "act -m {small} --obs {image} --goal {goal} -o a.npy", "240x320, the policy takes pictures of 20x24"),
        ("not a number", "act -m {small} --obs {obs_nan} --goal {goal} -o a.npy", "obs_nan.npy: element 0 is not a finite"),
        ("0 to 255", "act -m {small} --obs {obs_255} --goal {goal} -o a.npy", r"expected numbers in \[0,1\], or uint8"),
        ("no picture", "act -m {small} --obs {no_image} --goal {goal} -o a.npy", "no.png: "),
        ("no array", "act -m {small} --obs {no_npy} --goal {goal} -o a.npy", "no.npy: not a .npy file"),
        ("noise of another shape", ACT + " --noise {wrong_start} -o a.npy", r"noise: shape \[8\]\[3\], expected \[1\]\[8\]\[2\]"),
        ("step noise for ddim", ACT + " -s ddim --step-noise {ten_steps} -o a.npy", "step noise: ddim draws none"),
        ("step noise of other steps", ACT + " -s ddpm --steps 5 --step-noise {ten_steps} -o a.npy", r"expected \[4\]\[1\]\[8\]\[2\]"),
        ("a video model", "act -m {model} --obs {obs} --goal {goal} -o a.npy", "config.json: .*not the folder of an action policy"),
        ("no folder", "act -m nowhere --obs {obs} --goal {goal} -o a.npy", "nowhere/config.json"),
        ("no weights", "act -m {no_weights} --obs {obs} --goal {goal} -o a.npy", "policy.safetensors"),
        ("other sizes", "act -m {other_sizes} --obs {obs} --goal {goal} -o a.npy",
         r"nets.1.nets.weight: expected shape \[4, 8, 1, 1\], found \[3, 8, 1, 1\]"),
        ("weights that are not numbers", "act -m {nan_policy} --obs {obs} --goal {goal} -o a.npy", "final_conv.1.bias: element 1 is NaN"),
        ("overflow", "act -m {overflowing} --obs {obs} --goal {goal} -o a.npy", "numbers that are not finite"),
        ("no vector", "act -m {cloning} --obs {obs} -o a.npy", "vector: missing, the policy takes 5 numbers"),
        ("a short vector", "act -m {cloning} --obs {obs} --vector {hand} -o a.npy", r"vector: shape \[3\], expected \[1\]\[5\]"),
        ("an unknown task", "act -m {cloning} --obs {obs} --vector {hand} --task lift -o a.npy", "the policy knows door-open, faucet-close"),
        ("a task for none", ACT + " --task lift -o a.npy", "knows no tasks by name"),
        ("task and whole vector", "act -m {cloning} --obs {obs} --vector {all_numbers} --task door-open -o a.npy", r"--vector: expected \[3\]"),
        ("steps of cloning", "act -m {cloning} --obs {obs} --vector {all_numbers} --steps 3 -o a.npy", "steps: a policy of kind bc"),
        ("disk full", ACT + " -o {full_npy}", "full.npy: .*No space left")]:
    case("act", name, line, code=1, err=message)


@special("act", "the same bits for threads, batches, repetitions; the seed and the goal matter")
def _(run):
    def actions(line):
        code, _, err = run.run(line + " -q -o a.npy")
        expect(code == 0, "%s: %s", line, err)
        return read_npy(run.path("a.npy"))
    first = actions(ACT + " --seed 5 -j 1")
    expect(actions(ACT + " --seed 5 -j 3 --repeat 2") == first, "threads or repetitions change the actions")
    shape, several = actions(ACT + " --seed 5 --samples 3")
    expect(several[:16] == first[1], "a batch changes the actions")
    expect(several[16:32] != first[1], "samples are the same")
    expect(actions(ACT + " --seed 6") != first, "the seed does not matter")
    expect(actions("act -m {small} --obs {obs} --goal {obs} --seed 5") != first, "the goal does not matter")


@special("act", "a task is its one-hot")
def _(run):
    numbers = [0.25, 0.5, 0.75]
    write_npy(run.path("hand.npy"), (3,), numbers)
    write_npy(run.path("all.npy"), (5,), numbers + [0, 1])
    found = []
    for given in ("--vector hand.npy --task faucet-close", "--vector all.npy", "--vector hand.npy --task door-open"):
        code, _, err = run.run("act -m {cloning} --obs {obs} -q -o a.npy " + given)
        expect(code == 0, "%s: %s", given, err)
        found.append(read_npy(run.path("a.npy")))
    expect(found[0] == found[1], "the task is not its one-hot")
    expect(found[0] != found[2], "the task does not matter")


@special("act", "the shipped policies say what PyTorch says")
def _(run):
    for name in ("metaworld-goal-64", "metaworld-cloning-64"):
        folder = os.path.join(SOURCE, "models", name)
        there = {file[:-4]: os.path.join(folder, "check", file) for file in os.listdir(os.path.join(folder, "check"))}
        wanted_shape, wanted = read_npy(there.pop("actions"))
        code, _, err = run.run(shlex.join(["act", "-q", "-m", folder, "-o", "a.npy"] + [word for part in there for word in ("--" + part, there[part])]))
        expect(code == 0, "%s: %s", name, err)
        shape, found = read_npy(run.path("a.npy"))
        expect(shape == wanted_shape == (3, 16, 4), "%s: shapes %s, %s", name, shape, wanted_shape)
        most = max(abs(a - b) for a, b in zip(found, wanted))
        expect(most < 1e-4 and max(wanted) - min(wanted) > 0.5, "%s: actions differ by %g", name, most)


# ---- vipo convert --from gcp ------------------------------------------------------------------------------------

@made("gcp_checkpoint", "gcp.safetensors")
def _(at, path):
    tensors = {"ema_model." + name: (shape, values_of(name, shape, 1)) for name, shape in tensors_of(SMALL).items()}
    write_safetensors(path, tensors)


@made("gcp_sizes", "gcp_sizes.json")
def _(at, path):
    with open(path, "w") as f:
        json.dump({"image": SMALL["image"], "encoder": {"channels_per_group": 2}, "unet": {"groups": 4},
                   "action": {k: v for k, v in SMALL["action"].items() if k != "dim"},
                   "diffusion": SMALL["diffusion"], "sampler": SMALL["sampler"]}, f)


GCP = "convert --from gcp -c {gcp_checkpoint} --config {gcp_sizes} -o out"
GCP_FOLDER = {"out/config.json": b"{", "out/policy.safetensors": None}
case("act", "convert", GCP, out=r"^out: \d+ parameters, F32, 8 actions of 2 numbers from pictures of 24x20", files=GCP_FOLDER)
case("act", "convert --json", GCP + " --dtype f16 --json", files=GCP_FOLDER,
     json={"kind": "gcp", "dtype": "F16", "height": 20, "width": 24, "horizon": 8, "action_dim": 2, "vector_dim": 0})
case("act", "convert a video model", "convert --from gcp -c {checkpoint} -o out", code=1, err="holds no goal-conditioned policy")
case("act", "convert with a preset", GCP + " --preset mw", code=2, usage=True, err="--preset is not for a policy")
case("act", "convert what is not there", "convert --from gcp -c none.pt -o out", code=1, err="none.pt: No such file")
case("act", "convert what wants to run something", "convert --from gcp -c {evil_checkpoint} -o out", code=1, err="(posix|os).system")


@special("act", "a converted policy acts as its source")
def _(run):
    code, _, err = run.run(GCP + " -q")
    expect(code == 0, "convert: %s", err)
    found = []
    for policy in ("out", "{small}"):
        code, _, err = run.run("act -m %s --obs {obs} --goal {goal} -q -o a.npy" % policy)
        expect(code == 0, "act: %s", err)
        found.append(read_npy(run.path("a.npy")))
    expect(found[0] == found[1], "the actions differ")
