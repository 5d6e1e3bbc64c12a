"""The cases of `vipo eval` and `vipo eval merge`; group eval_spread: by several processes, and ended early. Skipped where vipo was built
without SQLite or MuJoCo, or has no OpenGL."""
import json
import os
import random
import shlex
import shutil
import signal
import sqlite3
import subprocess
import time

import cases_sim
from harness import case, expect, expect_one_line, special

CHEAP = "--shadow-size -1 --multisamples -1 "
QUICK = "eval -p expert -t handle-press,door-close -c corner2 "
# What a result is: everything but times, machines and names of films.
RESULTS = ("settings, task, camera, seed, success, first_success, steps, total_reward, max_reward, plans, replans, calls, evaluations, "
           "network_rows, rounds, drafted, accepted, plan_steps, error")


def why_skipped(vipo):
    """None if the cases can run."""
    run = subprocess.run([vipo, "eval", "merge", "-o", "/nowhere/out.db", "/nowhere/in.db"], stderr=subprocess.PIPE, text=True)
    return run.stderr.strip() if "without SQLite" in run.stderr else cases_sim.why_skipped(vipo)


def rows(path, columns=RESULTS):
    """Of a store whose writer was killed too: opening it goes through its log, for which it must be writable."""
    store = sqlite3.connect("file:%s?mode=rw" % path, uri=True)
    try:
        return store.execute("SELECT %s FROM episodes ORDER BY settings, task, camera, seed" % columns).fetchall()
    finally:
        store.close()


def evaluate(run, line, **more):
    code, out, err = run.run(line + " --json", **more)
    expect(code == 0 and err == "", "%s: exit status %d: %s", line, code, err[:400])
    return json.loads(out)


def has_tables(path):
    """False: killed before it had any."""
    if not os.path.exists(path):
        return False
    store = sqlite3.connect("file:%s?mode=rw" % path, uri=True)
    found = store.execute("SELECT count(*) FROM sqlite_master WHERE name = 'episodes'").fetchone()[0]
    store.close()
    return found == 1


@special("eval", "experts")
def experts(run):
    result = evaluate(run, QUICK + "--seeds 3 -o all.db")
    expect((result["episodes"], result["done"], result["earlier"], result["errors"]) == (6, 6, 0, 0), "%s", result)
    expect(result["successes"] == 6 and result["success_rate"] == 1, "%s", result)
    expect(run.files() == ["all.db"], "files %s", run.files())
    for task, seed, success, first, steps, reward in rows(run.path("all.db"), "task, seed, success, first_success, steps, total_reward"):
        code, out, err = run.run("sim expert --task %s --seed %d --json" % (task, seed))
        expert = json.loads(out)
        expect(success == 1 and first == expert["first_success"] and first < steps <= first + 9, "%s %d: %s, the expert %s", task, seed, first, expert)
        expect(0 < reward < expert["return"], "%s %d: return %s, %s", task, seed, reward, expert)
    times, = rows(run.path("all.db"), "min(seconds > 0 AND physics_seconds > 0 AND planning_seconds = 0 AND rendering_seconds < 0.01)")
    expect(times == (1,), "times")
    versions = rows(run.path("all.db"), "version, mujoco, finished, compute, gl")[0]
    expect(versions[0].startswith("0.") and versions[1].startswith("3.") and versions[2].startswith("20") and versions[3:] == ("", ""), "%s", versions)
    again = evaluate(run, QUICK + "--seeds 3 -o all.db")
    expect((again["done"], again["earlier"], again["digest"]) == (0, 6, result["digest"]), "%s", again)
    more = evaluate(run, QUICK + "--seeds 4 -o all.db -w 2")
    expect((more["done"], more["earlier"]) == (2, 6) and more["digest"] != result["digest"], "%s", more)
    one = evaluate(run, QUICK + "--seeds 4 -o one.db -w 1")
    expect(one["digest"] == more["digest"] and rows(run.path("one.db")) == rows(run.path("all.db")), "two workers differ")
    code, out, err = run.run(QUICK + "--seeds 1 -o all.db")
    expect(code == 0 and out.startswith("2 of 2 episodes succeed (100.0 %)\n2 of the episodes were there before\nall.db  "), "%s", out)


