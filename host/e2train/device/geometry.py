# SPDX-License-Identifier: Apache-2.0
"""The geometry of one convolution, and the limits that every device shares."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

MAX_KERNEL = 7
STRIDES = (1, 2)


def hash_once(self: Any) -> int:
    """`__hash__` of a frozen dataclass that is the key of many caches: worked out once."""
    known: int | None = self.__dict__.get("_hash")
    if known is None:
        known = hash(tuple(getattr(self, field.name) for field in fields(self)))
        self.__dict__["_hash"] = known
    return known


@dataclass(frozen=True)
class Geometry:
    """Shape of a convolution without its batch: x [N,C,H,W] * w [K,C/groups,R,S] -> y [N,K,P,Q]."""

    channels: int
    height: int
    width: int
    filters: int
    kernel: tuple[int, int]
    stride: int
    padding: int
    groups: int

    def __post_init__(self) -> None:
        r, s = self.kernel
        if not (1 <= r <= MAX_KERNEL and 1 <= s <= MAX_KERNEL):
            raise ValueError(f"kernel_size: {r}x{s} given, expected 1x1 to 7x7")
        if self.stride not in STRIDES:
            raise ValueError(f"stride: {self.stride} given, expected 1 or 2")
        if not 0 <= self.padding < max(r, s):
            raise ValueError(f"padding: {self.padding} given, expected 0 to {max(r, s) - 1}")
        if self.groups != 1 and not self.groups == self.channels == self.filters:
            raise ValueError(
                f"groups: {self.groups} given, expected 1 (dense) or "
                f"{self.channels} = C = K (depthwise; K is {self.filters})"
            )
        if self.out_height < 1 or self.out_width < 1:
            raise ValueError(
                f"kernel_size: {r}x{s} exceeds the padded input "
                f"{self.height + 2 * self.padding}x{self.width + 2 * self.padding}"
            )

    __hash__ = hash_once

    @cached_property
    def out_height(self) -> int:
        """P, rows of the output."""
        return (self.height + 2 * self.padding - self.kernel[0]) // self.stride + 1

    @cached_property
    def out_width(self) -> int:
        """Q, columns of the output."""
        return (self.width + 2 * self.padding - self.kernel[1]) // self.stride + 1

    @cached_property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """[K, C/groups, R, S]."""
        return (self.filters, self.channels // self.groups, *self.kernel)

    @cached_property
    def weights(self) -> int:
        """Number of weights."""
        k, c, r, s = self.weight_shape
        return k * c * r * s

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one pass (forward or either backward) for one sample."""
        return self.weights * self.out_height * self.out_width

    @cached_property
    def input_size(self) -> int:
        """Elements of x for one sample."""
        return self.channels * self.height * self.width

    @cached_property
    def output_size(self) -> int:
        """Elements of y for one sample."""
        return self.filters * self.out_height * self.out_width
