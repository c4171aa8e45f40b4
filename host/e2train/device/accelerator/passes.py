# SPDX-License-Identifier: Apache-2.0
"""A convolution's passes as launches: forward, to the input, to the weights, PSG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..base import PsgResult
from ..geometry import Geometry
from . import generated as hw
from . import layout
from .driver import Driver
from .launch import Launch, LaunchResult, expect
from .limits import LaunchRefused
from .memory import KernelTensor, MemoryBlock
from .tiling.plan import TilePlan

SUM = np.dtype(np.int64)
SCRATCH_BYTES = 40
"""PSG's scratch a weight: the predictor's sum, its slots and their results."""

PREDICTED = 1 << 2  # in PSG's byte a weight; bits 0 and 1 are the sign in two's complement
SIGNS = np.array((0, 1, 0, -1), np.int8)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class GradientStore:
    """What happens to an input gradient as it is stored; see `Device.input_gradient`."""

    shift: int
    mask: KernelTensor | None = None
    ceiling: int | None = None
    residual: KernelTensor | None = None
    narrow: bool = False


def in_shape(geometry: Geometry, samples: int) -> Shape:
    """Of x."""
    return samples, geometry.channels, geometry.height, geometry.width


def out_shape(geometry: Geometry, samples: int) -> Shape:
    """Of y."""
    return samples, geometry.filters, geometry.out_height, geometry.out_width


def _planned(driver: Driver, geometry: Geometry, samples: int, direction: str) -> TilePlan:
    try:
        return driver.tiles.plan(geometry, samples, direction)
    except ValueError as error:
        raise LaunchRefused(str(error)) from error


def _launch(operation: str, geometry: Geometry, samples: int, plan: TilePlan) -> Launch:
    launch = Launch(operation)
    launch.geometry(geometry, samples)
    launch.set(
        tile_outer=plan.tile_outer,
        tile_inner=plan.tile_inner,
        tile_h=plan.tile_h,
        tile_w=plan.tile_w,
    )
    return launch


# ---- passes that produce a plane ----------------------------------------------------------------


class _Chain:
    """The launches of one pass: as many as the reduced channels need, each adding to the last."""

    def __init__(
        self, driver: Driver, operation: str, geometry: Geometry, samples: int, plan: TilePlan
    ) -> None:
        self._driver = driver
        self.launches = []
        for begin, count in plan.inner_ranges:
            launch = _launch(operation, geometry, samples, plan)
            launch.set(inner_begin=begin, tile_inner=count)
            self.launches.append(launch)

    @property
    def last(self) -> Launch:
        """The launch that stores the pass's result."""
        return self.launches[-1]

    def operands(self, source: KernelTensor, rows: np.ndarray) -> None:
        """What every launch reads."""
        weights = self._driver.memory.upload(rows)
        for launch in self.launches:
            launch.tensor("a_address", source)
            launch.read("rows_address", weights, rows.nbytes)
        self._weights = weights  # alive as long as the launches are

    def run(self, shape: Shape) -> LaunchResult:
        """Run them all; `shape` is what the pass produces."""
        size = layout.blocked_bytes(shape, SUM)
        carry: MemoryBlock | None = None
        for launch in self.launches:
            if carry is not None:
                launch.read("carry_address", carry, size)
                launch.option("carry")
            if launch is not self.last:
                sums = self._driver.memory.block(size)
                launch.write("out_address", sums, size)
                launch.option("raw")
                self._driver.run(launch)
                carry = sums
        return self._driver.run(self.last)

    def run_raw(self, shape: Shape) -> np.ndarray:
        """Run them all for the exact sums, int64 of `shape`."""
        size = layout.blocked_bytes(shape, SUM)
        sums = self._driver.memory.block(size)
        self.last.write("out_address", sums, size)
        self.last.option("raw")
        self.run(shape)
        return self._driver.memory.unblocked(sums, SUM, shape)


def _forward_chain(driver: Driver, x: KernelTensor, w: np.ndarray, geometry: Geometry) -> _Chain:
    expect("x", x, in_shape(geometry, x.samples), np.int8)
    plan = _planned(driver, geometry, x.samples, "forward")
    chain = _Chain(driver, "convolve", geometry, x.samples, plan)
    chain.operands(x, layout.forward_rows(w))
    return chain


def convolve(
    driver: Driver, x: KernelTensor, w: np.ndarray, geometry: Geometry, shift: int
) -> tuple[KernelTensor, LaunchResult]:
    """y int16, requantised by `shift`, and the result with its sums of y and y^2."""
    chain = _forward_chain(driver, x, w, geometry)
    y = driver.memory.tensor(out_shape(geometry, x.samples), np.int16)
    chain.last.set(shift=shift)
    chain.last.tensor("out_address", y, written=True)
    chain.last.results = 2 * geometry.filters
    return y, chain.run(y.shape)


