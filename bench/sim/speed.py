#!/usr/bin/env python3
"""speed.py OUT.json [--vipo build/vipo] [--rounds 5] [--episodes 4] [--tasks door-open,...]: physics of vipo and of the Python package,
in turns on one core.

A round runs the same episodes of the scripted policy in both and notes control steps per second (five MuJoCo steps and what belongs to
them: observation, reward) and the time of a reset. Of vipo, the policy's own time is part of a step; of Python, it is not. Python's
reset is env.reset(), which brings the hand to its start twice, vipo's is vipo_sim_reset. Needs metaworld 3.1.1 and mujoco 3.3.0 beside
vipo; --no-python leaves them out. Prints medians over the rounds; the file has all."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings


def vipo(args, task):
    command = [args.vipo, "sim", "expert", "--task", task, "--episodes", str(args.episodes), "--threads", "1", "--json"]
    out = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    steps = sum(episode["steps"] for episode in out["episodes"])
    return {"steps": steps, "steps_per_second": steps / out["step_seconds"],
            "reset_seconds": out["reset_seconds"] / args.episodes}


def python_package(args, task, made):
    import numpy
    from metaworld import policies
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
    policy = getattr(policies, "Sawyer%sV3Policy" % "".join(word.title() for word in task.split("-")))()
    if task not in made:
        made[task] = [ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[task + "-v3-goal-observable"](seed=seed)
                      for seed in range(args.episodes)]
    steps, stepping, resetting = 0, 0.0, 0.0
    for env in made[task]:
        start = time.perf_counter()
        observation = env.reset()[0]
        resetting += time.perf_counter() - start
        first = None
        for step in range(1, 501):
            action = policy.get_action(numpy.array(observation))
            start = time.perf_counter()
            observation, _, _, _, info = env.step(action)
            stepping += time.perf_counter() - start
            steps += 1
            if info["success"] and first is None:
                first = step
            if first is not None and step == first + 10:
                break
    return {"steps": steps, "steps_per_second": steps / stepping, "reset_seconds": resetting / args.episodes}


def middle(rounds, name):
    return statistics.median(one[name] for one in rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--vipo", default="build/vipo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--tasks", default="door-open,button-press,shelf-place,hammer,assembly")
    parser.add_argument("--no-python", action="store_true")
    args = parser.parse_args()
    if args.episodes < 2 or args.rounds < 1:
        parser.error("expected --episodes of at least 2 and --rounds of at least 1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    warnings.filterwarnings("ignore")
    results, made = {}, {}
    for task in args.tasks.split(","):
        rounds = {"vipo": [], "metaworld": []}
        for i in range(args.rounds):
            runs = [("vipo", lambda: vipo(args, task))]
            if not args.no_python:
                runs.append(("metaworld", lambda: python_package(args, task, made)))
            for name, run in runs if i % 2 == 0 else reversed(runs):
                rounds[name].append(run())
        for env in made.pop(task, []):
            env.close()
        results[task] = {name: list_ for name, list_ in rounds.items() if list_}
        print(task, end="")
        for name, list_ in results[task].items():
            print("  %s: %.0f steps/s, reset %.1f ms" % (name, middle(list_, "steps_per_second"), 1e3 * middle(list_, "reset_seconds")), end="")
        print(flush=True)
    with open(args.out, "w") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    return 0


sys.exit(main())
