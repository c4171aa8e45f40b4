# SPDX-License-Identifier: Apache-2.0
"""The campaign's tables: accuracy, total energy, energy above idle and time, by method.

A heading over joules names their provenance, and cells of another provenance stay empty below it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..report.baselines import BASELINES, HYPOTHETICAL, OF_A_MODEL, Baseline
from ..report.html import NONE, Table, TableRow
from ..report.paper import SOURCE, PaperRow, Place
from ..report.style import decimals_for
from ..runs.load import FLOAT_ARRAY
from .statistics import (
    MODELLED,
    Estimate,
    Group,
    baseline_of,
    estimate,
    provenances,
    ratios,
    saving,
    trained_as,
)

MARK = " †"
# What the first table of a network and data set holds; the second holds the rest.
BRIEF = ("top1", "energy", "saving", "time")


@dataclass(frozen=True)
class Quantity:
    """What is known of a group: key in summary.json, heading on the page, and the value.

    `provenance` is that of the joules behind it, None where there are none.
    """

    key: str
    heading: str
    value: Callable[[Group], Estimate | None]
    provenance: str | None = None

    @property
    def is_brief(self) -> bool:
        """Whether it belongs into the first table."""
        return self.key.split("_")[0] in BRIEF and not self.key.startswith("time_saving")

    def text(self, group: Group) -> str:
        """The value as the page shows it; joules of hardware that does not exist are marked."""
        found = words(self.value(group))
        if found == NONE or not self.key.endswith("_j"):
            return found
        modelled = self.provenance in OF_A_MODEL and group.board_model == FLOAT_ARRAY
        return found + MARK if modelled else found


def quantities(all_groups: Sequence[Group], baseline: str) -> list[Quantity]:
    """The quantities that these groups have. Savings are against `baseline` unless they say."""

    def mean(key: str, provenance: str | None = None) -> Callable[[Group], Estimate | None]:
        return lambda group: estimate(list(group.by_seed(key, provenance).values()))

    def ratio(key: str, provenance: str | None = None) -> Callable[[Group], Estimate | None]:
        return lambda group: ratios(
            group, baseline_of(group, all_groups, baseline), key, provenance
        )

    def saved(key: str, provenance: str | None = None) -> Callable[[Group], Estimate | None]:
        return lambda group: saving(ratio(key, provenance)(group))

    def uncertainty(p: str) -> Callable[[Group], Estimate | None]:
        return lambda group: _bare(mean("energy_uncertainty_j", p)(group))

    found = [
        Quantity("top1", "Top-1 [%]", mean("top1")),
        Quantity("top5", "Top-5 [%]", mean("top5")),
    ]
    listed = provenances(all_groups)
    for p in [one for one in listed if one != MODELLED]:
        found += [
            Quantity(f"energy_{p}_j", f"Energy in total, {p} [J]", mean("energy_j", p), p),
            Quantity(f"uncertainty_{p}_j", f"Uncertainty of the meter, {p} [J]", uncertainty(p), p),
            Quantity(f"ratio_{p}", f"Energy ratio, {p}", ratio("energy_j", p), p),
            Quantity(f"saving_{p}", f"Energy saving, {p} [%]", saved("energy_j", p), p),
            *_other_savings(all_groups, baseline, p),
            Quantity(f"net_{p}_j", f"Energy above idle, {p} [J]", mean("net_energy_j", p), p),
            Quantity(f"net_saving_{p}", f"Saving above idle, {p} [%]", saved("net_energy_j", p), p),
            Quantity(f"time_{p}_s", f"Time on the meter's clock, {p} [s]", mean("window_s", p), p),
            Quantity(f"time_saving_{p}", f"Time saving, {p} [%]", saved("window_s", p), p),
        ]
    m = MODELLED
    return [
        *found,
        Quantity(f"energy_{m}_j", f"Energy, {m} [J]", mean("modelled_j"), m),
        Quantity(f"saving_{m}", f"Energy saving, {m} [%]", saved("modelled_j"), m),
        *(_other_savings(all_groups, baseline, m) if m in listed else ()),
        Quantity(
            "computational_saving", "Computational saving, bit operations [%]",
            saved("bit_operations"),
        ),
        Quantity("skip_ratio", "Skip ratio [%]", mean("skip_ratio")),
    ]  # fmt: skip


def _other_savings(all_groups: Sequence[Group], baseline: str, provenance: str) -> list[Quantity]:
    """Savings against those of the two baselines of every report that `baseline` is not."""
    found = []
    for kind in BASELINES:
        if not any(g.is_trained_as(kind) and g.method != baseline for g in all_groups):
            continue

        def value(group: Group, kind: Baseline = kind) -> Estimate | None:
            base = trained_as(kind, group, all_groups)
            return saving(ratios(group, base, "energy_j", provenance))

        heading = f"Energy saving against {kind.key}, {provenance} [%]"
        found.append(Quantity(f"saving_{kind.key}_{provenance}", heading, value, provenance))
    return found


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


def results_table(
    own: Sequence[Group],
    known: Sequence[Quantity],
    printed: Mapping[Place, PaperRow],
    caption: str,
) -> Table:
    """Accuracy, energy, savings and time of one network and data set, beside the paper's."""
    provenance_first = provenances(own)[0]
    columns: list[tuple[str, Callable[[Group], str]]] = []
    for one in known:
        modelled_too = one.provenance == MODELLED and provenance_first != MODELLED
        if not one.is_brief or modelled_too or not _has_value(one, own):
            continue
        columns.append((one.heading, one.text))
        if one.key == "top1" and (paper := _paper_column("Top-1", "top1", own, printed)):
            columns.append(paper)
        if one.key == f"saving_{provenance_first}" and (
            paper := _paper_column("Energy saving", "energy_saving", own, printed)
        ):
            columns.append(paper)
    return _table(own, columns, caption)


