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
# # Your own pictures in, your model out
#
# This notebook draws a folder of pictures, checks it, fine-tunes a network that has learned digits
# to its classes, asks it about a picture, and exports it. Put your own folder in place of the drawn
# one: sub-folders are classes. It needs the extras `images` and `models`, and no board.

# %% tags=["parameters"]
PICTURES = 40  # of each class
ITERATIONS = 100  # mini-batches that are offered

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

from e2train.cli import run

work = Path(tempfile.mkdtemp())
os.chdir(work)  # commands write to the folder that they are called in


def e2train(*arguments: object) -> None:
    """A command as in a terminal: `e2train data check shapes`."""
    code = run([str(argument) for argument in arguments])
    if code:
        raise SystemExit(code)


# %% [markdown]
# ## The folder
#
# Circles, squares and crosses of any place and size, in 16 x 16 pixels, as JPEG files. One file is
# damaged.

# %%
random = np.random.default_rng(0)
folder = work / "shapes"
for name in ("circle", "cross", "square"):
    (folder / name).mkdir(parents=True)
    for number in range(PICTURES):
        picture = Image.new("L", (16, 16), int(random.integers(0, 30)))
        x, y = (int(v) for v in random.integers(4, 12, 2))
        r, ink = int(random.integers(2, 5)), int(random.integers(90, 150))
        pen = ImageDraw.Draw(picture)
        box = (x - r, y - r, x + r, y + r)
        if name == "circle":
            pen.ellipse(box, outline=ink)
        elif name == "square":
            pen.rectangle(box, outline=ink)
        else:
            pen.line((x - r, y, x + r, y), fill=ink)
            pen.line((x, y - r, x, y + r), fill=ink)
        picture.save(folder / name / f"{number:03}.jpg", quality=95)
damaged = folder / "circle" / "000.jpg"
damaged.write_bytes(damaged.read_bytes()[:300])

# %% [markdown]
# `data check` says what training would see, and draws augmented pictures as the network gets them.

# %%
e2train("data", "check", "shapes", "--size", 16, "--grey")
plt.figure(figsize=(6, 3))
plt.imshow(Image.open(work / "shapes-sheet.png"))
plt.axis("off")
plt.show()

# %% [markdown]
# ## The model to start from
#
# A ResNet-8 that learns the digits of the package. A file of weights of your own serves as well
# (`e2train finetune model.safetensors shapes --network resnet-20`).

# %%
(work / "digits.toml").write_text(
    f'network = "resnet-8"\n[train]\niterations = {ITERATIONS}\nbatch = 16\nlr = 0.05\n'
)
e2train("train", "digits.toml", "--quiet")

# %% [markdown]
# ## Fine-tuning
#
# E2-Train on all layers; a tenth of the training pictures is held out and says when to stop. The
# classifier of ten digits is replaced by one of three shapes.

# %%
e2train(
    *("finetune", "runs/digits", "shapes", "--size", 16, "--batch", 8, "--every", 20),
    *("--iterations", ITERATIONS, "--lr", 0.01, "--out", "runs/shapes", "--quiet"),
)
plt.figure(figsize=(5, 5))
plt.imshow(Image.open(work / "runs/shapes/figures/confusion.png"))
plt.axis("off")
plt.show()

# %% [markdown]
# ## Use it, and take it away

# %%
e2train("predict", "runs/shapes", folder / "cross" / "001.jpg")
e2train("export", "runs/shapes", "--format", "safetensors")
