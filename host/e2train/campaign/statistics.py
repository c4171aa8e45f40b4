# SPDX-License-Identifier: Apache-2.0
"""Repeats to means with Student-t confidence intervals, and ratios paired by seed.

A seed is a block: the cells of one seed ran next to each other, so ratios are formed within it,
where slow drift cancels, and then averaged.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from powermeter import PROVENANCES

from ..errors import UserError
from .export import cell_rows
from .store import FINISHED, Store

CONFIDENCE = 0.95
MODELLED = "modelled"
Row = dict[str, Any]


@dataclass(frozen=True)
class Estimate:
    """Mean of `n` repeats; `half` is half of its confidence interval, None for one repeat."""

    mean: float
    half: float | None
    n: int


@dataclass(frozen=True)
class Group:
    """The finished repeats of one method on one network and data set, in the order of seeds."""

    method: str
    family: str
    network: str
    dataset: str
    rows: tuple[Row, ...]

    def by_seed(self, key: str, provenance: str | None = None) -> dict[int, float]:
        """Values of a result's column by seed; only joules of that provenance, where one is given.

        For `modelled`, `energy_j` is the modelled energy, which every cell has.
        """
        if provenance == MODELLED and key == "energy_j":
            key, provenance = "modelled_j", None
        return {
            row["seed"]: float(row[key])
            for row in self.rows
            if row[key] is not None
            and (provenance is None or row["energy_provenance"] == provenance)
        }


def estimate(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate | None:
    """Mean and Student-t interval of independent repeats; None of none."""
    n = len(values)
    if n == 0:
        return None
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, None, 1)
    quantile = student_quantile((1 + confidence) / 2, n - 1)
    return Estimate(mean, quantile * statistics.stdev(values) / math.sqrt(n), n)


def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t distribution with `freedom` degrees of freedom."""
    try:
        from scipy.stats import t  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("the report needs SciPy: pip install 'e2train[report]'") from None
    return float(t.ppf(probability, freedom))


def groups(store: Store) -> list[Group]:
    """Finished cells by method, network and data set: the baseline first, families together."""
    family = {row["id"]: row["family"] for row in store.rows("SELECT id, family FROM cells")}
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in cell_rows(store):
        if row["state"] == FINISHED:
            key = (row["method"], row["network"], row["dataset"])
            found.setdefault(key, []).append(row | {"family": family[row["cell"]]})
    listed = [
        Group(method, rows[0]["family"], network, dataset,
              tuple(sorted(rows, key=lambda row: row["seed"])))
        for (method, network, dataset), rows in found.items()
    ]  # fmt: skip
    baseline = store.get("baseline")
    families = list(dict.fromkeys(group.family for group in listed))
    return sorted(
        listed,
        key=lambda group: (group.method != baseline, families.index(group.family), group.method),
    )


def places(all_groups: Sequence[Group]) -> list[tuple[str, str]]:
    """(network, data set) pairs, in order: energies compare within one of them only."""
    return list(dict.fromkeys((group.network, group.dataset) for group in all_groups))


def baseline_of(group: Group, all_groups: Sequence[Group], baseline: str) -> Group | None:
    """The baseline's repeats on the same network and data set."""
    for other in all_groups:
        same = (other.network, other.dataset) == (group.network, group.dataset)
        if same and other.method == baseline:
            return other
    return None


def provenances(all_groups: Sequence[Group]) -> list[str]:
    """Provenances of the meters' joules, in the fixed order; `modelled` where there are none."""
    found = {row["energy_provenance"] for group in all_groups for row in group.rows}
    listed = [name for name in PROVENANCES if name in found]
    return listed or [MODELLED]


def ratios(group: Group, base: Group | None, key: str, provenance: str | None) -> Estimate | None:
    """Ratio of the group to the baseline in one column, seed by seed."""
    if base is None:
        return None
    ours, theirs = group.by_seed(key, provenance), base.by_seed(key, provenance)
    return estimate([ours[seed] / theirs[seed] for seed in ours if theirs.get(seed, 0.0) > 0])


def saving(ratio: Estimate | None) -> Estimate | None:
    """A ratio as the percentage saved; negative where more was spent."""
    if ratio is None:
        return None
    half = None if ratio.half is None else 100 * ratio.half
    return Estimate(100 * (1 - ratio.mean), half, ratio.n)
