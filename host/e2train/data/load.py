# SPDX-License-Identifier: Apache-2.0
"""Data sets by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from e2train.data.arrivals import Arrivals, FolderSource, Source, TarSource
from e2train.data.cifar import LAYOUTS, load_cifar
from e2train.data.dataset import Dataset, split_validation, take_half
from e2train.data.digits import load_digits
from e2train.data.own import load_arriving, load_own
from e2train.data.settings import DATASETS, FOLDER, STDIN, DataSettings
from e2train.errors import UserError


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
    """Load "digits", "cifar10", "cifar100" or "folder", for the last with its usual settings.

    The arguments are those of `DataSettings`, and `folder` as in `load_data`.
    """
    settings = DataSettings(name, validation=validation, half=half, split_seed=split_seed)
    return load_data(settings, None if folder is None else Path(folder))


def load_data(settings: DataSettings, folder: Path | None = None) -> Dataset:
    """Load the data set of an experiment.

    Args:
        settings: what to load. `split_seed` decides which images validation and halves take; the
            test set of a data set that has one never changes. Where `validation` is positive, that
            many stratified training images replace the test set. `half` keeps that half of the
            training set, each class divided evenly, before validation images are taken.
        folder: where CIFAR's files are, or the parent of their official sub-folder; None is
            `default_folder()`. Of "folder": its pictures, unless the settings name them. The digits
            need none.

    Raises:
        UserError: unknown name, missing or damaged file, impossible split.
    """
    name = settings.name
    if name == "digits":
        dataset = load_digits()
    elif name in LAYOUTS:
        dataset = load_cifar(name, default_folder() if folder is None else folder)
    elif name == FOLDER:
        path = own_path(settings, folder)
        dataset = load_arriving(settings, path) if settings.arrives else load_own(settings, path)
    else:
        raise UserError(f"unknown data set {name!r}: expected one of {', '.join(DATASETS)}")
    if settings.half is not None:
        dataset = take_half(dataset, settings.half, settings.split_seed)
    if settings.validation:
        dataset = split_validation(dataset, settings.validation, settings.split_seed)
    return dataset


def own_path(settings: DataSettings, folder: Path | None) -> Path:
    """Where one's own pictures are; UserError where nothing says so."""
    if settings.path is not None and settings.path != STDIN:
        return Path(settings.path)
    if folder is None:
        raise UserError("data.name = 'folder' needs data.path, or --data FOLDER")
    return folder


def open_arrivals(
    settings: DataSettings, folder: Path | None, dataset: Dataset, tell: Callable[[str], None]
) -> Arrivals | None:
    """Where the training pictures of an experiment come from one by one; None where all are there.

    `tell` is given a line about each picture that is not used.
    """
    if not settings.arrives:
        return None

    def source(seen: set[str]) -> Source:
        if settings.path == STDIN:
            return TarSource(sys.stdin.buffer)
        return FolderSource(own_path(settings, folder), settings.wait, seen)

    return Arrivals(source, dataset.class_names, settings.shape, tell)
