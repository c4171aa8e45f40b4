# SPDX-License-Identifier: Apache-2.0
"""Many small tensors in one: an optimiser's step over all of them is a handful of kernels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from .arithmetic import Tensor, Tensors

ALIGNMENT = 64  # elements: what a kernel reads in wide words begins at a multiple of their size
Arrays = Mapping[str, np.ndarray]


class Layout:
    """Where each of the named tensors lies in a flat one; the gaps between them belong to none."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = dict(shapes)
        self.starts: dict[str, int] = {}
        self.size = 0
        for name, shape in self.shapes.items():
            self.starts[name] = self.size
            self.size += -(-int(np.prod(shape)) // ALIGNMENT) * ALIGNMENT
        self._gap: Tensor | None = None

    @classmethod
    def of(cls, arrays: Arrays) -> Layout:
        """The layout that holds arrays of these shapes."""
        return cls({name: array.shape for name, array in arrays.items()})

    def zeros(self, where: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
        """A flat tensor of zeros."""
        return torch.zeros(self.size, dtype=dtype, device=where)

    def views(self, flat: Tensor) -> Tensors:
        """The named tensors within a flat one."""
        return {
            name: flat[start : start + int(np.prod(self.shapes[name]))].view(self.shapes[name])
            for name, start in self.starts.items()
        }

    def gather(self, tensors: Tensors) -> Tensor:
        """A new flat tensor of all the named ones, zeros in the gaps."""
        pieces: list[Tensor] = []
        for name, shape in self.shapes.items():
            piece = tensors[name].reshape(-1)
            if self._gap is None:  # made once: a fill for each gap would cost a kernel each
                self._gap = piece.new_zeros(ALIGNMENT)
            gap = -int(np.prod(shape)) % ALIGNMENT
            pieces += [piece, self._gap[:gap]] if gap else [piece]
        return torch.cat(pieces)

    def owners(self, groups: Iterable[tuple[str, int]], rest: int) -> np.ndarray:
        """int64 [size]: the number of the group whose names' prefix it is, `rest` elsewhere."""
        owner = np.full(self.size, rest, np.int64)
        for prefix, number in groups:
            for name, start in self.starts.items():
                if name.startswith(prefix):
                    owner[start : start + int(np.prod(self.shapes[name]))] = number
        return owner


def load(views: Tensors, arrays: Arrays) -> None:
    """Copy arrays into the tensors of the same names."""
    for name, view in views.items():
        view.copy_(torch.from_numpy(np.ascontiguousarray(arrays[name])))


def store(layout: Layout, flat: Tensor, arrays: dict[str, np.ndarray]) -> None:
    """Copy a flat tensor's parts into the arrays of the same names, in place; one transfer."""
    host = flat.cpu()
    for name, view in layout.views(host).items():
        arrays[name][...] = view.numpy()
