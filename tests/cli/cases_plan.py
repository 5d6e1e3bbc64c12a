"""vipo plan and vipo compare."""
import json
import math

from cases import GIF, INPUTS, PNG, QUICK, VIDEO, not_negative, positive
from harness import case, expect, read_npy, special

# ---- plan -----------------------------------------------------------------------------------------------------

PLAN_JSON = {"sampler": "ddim-2", "samples": 1, "seed": 0, "guidance": 0.0, "calls": 2, "evaluations": 2, "network_rows": 2,
             "from_step": 99, "seconds": positive, "text_seconds": not_negative, "load_seconds": positive, "rounds": 0, "drafted": 0, "accepted": 0,
             "fallbacks": 0, "error_estimate": None, "peak_bytes": positive, "compute": lambda c: bool(c), "methods": "fixed", "threads": positive, "outputs": [],
             "video": {"shape": [1, 7, 64, 64, 3]}}
case("plan", "every kind of output", "plan " + INPUTS + QUICK + " -o a.gif --out b.mp4 --out=c.png -oV.npy",
     out=r"^ddim-2: 2 calls, 2 evaluations, .*\na.gif  .*\nb.mp4  .*\nc.png  .*\nV.npy  344.\d kB\n$",
     files={"a.gif": GIF, "b.mp4": None, "c.png": PNG, "V.npy": (1,) + VIDEO})
for picture, options in (("a.gif", "--samples 125"), ("a.mp4", "--samples 125"), ("a.png", "--samples 99"), ("a.png", "--scale 64")):
    case("plan", "a picture too large, told before planning: %s %s" % (picture, options),  # a thousand steps would take minutes
         "plan " + INPUTS + " -s ddpm -o V.npy -o %s %s" % (picture, options), code=1, err=picture + ": .*expected")
case("plan", "quiet", "plan " + INPUTS + QUICK + " -o V.npy -q", out=r"^ddim-2: [^\n]*\n$", files={"V.npy": (1,) + VIDEO})
case("plan", "verbose", "plan " + INPUTS + QUICK + " -o V.npy -vv", err="vipo plan: model loaded in", files={"V.npy": (1,) + VIDEO})
case("plan", "JSON without outputs", "plan " + INPUTS + QUICK + " --json", json=PLAN_JSON)
case("plan", "JSON with outputs", "plan " + INPUTS + QUICK + " --json -o a.gif -o V.npy --seed 7 --threads 1",
     json=dict(PLAN_JSON, seed=7, outputs=["a.gif", "V.npy"], threads=1), files={"a.gif": GIF, "V.npy": (1,) + VIDEO})
case("compare", "a sheet too large, told before planning", "compare " + INPUTS + " --repeat 50 --scale 64 -o a.png", code=1, err="a.png: .*expected")
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
case("plan", "draft-target that rejects everything", "plan " + INPUTS + " -s draft-target --draft-stride 20 --target-stride 10 "
     "--threshold -1 --threshold-growth 0 --json", json={"calls": 15 + 5, "evaluations": 15 * 2, "rounds": 5, "drafted": 15, "accepted": 0})
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
