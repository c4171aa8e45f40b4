# SPDX-License-Identifier: Apache-2.0
"""What a data set's pictures look like, without its files."""

from __future__ import annotations

from ..errors import UserError
from .cifar import LAYOUTS, PIXELS, SHAPE
from .digits import load_digits

LABEL_BYTES = 8  # int64


def picture_shape(data: str) -> tuple[tuple[int, int, int], int]:
    """Shape (C, H, W) and number of classes of a data set; UserError for an unknown one."""
    if data in LAYOUTS:
        return SHAPE, LAYOUTS[data].classes
    if data == "digits":
        digits = load_digits()
        c, h, w = digits.train_images.shape[1:]
        return (c, h, w), digits.classes
    raise UserError(f"unknown data set {data!r}: expected digits, {', '.join(LAYOUTS)}")


def picture_bytes(data: str) -> int:
    """Bytes of memory that a data set's pictures and labels take; UserError for an unknown one."""
    if data in LAYOUTS:
        return sum(LAYOUTS[data].files.values()) * (PIXELS + LABEL_BYTES)
    picture_shape(data)
    digits = load_digits()
    arrays = digits.train_images, digits.train_labels, digits.test_images, digits.test_labels
    return sum(array.nbytes for array in arrays)
