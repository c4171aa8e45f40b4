# SPDX-License-Identifier: Apache-2.0
"""Pictures of one's own as arrays: decoded from a folder, or out of an .npz file, or the cache."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from e2train.data.dataset import Images, Labels
from e2train.data.folder import (
    TEST,
    TRAIN,
    WHOLE,
    Entry,
    Refused,
    Scan,
    changed,
    printable,
    read_entry,
    scan,
)
from e2train.data.pictures import PictureError, decode, load_pillow
from e2train.errors import UserError

PARTS = (TRAIN, TEST, WHOLE)
MOST_CLASSES = 9999


@dataclass(frozen=True, eq=False)
class Collection:
    """Decoded pictures, before they are divided.

    Attributes:
        images: uint8 [N, C, H, W].
        labels: int64 [N], places in `class_names`.
        parts: uint8 [N], places in PARTS.
        names: of the pictures' files, relative to the folder; empty where there are none.
        class_names: sorted by name, or as an .npz file has them.
        refused: files that are not used, and why.
    """

    images: Images
    labels: Labels
    parts: npt.NDArray[np.uint8]
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    refused: tuple[Refused, ...] = ()

    def of(self, part: str) -> npt.NDArray[np.bool_]:
        """Which pictures belong to a part, bool [N]."""
        return self.parts == PARTS.index(part)


@dataclass(frozen=True)
class Decoded:
    """A collection and the files that it was made of: SHA-256 of each by its name."""

    collection: Collection
    files: dict[str, tuple[int, int, str]]
    """Name to size in bytes, time of modification in ns, SHA-256."""


def decode_folder(found: Scan, shape: tuple[int, int, int]) -> Decoded:
    """Decode all pictures of a folder in the given shape (C, H, W).

    Files that cannot be used become `refused`. Raises UserError where Pillow is missing, and where
    the folder changes meanwhile.
    """
    load_pillow()
    kept: list[Entry] = []
    images = np.empty((len(found.entries), *shape), np.uint8)
    refused, files = list(found.refused), {}
    for entry in found.entries:
        digest = ""
        try:
            content = read_entry(found.root, entry)
            digest = hashlib.sha256(content).hexdigest()
            images[len(kept)] = decode(content, shape)
            kept.append(entry)
        except PictureError as error:
            refused.append(Refused(entry.name, str(error)))
        files[entry.name] = (entry.size, entry.modified_ns, digest)
    check_still(found)
    class_names = tuple(sorted({entry.label for entry in found.entries}))
    place = {name: index for index, name in enumerate(class_names)}
    collection = Collection(
        images=images[: len(kept)],
        labels=np.array([place[entry.label] for entry in kept], np.int64),
        parts=np.array([PARTS.index(entry.part) for entry in kept], np.uint8),
        names=tuple(entry.name for entry in kept),
        class_names=class_names,
        refused=tuple(refused),
    )
    return Decoded(collection, files)


def check_still(found: Scan) -> None:
    """UserError unless the folder holds what it held when it was scanned."""
    now = scan(found.root)
    if now.entries != found.entries:
        before = set(found.entries)
        differ = before.symmetric_difference(now.entries)
        raise changed(found.root, min(entry.name for entry in differ))


def check_classes(where: object, collection: Collection) -> None:
    """UserError unless every class can be trained on, and tested where it is."""
    names, labels = collection.class_names, collection.labels
    if len(names) < 2:
        raise UserError(f"{where}: one class, {names[0]!r}: there is nothing to tell apart")
    trained = Counter(labels[~collection.of(TEST)].tolist())
    tested = Counter(labels[collection.of(TEST)].tolist())
    for label, name in enumerate(names):
        if not trained[label] and tested[label]:
            raise UserError(f"{where}: class {name!r} has pictures to test on, none to train on")
        if not trained[label]:
            raise UserError(f"{where}: class {name!r} has no picture that can be read")
    whole = Counter(labels[collection.of(WHOLE)].tolist())
    single = [names[label] for label, count in sorted(whole.items()) if count == 1]
    if single:
        raise UserError(
            f"{where}: class {single[0]!r} has 1 picture, 2 are needed: one to train on and one to "
            "test on"
        )


def load_arrays(path: Path, content: dict[str, Any]) -> Collection:
    """The pictures of an .npz file of one's own.

    Keys: `images` and `labels`, or `train_images`, `train_labels`, `test_images`, `test_labels`
    (`x_train`, `y_train`, `x_test`, `y_test`, too), and `class_names` where there are names.
    Images: uint8 [N, H, W], [N, H, W, 3 or 1] or [N, 3 or 1, H, W]. Labels: whole numbers from 0.
    Raises UserError that names the key.
    """
    for old, new in (("x_train", "train_images"), ("y_train", "train_labels"),
                     ("x_test", "test_images"), ("y_test", "test_labels")):  # fmt: skip
        if old in content:
            content[new] = content.pop(old)
    groups = [(WHOLE, "")] if "images" in content else [(TRAIN, "train_"), (TEST, "test_")]
    images, labels, parts = [], [], []
    for part, prefix in groups:
        pixels = _images(path, f"{prefix}images", content)
        images.append(pixels)
        labels.append(_labels(path, f"{prefix}labels", content, len(pixels)))
        parts.append(np.full(len(pixels), PARTS.index(part), np.uint8))
    if len({one.shape[1:] for one in images}) > 1:
        raise UserError(f"{path}: train_images and test_images differ in shape")
    joined = np.concatenate(labels)
    return Collection(
        images=np.concatenate(images),
        labels=joined,
        parts=np.concatenate(parts),
        names=(),
        class_names=_class_names(path, content, int(joined.max(initial=-1)) + 1),
    )


def _images(path: Path, key: str, content: dict[str, Any]) -> Images:
    array = content.get(key)
    if array is None:
        raise UserError(f"{path}: key {key!r} is missing")
    if array.dtype != np.uint8:
        raise UserError(f"{path}: {key} is {array.dtype}, expected uint8 (0 to 255)")
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[-1] in (1, 3) and array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise UserError(
            f"{path}: {key} has shape {array.shape}, expected [N, H, W], [N, H, W, 3] or "
            "[N, 3, H, W]"
        )
    return np.ascontiguousarray(array)


def _labels(path: Path, key: str, content: dict[str, Any], count: int) -> Labels:
    array = content.get(key)
    if array is None:
        raise UserError(f"{path}: key {key!r} is missing")
    if array.dtype.kind not in "iu" or array.size != count:
        raise UserError(
            f"{path}: {key} is {array.dtype} {list(array.shape)}, expected {count} whole numbers"
        )
    flat: Labels = array.reshape(-1).astype(np.int64)
    if flat.min() < 0 or flat.max() > MOST_CLASSES:
        raise UserError(
            f"{path}: {key} has {flat.min()} to {flat.max()}, expected 0 to {MOST_CLASSES}"
        )
    return flat


def _class_names(path: Path, content: dict[str, Any], classes: int) -> tuple[str, ...]:
    array = content.get("class_names")
    if array is None:
        return tuple(map(str, range(classes)))
    names = tuple(map(str, array.reshape(-1).tolist()))
    if array.dtype.kind != "U" or len(names) < classes or len(set(names)) != len(names):
        raise UserError(f"{path}: class_names must be {classes} different texts or more")
    return tuple(printable(name) for name in names)
