# SPDX-License-Identifier: Apache-2.0
"""Everything that `e2train cost` tells about a network, as JSON-able data."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..device.counter import Counter
from ..methods.slu import gated_names, reach
from ..methods.slu_gates import gate_macs
from ..network.spec import Block, NetworkSpec, Unit
from .board import HYPOTHETICAL, BoardCost, BoardModel, board_cost, board_model
from .counts import (
    FIXED8,
    FLOAT32,
    FULL_SIGN,
    OFFERED,
    PSG,
    Mix,
    Scheme,
    count_mix,
    expected,
)
from .energy import EnergyModel

BASE = FLOAT32.name
SKIPS = (20, 40, 60)  # percent, the paper's table 3
EXPLORED = Fraction(1, 10)  # of the skipped samples, computed forwards to learn what it costs
SMD = Fraction(2, 3)  # table 3: half of 4/3 as many mini-batches


@dataclass(frozen=True)
class MethodCase:
    """A way to train: scheme, share of mini-batches kept, percentage of blocks skipped (SLU)."""

    name: str
    scheme: Scheme
    kept: Fraction = Fraction(1)
    skip: int = 0

    def gated(self, spec: NetworkSpec) -> str | None:
        """Which blocks have gates: the identity blocks, or all where those are too few."""
        if not self.skip:
            return None
        return "identity" if self.skip <= 100 * reach(spec, "identity") else "all"


METHODS = (
    MethodCase("sgd-fp32", FLOAT32),
    MethodCase("smd", FLOAT32, SMD),
    MethodCase("fixed8", FIXED8),
    MethodCase("signsgd", FULL_SIGN),
    MethodCase("psg", PSG),
    *(MethodCase(f"e2train-{skip}", PSG, SMD, skip) for skip in (0, *SKIPS)),
)


def mix(spec: NetworkSpec, method: MethodCase, batch: int, predicted: float) -> Mix:
    """Expected work of OFFERED baseline iterations' worth of training by a method."""
    gated = method.gated(spec)
    return expected(
        spec,
        method.scheme,
        batch,
        kept=method.kept,
        skip=Fraction(method.skip, 100),
        predicted=predicted,
        gated=() if gated is None else gated_names(spec, gated),
        explore=EXPLORED,
    )


def skippable_share(spec: NetworkSpec) -> float:
    """Share of the forward multiply-accumulates that gates may skip."""
    return sum(block.macs for block in spec.skippable_blocks) / spec.forward_macs


def gate_overhead(spec: NetworkSpec) -> float:
    """Multiply-accumulates of all gates over those of the network, forward."""
    return sum(map(gate_macs, spec.skippable_blocks)) / spec.forward_macs


def layers(spec: NetworkSpec, batch: int) -> list[dict[str, Any]]:
    """One entry a convolution and the classifier: shape, MACs, weights, bytes, skipping."""
    entries = []
    for block in spec.blocks:
        for unit in block.units:
            entries.append(_layer(unit, batch, block if block.skippable else None))
    entries.append(_layer(Unit("classifier", spec.classifier, "none"), batch, None))
    return entries


def _layer(unit: Unit, batch: int, block: Block | None) -> dict[str, Any]:
    geometry, forward = unit.geometry, Counter()
    forward.convolution("forward", geometry, batch, 8, 8, 16)
    first = block is not None and unit is block.units[0]
    return {
        "name": unit.name,
        "input": [geometry.channels, geometry.height, geometry.width],
        "output": [geometry.filters, geometry.out_height, geometry.out_width],
        "kernel": list(geometry.kernel),
        "stride": geometry.stride,
        "groups": geometry.groups,
        "macs": geometry.macs,
        "weights": geometry.weights,
        "forward_dram_bytes": forward.bytes,
        "skippable": block is not None,
        "gate_macs": gate_macs(block) if block is not None and first else 0,
    }


def count(spec: NetworkSpec, method: MethodCase, batch: int, predicted: float) -> Counter:
    """Exact counts of `mix`."""
    return count_mix(mix(spec, method, batch, predicted))


def methods(
    spec: NetworkSpec, batch: int, predicted: float, model: EnergyModel
) -> list[dict[str, Any]]:
    """One entry a method.

    Savings against the first (32-bit SGD on every mini-batch); of the board's energy also against
    8-bit fixed point, which runs on the same accelerator.
    """
    mixes = {method: mix(spec, method, batch, predicted) for method in METHODS}
    counts = {method.name: count_mix(work) for method, work in mixes.items()}
    boards = {
        method.name: board_cost(BoardModel(model, method.scheme.float32), work)
        for method, work in mixes.items()
    }
    return [
        _method(method, counts[method.name], counts[BASE], model)
        | {"gated": method.gated(spec)}
        | {"board": _board(method, boards)}
        for method in METHODS
    ]


def _method(method: MethodCase, work: Counter, base: Counter, model: EnergyModel) -> dict[str, Any]:
    energy, whole = model.joules(work), model.joules(base)
    return {
        "name": method.name,
        "macs": work.macs,
        "bit_operations": work.bit_operations,
        "dram_bytes": work.bytes,
        "macs_by_pass": work.by_pass(),
        "mac_saving": _saving(work.macs, base.macs),
        "computational_saving": _saving(work.bit_operations, base.bit_operations),
        "energy": {
            "compute_j": energy.compute,
            "dram_j": energy.dram,
            "buffer_j": energy.buffer,
            "total_j": energy.total,
            "provenance": energy.provenance,
        },
        "energy_saving": _saving(energy.total, whole.total),
    }


def _board(method: MethodCase, boards: dict[str, BoardCost]) -> dict[str, Any]:
    own = boards[method.name]
    return {
        "model": board_model(method.scheme.float32),
        "note": HYPOTHETICAL if method.scheme.float32 else None,
        "seconds": own.seconds,
        "joules": own.joules,
        "provenance": own.provenance,
        "saving": _saving(own.joules, boards[BASE].joules),
        "saving_fixed8": _saving(own.joules, boards[FIXED8.name].joules),
    }


def _saving(value: float, base: float) -> float:
    """Percent saved against the baseline."""
    return 100.0 * (1.0 - value / base)


def summary(
    spec: NetworkSpec, data: str, batch: int, predicted: float, model: EnergyModel
) -> dict[str, Any]:
    """The whole of `e2train cost --json`."""
    return {
        "network": spec.name,
        "data": data,
        "batch": batch,
        "predictor_share": predicted,
        "iterations": OFFERED,
        "smd_kept": str(SMD),
        "forward_macs": spec.forward_macs,
        "weights": sum(u.geometry.weights for u in spec.units()) + spec.classifier.weights,
        "skippable_share": skippable_share(spec),
        "gate_overhead": gate_overhead(spec),
        "layers": layers(spec, batch),
        "methods": methods(spec, batch, predicted, model),
    }
