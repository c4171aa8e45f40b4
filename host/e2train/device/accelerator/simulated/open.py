# SPDX-License-Identifier: Apache-2.0
"""Opens the simulated board: the driver of the real one, through the real pynq."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..device import KernelDevice
from ..zynq.open import MIB, SECONDS, Place, open_transport
from ..zynq.transport import ZynqTransport
from .build import built
from .client import Simulation

if TYPE_CHECKING:
    from .board import SimulatedDevice

POOL_BYTES = 64 * MIB


class SimulatedBoard(KernelDevice):
    """The accelerator behind pynq on a simulated board.

    transport: the driver's; simulation: the running simulation; board: pynq's device, which writes
    down every access.
    """

    def __init__(
        self, transport: ZynqTransport, simulation: Simulation, board: SimulatedDevice
    ) -> None:
        super().__init__(transport)
        self.transport = transport
        self.simulation = simulation
        self.board = board


class Workbench:
    """A simulated board with power on; overlays are opened on it, one at a time.

    simulation, board: as of `SimulatedBoard`. overlay: the files that are made for it.
    """

    def __init__(self, pool_bytes: int = POOL_BYTES) -> None:
        """`pool_bytes`: contiguous memory that there is. Raises SimulationUnavailable."""
        program = built()
        from pynq import Device

        from .board import DDR_BASE, InterruptDevice, SimulatedDevice
        from .handoff import write_bit, write_hwh

        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="overlay-")))
            self.overlay = folder / "simulated-board.bit"
            write_bit(self.overlay)
            write_hwh(self.overlay.with_suffix(".hwh"))
            self.simulation = Simulation(program, DDR_BASE, pool_bytes)
            stack.callback(self.simulation.close)
            line = InterruptDevice(self.simulation)
            stack.callback(line.close)
            self.board = SimulatedDevice(self.simulation, pool_bytes)
            Device.active_device = self.board
            self.place = Place(self.board, False, lambda number: line.path, folder / "lock")
            self._pool_bytes = pool_bytes
            self._stack = stack.pop_all()

    def open(
        self,
        overlay: Path | None = None,
        *,
        memory_bytes: int | None = None,
        seconds: float = SECONDS,
        place: Place | None = None,
    ) -> SimulatedBoard:
        """Reset the fabric, as loading a bitstream does, and open the overlay (its own one by
        default). Raises what `zynq.open.open_transport` raises."""
        self.simulation.reset()
        transport = open_transport(
            self.overlay if overlay is None else overlay,
            self.place if place is None else place,
            memory_bytes=self._pool_bytes if memory_bytes is None else memory_bytes,
            seconds=seconds,
        )
        return SimulatedBoard(transport, self.simulation, self.board)

    def close(self) -> None:
        """End the simulation."""
        self._stack.close()


def open_simulated() -> SimulatedBoard:
    """The device of a simulated board of its own, which ends when the device is closed.

    Raises SimulationUnavailable where something for it is missing.
    """
    with contextlib.ExitStack() as stack:
        bench = Workbench()
        stack.callback(bench.close)
        device = bench.open()
        device.transport.on_close(stack.pop_all().close)
    return device
