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
# # What PSG predicts
#
# Predictive sign gradient descent moves each weight by the *sign* of its gradient. A predictor
# multiplies only the upper bits of activations (4 of 8) and of output gradients (10 of 16). Where
# its result is large enough, at least `beta` times the largest of the layer, its sign is taken;
# elsewhere the full product of 8 by 16 bits decides.
#
# Here you change `beta`, the bits and the layer, and see for real gradients of a training run which
# weights are predicted, and which of them wrongly.

# %% tags=["parameters"]
DEVICE = "emulator"  # "zynq" on a board
OPTIONS = {}  # of the device; on a board {"overlay": "e2train.bit"}
ITERATIONS = 60  # mini-batches that are trained before the gradients are looked at

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from e2train.data.load import load_dataset
from e2train.device import open_device
from e2train.methods.sign_bound import (
    Predictor,
    cut,
    decide,
    failure_bound,
    observed_failures,
)
from e2train.training.experiment import load_experiment
from e2train.training.sign_bound import WatchedDevice
from e2train.training.trainer import Trainer

# %% [markdown]
# ## Gradients of a real run
#
# We train for a while and keep, for every convolution, what the weight gradient of the next
# mini-batch is made of: activations `x` (8 bits) and gradients `g` of the outputs (16 bits).

# %%
folder = Path(tempfile.mkdtemp(prefix="e2train-"))
(folder / "psg.toml").write_text(
    f"""
name = "psg"
network = "resnet-8"
[train]
iterations = {ITERATIONS + 1}
lr = 0.003
[method]
arithmetic = "fixed"
update = "psg"
"""
)
device = open_device(DEVICE, **OPTIONS)
watched = WatchedDevice(device)
experiment, digits = load_experiment(folder / "psg.toml"), load_dataset("digits")
with Trainer(experiment, digits, folder, device=watched, meter="none") as trainer:
    for iteration in range(ITERATIONS + 1):
        watched.watching = iteration == ITERATIONS
        trainer.mini_batch(iteration)
    names = [unit.name for unit in reversed(list(trainer.parts.spec.units()))]
layers = dict(reversed(list(zip(names, watched.seen, strict=True))))
full = {
    name: device.conv_backward_weight(
        x, g, at.kernel, stride=at.stride, padding=at.padding, groups=at.groups
    )
    for name, (x, g, at) in layers.items()
}
print(f"{len(layers)} convolutions, {sum(values.size for values in full.values()):,} weights")

# %% [markdown]
# ## One layer, one predictor
#
# Each point is a weight: to the right the predictor's gradient, upwards the full one, both as a
# share of their largest. Between the dashed lines the predictor is not sure, and the full gradient
# is computed. A point in the upper left or lower right has a wrong sign.


# %%
def predictor_of(layer: str, predictor: Predictor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The predictor's gradient, where it decides, and where it is wrong."""
    x, g, at = layers[layer]
    slices = cut(x, g, predictor)
    found = device.conv_backward_weight(
        *slices, at.kernel, stride=at.stride, padding=at.padding, groups=at.groups
    )
    m, predicted = decide(found, predictor.beta)
    return m, predicted, predicted & (np.sign(m) != np.sign(full[layer]))


BETAS = np.array([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5])


def show(layer: str, beta: float, x_bits: int, g_bits: int) -> None:
    """Both figures for one choice."""
    predictor = Predictor(beta, x_bits, g_bits)
    m, predicted, wrong = predictor_of(layer, predictor)
    right = predicted & ~wrong
    figure, (points, curves) = plt.subplots(1, 2, figsize=(10, 3.8))
    across, up = m / max(1, np.abs(m).max()), full[layer] / max(1, np.abs(full[layer]).max())
    for which, colour, words in (
        (~predicted, "lightgrey", "computed in full"),
        (right, "tab:blue", "predicted, right"),
        (wrong, "tab:red", "predicted, wrong"),
    ):
        points.plot(across[which], up[which], ".", color=colour, label=f"{words}: {which.sum()}")
    for edge in (-beta, beta):
        points.axvline(edge, color="black", linestyle="--", linewidth=0.7)
    points.set(xlabel="predictor's gradient", ylabel="full gradient", title=layer)
    points.legend(fontsize=8)
    shares = [predictor_of(layer, Predictor(b, x_bits, g_bits)) for b in BETAS]
    curves.plot(BETAS, [100 * p.mean() for _, p, _ in shares], "o-", label="predicted")
    curves.plot(
        BETAS,
        [100 * w.sum() / max(1, p.sum()) for _, p, w in shares],
        "o-", color="tab:red", label="wrong, of those",
    )  # fmt: skip
    curves.axvline(beta, color="black", linestyle="--", linewidth=0.7)
    curves.set(xscale="log", xlabel="beta", ylabel="share of weights [%]", ylim=(-3, 103))
    curves.set_title(f"{x_bits} bits of x, {g_bits} bits of g")
    curves.legend(fontsize=8)
    figure.tight_layout()
    plt.show()
    x, g, at = layers[layer]
    bound = failure_bound(x, g, at, predictor)
    seen = observed_failures(device, x, g, at, predictor)
    print(
        f"predicted: {100 * predicted.mean():.1f} % of {predicted.size} weights; wrong, of those: "
        f"{100 * seen.rate:.2f} %; the paper's bound (eq. 3) allows {100 * bound.bound:.3g} %, "
        f"{100 * bound.certain:.1f} % cannot be wrong"
    )


# %%
choice = {"layer": list(layers)[len(layers) // 2], "beta": 0.05, "x_bits": 4, "g_bits": 10}
show(**choice)

# %% [markdown]
# With ipywidgets installed, sliders appear here. Without, change `choice` above and run that cell
# again.

# %%
try:
    import ipywidgets
except ImportError:
    print("pip install ipywidgets, for sliders")
else:
    ipywidgets.interact(
        show,
        layer=ipywidgets.Dropdown(options=list(layers), value=choice["layer"]),
        beta=ipywidgets.SelectionSlider(options=BETAS.tolist(), value=choice["beta"]),
        x_bits=ipywidgets.IntSlider(choice["x_bits"], 2, 7),
        g_bits=ipywidgets.IntSlider(choice["g_bits"], 4, 15),
    )

# %% [markdown]
# ## All layers
#
# A large `beta` leaves more to the full product, which costs energy; a small one takes more wrong
# signs. Few bits make the predictor cheap and unsure. The paper takes `beta = 0.05` and 4 by 10
# bits.

# %%
figure, (share, rate) = plt.subplots(1, 2, figsize=(10, 3.4))
for beta in (0.01, 0.05, 0.2):
    found = [predictor_of(name, Predictor(beta)) for name in layers]
    share.plot([100 * p.mean() for _, p, _ in found], "o-", label=f"beta = {beta:g}")
    rate.plot([100 * w.sum() / max(1, p.sum()) for _, p, w in found], "o-")
for axis, title in ((share, "predicted weights [%]"), (rate, "wrong signs among them [%]")):
    axis.set_xticks(range(len(layers)), list(layers), rotation=60, ha="right", fontsize=7)
    axis.set_title(title)
share.legend(fontsize=8)
figure.tight_layout()
plt.show()

# %% [markdown]
# How the bound comes about, and where its assumptions break, is the subject of
# [docs/psg.md](../docs/psg.md). `e2train bound` prints it for a whole training run.