def convolve_exactly(
    driver: Driver, x: KernelTensor, w: np.ndarray, geometry: Geometry
) -> np.ndarray:
    """The forward sums, int64 [N,K,P,Q]."""
    chain = _forward_chain(driver, x, w, geometry)
    return chain.run_raw(out_shape(geometry, x.samples))


def _backward_chain(driver: Driver, g: KernelTensor, w: np.ndarray, geometry: Geometry) -> _Chain:
    expect("g", g, out_shape(geometry, g.samples), np.int16)
    plan = _planned(driver, geometry, g.samples, "backward_input")
    chain = _Chain(driver, "input_gradient", geometry, g.samples, plan)
    chain.operands(g, layout.backward_rows(w, geometry.groups > 1))
    return chain


def input_gradient(
    driver: Driver, g: KernelTensor, w: np.ndarray, geometry: Geometry, store: GradientStore
) -> tuple[KernelTensor, LaunchResult]:
    """The input's gradient, int16 [N,C,H,W]."""
    chain = _backward_chain(driver, g, w, geometry)
    shape = in_shape(geometry, g.samples)
    out = driver.memory.tensor(shape, np.int16)
    last = chain.last
    last.set(shift=store.shift)
    last.tensor("out_address", out, written=True)
    if store.mask is not None:
        expect("output", store.mask, shape, np.int8, np.int16)
        last.mask(store.mask, store.ceiling)
    if store.residual is not None:
        expect("residual", store.residual, shape, np.int16)
        last.tensor("residual_address", store.residual)
        last.option("residual")
    if store.narrow:
        for launch in chain.launches:
            launch.option("narrow_gradient")
    return out, chain.run(shape)


def input_gradient_exactly(
    driver: Driver, g: KernelTensor, w: np.ndarray, geometry: Geometry
) -> np.ndarray:
    """The input gradient's sums, int64 [N,C,H,W]."""
    chain = _backward_chain(driver, g, w, geometry)
    return chain.run_raw(in_shape(geometry, g.samples))


# ---- passes that produce weight gradients -------------------------------------------------------


def _weight_launch(
    operation: str, x: KernelTensor, g: KernelTensor, geometry: Geometry, plan: TilePlan
) -> Launch:
    expect("x", x, in_shape(geometry, x.samples), np.int8)
    expect("g", g, out_shape(geometry, x.samples), np.int16)
    launch = _launch(operation, geometry, x.samples, plan)
    launch.tensor("a_address", g)
    launch.tensor("b_address", x)
    return launch


def weight_gradient(
    driver: Driver, x: KernelTensor, g: KernelTensor, geometry: Geometry
) -> np.ndarray:
    """int64 [K,C/groups,R,S]."""
    plan = _planned(driver, geometry, x.samples, "weight")
    launch = _weight_launch("weight_gradient", x, g, geometry, plan)
    size = geometry.weights * SUM.itemsize
    out = driver.memory.block(size)
    launch.write("out_address", out, size)
    driver.run(launch)
    return driver.memory.download(out, SUM, geometry.weight_shape)


def _whole_beats(size: int) -> int:
    """Bytes that the kernel writes for `size` bytes: zeros fill the last beat."""
    beat = hw.BANDWIDTH_BYTES_PER_BEAT
    return -(-size // beat) * beat


def psg_gradient(
    driver: Driver,
    x: KernelTensor,
    g: KernelTensor,
    geometry: Geometry,
    predictor: tuple[int, int, int],
) -> PsgResult:
    """Signs by the predictor's settings (beta_q, x_msb, g_msb)."""
    plan = _planned(driver, geometry, x.samples, "psg")
    launch = _weight_launch("psg_gradient", x, g, geometry, plan)
    launch.set(**dict(zip(("beta_q", "x_msb", "g_msb"), predictor, strict=True)))
    out = driver.memory.block(_whole_beats(geometry.weights))
    launch.write("out_address", out, _whole_beats(geometry.weights))
    scratch = driver.memory.block(geometry.weights * SCRATCH_BYTES)
    launch.write("scratch_address", scratch, scratch.size)
    result = driver.run(launch)
    found = driver.memory.download(out, np.uint8, geometry.weight_shape)
    return PsgResult(SIGNS[found & 3], (found & PREDICTED) != 0, result.header["max_msb"])
