# SPDX-License-Identifier: Apache-2.0
"""The embedded data set: 1,797 handwritten digits of 8x8 pixels (source in digits.txt)."""

from __future__ import annotations

from importlib import resources

import numpy as np

from e2train.data.dataset import Dataset, stratified_choice

TEST_COUNT = 360
# Of the training images, in units of this module's pixels; tests recompute both.
MEAN = (39,)
STD = (48.1,)


def load_digits() -> Dataset:
    """Return the digits with their fixed, stratified split of 1,437 training and 360 test images.

    The source counts ink in 17 steps, 0 to 16; a pixel here is 8 times that, 0 to 128, so that an
    int8 input of a network uses its range. Digits are not mirrored: mirrored they are others.
    """
    with resources.files(__package__).joinpath("digits.npz").open("rb") as stream:
        stored = np.load(stream)
        images = stored["images"][:, None] * np.uint8(8)
        labels = stored["labels"].astype(np.int64)
    test = stratified_choice(labels, TEST_COUNT, 0, "digits test split")
    return Dataset(
        name="digits",
        label="UCI digits 8x8",
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
        classes=10,
        mean=MEAN,
        std=STD,
        mirror=False,
        shift=1,
    )
