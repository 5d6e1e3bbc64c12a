#!/usr/bin/env python3
"""expert_rates.py OUT.csv [--vipo build/vipo] [--episodes 25] [--python]: how often the scripted policies succeed.

Runs `vipo sim expert` for every task and profile, and with --python Farama's own environments and policies on the same seeds (needs
metaworld 3.1.1 and mujoco 3.3.0). An episode succeeds if any of its first 500 steps does. CSV: task, profile, by, episodes,
successes, rate, the median of the first successful step, and how many seeds have the same first step as vipo."""
import argparse
import csv
import json
import statistics
import subprocess
import sys
import warnings


def vipo(args, task, profile):
    command = [args.vipo, "sim", "expert", "--task", task, "--profile", profile, "--episodes", str(args.episodes), "--json"]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [episode["first_success"] for episode in json.loads(run.stdout)["episodes"]]


def python_package(args, task):
    """Environments as made for goal-observable use: the seed gives the initial state, one more reset as usual."""
    import numpy
    from metaworld import policies
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
    words = "".join(word.title() for word in task.split("-"))
    policy = getattr(policies, "Sawyer%sV3Policy" % words)()
    first = []
    for seed in range(args.episodes):
        env = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[task + "-v3-goal-observable"](seed=seed)
        observation = env.reset()[0]
        found = None
        for step in range(1, 501):
            # a policy may write into what it is given
            observation, _, _, _, info = env.step(policy.get_action(numpy.array(observation)))
            if info["success"]:
                found = step
                break
        first.append(found)
        env.close()
    return first


def row(task, profile, by, first, vipo_first):
    steps = [step for step in first if step]
    return {"task": task, "profile": profile, "by": by, "episodes": len(first), "successes": len(steps),
            "rate": "%.2f" % (len(steps) / len(first)), "median_step": statistics.median(steps) if steps else "",
            "same_step": sum(a == b for a, b in zip(first, vipo_first))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--vipo", default="build/vipo")
    parser.add_argument("--episodes", type=int, default=25)
    parser.add_argument("--python", action="store_true")
    args = parser.parse_args()
    if args.episodes < 2:
        parser.error("--episodes: at least 2")
    warnings.filterwarnings("ignore")
    listed = json.loads(subprocess.run([args.vipo, "sim", "list", "--json"], stdout=subprocess.PIPE, text=True, check=True).stdout)
    with open(args.out, "w", newline="") as file:
        writer = None
        for profile in listed["profiles"]:
            for task in [entry["name"] for entry in listed["tasks"]]:
                own = vipo(args, task, profile)
                rows = [row(task, profile, "vipo", own, own)]
                if args.python and profile == "farama-v3":
                    rows.append(row(task, profile, "metaworld", python_package(args, task), own))
                for one in rows:
                    if writer is None:
                        writer = csv.DictWriter(file, list(one), lineterminator="\n")
                        writer.writeheader()
                    writer.writerow(one)
                    print(*one.values())
                file.flush()
    return 0


sys.exit(main())
