# SPDX-License-Identifier: Apache-2.0
"""A data set of one's own pictures: a folder of classes, or an .npz file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from e2train.data.cache import load_folder, load_npz
from e2train.data.collection import Collection, check_classes
from e2train.data.dataset import Dataset, Images, test_part
from e2train.data.folder import TEST, WHOLE, printable
from e2train.data.pictures import resized
from e2train.data.settings import FOLDER, DataSettings
from e2train.errors import UserError

NAMED = 20  # files that are named one by one; of more, the rest is counted
SHIFT_SHARE = 8  # augmentation moves by up to an eighth of the size, as CIFAR's 4 pixels of 32


def collect(path: Path, shape: tuple[int, int, int]) -> tuple[Collection, tuple[str, ...]]:
    """The pictures at `path` in the given shape (C, H, W), and notes for the user.

    Raises UserError as `load_folder` and `load_npz` do.
    """
    if path.is_dir():
        collection, note = load_folder(path, shape)
        return collection, (note,) if note else ()
    if path.suffix != ".npz":
        raise UserError(f"{path}: expected a folder of pictures or an .npz file")
    collection = load_npz(path)
    if collection.images.shape[1:] != shape:
        collection = replace(collection, images=resized(collection.images, shape))
    return collection, ()


def load_own(settings: DataSettings, path: Path) -> Dataset:
    """The data set at `path`: divided by folders or by the seed, with statistics of its pixels."""
    collection, notes = collect(path, settings.shape)
    check_classes(path, collection)
    test = divide(collection, settings)
    notes = (*notes, *refusals(collection), *warnings_of(collection, test))
    return own_dataset(path, settings, collection, test, notes)


def divide(collection: Collection, settings: DataSettings) -> npt.NDArray[np.bool_]:
    """Which pictures are for testing, bool [N]: by their folders, else by the seed."""
    whole = collection.of(WHOLE)
    if not whole.any():
        return collection.of(TEST)
    return whole & test_part(collection.labels, settings.test_share, settings.split_seed)


def own_dataset(
    path: Path,
    settings: DataSettings,
    collection: Collection,
    test: npt.NDArray[np.bool_],
    notes: tuple[str, ...],
) -> Dataset:
    """The data set of a collection that was divided."""
    train = ~test
    images = collection.images[train]
    mean, std = pixel_statistics(images)
    names = collection.names
    return Dataset(
        name=FOLDER,
        label=_label(path, settings),
        train_images=images,
        train_labels=collection.labels[train],
        test_images=collection.images[test],
        test_labels=collection.labels[test],
        classes=len(collection.class_names),
        mean=mean,
        std=std,
        mirror=settings.mirror is not False,
        shift=max(1, settings.size // SHIFT_SHARE),
        class_names=collection.class_names,
        test_names=tuple(names[index] for index in np.flatnonzero(test)) if names else (),
        notes=notes,
    )


def load_arriving(settings: DataSettings, root: Path) -> Dataset:
    """The data set of pictures that arrive: `root/test/CLASS/` are there, `root/train` fills.

    The classes are those of the test pictures. As no training pixel is known yet, the mean and the
    deviation are the middle and a quarter of a pixel's range.
    """
    folder = root / TEST
    if not folder.is_dir():
        raise UserError(f"{folder}: missing: pictures to test on must be there from the start")
    collection, notes = collect(folder, settings.shape)
    empty = [name for i, name in enumerate(collection.class_names) if i not in collection.labels]
    if empty or len(collection.class_names) < 2:
        what = f"class {empty[0]!r} has no picture that can be read" if empty else "one class only"
        raise UserError(f"{folder}: {what}")
    channels = settings.shape[0]
    return Dataset(
        name=FOLDER,
        label=_label(root, settings),
        train_images=collection.images[:0],
        train_labels=collection.labels[:0],
        test_images=collection.images,
        test_labels=collection.labels,
        classes=len(collection.class_names),
        mean=(128,) * channels,
        std=(64.0,) * channels,
        mirror=settings.mirror is not False,
        shift=max(1, settings.size // SHIFT_SHARE),
        class_names=collection.class_names,
        test_names=collection.names,
        notes=(*notes, *refusals(collection)),
    )


def _label(path: Path, settings: DataSettings) -> str:
    size = f"{settings.size}x{settings.size}{'' if settings.colour else ' grey'}"
    return f"{printable(path.resolve().name)} {size}"


def pixel_statistics(images: Images) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Mean, rounded, and standard deviation (1 or more) of each channel of [N, C, H, W]."""
    count = images.size / images.shape[1]
    means, deviations = [], []
    for channel in range(images.shape[1]):
        # From the histogram: exact, and without a float copy of all pixels.
        bins = np.bincount(images[:, channel].reshape(-1), minlength=256)
        mean = float(bins @ np.arange(256)) / count
        variance = float(bins @ (np.arange(256) - mean) ** 2) / count
        means.append(round(mean))
        deviations.append(max(1.0, round(variance**0.5, 1)))
    return tuple(means), tuple(deviations)


def refusals(collection: Collection) -> list[str]:
    """A line for each file that is not used, up to NAMED of them."""
    lines = [f"not used: {one}" for one in collection.refused[:NAMED]]
    if len(collection.refused) > NAMED:
        more = len(collection.refused) - NAMED
        lines.append(f"not used: {more} more files; `e2train data check` names them all")
    return lines


def warnings_of(collection: Collection, test: np.ndarray) -> list[str]:
    """What makes a result of this division less than it seems."""
    lines = []
    tested = set(collection.labels[test].tolist())
    lacking = [name for index, name in enumerate(collection.class_names) if index not in tested]
    if lacking:
        lines.append(f"no pictures to test on: {_listed(lacking)}")
    twins = duplicates(collection, test)
    if twins:
        lines.append(
            f"{len(twins)} of {int(test.sum())} test pictures are among the training pictures, "
            "too: accuracy comes out too high"
        )
    return lines


def duplicates(collection: Collection, test: np.ndarray) -> list[tuple[int, int]]:
    """Places of test pictures that have the very pixels of a training picture, and of that one."""
    seen: dict[bytes, int] = {}
    for index in np.flatnonzero(~test).tolist():
        seen.setdefault(_key(collection.images[index]), index)
    pairs = ((int(i), seen.get(_key(collection.images[i]))) for i in np.flatnonzero(test))
    return [(index, twin) for index, twin in pairs if twin is not None]


def _key(pixels: np.ndarray) -> bytes:
    return hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more classes"
