# SPDX-License-Identifier: Apache-2.0
"""The one model of the board: seconds, watts and joules of training's operations.

Integer training runs on the accelerator (`ACCELERATOR`): time from its tile plans, its vector unit
and the processor's budget. float32 has no kernel on this board, so what the board would take for
it is hypothetical (`FLOAT_ARRAY`): the array that one would have to build from the same DSPs. Power
is idle power, and what the work adds (`costs.toml`). The trace drives the simulated meter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..device.accelerator.tiling.array import HARDWARE, Hardware
from ..device.counter import ELEMENTWISE, Counter
from ..device.operations import (
    ByIdentity,
    Convolution,
    Operation,
    Processor,
    Repeated,
    Vector,
    changes,
)
from ..errors import UserError
from .accelerator.launches import CONVOLUTIONS, launched, psg_cost
from .accelerator.processor import ProcessorShare, processor_shares
from .counts import Mix, count
from .energy import EnergyModel

ACCELERATOR = "accelerator"
FLOAT_ARRAY = "hypothetical-float-array"
HYPOTHETICAL = "hypothetical: no float32 kernel exists for this board"
Segment = tuple[float, float]  # duration in s, power in W

VECTOR_UNIT, PROCESSOR = "vector unit", "processor"
PHASES = (*CONVOLUTIONS, VECTOR_UNIT, PROCESSOR)
COUNTED = {  # which counted work is done in which phase
    "forward": ("forward",),
    "backward_input": ("backward_input",),
    "backward_weight": ("predictor", "backward_weight"),
    VECTOR_UNIT: (ELEMENTWISE,),
}


def board_model(float32: bool) -> str:
    """The name of the model that an arithmetic's time and energy come from."""
    return FLOAT_ARRAY if float32 else ACCELERATOR


@dataclass(frozen=True)
class Phase:
    """A part of an iteration: how long it takes, and its joules at the board's input by cause."""

    name: str
    seconds: float
    idle_j: float
    processor_j: float
    fabric_j: float
    dram_j: float

    @property
    def joules(self) -> float:
        """All of them."""
        return self.idle_j + self.processor_j + self.fabric_j + self.dram_j


@dataclass(frozen=True)
class Busy:
    """What an operation keeps busy: cycles of the fabric, bytes of DRAM, launches to start."""

    phase: str
    cycles: float
    dram_bytes: int
    launches: int


class _Load:
    """Cycles, bytes and launches of several operations, by phase."""

    def __init__(self) -> None:
        self.cycles: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        self.moved: dict[str, int] = dict.fromkeys(PHASES, 0)
        self.launches = 0

    def copy(self) -> _Load:
        """An independent copy."""
        other = _Load()
        other.cycles, other.moved = self.cycles.copy(), self.moved.copy()
        other.launches = self.launches
        return other

    def add(self, busy: Busy) -> None:
        """Take in one operation."""
        self.cycles[busy.phase] += busy.cycles
        self.moved[busy.phase] += busy.dram_bytes
        self.launches += busy.launches


