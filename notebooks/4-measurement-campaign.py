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
# # A measurement campaign
#
# A campaign trains several methods with several seeds and measures the energy of each run, with an
# idle run before and after. This notebook starts one, draws the power while it is measured, and
# compares what came out. The meter is simulated: a model of the board drives it. With a meter at a
# board, set `METER` to its driver and port; with the board elsewhere, `BOARD` to its address, and
# the training runs there over SSH.

# %% tags=["parameters"]
METER = "simulated"  # such as "ina226-serial:/dev/ttyUSB0"
BOARD = None  # such as "xilinx@pynq"
BOARD_OPTIONS = []  # such as ["--device", "zynq", "--overlay", "e2train.bit"]
ITERATIONS = 60  # mini-batches that are offered to each run
SEEDS = [0, 1]

# %%
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display

from powermeter import MeterError
from powermeter.record.recording import read_samples

# %% [markdown]
# ## What is to be run
#
# Three methods: 8-bit training, PSG, and PSG that drops half of the mini-batches (SMD).

# %%
folder = Path(tempfile.mkdtemp(prefix="e2train-"))
campaign = folder / "notebook.toml"
campaign.write_text(
    f"""
name = "notebook"
order = "randomised"
seeds = {SEEDS}
on = [["resnet-8", "digits"]]
idle_seconds = 2
settle_seconds = 1

[base]
method = {{ arithmetic = "fixed", update = "psg" }}
[base.train]
iterations = {ITERATIONS}
lr = 0.003
log_every = 5
checkpoint_every = {ITERATIONS}

[[methods]]
name = "fixed8"
method = {{ update = "sgd" }}
train = {{ lr = 0.1 }}

[[methods]]
name = "psg"

[[methods]]
name = "psg-smd"
smd = {{ drop = 0.5 }}
"""
)
out = folder / "out"
command = [sys.executable, "-m", "e2train.cli", "campaign", "run", str(campaign)]
command += ["--out", str(out), "--quiet", "--meter", METER]
command += ["--board", BOARD, *BOARD_OPTIONS] if BOARD else []
log = folder / "printed.txt"
with log.open("w") as stream:
    running = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)

# %% [markdown]
# ## Power, live
#
# Each cell writes every reading of the meter to `samples.csv` as it comes: the idle run before, the
# training, the idle run after. The figure shows the cell that is at work, in means of 50 ms.

# %%
PARTS = {"idle-before": "tab:grey", "meter": "tab:blue", "idle-after": "tab:olive"}
MEAN_S = 0.05


def power(recording: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times and powers of a recording that may just be written, in means of MEAN_S."""
    try:
        rows = [(row[0], row[1]) for row in read_samples(recording)]
    except MeterError:  # not there yet
        rows = []
    if not rows:
        return np.empty(0), np.empty(0)
    seconds, watts = np.array(rows, float).T
    bins = ((seconds - seconds[0]) / MEAN_S).astype(int)
    counts = np.bincount(bins)
    sums = np.bincount(bins, watts)
    filled = counts > 0
    return np.flatnonzero(filled) * MEAN_S, sums[filled] / counts[filled]


def draw(cell: Path) -> None:
    """The cell's three recordings, one after the other."""
    axis.clear()
    begin = 0.0
    for part, colour in PARTS.items():
        seconds, watts = power(cell / part)
        if len(seconds):
            axis.plot(begin + seconds, watts, color=colour, label=part, linewidth=0.8)
            begin += seconds[-1] + 0.5
    axis.set(xlabel="time of the meter [s]", ylabel="power [W]", title=cell.name)
    if axis.lines:
        axis.legend(loc="upper left", fontsize=8)


figure, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
plt.close(figure)  # shown by its handle alone
handle = display(figure, display_id=True)
while running.poll() is None:
    cells = sorted((out / "cells").glob("*"), key=lambda path: path.stat().st_mtime)
    if cells:
        draw(cells[-1])
        handle.update(figure)
    time.sleep(1)
print(log.read_text())
assert running.returncode == 0

# %% [markdown]
# The whole of one cell. Idle, the model's board draws 2.6 W; how much more it draws depends on what
# part of an iteration it is at.

# %%
draw(sorted((out / "cells").glob("psg.*"))[0])
handle = display(figure)

# %% [markdown]
# ## What came out
#
# `e2train campaign export` writes one row a cell, `e2train campaign report` a page with figures,
# intervals and tables.

# %%
subprocess.run([*command[:4], "export", str(out)], check=True, stdout=subprocess.DEVNULL)
with (out / "cells.csv").open() as stream:
    rows = list(csv.DictReader(stream))
methods = list(dict.fromkeys(row["method"] for row in sorted(rows, key=lambda row: row["method"])))
figure, (bars, right) = plt.subplots(1, 2, figsize=(9, 3.2))
for place, method in enumerate(methods):
    of_method = [row for row in rows if row["method"] == method and row["energy_j"]]
    joules = [float(row["energy_j"]) for row in of_method]
    net = [float(row["net_energy_j"]) for row in of_method]
    bars.bar(place - 0.2, np.mean(joules), 0.4, color="tab:blue", label="total" * (place == 0))
    bars.bar(place + 0.2, np.mean(net), 0.4, color="tab:orange", label="above idle" * (place == 0))
    right.plot(joules, [float(row["top1"]) for row in of_method], "o", label=method)
provenance = ", ".join(sorted({row["energy_provenance"] for row in rows}))
bars.set_xticks(range(len(methods)), methods)
bars.set(ylabel="energy [J]", title=f"Energy of a run ({provenance})")
bars.legend(fontsize=8)
right.set(xlabel=f"energy [J], {provenance}", ylabel="top-1 [%]", title="One point a cell")
right.legend(fontsize=8)
figure.tight_layout()
plt.show()

# %% [markdown]
# SMD halves the mini-batches, and so the time and nearly all of the energy: most of what a board
# draws it draws when idle, too. After so few mini-batches accuracies say little; the paper's
# settings are in `experiments/campaigns`. How energy is measured, and how sure it is, stands in
# [docs/measurement.md](../docs/measurement.md), the link to a board in
# [docs/board-link.md](../docs/board-link.md).
