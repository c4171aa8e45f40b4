# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# <!-- SPDX-License-Identifier: Apache-2.0 -->
#
# # Quick start: train a network in integers
#
# This notebook trains a small residual network on pictures of digits, with the integers that the
# FPGA computes, and counts the energy that the board would take. It needs no board: the device
# `emulator` gives the same integers, to the last bit, on any computer. On a board, set `DEVICE` to
# `zynq` and name its overlay.

# %% tags=["parameters"]
DEVICE = "emulator"  # "zynq" on a board
OPTIONS = {}  # of the device; on a board {"overlay": "e2train.bit"}
ITERATIONS = 200  # mini-batches that are offered

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from e2train.data.load import load_dataset
from e2train.device import open_device
from e2train.numerics.fixedpoint import quantise_weights
from e2train.runs.load import load_run
from e2train.training.experiment import load_experiment
from e2train.training.trainer import Trainer

# %% [markdown]
# ## The data
#
# scikit-learn's digits are part of the package: 8 x 8 grey pictures of ten classes.

# %%
digits = load_dataset("digits")
print(
    f"{digits.label}: {len(digits.train_labels)} pictures to train on, {len(digits.test_labels)} "
    "to test with"
)
figure, axes = plt.subplots(1, 10, figsize=(9, 1.3))
for number, axis in enumerate(axes):
    shown = int(np.flatnonzero(digits.test_labels == number)[0])
    axis.imshow(digits.test_images[shown, 0], cmap="gray_r")
    axis.set_title(number)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## The experiment
#
# An experiment is a TOML file. Here there are two that differ in how weights are updated: `fixed8`
# with full 8-bit gradients, `psg` (predictive sign gradient descent) by the sign of the gradient,
# which mostly comes from a cheap predictor. What a key means stands in
# `host/e2train/training/experiment.py`.

# %%
EXPERIMENT = """
name = "{name}"
network = "resnet-8"

[train]
iterations = {iterations}
lr = {lr}
evaluate_every = {every}

[method]
arithmetic = "fixed"
update = "{update}"
"""
runs = Path(tempfile.mkdtemp(prefix="e2train-"))


def train(name: str, update: str, lr: float):
    """Train one experiment; the record of its run."""
    folder, every = runs / name, max(1, ITERATIONS // 8)
    folder.mkdir()
    file = folder / "experiment.toml"
    file.write_text(
        EXPERIMENT.format(name=name, update=update, lr=lr, iterations=ITERATIONS, every=every)
    )
    experiment = load_experiment(file)
    with (
        open_device(DEVICE, **OPTIONS) as device,
        Trainer(experiment, digits, folder, device=device) as run,
    ):
        result = run.run()["cell"]
    print(
        f"{name}: {result['top1']:.1f} % of the test pictures right, "
        f"{result['energy_joules']:.1f} J {result['energy_provenance']}, "
        f"{result['seconds']:.1f} s on this computer"
    )
    return load_run(folder)


trained = [train("fixed8", "sgd", 0.1), train("psg", "psg", 0.003)]

# %% [markdown]
# The joules are *simulated*: a model of the board drives a simulated power meter, which is recorded
# and integrated like a real one. With a meter at the serial port they are measured
# (`meter="ina226-serial:/dev/ttyUSB0"` as an argument of `Trainer`).
#
# ## What came out

# %%
figure, (loss, accuracy) = plt.subplots(1, 2, figsize=(9, 3.2))
for run in trained:
    loss.plot(
        [event.iteration for event in run.progress], [e.loss for e in run.progress], label=run.name
    )
    measured = [event for event in run.evaluations if event.energy is not None]
    accuracy.plot(
        [event.energy.joules for event in measured], [e.top1 for e in measured], "o-",
        label=run.name,
    )  # fmt: skip
loss.set(xlabel="mini-batches", ylabel="training loss", title="Loss")
accuracy.set(xlabel="energy [J], simulated", ylabel="top-1 [%]", title="Accuracy against energy")
accuracy.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## The weights are integers on the device
#
# The processor keeps the weights in float32 (the checkpoint in the run's folder has them). Before
# each mini-batch they become 8-bit integers with one power of two a layer, which the device
# multiplies with.

# %%
with np.load(runs / "psg" / "checkpoint.npz") as checkpoint:
    for name in [name for name in checkpoint.files if name.endswith("conv2.weight")]:
        if name.startswith("parameters/"):
            integers, exponent = quantise_weights(checkpoint[name])
            print(
                f"{name.removeprefix('parameters/'):30} {integers.dtype} {integers.shape}, "
                f"{integers.min()} to {integers.max()}, times 2^{exponent}"
            )

# %% [markdown]
# Next: [what PSG predicts](2-what-psg-predicts.ipynb). All of this is also one command a run:
# `e2train train experiments/demo/psg.toml`, then `e2train report runs/psg`.
