# SPDX-License-Identifier: Apache-2.0
"""Results as rows and as CSV; repeats to means with Student-t intervals, ratios paired by seed.

A seed is a block: the cells of one seed ran next to each other, so ratios are formed within it,
where slow drift cancels, and then averaged.
"""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from powermeter import PROVENANCES

from ..errors import UserError
from ..files import write_text
from ..report.baselines import BASELINES, Baseline, Comparison, caveat_of, missing, not_comparable
from ..runs.load import ACCELERATOR, FLOAT_ARRAY, flattened
from .schema import RESULT_COLUMNS
from .store import FINISHED, Store

CONFIDENCE = 0.95
MODELLED = "modelled"
Row = dict[str, Any]
CELL_COLUMNS = ("method", "network", "dataset", "seed", "state", "error")
POINT_COLUMNS = (
    "cell", "iteration", "joules", "provenance", "modelled_joules", "loss", "top1",
)  # fmt: skip
_CELLS = """
SELECT cells.id AS id, cells.method, cells.network, cells.dataset, cells.seed, cells.state,
       cells.error, results.* FROM cells LEFT JOIN results ON results.cell = cells.id
ORDER BY position
"""


@dataclass(frozen=True)
class Estimate:
    """Mean of `n` repeats; `half` is half of its confidence interval, None for one repeat."""

    mean: float
    half: float | None
    n: int


@dataclass(frozen=True)
class Group:
    """The finished repeats of one method on one network and data set, in the order of seeds.

    `settings` are the experiment's, as {"method.update": "sgd", ...}; None where nobody knows them.
    """

    method: str
    family: str
    network: str
    dataset: str
    rows: tuple[Row, ...]
    settings: Mapping[str, object] | None = None

    def is_trained_as(self, baseline: Baseline) -> bool:
        """Whether this method is that baseline, by its settings; its name does not matter."""
        return self.settings is not None and baseline.is_trained_by(self.settings)

    @property
    def is_baseline(self) -> bool:
        """Whether this is one of the two baselines that reports compare with."""
        return any(self.is_trained_as(baseline) for baseline in BASELINES)

    @property
    def board_model(self) -> str:
        """Whose joules a simulated or modelled energy of this method stands for."""
        known = self.settings or {}
        return FLOAT_ARRAY if known.get("method.arithmetic") == "float32" else ACCELERATOR

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


def cell_rows(store: Store) -> list[dict[str, Any]]:
    """One row a cell, finished or not, in the campaign's order."""
    return [row | {"cell": row["id"]} for row in store.rows(_CELLS)]


def export(store: Store, folder: Path) -> tuple[Path, Path]:
    """Write cells.csv and points.csv into `folder`; each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    first, *rest = RESULT_COLUMNS
    cells, points = folder / "cells.csv", folder / "points.csv"
    write_text(cells, to_csv(cell_rows(store), (first, *CELL_COLUMNS, *rest)))
    query = (
        "SELECT points.* FROM points JOIN cells ON cells.id = cell ORDER BY position, points.rowid"
    )
    write_text(points, to_csv(store.rows(query), POINT_COLUMNS))
    return cells, points


def to_csv(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """RFC 4180 text with a heading; None is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


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


def student_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t distribution with `freedom` degrees of freedom."""
    try:
        from scipy.stats import t  # type: ignore[import-untyped]
    except ImportError:
        raise UserError("the report needs SciPy: pip install 'e2train[report]'") from None
    return float(t.ppf(probability, freedom))


def groups(store: Store) -> list[Group]:
    """Finished cells by method, network and data set: baselines first, families together."""
    planned = {row["id"]: row for row in store.rows("SELECT id, family, settings FROM cells")}
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in cell_rows(store):
        if row["state"] == FINISHED:
            key = (row["method"], row["network"], row["dataset"])
            found.setdefault(key, []).append(row)
    listed = [
        Group(method, planned[rows[0]["cell"]]["family"], network, dataset,
              tuple(sorted(rows, key=lambda row: row["seed"])),
              flattened(json.loads(planned[rows[0]["cell"]]["settings"])))
        for (method, network, dataset), rows in found.items()
    ]  # fmt: skip
    baseline = store.get("baseline")
    families = list(dict.fromkeys(group.family for group in listed))
    return sorted(
        listed,
        key=lambda group: (
            group.method != baseline,
            not group.is_baseline,
            families.index(group.family),
            group.method,
        ),
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


def trained_as(baseline: Baseline, group: Group, all_groups: Sequence[Group]) -> Group | None:
    """The repeats of `baseline` on the network and data set of `group`, whatever their name.

    Of several, those that bear the baseline's usual name.
    """
    found = [
        other
        for other in all_groups
        if (other.network, other.dataset) == (group.network, group.dataset)
        and other.is_trained_as(baseline)
    ]
    found.sort(key=lambda other: other.method != baseline.key)
    return next(iter(found), None)


def compare(group: Group, base: Group | None, baseline: Baseline, provenance: str) -> Comparison:
    """The energy of `group` against `base`, which is that `baseline`, seed by seed."""
    name = f"{group.method} on {group.network}, {group.rows[0]['dataset_label']},"
    if base is None:
        return missing(baseline, name)
    saved = saving(ratios(group, base, "energy_j", provenance))
    if saved is None:
        return not_comparable(baseline, name, base.method, _joules_of(group), _joules_of(base))
    models = (group.board_model, base.board_model)
    return Comparison(
        baseline, name, base.method, saved.mean, saved.half, provenance,
        FLOAT_ARRAY if FLOAT_ARRAY in models else ACCELERATOR,
        caveat=caveat_of(group.settings or {}, base.settings or {}),
    )  # fmt: skip


def comparisons_of(
    group: Group, all_groups: Sequence[Group], own_baseline: str, provenance: str
) -> list[Comparison]:
    """`group` against the two baselines, and against the campaign's own if that is another."""
    made = [
        compare(group, trained_as(baseline, group, all_groups), baseline, provenance)
        for baseline in BASELINES
        if not group.is_trained_as(baseline)
    ]
    base = baseline_of(group, all_groups, own_baseline)
    if base is not None and base is not group and not base.is_baseline:
        other = Baseline(base.method, f"the campaign's baseline, {base.method}", "")
        made.insert(0, compare(group, base, other, provenance))
    return made


def _joules_of(group: Group) -> str | None:
    """'metered (seed 0) and simulated (seed 1)'; None where there are no joules."""
    parts = []
    for name in PROVENANCES:
        seeds = [row["seed"] for row in group.rows if row["energy_provenance"] == name]
        if seeds:
            parts.append(f"{name} (seed {', '.join(map(str, seeds))})")
    return " and ".join(parts) or None


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
