# SPDX-License-Identifier: Apache-2.0
"""Everything that `e2train cost --hardware` tells: the performance model as JSON-able data.

docs/hardware.md, section "Time", states the assumptions. All of it is modelled.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ...device.accelerator.tiling.array import HARDWARE, Hardware
from ...device.accelerator.tiling.cycles import Tally
from ...device.operations import GATE_MACS, Operation, Processor
from ...methods.slu import gated_names
from ...network.spec import NetworkSpec
from ..board import PROCESSOR, VECTOR_UNIT, BoardModel, Phase
from ..counts import FIXED8, FULL_SIGN, NARROW_PSG, PSG, operations
from ..energy import EnergyModel
from .area import area, memories
from .launches import (
    CONVOLUTIONS,
    PACKED_PRODUCTS,
    PASSES,
    PREDICTOR_PRODUCTS,
    Launched,
    full_gradient_cycles,
    launched,
    peak,
    psg_of_share,
)
from .processor import on_processor

SHARES = (0.6, 0.8, 0.9, 0.95)
SCHEMES = {scheme.name: scheme for scheme in (PSG, NARROW_PSG, FULL_SIGN, FIXED8)}
AIM = 0.85  # of each pass's peak on 3x3 layers
BURST_WAITS = (0, 16, 40)
BEAT = 8


@dataclass(frozen=True)
class Question:
    """What to model: a network on a data set, and how it trains (`method` is one of SCHEMES)."""

    spec: NetworkSpec
    data: str
    batch: int
    method: str = "psg"
    predicted: float = 0.6
    hardware: Hardware = HARDWARE

    @property
    def clock_hz(self) -> float:
        """The fabric's clock."""
        return self.hardware.clock_mhz * 1e6

    def operations(self, gates: bool = False) -> list[Operation]:
        """Of one iteration in which every sample runs every block; `gates`: with SLU's."""
        gated = gated_names(self.spec, "identity") if gates else frozenset()
        scheme, predicted = SCHEMES[self.method], float(self.predicted)
        return operations(self.spec, scheme, self.batch, predicted=predicted, gated=gated)

    def launched(self) -> list[Launched]:
        """The launches of those operations."""
        return [
            launched(one, self.hardware)
            for one in self.operations()
            if not isinstance(one, Processor)
        ]


def hardware_summary(question: Question, model: EnergyModel) -> dict[str, Any]:
    """One training iteration on the accelerator: time by pass and layer, area, energy.

    ValueError naming the limit if the accelerator cannot run it.
    """
    hardware, work = question.hardware, question.launched()
    board = BoardModel(model, float32=False, hardware=hardware)
    phases = board.phases(question.operations())
    return {
        "network": question.spec.name,
        "data": question.data,
        "batch": question.batch,
        "method": question.method,
        "predictor_share": question.predicted,
        "clock_mhz": hardware.clock_mhz,
        "peak_gmacs": {
            "predictor": peak(PREDICTOR_PRODUCTS) * question.clock_hz / 1e9,
            "packed": peak(PACKED_PRODUCTS) * question.clock_hz / 1e9,
            "plain": peak(1) * question.clock_hz / 1e9,
        },
        "bandwidth_mb_per_s": hardware.total_bytes_per_cycle * hardware.clock_mhz,
        "passes": [_entry(name, _of(work, name), question) for name in PASSES if _of(work, name)],
        "layers": _layers(work, question),
        "kernel_3x3": _three_by_three(work),
        "burst_wait": _burst_waits(question),
        "psg": _psg(question),
        "time": _budget(question, work, phases, board),
        "energy": _energy(phases),
        "area": [asdict(one) for one in area()],
        "memories": [{"name": one.name, "bram36": one.bram36} for one in memories()],
        "provenance": "modelled",
    }


def _of(work: list[Launched], pass_: str) -> list[Launched]:
    return [one for one in work if one.pass_ == pass_]


def _entry(name: str, work: list[Launched], question: Question) -> dict[str, Any]:
    """Totals of some launches."""
    tally = Tally()
    for one in work:
        tally += one.tally
    seconds = tally.cycles / question.clock_hz
    macs, ideal = sum(one.macs for one in work), sum(one.ideal for one in work)
    moved = BEAT * tally.beats
    return {
        "name": name,
        "launches": sum(one.launches for one in work),
        "cycles": tally.cycles,
        "ms": 1e3 * seconds,
        "macs": macs,
        "peak_share": ideal / tally.cycles if tally.cycles else 0.0,
        "gops": 2 * macs / seconds / 1e9 if seconds else 0.0,
        "gops_peak": 2 * macs * question.clock_hz / ideal / 1e9 if ideal else 0.0,
        "dram_bytes": moved,
        "mb_per_s": moved / seconds / 1e6 if seconds else 0.0,
        "bandwidth_share": moved / (tally.cycles * question.hardware.total_bytes_per_cycle)
        if tally.cycles
        else 0.0,
    }


