# SPDX-License-Identifier: Apache-2.0
"""What one start of the accelerator is told: registers, and the buffers that they point to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..geometry import Geometry
from . import generated as hw
from . import layout
from .limits import Buffer, LaunchRefused
from .memory import KernelTensor, MemoryBlock


@dataclass
class Launch:
    """Registers by name (those not named are 0) and the memory that the operation touches.

    results: 64-bit words after the result block's header.
    """

    operation: str
    registers: dict[str, int] = field(default_factory=dict)
    buffers: list[Buffer] = field(default_factory=list)
    results: int = 0

    def __post_init__(self) -> None:
        self.registers["operation"] = hw.OPERATIONS[self.operation]

    def set(self, **registers: int) -> None:
        """Set registers, by their own names or those that an operation has for them."""
        self.registers |= {hw.NAMES.get(name, name): int(v) for name, v in registers.items()}

    def option(self, *names: str) -> None:
        """Set these bits of the register `options`."""
        for name in names:
            self.set(options=self.registers.get("options", 0) | 1 << hw.OPTIONS[name])

    def read(self, register: str, block: MemoryBlock, size: int) -> None:
        """The operation reads `size` bytes of a block."""
        self._use(register, block, size, written=False)

    def write(self, register: str, block: MemoryBlock, size: int) -> None:
        """The operation writes `size` bytes of a block."""
        self._use(register, block, size, written=True)

    def _use(self, register: str, block: MemoryBlock, size: int, *, written: bool) -> None:
        if size > block.size:
            raise LaunchRefused(f"{register}: {size} bytes used of a buffer of {block.size}")
        self.set(**{register: block.address})
        self.buffers.append(Buffer(register, block.address, size, written))

    def tensor(self, register: str, tensor: KernelTensor, *, written: bool = False) -> None:
        """A whole tensor, read or written."""
        size = layout.blocked_bytes(tensor.shape, tensor.dtype)
        self._use(register, tensor.block, size, written=written)

    def shape(self, shape: tuple[int, ...]) -> None:
        """Set samples, channels, height and width."""
        self.set(**dict(zip(("samples", "channels", "height", "width"), shape, strict=True)))

    def mask(self, tensor: KernelTensor, ceiling: int | None) -> None:
        """Let through where 0 < tensor (< ceiling).

        A register of 0 stands for no ceiling; none below 2 lets a positive integer through.
        """
        self.tensor("mask_address", tensor)
        self.set(mask_ceiling=0 if ceiling is None else max(ceiling, 1))
        self.option("mask8" if tensor.dtype == np.int8 else "mask16")

    def geometry(self, geometry: Geometry, samples: int) -> None:
        """Set what describes a convolution."""
        self.shape((samples, geometry.channels, geometry.height, geometry.width))
        self.set(
            filters=geometry.filters,
            out_height=geometry.out_height,
            out_width=geometry.out_width,
            kernel_h=geometry.kernel[0],
            kernel_w=geometry.kernel[1],
            stride=geometry.stride,
            padding=geometry.padding,
            depthwise=geometry.groups > 1,
        )


class LaunchResult(NamedTuple):
    """What a launch reports: the result block's header by name, and the sums after it (int64)."""

    header: dict[str, int]
    sums: np.ndarray


def expect(name: str, tensor: KernelTensor, shape: tuple[int, ...], *dtypes: npt.DTypeLike) -> None:
    """Raise ValueError unless the tensor has this shape and one of these dtypes."""
    allowed = [np.dtype(dtype) for dtype in dtypes]
    if tensor.shape != shape or tensor.dtype not in allowed:
        raise ValueError(
            f"{name}: {tensor.dtype} {tensor.shape} given, "
            f"expected {' or '.join(map(str, allowed))} {shape}"
        )
