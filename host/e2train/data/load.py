# SPDX-License-Identifier: Apache-2.0
"""Data sets by name."""

from __future__ import annotations

import os
from pathlib import Path

from e2train.data.cifar import LAYOUTS, load_cifar
from e2train.data.dataset import Dataset, split_validation, take_half
from e2train.data.digits import load_digits
from e2train.errors import UserError

DATASETS = ("digits", *LAYOUTS)


def default_folder() -> Path:
    """Return the folder that holds data sets: $E2TRAIN_DATA, or `data` in the current folder."""
    return Path(os.environ.get("E2TRAIN_DATA") or "data")


def load_dataset(
    name: str,
    folder: Path | str | None = None,
    split_seed: int = 0,
    validation: int = 0,
    half: str | None = None,
) -> Dataset:
    """Load "digits", "cifar10" or "cifar100".

    Args:
        name: one of `DATASETS`.
        folder: where CIFAR's files are, or the parent of their official sub-folder; None is
            `default_folder()`. The digits need none.
        split_seed: decides which images validation and halves take; the test set never changes.
        validation: where positive, that many stratified training images replace the test set.
        half: "first" or "second" keeps that half of the training set, each class divided evenly;
            taken before validation images are.

    Raises:
        UserError: unknown name, missing or damaged file, impossible split.
    """
    if name == "digits":
        dataset = load_digits()
    elif name in LAYOUTS:
        dataset = load_cifar(name, default_folder() if folder is None else Path(folder))
    else:
        raise UserError(f"unknown data set {name!r}: expected one of {', '.join(DATASETS)}")
    if half is not None:
        dataset = take_half(dataset, half, split_seed)
    if validation:
        dataset = split_validation(dataset, validation, split_seed)
    return dataset
