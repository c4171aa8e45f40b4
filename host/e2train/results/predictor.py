# SPDX-License-Identifier: Apache-2.0
"""Predictors of PSG compared: wrong signs (counted) against the board's time (modelled)."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ..cost.board import BoardModel, board_cost
from ..cost.counts import FULL_SIGN, PSG, operations
from ..cost.energy import EnergyModel
from ..data.shapes import picture_shape
from ..device.accelerator.tiling.array import HARDWARE
from ..device.accelerator.tiling.cycles import weight_pass
from ..device.accelerator.tiling.plan import plan_convolution, tiles_of
from ..device.geometry import Geometry
from ..errors import UserError
from ..methods.sign_bound import Predictor
from ..network.models import network_spec
from ..network.spec import NetworkSpec
from ..training.sign_errors import COLUMNS, TRUNCATED

PACKED_LIMIT = 1 << 16  # what the 16 columns of a row may reach where two products share a DSP
PAPERS = Predictor()


@dataclass(frozen=True)
class Outcome:
    """One predictor: shares of all signs decided and decided wrongly, modelled seconds.

    `wrong_share`: wrong ones among those decided. `seconds`: of a training iteration; `full`: of
    one that computes every sign in full (SignSGD at the same widths).
    """

    predictor: Predictor
    predicted: float
    wrong: float
    seconds: float
    full: float

    @property
    def wrong_share(self) -> float:
        """Wrong signs among those that the predictor decided."""
        return self.wrong / self.predicted if self.predicted else 0.0

    @property
    def relative(self) -> float:
        """Time over that of computing every sign in full."""
        return self.seconds / self.full

    @property
    def packed(self) -> bool:
        """Whether two of its products share a DSP."""
        return packs(self.predictor)


@dataclass(frozen=True)
class Table:
    """A file of counts: what was measured, and every predictor's outcome."""

    facts: dict[str, str]
    outcomes: tuple[Outcome, ...]

    @property
    def place(self) -> str:
        """The same in short, for a line below a figure's title."""
        data = self.facts["dataset"].partition(",")[0]
        return f"{self.facts['network']}, {data}, after {self.facts['trained']} mini-batches"

    @property
    def sentence(self) -> str:
        """'resnet-20, CIFAR-10 (JPEG), 3 mini-batches of 128 after 600'."""
        f = self.facts
        return (
            f"{f['network']}, {f['dataset']}, {f['mini_batches']} mini-batches of {f['batch']} "
            f"after {f['trained']}, seed {f['seed']}"
        )


def packs(predictor: Predictor) -> bool:
    """Whether 16 products of its slices stay below 2^16, so that two share a DSP.

    Rounded slices are symmetric; truncated ones reach one further below zero.
    """
    more = 0 if predictor.truncate else 1
    x = (1 << (predictor.x_msb_bits - 1)) - more
    g = (1 << (predictor.g_msb_bits - 1)) - more
    return x * g * HARDWARE.columns < PACKED_LIMIT


def read_table(file: Path) -> Table:
    """Read a file of `e2train results sign-errors`. UserError, one line, where it is none."""
    try:
        head, *lines = file.read_text(encoding="utf-8").splitlines()
        facts = dict(part.strip().split("=", 1) for part in head.lstrip("# ").split(";"))
        rows = list(csv.DictReader(lines))
        spec = network_spec(facts["network"], *picture_shape("cifar10"))
        counts = [_parsed(row) for row in rows]
        batch = int(facts["batch"])
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: not a table of sign errors ({error})") from None
    by_predictor: dict[Predictor, list[tuple[str, int, int, int]]] = {}
    for layer, predictor, weights, predicted, wrong in counts:
        by_predictor.setdefault(predictor, []).append((layer, weights, predicted, wrong))
    outcomes = [_outcome(p, layers, spec, batch) for p, layers in by_predictor.items()]
    return Table(facts, tuple(outcomes))


def _parsed(row: dict[str, str]) -> tuple[str, Predictor, int, int, int]:
    if set(row) != set(COLUMNS):
        raise ValueError(f"columns {', '.join(map(str, row))}")
    predictor = Predictor(
        float(row["beta"]), int(row["x_bits"]), int(row["g_bits"]), row["cut"] == TRUNCATED
    )
    return row["layer"], predictor, int(row["weights"]), int(row["predicted"]), int(row["wrong"])


def _outcome(
    predictor: Predictor,
    layers: Iterable[tuple[str, int, int, int]],
    spec: NetworkSpec,
    batch: int,
) -> Outcome:
    found = list(layers)
    weights = sum(one[1] for one in found)
    shares = {layer: predicted / count for layer, count, predicted, _ in found}
    return Outcome(
        predictor,
        sum(one[2] for one in found) / weights,
        sum(one[3] for one in found) / weights,
        iteration_seconds(spec, batch, predictor, shares),
        full_seconds(spec.name, batch),
    )


# ---- time ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _board() -> BoardModel:
    return BoardModel(EnergyModel.load(), float32=False)


def iteration_seconds(
    spec: NetworkSpec, batch: int, predictor: Predictor, shares: dict[str, float]
) -> float:
    """Modelled seconds of a training iteration with these shares of the signs predicted.

    The board's model packs two of the predictor's products into a DSP; slices too wide for that
    run as plain 8x16 products, whose additional cycles are added.
    """
    scheme = replace(PSG, predictor=(predictor.x_msb_bits, predictor.g_msb_bits))
    seconds = board_cost(_board(), [(operations(spec, scheme, batch, predicted=shares), 1)]).seconds
    if packs(predictor):
        return seconds
    cycles = sum(unpacked_cycles(unit.geometry, batch) for unit in spec.units())
    return seconds + cycles / (HARDWARE.clock_mhz * 1e6)


@lru_cache(maxsize=256)
def unpacked_cycles(geometry: Geometry, batch: int) -> int:
    """Cycles that a layer's predictor takes longer with plain products."""
    tiles = tiles_of(plan_convolution(geometry, batch, "psg"))
    plain, packed = (weight_pass(geometry, batch, tiles, two) for two in (False, True))
    return plain.cycles - packed.cycles


@lru_cache(maxsize=8)
def full_seconds(network: str, batch: int) -> float:
    """Modelled seconds of an iteration that computes every sign in full."""
    spec = network_spec(network, *picture_shape("cifar10"))
    return board_cost(_board(), [(operations(spec, FULL_SIGN, batch), 1)]).seconds


def front(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that no other one beats in both time and wrong signs, the fastest first."""
    best, found = float("inf"), []
    for one in sorted(outcomes, key=lambda o: (o.seconds, o.wrong)):
        if one.wrong < best:
            best = one.wrong
            found.append(one)
    return found