def _layers(work: list[Launched], question: Question) -> list[dict[str, Any]]:
    """One entry a convolution: each pass's cycles, percentage and bytes."""
    found: dict[str, dict[str, Any]] = {}
    for one in work:
        if one.geometry is not None:
            layer = found.setdefault(one.layer, {"name": one.layer, "kernel": one.geometry.kernel})
            layer[one.pass_] = _entry(one.pass_, [one], question)
    return list(found.values())


def _is_3x3(one: Launched) -> bool:
    geometry = one.geometry
    return geometry is not None and geometry.kernel == (3, 3) and geometry.groups == 1


def _three_by_three(work: list[Launched]) -> list[dict[str, Any]]:
    """Share of the peak on dense 3x3 layers, and the layers below the aim, by pass."""
    found = []
    for pass_ in CONVOLUTIONS:
        mine = [one for one in _of(work, pass_) if _is_3x3(one)]
        if not mine:
            continue
        cycles = sum(one.tally.cycles for one in mine)
        found.append(
            {
                "pass": pass_,
                "layers": len(mine),
                "peak_share": sum(one.ideal for one in mine) / cycles,
                "below_aim": {one.layer: one.utilisation for one in mine if one.utilisation < AIM},
            }
        )
    return found


def _burst_waits(question: Question) -> list[dict[str, Any]]:
    """What is left if every burst keeps its loop waiting some cycles."""
    found = []
    for wait in BURST_WAITS:
        hardware = replace(question.hardware, burst_wait=wait)
        work = replace(question, hardware=hardware).launched()
        cycles = sum(one.tally.cycles for one in work if one.pass_ in CONVOLUTIONS)
        shares = {entry["pass"]: entry["peak_share"] for entry in _three_by_three(work)}
        ms = 1e3 * cycles / question.clock_hz
        found.append({"cycles": wait, "convolutions_ms": ms, "kernel_3x3": shares})
    return found


def _psg(question: Question) -> list[dict[str, Any]]:
    """PSG's pass to the weights against the full gradient's, by predictor share."""
    units = [(unit.name, unit.geometry) for unit in question.spec.units()]
    units.append(("classifier", question.spec.classifier))
    samples, hardware = question.batch, question.hardware
    full = sum(full_gradient_cycles(geometry, samples, hardware) for _, geometry in units)
    found = []
    for share in SHARES:
        layers = [psg_of_share(geometry, samples, share, hardware) for _, geometry in units]
        unsure = sum(one.compaction.unsure for one in layers)
        visits = sum(one.compaction.visits for one in layers)
        total = sum(one.total.cycles for one in layers)
        found.append(
            {
                "predicted": share,
                "predictor_cycles": sum(one.predictor.cycles for one in layers),
                "second_cycles": sum(one.second.cycles for one in layers),
                "bookkeeping_cycles": sum(one.bookkeeping.cycles for one in layers),
                "cycles": total,
                "full_cycles": full,
                "ratio": total / full,
                "slots_filled": unsure / (hardware.rows * visits) if visits else 1.0,
            }
        )
    return found


def _budget(
    question: Question, work: list[Launched], phases: list[Phase], board: BoardModel
) -> dict[str, Any]:
    """Seconds of an iteration by who does what, and the vector unit's layers on the Arm."""
    seconds = {phase.name: phase.seconds for phase in phases}
    launches = sum(one.launches for one in work)
    shares = board.processor(question.operations(gates=True), launches)
    return {
        "convolutions_s": sum(seconds[name] for name in CONVOLUTIONS),
        "vector_unit_s": seconds[VECTOR_UNIT],
        "processor_s": seconds[PROCESSOR],
        "gates_s": sum(share.seconds for share in shares if share.unit == GATE_MACS),
        "total_s": sum(seconds.values()),
        "launches": launches,
        "processor": [asdict(share) for share in shares],
        "vector_layers_on_processor": [
            asdict(one) for one in on_processor(work, question.clock_hz, board.energy.table.board)
        ],
    }


def _energy(phases: list[Phase]) -> dict[str, Any]:
    """Joules of an iteration at the board's input: idle over its time, and what the work adds."""
    causes = ("idle_j", "processor_j", "fabric_j", "dram_j")
    parts = {cause: sum(getattr(phase, cause) for phase in phases) for cause in causes}
    total = sum(phase.joules for phase in phases)
    mean = total / sum(phase.seconds for phase in phases)
    return {**parts, "total_j": total, "mean_w": mean, "provenance": "modelled"}