@special("eval", "a suite")
def suite(run):
    result = evaluate(run, "eval -p expert --suite quick -t hammer -o a.db")
    expect(result["episodes"] == 3, "%s", result)
    expect([row[:2] for row in rows(run.path("a.db"), "camera, seed")] == [("corner", 0), ("corner", 1), ("corner", 2)], "rows")
    result = evaluate(run, "eval -p expert --suite quick -t hammer -c corner3 --seeds 1 --seed 9 --profile avdc-v2 -o b.db")
    expect(rows(run.path("b.db"), "task, camera, seed") == [("hammer", "corner3", 9)], "rows")


@special("eval", "plans of the simulator, films")
def truth(run):
    line = "eval -p expert -t handle-press -c corner2 --plan truth --plan-frames 2 --seeds 1 " + CHEAP
    result = evaluate(run, line + "-o a.db --videos deep/films --video-stride 10")
    expect(result["successes"] == 1, "%s", result)
    for plans, steps, planning, rendering, video, gl, compute in rows(run.path("a.db"), "plans, plan_steps, planning_seconds, rendering_seconds, video, gl, compute"):
        expect((plans, steps, compute) == (1, "[0]", "") and planning > 0 and rendering > 0 and gl, "%s", (plans, steps, planning, gl))
        with open(run.path("deep/films/" + video), "rb") as file:
            expect(file.read(12)[4:8] == b"ftyp", "%s is no MP4", video)
    bare = evaluate(run, line + "-o b.db")
    expect(bare["digest"] == result["digest"], "films change results")


@special("eval", "plans of a model")
def model(run):
    line = "eval -p expert -t handle-press -c corner --plan model --model {model} " + CHEAP
    result = evaluate(run, line + "--samplers ab2:2,draft-target:chunk=2:draft-stride=50:target-stride=25 -o a.db")
    expect(result["episodes"] == 2 and result["done"] == 2, "%s", result)
    found = rows(run.path("a.db"), "calls, evaluations, rounds, drafted, accepted, plans, plan_seconds, compute, methods")
    expect(sorted(row[0:5] for row in found)[0] == (2, 2, 0, 0, 0), "%s", found)
    expect(max(row[2] for row in found) > 0 and all(row[5] == 1 and json.loads(row[6])[0] > 0 and row[7] and row[8] for row in found), "%s", found)
    store = sqlite3.connect(run.path("a.db"))
    settings = [json.loads(text) for text, in store.execute("SELECT json FROM settings")]
    store.close()
    expect(sorted(s["sampler"]["name"] for s in settings) == ["ab2", "draft-target"], "%s", settings)
    expect(all(s["frames"]["count"] == 7 and s["frames"]["height"] == 64 and len(s["model"]) == 16 for s in settings), "%s", settings)
    # a default that is spelled out, other threads: the same settings
    again = evaluate(run, line + "-s ab2 -n 2 --form x0 --max-plans 6 -j 1 -o a.db")
    expect((again["earlier"], again["done"]) == (1, 0), "%s", again)
    half = evaluate(run, line + "-s ab2 -n 2 --half-weights -o a.db")
    expect((half["earlier"], half["done"]) == (0, 1), "%s", half)
    other = evaluate(run, line + "-s ab2 -n 2 --patience 14 -o a.db")
    expect((other["earlier"], other["done"]) == (0, 1), "%s", other)


