# SPDX-License-Identifier: Apache-2.0
"""Some classes of CIFAR-10, as a data set of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from e2train.data.dataset import Dataset, stratified_choice

ANIMALS = (2, 3, 4, 5, 6, 7)  # bird, cat, deer, dog, frog, horse
VEHICLES = (0, 1, 8, 9)  # airplane, automobile, ship, truck


def chosen_classes(data: Dataset, classes: Sequence[int]) -> Dataset:
    """Only the pictures of `classes`, which are numbered anew in their order."""
    number = np.full(data.classes, -1)
    number[list(classes)] = np.arange(len(classes))
    train, test = number[data.train_labels], number[data.test_labels]
    return replace(
        data,
        label=f"{data.label}, {len(classes)} classes",
        train_images=data.train_images[train >= 0],
        train_labels=train[train >= 0],
        test_images=data.test_images[test >= 0],
        test_labels=test[test >= 0],
        classes=len(classes),
    )


def few_pictures(data: Dataset, count: int, seed: int) -> Dataset:
    """`count` stratified training pictures: what somebody has of their own."""
    kept = stratified_choice(data.train_labels, count, seed, "few pictures")
    return replace(data, train_images=data.train_images[kept], train_labels=data.train_labels[kept])
