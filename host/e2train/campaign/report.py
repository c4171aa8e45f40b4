# SPDX-License-Identifier: Apache-2.0
"""The campaign's report: one page, figures and a summary, from the campaign's file alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import e2train

from ..errors import UserError
from ..files import write_text
from ..report import Report
from ..report.baselines import HYPOTHETICAL, OF_A_MODEL, Comparison, comparison_words, is_e2train
from ..report.html import build_html, environment
from ..report.paper import PaperRow, Place, paper_tables, repeated_rows
from ..report.render import Picture, load_matplotlib, picture_of, write_png
from ..report.style import shown
from ..report.words import PROVENANCE_MEANING
from ..runs.load import FLOAT_ARRAY
from .figures import Panel, charts
from .statistics import (
    CONFIDENCE,
    MODELLED,
    Group,
    baseline_of,
    comparisons_of,
    estimate,
    groups,
    places,
    provenances,
    ratios,
)
from .status import Snapshot, snapshot
from .store import FAILED, FINISHED, Store
from .tables import Quantity, details_table, quantities, results_table, summary_rows, words

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Findings:
    """What the report is made of: finished methods, their quantities, the paper's rows."""

    seen: Snapshot
    groups: Sequence[Group]
    baseline: str
    quantities: Sequence[Quantity]
    printed: Mapping[Place, PaperRow]


def write_report(store: Store, out: Path) -> Report:
    """Report on the finished cells. Raises UserError where none is, or the folder is no place."""
    load_matplotlib()
    environment()
    found, baseline = groups(store), store.get("baseline") or ""
    if not found:
        raise UserError(f"{store.path.parent}: no cell has finished yet")
    known = quantities(found, baseline)
    findings = Findings(snapshot(store), found, baseline, known, _printed(store))
    panels = _panels(found, baseline)
    subtitles = _subtitles(panels)
    drawn = charts(store, found, panels)
    pictures = {key: picture_of(chart, subtitles[key]) for key, chart in drawn.items()}
    figures = tuple(out / "figures" / f"{key}.png" for key in pictures)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for file, picture in zip(figures, pictures.values(), strict=True):
        write_png(file, picture.light)
    page, summary = out / "report.html", out / "summary.json"
    write_text(page, _page(findings, [*pictures.values()]))
    text = json.dumps(summarise(findings), indent=1, allow_nan=False, ensure_ascii=False)
    write_text(summary, text + "\n")
    return Report(page, summary, figures, headline(findings))


def _printed(store: Store) -> dict[Place, PaperRow]:
    """The rows of the paper that the campaign's file says it repeats."""
    chosen = tomllib.loads(store.get("text") or "").get("paper", {})
    cells = store.rows("SELECT DISTINCT method, network, dataset FROM cells")
    planned = [(row["method"], row["network"], row["dataset"]) for row in cells]
    return repeated_rows(chosen, planned, str(store.path))


def summarise(findings: Findings) -> dict[str, object]:
    """The content of summary.json."""
    return {
        "schema": 1,
        "headline": headline(findings),
        "comparisons": [
            {"method": group.method, "network": group.network, "dataset": group.dataset}
            | one.as_dict()
            for group in leading(findings)
            for one in _comparisons(findings, group)
        ],
        "name": findings.seen.name,
        "meter": findings.seen.meter,
        "baseline": findings.baseline,
        "confidence": CONFIDENCE,
        "cells": findings.seen.counts,
        "rows": summary_rows(findings.groups, findings.quantities, findings.printed),
    }


def _own(findings: Findings, network: str, dataset: str) -> list[Group]:
    return [g for g in findings.groups if (g.network, g.dataset) == (network, dataset)]


def _comparisons(findings: Findings, group: Group) -> list[Comparison]:
    own = _own(findings, group.network, group.dataset)
    return comparisons_of(group, own, findings.baseline, provenances(own)[0])


def leading(findings: Findings) -> list[Group]:
    """The method of each network and data set that the report opens with, most saved first.

    E2-Train, else the method that saves most energy; a baseline only if there is nothing else.
    """

    def prominence(group: Group) -> tuple[bool, bool, float]:
        own = _own(findings, group.network, group.dataset)
        base = baseline_of(group, own, findings.baseline)
        ratio = ratios(group, base, "energy_j", provenances(own)[0])
        return (
            is_e2train(group.settings or {}),
            not group.is_baseline and group.method != findings.baseline,
            -ratio.mean if ratio else -1e9,
        )

    found = [max(_own(findings, *place), key=prominence) for place in places(findings.groups)]
    return sorted(found, key=prominence, reverse=True)


def _panels(found: Sequence[Group], baseline: str) -> list[Panel]:
    """One panel for each network, data set and provenance that has cells."""
    panels = []
    for place in places(found):
        own = [group for group in found if (group.network, group.dataset) == place]
        for provenance in provenances(own):
            inside = tuple(g for g in own if g.by_seed("energy_j", provenance))
            panels.append(Panel(inside, baseline, provenance))
    return panels


