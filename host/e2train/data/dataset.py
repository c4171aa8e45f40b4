# SPDX-License-Identifier: Apache-2.0
"""A labelled image data set in memory, and stratified ways to divide it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from e2train.errors import UserError
from e2train.rng import permutation

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
HALVES = ("first", "second")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, labels and how to feed them to a network.

    Attributes:
        name: the key of `load_dataset`.
        label: what tables and plots call the data, variants included ("CIFAR-10 (JPEG)").
        train_images, test_images: uint8 [N, C, H, W].
        train_labels, test_labels: int64 [N] in [0, classes).
        classes: number of classes.
        mean: integer mean a channel; an int8 network sees `pixel - mean`, saturated.
        std: standard deviation a channel; a float32 network sees `(pixel - mean) / std`.
        mirror: whether augmentation mirrors left and right.
        shift: pixels by which augmentation moves an image at most, each way; the border that
            appears has the value `mean`, which is 0 to the network.
        class_names: one a class, in the order of the labels; empty where classes have numbers only.
        test_names: one a test picture, such as its file; empty where pictures have none.
        notes: lines for the user about what was found in the data and what was left out.
    """

    name: str
    label: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    classes: int
    mean: tuple[int, ...]
    std: tuple[float, ...]
    mirror: bool
    shift: int
    class_names: tuple[str, ...] = ()
    test_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each class; its number where it has none."""
        return self.class_names or tuple(map(str, range(self.classes)))


def stratified_choice(labels: Labels, count: int, seed: int, purpose: str) -> npt.NDArray[np.bool_]:
    """Choose `count` samples at random, each class in proportion; return a mask, bool [N].

    Where proportions are not whole, the largest fractions round up (lower class first on a tie).
    ValueError where `count` is not in [0, N].
    """
    total = len(labels)
    if not 0 <= count <= total:
        raise ValueError(f"count must be in [0, {total}], got {count}")
    sizes = np.bincount(labels)
    quota, fraction = np.divmod(sizes * count, max(total, 1))
    quota[np.argsort(-fraction, kind="stable")[: count - quota.sum()]] += 1

    return _rank_in_class(labels, seed, purpose) < quota[labels]


def _rank_in_class(labels: Labels, seed: int, purpose: str) -> npt.NDArray[np.int64]:
    """Rank of every sample within its class, in a random order: int64 [N]."""
    sizes = np.bincount(labels)
    shuffled = permutation(seed, purpose, 0, len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    rank = np.empty(len(labels), np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank


def test_part(labels: Labels, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Choose about `share` of each class for the test set, bool [N].

    Every class of two or more keeps at least one sample on either side.
    """
    sizes = np.bincount(labels)
    quota = np.clip(np.round(sizes * share).astype(np.int64), 1, np.maximum(sizes - 1, 0))
    return _rank_in_class(labels, seed, "test split") < quota[labels]


def split_validation(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Replace the test set by `count` stratified training images, which leave the training set.

    Choices such as the learning rate are made on it, so that the test set stays unseen.
    UserError where `count` does not leave both sets at least one image a class.
    """
    total = len(dataset.train_labels)
    if not dataset.classes <= count <= total - dataset.classes:
        raise UserError(
            f"validation = {count} images is impossible: {dataset.label} has {total} training "
            f"images of {dataset.classes} classes"
        )
    held = stratified_choice(dataset.train_labels, count, seed, "validation split")
    return replace(
        dataset,
        label=f"{dataset.label}, {count} validation images",
        train_images=dataset.train_images[~held],
        train_labels=dataset.train_labels[~held],
        test_images=dataset.train_images[held],
        test_labels=dataset.train_labels[held],
        test_names=(),
    )


def take_half(dataset: Dataset, half: str, seed: int) -> Dataset:
    """Keep one half, "first" or "second", of the training set: each class divided evenly.

    The halves are disjoint, of the same distribution, and together the whole (the fine-tuning
    experiment at the end of E2-Train's section 4.5: pre-train on one half, fine-tune on the other).
    """
    if half not in HALVES:
        raise UserError(f"half = {half!r} is not one of {', '.join(HALVES)}")
    count = len(dataset.train_labels) // 2
    chosen = stratified_choice(dataset.train_labels, count, seed, "half split")
    if half == "second":
        chosen = ~chosen
    return replace(
        dataset,
        label=f"{dataset.label}, {half} half",
        train_images=dataset.train_images[chosen],
        train_labels=dataset.train_labels[chosen],
    )
