# SPDX-License-Identifier: Apache-2.0
"""How arrays lie in the accelerator's memory.

Tensors are sample-blocked: [N,C,H,W] as words [ceil(N/16)][C][H][W][16], a word being one element
of 16 samples, so that no convolution ever shifts a word. Lanes of samples beyond N are zero.
Weights are words of 16 rows of the array: 16 filters going forward, 16 channels going back.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from . import generated as hw

LANES = hw.ARRAY_COLUMNS
ENTRY = np.dtype([("key", "<u8"), ("lanes", "u1", LANES)])
"""One entry of a move's table: 3 beats, the key and which source lane each lane takes."""

KEEP = 0x80  # a lane that an entry leaves as it is
FROM_SECOND = 1 << 32
FIRST_OF_GROUP = 1 << 33


def groups_of(samples: int) -> int:
    """Words along the samples."""
    return -(-samples // LANES)


def blocked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[N, ...] as it lies in memory: [ceil(N/16), ..., 16]."""
    return (groups_of(shape[0]), *shape[1:], LANES)


def blocked_bytes(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    """Bytes of a sample-blocked tensor."""
    return math.prod(blocked_shape(shape)) * np.dtype(dtype).itemsize


def block(array: np.ndarray, words: np.ndarray) -> None:
    """Write [N,C,H,W] into `words` [ceil(N/16),C,H,W,16], zeros beyond N."""
    for group in range(groups_of(len(array))):
        part = array[group * LANES : (group + 1) * LANES]
        words[group, ..., : len(part)] = np.moveaxis(part, 0, -1)
        words[group, ..., len(part) :] = 0


def unblock(words: np.ndarray, samples: int) -> np.ndarray:
    """[ceil(N/16),C,H,W,16] as a new C-contiguous [N,C,H,W]."""
    whole = np.moveaxis(words, -1, 1).reshape(-1, *words.shape[1:-1])
    return np.array(whole[:samples], order="C")


def row_words(rows: np.ndarray) -> np.ndarray:
    """[rows, a, R, S] int8 as [ceil(rows/16)][a][R][S][16], zero rows at the end."""
    count = groups_of(len(rows))
    padded = np.zeros((count * LANES, *rows.shape[1:]), np.int8)
    padded[: len(rows)] = rows
    words = padded.reshape(count, LANES, *rows.shape[1:])
    return np.ascontiguousarray(np.moveaxis(words, 1, -1))


def forward_rows(w: np.ndarray) -> np.ndarray:
    """Weights int8 [K,C/groups,R,S] for `convolve`: 16 filters a word."""
    return row_words(w)


def backward_rows(w: np.ndarray, depthwise: bool) -> np.ndarray:
    """Weights int8 [K,C/groups,R,S] for `input_gradient`: 16 channels a word."""
    return row_words(w if depthwise else w.transpose(1, 0, 2, 3))


def coefficients(
    multiplier: np.ndarray | int, second: np.ndarray | int, offset: np.ndarray | int, channels: int
) -> np.ndarray:
    """Per-channel int32 [C,4] of `map`: multiplier, second multiplier, offset, 0."""
    table = np.zeros((channels, 4), np.int32)
    table[:, 0], table[:, 1], table[:, 2] = multiplier, second, offset
    return table


def move_table(origins: np.ndarray, from_second: np.ndarray) -> np.ndarray:
    """Table of `move`, as ENTRY records sorted by destination group.

    A group's lines are in the order that reads least: first what the group before has left on
    chip, of the second tensor if there is one, and last a line of each tensor in one go.

    origins: int64 [N], the source sample of each sample of the result; from_second: bool [N],
    where that source is the second tensor.
    """
    entries = []
    for group in range(groups_of(len(origins))):
        here = slice(group * LANES, (group + 1) * LANES)
        sources = origins[here] // LANES + (from_second[here].astype(np.int64) << 32)
        found = np.unique(sources)
        second = found[found >> 32 == 1]
        order = np.concatenate([second[:-1], found[found >> 32 == 0], second[-1:]])
        for place, source in enumerate(order):
            lanes = np.full(LANES, KEEP, np.uint8)
            chosen = np.flatnonzero(sources == source)
            lanes[chosen] = origins[here][chosen] % LANES
            key = group | int(source & 0xFFFFFFFF) << 16
            key |= FROM_SECOND if source >> 32 else 0
            key |= 0 if place else FIRST_OF_GROUP
            entries.append((key, lanes))
    return np.array(entries, ENTRY)
