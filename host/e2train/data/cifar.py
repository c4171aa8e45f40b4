# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 and CIFAR-100 in their official binary layout.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; the layout is described
at https://www.cs.toronto.edu/~kriz/cifar.html: records of one label byte (CIFAR-100: a coarse, then
a fine one) and 3,072 pixel bytes, the red, green and blue planes of 32x32 in row-major order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from e2train.data.dataset import Dataset, Images, Labels
from e2train.errors import UserError

SHAPE = (3, 32, 32)
PIXELS = 3072
LABEL_FILE = "LABEL.txt"


@dataclass(frozen=True)
class Layout:
    """The files of one data set; `records` is the number of images in each file of either list."""

    name: str
    title: str
    folder: str
    train_files: tuple[str, ...]
    train_records: int
    test_file: str
    test_records: int
    label_bytes: int
    classes: int
    names_file: str
    mean: tuple[int, int, int]
    std: tuple[float, float, float]

    @property
    def record_bytes(self) -> int:
        """Bytes of a record; the last of its label bytes is the label used (the fine one)."""
        return self.label_bytes + PIXELS

    @property
    def files(self) -> dict[str, int]:
        """Every file's name and the number of records that it must have."""
        train = dict.fromkeys(self.train_files, self.train_records)
        return {**train, self.test_file: self.test_records}

    @property
    def total_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(self.files.values()) * self.record_bytes


# Means and deviations are those of the training pixels, a channel; means rounded to integers.
LAYOUTS = {
    "cifar10": Layout(
        name="cifar10",
        title="CIFAR-10",
        folder="cifar-10-batches-bin",
        train_files=tuple(f"data_batch_{index}.bin" for index in range(1, 6)),
        train_records=10_000,
        test_file="test_batch.bin",
        test_records=10_000,
        label_bytes=1,
        classes=10,
        names_file="batches.meta.txt",
        mean=(125, 123, 114),
        std=(63.0, 62.1, 66.7),
    ),
    "cifar100": Layout(
        name="cifar100",
        title="CIFAR-100",
        folder="cifar-100-binary",
        train_files=("train.bin",),
        train_records=50_000,
        test_file="test.bin",
        test_records=10_000,
        label_bytes=2,
        classes=100,
        names_file="fine_label_names.txt",
        mean=(129, 124, 112),
        std=(68.2, 65.4, 70.4),
    ),
}


def find_folder(layout: Layout, folder: Path) -> Path:
    """Return `folder` or, where the files are not right there, its official sub-folder."""
    inside = any((folder / name).exists() for name in layout.files)
    return folder if inside else folder / layout.folder


def check_sizes(layout: Layout, folder: Path) -> None:
    """Raise UserError where a file is missing (how to get it) or of a wrong size (both sizes)."""
    for name, records in layout.files.items():
        path = folder / name
        if not path.is_file():
            parent = folder.parent if folder.name == layout.folder else folder
            raise UserError(
                f"{path} is missing; get it by: e2train data fetch {layout.name} --out {parent}"
            )
        actual, expected = path.stat().st_size, records * layout.record_bytes
        if actual != expected:
            raise UserError(f"{path} has {actual:,} bytes, expected {expected:,}")


def _read(layout: Layout, path: Path, images: Images, labels: Labels) -> None:
    """Fill `images` uint8 [N, 3, 32, 32] and `labels` int64 [N] from the N records of `path`."""
    records = np.fromfile(path, np.uint8).reshape(len(labels), layout.record_bytes)
    found = records[:, layout.label_bytes - 1]
    wrong = np.flatnonzero(found >= layout.classes)
    if wrong.size:
        raise UserError(
            f"{path}: record {wrong[0]} has label {found[wrong[0]]}, "
            f"expected 0 to {layout.classes - 1}"
        )
    labels[:] = found
    images[:] = records[:, layout.label_bytes :].reshape(-1, *SHAPE)


def _label(layout: Layout, folder: Path) -> str:
    """Return the first line of LABEL.txt, which names the variant, or say that nothing does."""
    path = folder / LABEL_FILE
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    stated = lines[0].strip() if lines else ""
    return stated or f"{layout.title} (unverified)"


def _class_names(layout: Layout, folder: Path) -> tuple[str, ...]:
    """What the file of names says, one a line; nothing where it is missing or another file."""
    path = folder / layout.names_file
    lines = path.read_text(encoding="utf-8", errors="replace").split() if path.exists() else []
    return tuple(lines) if len(lines) == layout.classes else ()


def load_cifar(name: str, folder: Path) -> Dataset:
    """Read data set `name` ("cifar10", "cifar100") from `folder` or its official sub-folder.

    `e2train data fetch` checks the official archive's MD5 and then writes LABEL.txt; other copies
    are labelled "(unverified)" unless someone puts a LABEL.txt beside the files.
    """
    layout = LAYOUTS[name]
    folder = find_folder(layout, folder)
    check_sizes(layout, folder)
    step = layout.train_records
    total = step * len(layout.train_files)
    train_images, train_labels = np.empty((total, *SHAPE), np.uint8), np.empty(total, np.int64)
    for index, file in enumerate(layout.train_files):
        part = slice(index * step, (index + 1) * step)
        _read(layout, folder / file, train_images[part], train_labels[part])
    test_images = np.empty((layout.test_records, *SHAPE), np.uint8)
    test_labels = np.empty(layout.test_records, np.int64)
    _read(layout, folder / layout.test_file, test_images, test_labels)
    return Dataset(
        name=name,
        label=_label(layout, folder),
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        classes=layout.classes,
        mean=layout.mean,
        std=layout.std,
        mirror=True,
        shift=4,
        class_names=_class_names(layout, folder),
    )
