# SPDX-License-Identifier: Apache-2.0
"""Folders of pictures for tests: digits and drawn shapes as files, and files with every fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from e2train.data.digits import load_digits

NAMES = ("zero", "one", "two", "three", "four", "five")


def digit_pictures(count: int, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """`count` digits of each class, 16x16: uint8 [N, 16, 16] and labels [N]."""
    digits = load_digits()
    chosen = [np.flatnonzero(digits.train_labels == label)[:count] for label in range(classes)]
    places = np.concatenate(chosen)
    small = np.minimum(digits.train_images[places, 0].astype(np.uint16) * 2, 255)
    return np.kron(small, np.ones((1, 2, 2))).astype(np.uint8), digits.train_labels[places]


def write_folder(root: Path, images: np.ndarray, labels: np.ndarray, suffix: str = "png") -> Path:
    """One file a picture, in `root/CLASS/`."""
    for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / NAMES[label]
        folder.mkdir(parents=True, exist_ok=True)
        options = {"quality": 95} if suffix == "jpg" else {}
        Image.fromarray(pixels).save(folder / f"{index:04}.{suffix}", **options)
    return root


def small_folder(root: Path, count: int = 5, classes: int = 2) -> Path:
    """A folder of `count` digits in each of a few classes."""
    return write_folder(root, *digit_pictures(count, classes))


def break_files(paths: list[Path]) -> None:
    """Damage each file in its own way: emptied, cut off, overwritten, or other content."""
    for index, path in enumerate(paths):
        content = path.read_bytes()
        ways = (
            b"",
            content[: len(content) // 2],
            content[:20] + b"\0" * 200,
            b"not a picture at all",
            content[:3],
        )
        path.write_bytes(ways[index % len(ways)])