def _subtitles(panels: Sequence[Panel]) -> dict[str, str]:
    names = ("accuracy-energy-ratio", "energy-iterations", "accuracy-energy")
    return {
        f"{name}-{panel.groups[0].network}-{panel.groups[0].dataset}-{panel.provenance}": shown(
            f"{panel.place}; energy {panel.provenance}", 72
        )
        for panel in panels
        for name in names
    }


def headline(findings: Findings) -> str:
    """One line out of the data: the leading method's energy against the baselines, its top-1."""
    group = leading(findings)[0]
    made = _comparisons(findings, group)
    if not any(one.saving is not None for one in made):
        count = sum(len(group.rows) for group in findings.groups)
        return f"{count} finished cells, none to compare with {findings.baseline} yet"
    top1 = words(estimate(list(group.by_seed("top1").values())))
    return f"{group.method} on {group.network}: {comparison_words(made)}; top-1 {top1} %"


def _page(findings: Findings, pictures: Sequence[Picture]) -> str:
    seen, results, details = findings.seen, [], []
    for place in places(findings.groups):
        own = _own(findings, *place)
        where = f"{own[0].network} on {own[0].rows[0]['dataset_label']}"
        caption = (
            f"{where}. Means over repeats ± half of the 95 % confidence interval (Student's t). "
            f"Savings are against {findings.baseline}, unless a heading names another baseline; "
            "they are formed seed by seed."
        )
        results.append(results_table(own, findings.quantities, findings.printed, caption))
        wide = f"{where}. Scroll sideways where the table is wider than the page."
        details.append(details_table(own, findings.quantities, wide))
    return build_html(
        "campaign.html.jinja",
        headline=headline(findings),
        name=seen.name,
        standing=f"{seen.sentence}. Energy: {' and '.join(provenances(findings.groups))}.",
        comparisons=[one for g in leading(findings) for one in _comparisons(findings, g)],
        notes=_notes(findings),
        pictures=pictures,
        results=results,
        details=details,
        terms=_method(findings),
        version=e2train.__version__,
    )


def _notes(findings: Findings) -> list[str]:
    """What a reader must know before the figures, one line each."""
    seen, found = findings.seen, findings.groups
    lines = []
    listed = provenances(found)
    if "simulated" in listed:
        lines.append(
            "Simulated energy comes from a simulated meter driven by an energy model: it is no "
            "measurement of hardware."
        )
    floats = [group.method for group in found if group.board_model == FLOAT_ARRAY]
    if floats and any(name in OF_A_MODEL for name in listed):
        names = ", ".join(dict.fromkeys(floats))
        lines.append(
            f"Simulated and modelled energy of {names} is {HYPOTHETICAL}. What one would take is "
            "modelled."
        )
    if listed == [MODELLED]:
        lines.append("No cell has an energy from a meter; figures show modelled energy.")
    open_cells = seen.total - seen.counts.get(FINISHED, 0)
    if open_cells:
        failed = seen.counts.get(FAILED, 0)
        lines.append(f"{open_cells} of {seen.total} cells have not finished ({failed} failed).")
    for group in found:
        for row in group.rows:
            for what, key in (("energy", "energy_missing"), ("above idle", "net_energy_missing")):
                if row[key] and row[key] != "no meter":
                    lines.append(f"{row['cell']}: no {what}: {row[key]}.")
    single = [group.method for group in found if len(group.rows) == 1]
    if single:
        lines.append(f"One repeat, so no confidence interval: {', '.join(dict.fromkeys(single))}.")
    return list(dict.fromkeys(lines))


def _method(findings: Findings) -> list[tuple[str, str]]:
    """Terms and their definitions."""
    terms = [
        (
            "Repeats and intervals",
            "A repeat is a run with another seed. ± is half of the 95 % confidence interval of the "
            "mean, Student's t with n - 1 degrees of freedom. It shows how much the repeats "
            "differ. It does not include an error that the meter makes alike in every repeat: that "
            "uncertainty stands in a column of its own (expanded uncertainty, k = 2, mean of the "
            "repeats). The simulated meter draws its errors anew for each seed, so with it they "
            "are part of the interval too.",
        ),
        (
            "Energy in total, ratio, saving",
            "Joules of the whole training window. Ratios and savings are formed between cells of "
            "one seed and one provenance, then averaged.",
        ),
        (
            "Energy above idle",
            "Total less idle power times the window's length. Idle power is the mean of an idle "
            "run before and one after each cell, on the same meter. A value below zero is shown as "
            "it is: the training then took less power than the idle machine.",
        ),
        (
            "Time",
            "Length of the training window on the meter's clock. On the simulated meter that is "
            "modelled time of the board, not of the computer that trained.",
        ),
    ]
    if findings.printed:
        chosen = set(findings.printed.values())
        titles = [t.title for t in paper_tables().values() if chosen & set(t.rows)]
        terms.append(
            (
                "The paper's figures",
                "Printed in Wang et al., E2-Train, NeurIPS 2019. "
                f"{'; '.join(titles)}. Its authors metered the energies on a ZedBoard with their "
                "own implementation; its savings are over 32-bit floating-point SGD.",
            )
        )
    listed = dict.fromkeys([*provenances(findings.groups), MODELLED])
    terms += [(f"Provenance: {name}", PROVENANCE_MEANING[name]) for name in listed]
    return terms