@special("eval_spread", "shards")
def shards(run):
    whole = evaluate(run, QUICK + "--seeds 5 -o whole.db")
    parts = [evaluate(run, QUICK + "--seeds 5 -o part%d.db --shard %d/3" % (i, i)) for i in (1, 2, 3)]
    expect(sum(part["episodes"] for part in parts) == 10 and min(part["done"] for part in parts) >= 3, "%s", parts)
    code, out, err = run.run("eval merge -o merged.db part1.db part2.db part3.db --json")
    merged = json.loads(out)
    expect(code == 0 and (merged["episodes"], merged["added"], merged["present"], merged["different"]) == (10, 10, 0, 0), "%s%s", out, err)
    expect(merged["digest"] == whole["digest"] and rows(run.path("merged.db")) == rows(run.path("whole.db")), "another result")
    code, out, err = run.run("eval merge -o merged.db part2.db whole.db")
    expect(code == 0 and err == "" and out.startswith("0 episodes added, "), "%s%s", out, err)
    # counted from 0 it is the same division
    zero = evaluate(run, QUICK + "--seeds 5 -o zero.db --shard 0/3")
    expect(rows(run.path("zero.db")) == rows(run.path("part3.db")), "shard 0/3 is not 3/3")
    # Slurm's array variables stand for --shard
    array = dict(os.environ, SLURM_ARRAY_TASK_ID="7", SLURM_ARRAY_TASK_COUNT="3", SLURM_ARRAY_TASK_MIN="5", SLURM_ARRAY_TASK_STEP="2")
    code, out, err = run.run(QUICK + "--seeds 5 -o array.db", env=array)
    expect(code == 0, "%s", err)
    expect_one_line(err, "shard 2/3 by Slurm's array variables")
    expect(rows(run.path("array.db")) == rows(run.path("part2.db")), "another part")
    code, out, err = run.run(QUICK + "--seeds 5 -o again.db", env=dict(array, SLURM_ARRAY_TASK_COUNT="1"))
    expect(code == 2 and not os.path.exists(run.path("again.db")), "%s", err)
    expect_one_line(err, "a Slurm array of one task .7. has no parts: say which by --shard")


@special("eval", "a store with other results")
def different(run):
    evaluate(run, QUICK + "--seeds 1 -o a.db")
    shutil.copy(run.path("a.db"), run.path("b.db"))
    store = sqlite3.connect(run.path("b.db"))
    store.execute("UPDATE episodes SET steps = 7 WHERE task = 'handle-press'")
    store.commit()
    store.close()
    code, out, err = run.run("eval merge -o a.db b.db")
    expect(code == 0 and out.startswith("0 episodes added, 2 were there before; 2 in all"), "%s", out)
    expect_one_line(err, "warning: 1 episodes have other results in another store")
    expect(rows(run.path("a.db"), "max(steps = 7)") == [(0,)], "the first result did not stay")


@special("eval_spread", "killed twenty times")
def killed(run):
    """At moments that no one chose; then left alone: the store of one run that nobody disturbed."""
    line = QUICK + "--seeds 40 -w 2 -o "
    whole = evaluate(run, line + "whole.db")
    kills = attempts = 0
    numbers, longest = random.Random(5), 0.25
    while kills < 20 and attempts < 60:
        attempts += 1
        process = run.start(line + "parts.db", stdout=subprocess.DEVNULL)
        time.sleep(numbers.uniform(min(0.02, longest / 2), longest))
        process.kill()
        if process.wait(timeout=60) == -signal.SIGKILL:
            kills, longest = kills + 1, longest + 0.01
        else:  # it was faster
            longest /= 2
        process.stderr.close()
        if attempts % 5 == 0 and has_tables(run.path("parts.db")):
            known = {row[:4]: row for row in rows(run.path("whole.db"))}
            for row in rows(run.path("parts.db")):
                expect(known[row[:4]] == row, "after kill %d: %s", kills, row)
    expect(kills == 20, "only %d runs were killed", kills)
    result = evaluate(run, line + "parts.db")
    expect(result["earlier"] + result["done"] == 80, "%s", result)
    expect(result["digest"] == whole["digest"] and rows(run.path("parts.db")) == rows(run.path("whole.db")), "another result")


