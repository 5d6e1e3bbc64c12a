"""Actions of an exported folder from `vipo act` beside those of the PyTorch network that was exported.

    against_vipo.py VIPO POLICY DATA [N]     on N held-out examples of a data set of `vipo sim collect`
"""
import os
import subprocess
import sys
import tempfile

import numpy as np

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, SOURCE)

from train.policy import learn, samples  # noqa: E402
from train.policy.export import load  # noqa: E402


def of_vipo(vipo, folder, policy, batch, noise, task):
    with tempfile.TemporaryDirectory() as place:
        paths = {name: os.path.join(place, name + ".npy") for name in ("obs", "goal", "vector", "noise", "out")}
        for name, value in (("obs", batch.observation), ("goal", batch.goal), ("vector", batch.hand), ("noise", noise)):
            np.save(paths[name], value)
        words = [vipo, "act", "-q", "-m", folder, "--obs", paths["obs"], "--vector", paths["vector"], "-o", paths["out"]]
        words += ["--task", task] if policy.config.kind == "bc" else ["--goal", paths["goal"], "--noise", paths["noise"]]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr
        return np.load(paths["out"]).reshape(noise.shape)


def greatest_difference(vipo, folder, data, n, share):
    """Over n held-out examples, and how large actions are (root of the mean square)."""
    policy = load(folder)
    held = samples.read([data], policy.config, share)[1]
    rng = np.random.default_rng(7)
    most, squares = 0.0, []
    for task, rows in enumerate(held.rows):
        count = max(2, n // len(held.rows))
        batch = held.examples(rng, rows[rng.integers(len(rows), size=count)])
        noise = rng.standard_normal(batch.action.shape, dtype=np.float32)
        here, there = learn.actions(policy, batch, held, noise), of_vipo(vipo, folder, policy, batch, noise, held.tasks[task])
        most = max(most, float(np.abs(here - there).max()))
        squares.append(float(np.square(here).mean()))
    return most, float(np.sqrt(np.mean(squares)))


if __name__ == "__main__":
    found = greatest_difference(*sys.argv[1:4], int(sys.argv[4]) if len(sys.argv) > 4 else 64, 0.1)
    print("greatest difference of an action %.2e, actions %.2f" % found)
