# SPDX-License-Identifier: Apache-2.0
"""The layers around convolutions as launches of the vector unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import generated as hw
from . import layout
from .driver import Driver
from .launch import Launch, LaunchResult, expect
from .memory import KernelTensor, MemoryBlock

Array = np.ndarray


@dataclass(frozen=True)
class Line:
    """Coefficients of `map`, int32 [C] each: v = (a*first + b*second + offset + half) >> shift."""

    first: Array
    second: Array | int
    offset: Array
    shift: int


class VectorUnit:
    """Element-wise layers, sums and rearrangements of one accelerator."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._memory = driver.memory
        self._ones: MemoryBlock | None = None

    # ---- map ------------------------------------------------------------------------------------

    def _map(self, a: KernelTensor, bits: int, shift: int) -> tuple[Launch, KernelTensor]:
        expect("stream", a, a.shape, np.int16)
        out = self._memory.tensor(a.shape, np.int8 if bits == 8 else np.int16)
        launch = Launch("map")
        launch.shape(a.shape)
        launch.set(bits=bits, shift=shift)
        launch.tensor("a_address", a)
        launch.tensor("out_address", out, written=True)
        return launch, out

    def _second(self, launch: Launch, b: KernelTensor, shape: tuple[int, ...]) -> None:
        expect("second operand", b, shape, np.int16)
        launch.tensor("b_address", b)
        launch.option("second")

    def _with_ones(self, launch: Launch) -> None:
        """Coefficients that leave the operands as they are, or add them: one table for all."""
        if self._ones is None:
            self._ones = self._memory.upload(layout.coefficients(1, 1, 0, hw.LIMITS_CHANNELS))
        channels = launch.registers["channels"]
        launch.read("rows_address", self._ones, min(self._ones.size, channels * 16))

    def line(
        self,
        a: KernelTensor,
        line: Line,
        *,
        b: KernelTensor | None = None,
        residual: KernelTensor | None = None,
        rectify: bool = False,
        ceiling: int | None = None,
        bits: int = 16,
    ) -> tuple[KernelTensor, LaunchResult]:
        """A line a channel, with what follows it; see `Device.normalise`."""
        launch, out = self._map(a, bits, line.shift)
        table = layout.coefficients(line.first, line.second, line.offset, a.shape[1])
        coefficients = self._memory.upload(table)
        launch.read("rows_address", coefficients, table.nbytes)
        if b is not None:
            self._second(launch, b, a.shape)
        if residual is not None:
            expect("residual", residual, a.shape, np.int16)
            launch.tensor("residual_address", residual)
            launch.option("residual")
        if rectify:
            launch.option("rectify")
        if ceiling is not None:
            launch.set(ceiling=ceiling)
            launch.option("ceiling")
        return out, self._driver.run(launch)

    def narrow(self, stream: KernelTensor, shift: int) -> KernelTensor:
        """int16 -> int8."""
        launch, out = self._map(stream, 8, shift)
        self._with_ones(launch)
        self._driver.run(launch)
        return out

    def mask(self, g: KernelTensor, output: KernelTensor, ceiling: int | None) -> KernelTensor:
        """g where 0 < output (< ceiling)."""
        expect("output", output, g.shape, np.int8, np.int16)
        launch, out = self._map(g, 16, 0)
        self._with_ones(launch)
        launch.mask(output, ceiling)
        self._driver.run(launch)
        return out

    def add(self, a: KernelTensor, b: KernelTensor) -> KernelTensor:
        """saturate16(a + b)."""
        launch, out = self._map(a, 16, 0)
        self._with_ones(launch)
        self._second(launch, b, a.shape)
        self._driver.run(launch)
        return out

    # ---- sums -----------------------------------------------------------------------------------

    def channel_sums(self, g: KernelTensor, y: KernelTensor) -> tuple[Array, Array]:
        """Sums of g and g*y, int64 [C] each."""
        launch = Launch("channel_sums", results=2 * g.shape[1])
        launch.shape(g.shape)
        self._operands(launch, g, a_address=g, b_address=y)
        total, products = self._driver.run(launch).sums.reshape(2, -1)
        return total, products

    def sample_products(self, g: KernelTensor, after: KernelTensor, before: KernelTensor) -> Array:
        """Sums of g * (after - before), int64 [N]."""
        launch = Launch("sample_products", results=layout.groups_of(g.samples) * layout.LANES)
        launch.shape(g.shape)
        self._operands(launch, g, a_address=g, b_address=after, residual_address=before)
        return self._driver.run(launch).sums[: g.samples]

    @staticmethod
    def _operands(launch: Launch, like: KernelTensor, **tensors: KernelTensor) -> None:
        for register, tensor in tensors.items():
            expect(register.removesuffix("_address"), tensor, like.shape, np.int16)
            launch.tensor(register, tensor)

    def pool(self, stream: KernelTensor, row_step: int, column_step: int) -> Array:
        """Sums over every `row_step`-th row and `column_step`-th column, int64 [N,C]."""
        expect("stream", stream, stream.shape, np.int16)
        shape = layout.groups_of(stream.samples), stream.shape[1], layout.LANES
        launch = Launch("pool", results=shape[0] * shape[1] * shape[2])
        launch.shape(stream.shape)
        launch.set(row_step=row_step, column_step=column_step)
        launch.tensor("a_address", stream)
        return layout.unblock(self._driver.run(launch).sums.reshape(shape), stream.samples)

    # ---- rearrangements -------------------------------------------------------------------------

    def resample(
        self,
        source: KernelTensor,
        shape: tuple[int, ...],
        *,
        before: int = 0,
        stride: int = 1,
        option: str | None = None,
    ) -> KernelTensor:
        """Channel c of the result [N,C,H,W] takes channel c - before; see operation `resample`."""
        expect("stream", source, source.shape, np.int16)
        out = self._memory.tensor(shape, np.int16)
        launch = Launch("resample")
        launch.shape(source.shape)
        launch.set(filters=shape[1], out_height=shape[2], out_width=shape[3])
        launch.set(channel_offset=before, stride=stride)
        if option is not None:
            launch.option(option)
        launch.tensor("a_address", source)
        launch.tensor("out_address", out, written=True)
        self._driver.run(launch)
        return out

    def move(
        self,
        a: KernelTensor,
        origins: Array,
        *,
        b: KernelTensor | None = None,
        from_b: Array | None = None,
    ) -> KernelTensor:
        """Sample i of the result is sample origins[i] of a, or of b where from_b[i]."""
        out = self._memory.tensor((len(origins), *a.shape[1:]), a.dtype)
        from_second = np.zeros(len(origins), bool) if from_b is None else from_b
        table = layout.move_table(origins, from_second)
        entries = self._memory.upload(table)
        launch = Launch("move")
        launch.shape(out.shape)
        launch.set(bits=8 * a.dtype.itemsize, table_entries=len(table), first_samples=a.samples)
        launch.tensor("a_address", a)
        if b is not None:
            expect("part", b, (b.samples, *a.shape[1:]), a.dtype)
            launch.tensor("b_address", b)
            launch.set(second_samples=b.samples)
            launch.option("second")
        launch.read("rows_address", entries, table.nbytes)
        launch.tensor("out_address", out, written=True)
        self._driver.run(launch)
        return out