@special("eval_spread", "mpirun")
def mpirun(run):
    library = os.path.join(os.path.dirname(run.vipo), "libvipo_mpi.so")
    whole = evaluate(run, QUICK + "--seeds 6 -o whole.db")
    program = shutil.which("mpirun")
    if not os.path.exists(library) or not program:
        # without MPI it is said, by every process, before anything is done
        code, out, err = run.run(QUICK + "-o mpi.db", env=dict(os.environ, OMPI_COMM_WORLD_SIZE="3"))
        expect(code == 1, "exit status %d", code)
        expect_one_line(err, "mpirun has started 3 processes, but this vipo was built without MPI")
        return
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_btl_vader_single_copy_mechanism="none",
                       ASAN_OPTIONS="detect_leaks=0")
    start = [program, "-n", "3", "--oversubscribe", run.vipo]

    def under_mpi(line):
        process = subprocess.run(start + shlex.split(line), cwd=run.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
        return process.returncode, process.stdout, process.stderr

    code, out, err = under_mpi(QUICK + "--seeds 6 -o mpi.db --json")
    expect(code == 0, "exit status %d: %s", code, err[:600])
    result = json.loads(out)
    expect((result["processes"], result["done"], result["digest"]) == (3, 12, whole["digest"]), "%s", result)
    expect(rows(run.path("mpi.db")) == rows(run.path("whole.db")), "another result")
    code, out, err = under_mpi(QUICK + "--seeds 6 -o mpi.db --json")
    expect(code == 0 and json.loads(out)["earlier"] == 12, "%s%s", out, err[:600])
    code, out, err = under_mpi("eval -p expert -t doors -o none.db")
    expect(code != 0 and "unknown task 'doors'" in err and err.count("unknown task") == 1 and not os.path.exists(run.path("none.db")), "%s", err[:600])


@special("eval_spread", "interrupted")
def interrupted(run):
    process = run.start(QUICK + "--seeds 5000 -o set.db")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.3)
        if os.path.exists(run.path("set.db-wal")) and has_tables(run.path("set.db")) and rows(run.path("set.db"), "count(*)")[0][0] > 2:
            break
    process.send_signal(signal.SIGINT)
    code, out, err = run.finish(process)
    expect(code == 130 and out == "", "exit status %d: %s", code, err)
    expect_one_line(err, "interrupted; [0-9]+ of 10000 episodes are in set.db, the same command goes on from there")
    expect(run.files() == ["set.db"], "files %s", run.files())


@special("eval_spread", "a full disk")
def full(run):
    evaluate(run, QUICK + "--seeds 1 -o small.db")
    before = rows(run.path("small.db"))
    # files of at most 80 kB
    process = subprocess.run(["bash", "-c", "trap '' XFSZ; ulimit -f 160; exec \"$0\" " + QUICK + "--seeds 400 -o small.db", run.vipo],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=run.folder)
    expect(process.returncode == 1, "exit status %d: %s", process.returncode, process.stderr)
    expect_one_line(process.stderr, "small.db: cannot write: (File too large|No space left on device|disk I/O error); [0-9]+ of 800 episodes are kept, "
                    "the same command goes on from there")
    after = rows(run.path("small.db"))
    expect(len(after) > len(before) and set(before) <= set(after), "%d rows, then %d", len(before), len(after))
    store = sqlite3.connect(run.path("small.db"))
    expect(store.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "damaged")
    store.close()
    result = evaluate(run, QUICK + "--seeds 10 -o small.db")
    expect(result["earlier"] + result["done"] == 20, "%s", result)


