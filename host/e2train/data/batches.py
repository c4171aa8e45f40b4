# SPDX-License-Identifier: Apache-2.0
"""Mini-batches and augmentation as pure functions of the seed and the iteration.

Nothing here keeps state that a checkpoint would have to save: iteration n of a resumed run sees
the very images that iteration n of an uninterrupted run sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from e2train.data.dataset import Images
from e2train.rng import permutation, raw_words


@lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    order = permutation(seed, "shuffle", epoch, count)
    order.flags.writeable = False
    return order


def batch_indices(n: int, batch: int, iteration: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the samples of mini-batch `iteration`, int64 [batch], out of `n`.

    Every epoch goes through a fresh permutation; a last partial mini-batch is dropped.
    ValueError where `batch` is not in [1, n] or `iteration` is negative.
    """
    if not 1 <= batch <= n:
        raise ValueError(f"batch must be in [1, {n}], got {batch}")
    if iteration < 0:
        raise ValueError(f"iteration must not be negative, got {iteration}")
    epoch, position = divmod(iteration, n // batch)
    return _epoch_order(seed, epoch, n)[position * batch : (position + 1) * batch]


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for each image of a mini-batch, [N] each.

    down, right: int64 in [0, 2 shift], where in the bordered image it begins; mirrored: bool.
    """

    down: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    mirrored: npt.NDArray[np.bool_]


def augmentation(count: int, iteration: int, seed: int, shift: int) -> Augmentation:
    """Draw moves of up to `shift` pixels each way, uniformly, and which half is mirrored."""
    words = raw_words(seed, "augment", iteration, 3 * count).reshape(3, count)
    # The remainder of a 64-bit word is biased by less than 2^-59: of no consequence here.
    down, right = (words[:2] % np.uint64(2 * shift + 1)).astype(np.int64)
    return Augmentation(down, right, (words[2] >> np.uint64(63)).astype(bool))


def augment(
    images: Images,
    iteration: int,
    seed: int,
    mirror: bool,
    shift: int,
    pad_value: Sequence[int],
) -> Images:
    """Mirror half of the images and move each by up to `shift` pixels; return a new array.

    `images` is uint8 [N, C, H, W]; `pad_value`, one a channel, fills the border that appears. Both
    offsets are uniform in [-shift, shift] and drawn an image (He et al. 2016, section 4.2: pad,
    crop, mirror).
    """
    count, channels = images.shape[:2]
    if len(pad_value) != channels:
        raise ValueError(f"pad_value must have {channels} values, got {len(pad_value)}")
    drawn = augmentation(count, iteration, seed, shift)
    mirrored = drawn.mirrored if mirror else np.zeros(count, bool)
    border = np.asarray(pad_value, np.uint8)
    return moved(images, drawn.down, drawn.right, mirrored, shift, border)


def moved(
    images: Images,
    down: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    mirrored: npt.NDArray[np.bool_],
    shift: int,
    border: npt.NDArray[np.uint8],
) -> Images:
    """Cut each image out of a border of `shift` pixels from (down, right) on, and mirror some.

    `images` is uint8 [N, C, H, W]; down, right: int64 [N] in [0, 2 shift]; border: uint8 [C].
    """
    count, channels, height, width = images.shape
    padded = np.empty((count, channels, height + 2 * shift, width + 2 * shift), np.uint8)
    padded[:] = border[:, None, None]
    padded[:, :, shift : shift + height, shift : shift + width] = images
    # NumPy 1.26, the board's, types `axis` as one number.
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))  # type: ignore[call-overload]
    found: Images = windows[np.arange(count), :, down, right]
    found[mirrored] = found[mirrored, :, :, ::-1]
    return found


def to_int8(images: Images, mean: Sequence[int]) -> npt.NDArray[np.int8]:
    """Return `images - mean` a channel, saturated to [-128, 127]: int8 [N, C, H, W]."""
    centred = images.astype(np.int16) - np.asarray(mean, np.int16)[:, None, None]
    return np.clip(centred, -128, 127).astype(np.int8)


def to_float32(
    images: Images, mean: Sequence[int], std: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Return `(images - mean) / std` a channel: float32 [N, C, H, W]."""
    centred = images.astype(np.float32) - np.asarray(mean, np.float32)[:, None, None]
    return centred / np.asarray(std, np.float32)[:, None, None]
