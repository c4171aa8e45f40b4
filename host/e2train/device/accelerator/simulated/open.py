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

    simulation: the running simulation; board: pynq's device, which writes down every access.
    """

    def __init__(
        self, transport: ZynqTransport, simulation: Simulation, board: SimulatedDevice
    ) -> None:
        super().__init__(transport)
        self.simulation = simulation
        self.board = board


def open_simulated(
    *,
    overlay: Path | None = None,
    memory_bytes: int = POOL_BYTES,
    pool_bytes: int = POOL_BYTES,
    seconds: float = SECONDS,
) -> SimulatedBoard:
    """The device of a board in a simulation of its own, which ends when the device is closed.

    overlay: in place of the files that are made for it. pool_bytes: contiguous memory that there
    is. Raises SimulationUnavailable where something for it is missing, and what `open_zynq` raises.
    """
    program = built()
    from pynq import Device

    from .board import DDR_BASE, InterruptDevice, SimulatedDevice
    from .handoff import write_bit, write_hwh

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="overlay-")))
        if overlay is None:
            overlay = folder / "simulated-board.bit"
            write_bit(overlay)
            write_hwh(overlay.with_suffix(".hwh"))
        simulation = Simulation(program, DDR_BASE, pool_bytes)
        stack.callback(simulation.close)
        line = InterruptDevice(simulation)
        stack.callback(line.close)
        board = SimulatedDevice(simulation, pool_bytes)
        Device.active_device = board
        place = Place(board, False, lambda number: line.path, folder / "lock")
        transport = open_transport(overlay, place, memory_bytes=memory_bytes, seconds=seconds)
        transport.on_close(stack.pop_all().close)
    return SimulatedBoard(transport, simulation, board)