def details_table(own: Sequence[Group], known: Sequence[Quantity], caption: str) -> Table:
    """Every quantity of one network and data set."""
    columns = [(one.heading, one.text) for one in known if _has_value(one, own)]
    return _table(own, columns, caption)


def _has_value(one: Quantity, own: Sequence[Group]) -> bool:
    return any(one.value(group) is not None for group in own)


def _paper_column(
    name: str, key: str, own: Sequence[Group], printed: Mapping[Place, PaperRow]
) -> tuple[str, Callable[[Group], str]] | None:
    """A printed figure for each group; None where the paper has it for none of them."""

    def cell(group: Group) -> str:
        row = printed.get(place_of(group))
        value = None if row is None else getattr(row, key)
        return NONE if value is None else f"{value:.2f}"

    if all(cell(group) == NONE for group in own):
        return None
    source = SOURCE if key == "energy_saving" else "paper"
    return f"{name}, {source} [%]", cell


def place_of(group: Group) -> Place:
    """Method, network and data set, by which a row of the paper is found."""
    return group.method, group.network, group.dataset


def _table(
    own: Sequence[Group], columns: Sequence[tuple[str, Callable[[Group], str]]], caption: str
) -> Table:
    rows = [
        TableRow(group.method, [str(len(group.rows)), *(cell(group) for _, cell in columns)])
        for group in own
    ]
    marked = any(MARK in cell for row in rows for cell in row.cells)
    return Table(
        caption=caption,
        label=caption,
        corner="Method",
        headings=["Repeats", *(heading for heading, _ in columns)],
        rows=rows,
        footnote=f"{MARK.strip()} {HYPOTHETICAL}; what one would take is modelled." * marked,
    )


def summary_rows(
    all_groups: Sequence[Group], known: Sequence[Quantity], printed: Mapping[Place, PaperRow]
) -> list[dict[str, Any]]:
    """The same for programs: mean, half of the 95 % interval and n of every quantity.

    `paper` is the printed row of the paper that the method repeats, or null.
    """
    return [
        {
            "method": group.method,
            "network": group.network,
            "dataset": group.dataset,
            "seeds": [row["seed"] for row in group.rows],
            "paper": asdict(row) if (row := printed.get(place_of(group))) else None,
        }
        | {one.key: _plain(one.value(group)) for one in known}
        for group in all_groups
    ]


def _plain(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else {"mean": found.mean, "half": found.half, "n": found.n}
