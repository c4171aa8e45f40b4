# SPDX-License-Identifier: Apache-2.0
"""Everything that `e2train cost --hardware` tells: the performance model as JSON-able data.

docs/hardware.md, section "Time", states the assumptions. All of it is modelled.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from ...device.accelerator.tiling.cycles import Tally, weight_pass
from ...device.accelerator.tiling.plan import plan_convolution, tiles_of
from ...device.counter import Counter
from ...network.spec import NetworkSpec
from ..counts import FULL_SIGN, PSG, iteration
from ..energy import EnergyModel
from .area import area, memories
from .iteration import iteration_work, psg_of
from .processor import on_processor, processor_shares
from .work import CONVOLUTIONS, PASSES, Setting, Work, peak

SHARES = (0.6, 0.8, 0.95)
METHODS = ("psg", "signsgd")
AIM = 0.85  # of each pass's peak on 3x3 layers
BURST_WAITS = (0, 16, 40)
BEAT = 8


@dataclass(frozen=True)
class Question:
    """What to model: a network on a data set, and how it trains."""

    spec: NetworkSpec
    data: str
    setting: Setting

    @property
    def clock_hz(self) -> float:
        """The fabric's clock."""
        return self.setting.hardware.clock_mhz * 1e6


def hardware_summary(question: Question, model: EnergyModel) -> dict[str, Any]:
    """One training iteration on the accelerator: time by pass and layer, area, energy."""
    setting, work = question.setting, iteration_work(question.spec, question.setting)
    budget = _budget(question, work, model)
    return {
        "network": question.spec.name,
        "data": question.data,
        "batch": setting.samples,
        "method": setting.method,
        "predictor_share": setting.predicted,
        "unsure_weights": "given" if setting.masks else "drawn at random",
        "clock_mhz": setting.hardware.clock_mhz,
        "peak_gmacs": {
            "packed": peak(True) * question.clock_hz / 1e9,
            "plain": peak(False) * question.clock_hz / 1e9,
        },
        "bandwidth_mb_per_s": setting.hardware.total_bytes_per_cycle * setting.hardware.clock_mhz,
        "passes": [_entry(name, _of(work, name), question) for name in PASSES],
        "layers": _layers(work, question),
        "kernel_3x3": _three_by_three(work),
        "burst_wait": _burst_waits(question),
        "psg": _psg(question),
        "time": budget,
        "energy": _energy(question, work, budget, model),
        "area": [asdict(one) for one in area()],
        "memories": [{"name": one.name, "bram36": one.bram36} for one in memories()],
        "provenance": "modelled",
    }


def _of(work: list[Work], pass_: str) -> list[Work]:
    return [one for one in work if one.pass_ == pass_]


def _entry(name: str, work: list[Work], question: Question) -> dict[str, Any]:
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
        "bandwidth_share": moved / (tally.cycles * question.setting.hardware.total_bytes_per_cycle)
        if tally.cycles
        else 0.0,
    }


def _layers(work: list[Work], question: Question) -> list[dict[str, Any]]:
    """One entry a convolution: each pass's cycles, percentage and bytes."""
    found: dict[str, dict[str, Any]] = {}
    for one in work:
        if one.geometry is not None:
            layer = found.setdefault(one.layer, {"name": one.layer, "kernel": one.geometry.kernel})
            layer[one.pass_] = _entry(one.pass_, [one], question)
    return list(found.values())


def _is_3x3(one: Work) -> bool:
    geometry = one.geometry
    return geometry is not None and geometry.kernel == (3, 3) and geometry.groups == 1


def _three_by_three(work: list[Work]) -> list[dict[str, Any]]:
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
        hardware = replace(question.setting.hardware, burst_wait=wait)
        work = iteration_work(question.spec, replace(question.setting, hardware=hardware))
        cycles = sum(one.tally.cycles for one in work if one.pass_ in CONVOLUTIONS)
        shares = {entry["pass"]: entry["peak_share"] for entry in _three_by_three(work)}
        ms = 1e3 * cycles / question.clock_hz
        found.append({"cycles": wait, "convolutions_ms": ms, "kernel_3x3": shares})
    return found


def _psg(question: Question) -> list[dict[str, Any]]:
    """PSG's pass to the weights against the full gradient's, by predictor share."""
    units = [(unit.name, unit.geometry) for unit in question.spec.units()]
    units.append(("classifier", question.spec.classifier))
    samples, hardware = question.setting.samples, question.setting.hardware
    full = 0
    for _, geometry in units:
        plan = plan_convolution(geometry, samples, "weight", hardware)
        full += weight_pass(geometry, samples, tiles_of(plan), hardware=hardware).cycles
    found = []
    for share in SHARES:
        setting = Setting(samples, "psg", share, hardware=hardware)
        layers = [psg_of(name, geometry, setting) for name, geometry in units]
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


def _budget(question: Question, work: list[Work], model: EnergyModel) -> dict[str, Any]:
    """Seconds of an iteration by who does what, and the vector unit's layers on the Arm."""
    board, spec = model.table.board, question.spec
    launches = sum(one.launches for one in work)
    shares = processor_shares(spec, question.setting.samples, launches, board, gated=True)
    alternatives = on_processor(work, question.clock_hz, board)
    convolutions = sum(one.tally.cycles for one in work if one.pass_ in CONVOLUTIONS)
    fabric = sum(one.tally.cycles for one in work)
    gates = sum(share.seconds for share in shares if share.unit == "MACs")
    processor = sum(share.seconds for share in shares) - gates
    return {
        "convolutions_s": convolutions / question.clock_hz,
        "vector_unit_s": (fabric - convolutions) / question.clock_hz,
        "processor_s": processor,
        "gates_s": gates,
        "total_s": fabric / question.clock_hz + processor,
        "launches": launches,
        "processor": [asdict(share) for share in shares],
        "vector_layers_on_processor": [asdict(one) for one in alternatives],
    }


def _energy(
    question: Question, work: list[Work], budget: dict[str, Any], model: EnergyModel
) -> dict[str, Any]:
    """Joules of an iteration at the board's input: idle over its time, and what the work adds."""
    board, setting = model.table.board, question.setting
    scheme = PSG if setting.method == "psg" else FULL_SIGN
    counted = model.joules(
        iteration(question.spec, scheme, setting.samples, predicted=float(setting.predicted))
    )
    moved = Counter()
    moved.move("dram", BEAT * sum(one.tally.beats for one in work))
    parts = {
        "idle_j": board.idle_w * budget["total_s"],
        "processor_j": board.processor_active_w * budget["processor_s"],
        "fabric_j": board.fabric_energy_ratio * (counted.compute + counted.buffer),
        "dram_j": model.joules(moved).dram,
    }
    total = sum(parts.values())
    return {
        **parts,
        "total_j": total,
        "mean_w": total / budget["total_s"],
        "provenance": "modelled",
    }
