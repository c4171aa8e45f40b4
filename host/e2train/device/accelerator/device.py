# SPDX-License-Identifier: Apache-2.0
"""The accelerator as a device: every tensor operation is a launch, whatever the transport.

csim, RTL and board differ in how registers and bytes reach the kernel and in nothing else. Weights
and per-channel coefficients travel with each launch, sums come back in its result block.
"""

from __future__ import annotations

import numpy as np

from ..base import Convolved, Device, Peaked, PsgResult
from ..geometry import Geometry
from . import passes
from . import vector_unit as vectors
from .driver import Driver
from .memory import KernelTensor
from .tile_plans import TilePlans
from .transport import Transport

NARROW_BITS = 8  # of the gradient's copy that `input_gradient` can take


class KernelDevice(Device):
    """Exact device on the accelerator; a Tensor is a KernelTensor.

    Operations raise LaunchRefused (a UserError and a ValueError), naming the limit, for what the
    accelerator cannot do, and KernelError where it reports an error code.
    """

    def __init__(self, transport: Transport, gap: int = 0, tiles: TilePlans | None = None) -> None:
        """`gap` leaves that many unused bytes after each buffer; tests look for writes there.

        `tiles`: where tile plans come from; without it, all are worked out.
        """
        self.name = transport.name
        self.driver = Driver(transport, gap, tiles)
        self._vectors = vectors.VectorUnit(self.driver)

    def close(self) -> None:
        self.driver.transport.close()

    # ---- pinned operations ----------------------------------------------------------------------

    def _forward(self, x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
        return passes.convolve_exactly(self.driver, self.put(x), w, geometry).astype(np.int32)

    def _backward_input(self, g: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
        return passes.input_gradient_exactly(self.driver, self.put(g), w, geometry)

    # ---- tensors --------------------------------------------------------------------------------

    def put(self, array: np.ndarray) -> KernelTensor:
        return self.driver.memory.put(array)

    def get(self, tensor: KernelTensor) -> np.ndarray:
        return self.driver.memory.get(tensor)

    def take(self, tensor: KernelTensor, samples: np.ndarray) -> KernelTensor:
        return self._vectors.move(tensor, np.asarray(samples, np.int64))

    def merge(self, base: KernelTensor, samples: np.ndarray, part: KernelTensor) -> KernelTensor:
        origins = np.arange(base.samples, dtype=np.int64)
        from_part = np.zeros(base.samples, bool)
        origins[samples] = np.arange(len(samples))
        from_part[samples] = True
        return self._vectors.move(base, origins, b=part, from_b=from_part)

    # ---- forward --------------------------------------------------------------------------------

    def narrow(self, stream: KernelTensor, shift: int) -> KernelTensor:
        return self._vectors.narrow(stream, shift)

    def convolve(self, x: KernelTensor, w: np.ndarray, geometry: Geometry, shift: int) -> Convolved:
        y, result = passes.convolve(self.driver, x, w, geometry, shift)
        total, squares = result.sums.reshape(2, -1)
        return Convolved(y, result.header["peak"], total, squares)

    def normalise(
        self,
        y: KernelTensor,
        multiplier: np.ndarray,
        offset: np.ndarray,
        shift: int,
        *,
        residual: KernelTensor | None = None,
        rectify: bool = False,
        ceiling: int | None = None,
        bits: int = 8,
    ) -> Peaked:
        out, result = self._vectors.line(
            y,
            vectors.Line(multiplier, 0, offset, shift),
            residual=residual,
            rectify=rectify,
            ceiling=ceiling,
            bits=bits,
        )
        return Peaked(out, result.header["peak"])

    def shortcut_pad(self, stream: KernelTensor, stride: int, channels: int) -> KernelTensor:
        n, narrow, height, width = stream.shape
        shape = n, channels, -(-height // stride), -(-width // stride)
        before = (channels - narrow) // 2
        return self._vectors.resample(stream, shape, before=before, stride=stride)

    def pool(self, stream: KernelTensor) -> np.ndarray:
        return self._vectors.pool(stream, 1, 1)

    def pool_grid(self, stream: KernelTensor, points: int) -> np.ndarray:
        return self._vectors.pool(stream, *(-(-size // points) for size in stream.shape[2:]))

    # ---- backward -------------------------------------------------------------------------------

    def mask(self, g: KernelTensor, output: KernelTensor, ceiling: int | None) -> KernelTensor:
        return self._vectors.mask(g, output, ceiling)

    def gradient_sums(self, g: KernelTensor, y: KernelTensor) -> tuple[np.ndarray, np.ndarray]:
        return self._vectors.channel_sums(g, y)

    def normalise_backward(
        self,
        g: KernelTensor,
        y: KernelTensor,
        a: np.ndarray,
        b: np.ndarray,
        c: np.ndarray,
        shift: int,
    ) -> Peaked:
        out, result = self._vectors.line(g, vectors.Line(a, b, c, shift), b=y)
        return Peaked(out, result.header["peak"])

    def input_gradient(
        self,
        g: KernelTensor,
        w: np.ndarray,
        geometry: Geometry,
        shift: int,
        *,
        output: KernelTensor | None = None,
        ceiling: int | None = None,
        residual: KernelTensor | None = None,
        g_bits: int = 16,
    ) -> Peaked:
        if g_bits not in (NARROW_BITS, 16):
            raise ValueError(f"g_bits: {g_bits} given, the accelerator takes {NARROW_BITS} or 16")
        store = passes.GradientStore(shift, output, ceiling, residual, g_bits == NARROW_BITS)
        out, result = passes.input_gradient(self.driver, g, w, geometry, store)
        return Peaked(out, result.header["peak"])

    def weight_gradient(self, x: KernelTensor, g: KernelTensor, geometry: Geometry) -> np.ndarray:
        return passes.weight_gradient(self.driver, x, g, geometry)

    def psg_gradient(
        self,
        x: KernelTensor,
        g: KernelTensor,
        geometry: Geometry,
        beta_q: int,
        x_msb: int,
        g_msb: int,
    ) -> PsgResult:
        return passes.psg_gradient(self.driver, x, g, geometry, (beta_q, x_msb, g_msb))

    def gate_products(
        self, g: KernelTensor, after: KernelTensor, before: KernelTensor
    ) -> np.ndarray:
        return self._vectors.sample_products(g, after, before)

    def shortcut_pad_backward(
        self, g: KernelTensor, stride: int, channels: int, height: int, width: int
    ) -> KernelTensor:
        before = (g.shape[1] - channels) // 2
        shape = g.samples, channels, height, width
        return self._vectors.resample(g, shape, before=-before, stride=stride, option="up")

    def add(self, a: KernelTensor, b: KernelTensor) -> KernelTensor:
        return self._vectors.add(a, b)

    def spread(self, g: np.ndarray, height: int, width: int) -> KernelTensor:
        source = self.put(np.asarray(g, np.int16)[:, :, None, None])
        return self._vectors.resample(source, (*g.shape, height, width), option="spread")