@special("eval_spread", "one store, two processes")
def together(run):
    whole = evaluate(run, QUICK + "--seeds 6 -o whole.db")
    pair = [run.start(QUICK + "--seeds 6 -o both.db --json") for _ in range(2)]
    ends = [run.finish(process) for process in pair]
    expect(all(code == 0 for code, _, _ in ends), "%s", ends)
    expect(rows(run.path("both.db")) == rows(run.path("whole.db")) and whole["done"] == 12, "another result")


@special("eval", "files that are no store")
def other_files(run):
    store = sqlite3.connect(run.path("other.db"))
    store.execute("CREATE TABLE mine (x)")
    store.commit()
    store.close()
    with open(run.path("text.db"), "w") as file:
        file.write("this is no store\n" * 100)
    for name, reason in (("other.db", "an SQLite file of another program"), ("text.db", "not a store of results"),
                         ("nowhere/a.db", "nowhere/a.db: cannot write: its folder does not exist"), (".", "expected a file of results, found a folder")):
        code, out, err = run.run(QUICK + "-o " + name)
        expect(code == 1 and out == "", "%s: exit status %d", name, code)
        expect_one_line(err, reason)
    code, out, err = run.run("eval merge -o new.db other.db")
    expect(code == 1, "exit status %d", code)
    expect_one_line(err, "other.db: an SQLite file of another program")
    code, out, err = run.run("eval merge -o new.db none.db")
    expect_one_line(err, "none.db: No such file or directory")
    expect(run.files() == ["other.db", "text.db"], "files %s", run.files())


@special("eval", "without SQLite, without MuJoCo")
def without(run):
    build = os.path.dirname(run.vipo)
    for line in (QUICK + "-o a.db", "eval merge -o a.db b.db", "report a.db"):
        code, out, err = run.run(line, env=dict(os.environ, LD_LIBRARY_PATH=os.path.join(build, "without_sqlite")))
        expect(code in (1, 2) and out == "", "%s: exit status %d", line, code)
        expect_one_line(err, "this vipo was built without SQLite: install libsqlite3-dev")
    code, out, err = run.run(QUICK + "-o a.db", env=dict(os.environ, LD_LIBRARY_PATH=os.path.join(build, "without_mujoco")))
    expect(code == 1, "exit status %d", code)
    expect_one_line(err, "this vipo was built without MuJoCo: run scripts/setup.sh")
    for folder in ("without_sqlite", "without_mujoco"):
        code, out, err = run.run("eval --help", env=dict(os.environ, LD_LIBRARY_PATH=os.path.join(build, folder)))
        expect(code == 0 and "--shard I/N" in out and "expert" in out and err == "", "help: exit status %d: %s", code, err)
    expect(run.files() == [], "files %s", run.files())


case("eval", "no store", "eval -p expert -t hammer", code=2, err="--out FILE is missing")
case("eval", "only a store", "eval -o a.db", code=1, err="plan model needs a video model")
case("eval", "unknown policy", "eval -o a.db -p wizard", code=2, err="-p wizard: unknown, expected ")
case("eval", "unknown plan", "eval -p expert -o a.db --plan dream", code=2, err="expected none, model or truth")
case("eval", "unknown suite", "eval -p expert -o a.db --suite paper", code=2, err="quick, paper-metaworld, paper-chunks or paper-thresholds")
case("eval", "unknown task", "eval -p expert -o a.db -t hammer,doors", code=1, err="unknown task 'doors', expected door-open, ")
case("eval", "a task twice", "eval -p expert -o a.db -t hammer,hammer", code=1, err="task hammer is there twice")
case("eval", "unknown camera", "eval -p expert -o a.db -c corner4", code=1, err="unknown camera 'corner4', expected corner, corner2, corner3")
case("eval", "unknown profile", "eval -p expert -o a.db --profile v3", code=2, err="expected farama-v3 or avdc-v2")
case("eval", "a plan without a model", "eval -p expert -o a.db --plan model", code=1, err="plan model needs a video model")
case("eval", "a model without plans", "eval -p expert -o a.db -m {model}", code=1, err="a model is of no use without plan model or truth")
case("eval", "no model there", "eval -p expert -o a.db --plan model -m nowhere", code=1, err="nowhere")
case("eval", "a model without text", "eval -p expert -o a.db --plan model -m {no_text} -t hammer -c corner", code=1, err="text")
case("eval", "settings that no one knows", "eval -p expert -o a.db --predictor-settings speed=2", code=1, err="unknown setting speed, expected none")
case("eval", "a file that no one needs", "eval -p expert -o a.db --predictor-file x", code=1, err="policy expert has no file of its own")
case("eval", "no seeds", "eval -p expert -o a.db --seeds 0", code=2, err="--seeds 0: expected an integer from 1")
case("eval", "a seed that NumPy lacks", "eval -p expert -o a.db --seed 4294967296", code=1, err="NumPy's legacy generator takes 0[.][.]4294967295")
for text in ("3", "4/3", "-1/3", "1/0", "a/b", "1/2/3"):
    case("eval", "shard " + text, "eval -p expert -o a.db --shard=" + text, code=2, err="expected I/N, such as 1/4, with I from 1 to N")
