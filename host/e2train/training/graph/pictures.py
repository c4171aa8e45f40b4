# SPDX-License-Identifier: Apache-2.0
"""The training set on the torch device: mini-batches gathered and augmented by index there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...data.batches import augmentation, batch_indices
from ...data.dataset import Dataset
from .arithmetic import Tensor


class Pictures:
    """What `data.batches` makes of the training set, as tensor operations; `order` says which."""

    def __init__(
        self, dataset: Dataset, batch: int, seed: int, augmented: bool, where: torch.device
    ) -> None:
        self._count, self._batch, self._seed = len(dataset.train_labels), batch, seed
        self._augmented, self._mirror = augmented, dataset.mirror and augmented
        self._shift = dataset.shift
        channels_last = np.ascontiguousarray(dataset.train_images.transpose(0, 2, 3, 1))
        self._images = torch.from_numpy(channels_last).to(where)
        self._labels = torch.from_numpy(dataset.train_labels.astype(np.int64)).to(where)
        self._border = torch.tensor(dataset.mean, dtype=torch.uint8, device=where)
        self._rows = torch.arange(self._images.shape[1], device=where)
        self._columns = torch.arange(self._images.shape[2], device=where)

    def order(self, iterations: Sequence[int]) -> np.ndarray:
        """int64 [iterations, 4, N]: each sample's index, moves down and right, mirroring."""
        order = np.zeros((len(iterations), 4, self._batch), np.int64)
        order[:, 1:3] = self._shift
        for row, iteration in zip(order, iterations, strict=True):
            row[0] = batch_indices(self._count, self._batch, iteration, self._seed)
            if self._augmented:
                drawn = augmentation(self._batch, iteration, self._seed, self._shift)
                row[1], row[2] = drawn.down, drawn.right
                row[3] = drawn.mirrored & self._mirror
        return order

    def batch(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """One row of `order` to uint8 images [N,C,H,W] and labels int64 [N]."""
        index, down, right, mirrored = order.unbind(0)
        height, width = self._images.shape[1:3]
        rows = self._rows + (down - self._shift)[:, None]
        columns = torch.where(mirrored[:, None] > 0, width - 1 - self._columns, self._columns)
        columns = columns + (right - self._shift)[:, None]
        rows, columns = rows[:, :, None], columns[:, None, :]
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        found = self._images[
            index[:, None, None], rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        ]
        moved = torch.where(inside[..., None], found, self._border)
        return moved.permute(0, 3, 1, 2), self._labels.index_select(0, index)
