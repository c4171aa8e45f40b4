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
# # Board bring-up
#
# Run this on the board, in its Jupyter, after the overlay was copied there: each step shows that
# one more part works. Set `DEVICE` to `zynq` there, and name the overlay. With the emulator every
# step runs too, on any computer, and each says what it cannot show then.

# %% tags=["parameters"]
DEVICE = "emulator"  # "zynq" on a board
OPTIONS = {}  # of the device; on a board {"overlay": "e2train.bit"}
STEPS = 3  # training steps that are compared

# %%
import platform
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from e2train.cost.board import BoardModel
from e2train.cost.counts import PSG, operations
from e2train.cost.energy import EnergyModel
from e2train.data.load import load_dataset
from e2train.data.shapes import picture_shape
from e2train.device import DEVICES, open_device
from e2train.device.selftest import run_selftest
from e2train.errors import UserError
from e2train.network.models import network_spec
from e2train.training.experiment import load_experiment
from e2train.training.trainer import Trainer

# %% [markdown]
# ## 1. Which devices are there?

# %%
print(f"{platform.node()}: {platform.machine()}, Python {platform.python_version()}")
print("devices that this installation knows:", ", ".join(DEVICES))
if DEVICE == "emulator":
    print("the emulator tries nothing of the FPGA: no overlay, no memory ports, no interrupt")

# %% [markdown]
# ## 2. Open it
#
# On the board this loads the overlay and compares its configuration with this installation's. A
# line that begins with "refused" says what does not fit.

# %%
try:
    device = open_device(DEVICE, **OPTIONS)
except UserError as refused:
    print(f"refused: {refused}")
    print("going on with the emulator, so that you see what the next steps look like")
    DEVICE, device = "emulator", open_device("emulator")
print(f"open: {device.name}")

# %% [markdown]
# ## 3. Self-test
#
# Every operation of the kernel at extreme values, compared with sums in 64 bits. All integers must
# be equal.

# %%
started, cases = time.perf_counter(), defaultdict(list)
for check in run_selftest(device):
    cases[check.operation].append(check)
for operation, checks in cases.items():
    wrong, total = sum(c.wrong for c in checks), sum(c.total for c in checks)
    verdict = "all equal" if wrong == 0 else f"{wrong} DIFFER: stop here, see docs/board.md"
    print(f"{operation:22} {len(checks):3} cases, {total:8,} integers: {verdict}")
print(f"{time.perf_counter() - started:.1f} s")
assert not any(check.wrong for checks in cases.values() for check in checks)

# %% [markdown]
# ## 4. The same training as the emulator
#
# A few training steps on the device, and the same in NumPy alone, which shares no code with the
# device. The weights must agree to the last bit.

# %%
EXPERIMENT = f"""
name = "bring-up"
network = "resnet-8"
[train]
iterations = {STEPS}
batch = 32
lr = 0.003
[method]
arithmetic = "fixed"
update = "psg"
"""
folder, digits = Path(tempfile.mkdtemp(prefix="e2train-")), load_dataset("digits")
(folder / "bring-up.toml").write_text(EXPERIMENT)
experiment = load_experiment(folder / "bring-up.toml")


def steps(on, name: str) -> tuple[dict[str, np.ndarray], list[float]]:
    """The weights after the steps, and the seconds of each."""
    seconds = []
    (folder / name).mkdir()
    with Trainer(experiment, digits, folder / name, device=on, meter="none") as trainer:
        for iteration in range(STEPS):
            begun = time.perf_counter()
            trainer.mini_batch(iteration)
            seconds.append(time.perf_counter() - begun)
        return {key: value.copy() for key, value in trainer.network.parameters.items()}, seconds


ours, seconds = steps(device, "device")
with open_device("emulator", backend="numpy") as reference:
    theirs, _ = steps(reference, "reference")
different = [name for name in theirs if not np.array_equal(ours[name], theirs[name])]
count = sum(values.size for values in theirs.values())
print(f"{count:,} parameters after {STEPS} steps: ", end="")
print("every one equal" if not different else f"DIFFERENT in {', '.join(different)}")
assert not different

# %% [markdown]
# ## 5. How long does it take?
#
# The model of the board says how long each part of an iteration takes on the accelerator. On the
# board, the device's bar should come close. On the emulator it is this computer's time, and says
# nothing of the board.

# %%
model = BoardModel(EnergyModel.load(), float32=False)
spec = network_spec(experiment.network, *picture_shape("digits"))
phases = model.phases(operations(spec, PSG, experiment.train.batch, predicted=0.6))
figure, axis = plt.subplots(figsize=(8, 2.8), layout="constrained")
left = 0.0
for phase in phases:
    axis.barh("board, modelled", 1e3 * phase.seconds, left=left, label=phase.name)
    left += 1e3 * phase.seconds
axis.barh(f"{DEVICE}, measured here", 1e3 * min(seconds), color="grey")
axis.set(xlabel="time of an iteration [ms]", title="ResNet-8 on digits, batch 32, PSG")
figure.legend(loc="outside lower center", ncols=5, fontsize=8)
plt.show()
print(f"modelled: {left:.1f} ms and {1e3 * sum(p.joules for p in phases):.1f} mJ an iteration")

# %% [markdown]
# ## 6. What is left to do with your own hands
#
# - A meter at the board's supply: wire it, then `powermeter probe --port PORT`. Idle power should
#   be near 2.6 W for a ZedBoard; the emulator can say nothing of it.
# - A short training with it, as in the [measurement campaign](4-measurement-campaign.ipynb).

# %%
device.close()