class BoardModel:
    """Seconds and joules at the board's input, by `float32` of the one model or the other."""

    def __init__(self, energy: EnergyModel, float32: bool, hardware: Hardware = HARDWARE) -> None:
        self.energy, self.float32, self.hardware = energy, float32, hardware
        self._known = ByIdentity(self._busy)
        self._repeated = Repeated(self._load)

    def phases(self, work: Sequence[Operation], counted: Counter | None = None) -> list[Phase]:
        """The parts of `work` that take time, in the order of PHASES.

        Phases take turns: nothing on the fabric overlaps the processor. `counted`: the exact
        counts of `work`, where they are known. UserError if the accelerator cannot do it.
        """
        counted = count(work) if counted is None else counted
        load, changing = self._repeated.split(work)
        load = load.copy()
        for operation in changing:
            load.add(self._busy(operation))
        found = [
            self._fabric(name, load.cycles[name], load.moved[name], counted) for name in COUNTED
        ]
        found.append(self._processor(self.processor(work, load.launches)))
        return [phase for phase in found if phase.seconds > 0]

    def _load(self, work: list[Operation]) -> _Load:
        load = _Load()
        for operation in work:
            if not isinstance(operation, Processor):
                load.add(self._known(operation))
        return load

    def segments(self, work: Sequence[Operation], counted: Counter | None = None) -> list[Segment]:
        """The power at the board's input during `work`: (duration s, power W) a phase, in order.

        A trace to drive a simulated meter with: deterministic, and no measurement.
        """
        return [(one.seconds, one.joules / one.seconds) for one in self.phases(work, counted)]

    def processor(self, work: Iterable[Operation], launches: int) -> list[ProcessorShare]:
        """What the processor does, by kind of work."""
        return processor_shares(work, launches, self.energy.table.board)

    def _busy(self, operation: Convolution | Vector) -> Busy:
        if self.float32:
            return _on_float_array(operation, self._float_rate, self.hardware)
        try:
            return _on_accelerator(operation, self.hardware)
        except ValueError as error:  # a layer that fits no tile, a batch beyond the limit
            raise UserError(f"the accelerator cannot run this: {error}") from error

    @property
    def _float_rate(self) -> float:
        """float32 multiply-accumulates a cycle of an array of the accelerator's DSPs."""
        slices = self.hardware.rows * self.hardware.columns
        return slices / self.energy.table.hypothetical.dsp_per_float_mac

    def _fabric(self, name: str, cycles: float, dram_bytes: int, counted: Counter) -> Phase:
        board = self.energy.table.board
        seconds = cycles / (self.hardware.clock_mhz * 1e6)
        on_chip = self.energy.on_chip_joules(counted, COUNTED[name])
        return Phase(
            name,
            seconds,
            board.idle_w * seconds,
            0.0,
            board.fabric_energy_ratio * on_chip,
            self.energy.dram_joules(dram_bytes),
        )

    def _processor(self, shares: list[ProcessorShare]) -> Phase:
        board = self.energy.table.board
        seconds = math.fsum(share.seconds for share in shares)
        idle, busy = board.idle_w * seconds, board.processor_active_w * seconds
        return Phase(PROCESSOR, seconds, idle, busy, 0.0, 0.0)


def _phase(operation: Convolution | Vector) -> str:
    return operation.pass_ if isinstance(operation, Convolution) else VECTOR_UNIT


def _on_accelerator(operation: Convolution | Vector, hardware: Hardware) -> Busy:
    if changes(operation):
        cycles, beats = psg_cost(operation, hardware)
        return Busy(operation.pass_, cycles, beats * hardware.bytes_per_beat, 1)
    one = launched(operation, hardware)
    moved = one.tally.beats * hardware.bytes_per_beat
    return Busy(_phase(operation), one.tally.cycles, moved, one.launches)


@lru_cache(maxsize=8192)
def _on_float_array(operation: Convolution | Vector, rate: float, hardware: Hardware) -> Busy:
    """Products at the array's peak, or all bytes at the memory's, whichever takes longer.

    No tile, fill or burst is lost, and every tensor crosses once: less than any design would take.
    """
    counter = Counter()
    operation.count(counter)
    moved = counter.bytes
    if isinstance(operation, Vector) and not moved:  # rearranges: all that is read, and written
        elements = operation.samples * operation.size
        moved = elements * (operation.read + operation.written) // 8
    cycles = max(counter.macs / rate, moved / hardware.total_bytes_per_cycle)
    return Busy(_phase(operation), cycles, moved, 1)


@dataclass(frozen=True)
class BoardCost:
    """Modelled seconds and joules of a mix of iterations."""

    seconds: float
    joules: float
    provenance: str = "modelled"


def board_cost(model: BoardModel, mix: Mix) -> BoardCost:
    """Of a mix of iterations."""
    seconds = joules = 0.0
    for work, times in mix:
        phases = model.phases(work)
        seconds += times * math.fsum(phase.seconds for phase in phases)
        joules += times * math.fsum(phase.joules for phase in phases)
    return BoardCost(seconds, joules)
