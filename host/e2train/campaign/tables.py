# SPDX-License-Identifier: Apache-2.0
"""The campaign's table: accuracy, total energy, energy above idle and time, by method.

A heading over joules names their provenance, and cells of another provenance stay empty below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ..report.style import decimals_for
from .statistics import (
    MODELLED,
    Estimate,
    Group,
    baseline_of,
    estimate,
    provenances,
    ratios,
    saving,
)

NONE = "–"


@dataclass(frozen=True)
class Column:
    """A column: key in summary.json, heading on the page, and the value for a group."""

    key: str
    heading: str
    value: Callable[[Group], Estimate | None]


def columns(all_groups: Sequence[Group], baseline: str) -> list[Column]:
    """The columns that these groups need."""

    def mean(key: str, provenance: str | None = None) -> Callable[[Group], Estimate | None]:
        return lambda group: estimate(list(group.by_seed(key, provenance).values()))

    def ratio(key: str, provenance: str | None = None) -> Callable[[Group], Estimate | None]:
        return lambda group: ratios(
            group, baseline_of(group, all_groups, baseline), key, provenance
        )

    def saved(key: str, provenance: str | None = None) -> Callable[[Group], Estimate | None]:
        return lambda group: saving(ratio(key, provenance)(group))

    found = [
        Column("top1", "Top-1 [%]", mean("top1")),
        Column("top5", "Top-5 [%]", mean("top5")),
    ]
    for p in provenances(all_groups):
        if p == MODELLED:
            continue
        found += [
            Column(f"energy_{p}_j", f"Energy in total, {p} [J]", mean("energy_j", p)),
            Column(
                f"uncertainty_{p}_j",
                f"Uncertainty of the meter, {p} [J]",
                lambda group, p=p: _bare(mean("energy_uncertainty_j", p)(group)),  # type: ignore[misc]
            ),
            Column(f"ratio_{p}", f"Energy ratio, {p}", ratio("energy_j", p)),
            Column(f"saving_{p}", f"Energy saving, {p} [%]", saved("energy_j", p)),
            Column(f"net_{p}_j", f"Energy above idle, {p} [J]", mean("net_energy_j", p)),
            Column(f"net_saving_{p}", f"Saving above idle, {p} [%]", saved("net_energy_j", p)),
            Column(f"time_{p}_s", f"Time on the meter's clock, {p} [s]", mean("window_s", p)),
            Column(f"time_saving_{p}", f"Time saving, {p} [%]", saved("window_s", p)),
        ]
    return [
        *found,
        Column("energy_modelled_j", "Energy, modelled [J]", mean("modelled_j")),
        Column("saving_modelled", "Energy saving, modelled [%]", saved("modelled_j")),
        Column(
            "computational_saving", "Computational saving, bit operations [%]",
            saved("bit_operations"),
        ),
        Column("skip_ratio", "Skip ratio [%]", mean("skip_ratio")),
    ]  # fmt: skip


def _bare(found: Estimate | None) -> Estimate | None:
    """A mean without an interval."""
    return None if found is None else Estimate(found.mean, None, found.n)


def words(found: Estimate | None) -> str:
    """'12.34 ± 0.06', or '12.34' of one repeat, or a dash."""
    if found is None:
        return NONE
    places = decimals_for(found.half, found.mean)
    text = f"{found.mean:,.{places}f}".replace(",", "\u202f").replace("-", "−")
    return text if found.half is None else f"{text} ± {found.half:.{places}f}"


def html_table(own: Sequence[Group], all_columns: Sequence[Column], caption: str) -> str:
    """The groups of one network and data set as a table."""
    head = "".join(f'<th scope="col">{escape(column.heading)}</th>' for column in all_columns)
    rows = "".join(
        f'<tr><th scope="row">{escape(group.method)}</th><td>{len(group.rows)}</td>'
        + "".join(f"<td>{escape(words(column.value(group)))}</td>" for column in all_columns)
        + "</tr>"
        for group in own
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>"
        f'<th scope="col" class="text">Method</th><th scope="col">Repeats</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def summary_rows(
    all_groups: Sequence[Group], all_columns: Sequence[Column]
) -> list[dict[str, Any]]:
    """The same table for programs: mean, half of the 95 % interval and n of every column."""
    return [
        {
            "method": group.method,
            "network": group.network,
            "dataset": group.dataset,
            "seeds": [row["seed"] for row in group.rows],
        }
        | {column.key: _plain(column.value(group)) for column in all_columns}
        for group in all_groups
    ]


def _plain(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else {"mean": found.mean, "half": found.half, "n": found.n}