case("eval", "sampler auto", "eval -p expert -o a.db --plan model -m {model} -s auto", code=1, err="an episode must not depend on that: name a sampler")
case("eval", "a sampler's foreign setting", "eval -p expert -o a.db --plan model -m {model} -s ddim --chunk 3", code=2, err="--chunk is a setting of draft-target")
case("eval", "a bad sampler", "eval -p expert -o a.db --plan model -m {model} -s ddim -n 1000", code=1, err="steps")
case("eval", "a sampler twice", "eval -p expert -o a.db --plan model -m {model} --samplers ddim,ddim:100", code=1, err="sampler ddim-100 is there twice")
case("eval", "two ways to name samplers", "eval -p expert -o a.db --plan model -m {model} --samplers ddim -s ab2", code=2, err="one of --sampler and --samplers")
case("eval", "a suite's samplers and others", "eval -p expert -o a.db --suite paper-chunks -m {model} -s ab2", code=2, err="--suite paper-chunks brings its samplers")
case("eval", "a suite's samplers and guidance", "eval -p expert -o a.db --suite paper-chunks -m {model} -g 2", code=2, err="--suite paper-chunks brings its samplers, so there is no --guidance")
case("eval", "a sampler without a model's plans", "eval -p expert -o a.db -s ddim", code=2, err="--sampler is of plans by a model, and here there are none .--policy expert.")
case("eval", "samplers of the true future", "eval -p expert -o a.db --plan truth --samplers ddim,ab2", code=2, err="--samplers is of plans by a model, .* --plan truth")
case("eval", "verify", "eval -p expert -o a.db --plan model -m {model} -s draft-target-lazy --verify", code=1, err="an episode keeps nothing of it")
case("eval", "a step that one sampler cannot start at", "eval -p expert -o a.db --plan model -m {model} --warm --from-step 35 --samplers unipc,draft-target", code=1, err="35")
case("eval", "from a step beyond the last", "eval -p expert -o a.db --plan model -m {model} --warm --from-step 200", code=1, err="200")
case("eval", "from a step, not warm", "eval -p expert -o a.db --plan model -m {model} --from-step 5", code=2, err="--from-step is of --warm")
case("eval", "warm without a model", "eval -p expert -o a.db --plan truth --warm", code=1, err="a warm start is one of a video model")
case("eval", "ahead without plans", "eval -p expert -o a.db --ahead 4", code=1, err="planning while acting needs plans")
case("eval", "merge: nothing", "eval merge -o a.db", code=2, err="expected --out FILE.db STORE.db")
case("eval", "merge: no store", "eval merge a.db", code=2, err="--out FILE is missing")
case("eval", "an argument", "eval -p expert -o a.db more", code=2, err="unexpected argument 'more'")
