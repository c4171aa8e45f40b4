# SPDX-License-Identifier: Apache-2.0
"""The page of the run report: what its template is given."""

from __future__ import annotations

from e2train.report.html import build_html
from e2train.report.render import Picture
from e2train.report.style import sentence_of
from e2train.report.summary import (
    comparisons_of,
    headline,
    last_energy,
    leading,
    provenances_of,
)
from e2train.report.tables import comparison_table, settings_table
from e2train.report.words import method_of_measurement, notes, versions
from e2train.runs.load import Run


def build_page(runs: list[Run], pictures: list[Picture]) -> str:
    """The whole report as HTML. All text out of run folders is escaped."""
    shown = leading(runs)
    return build_html(
        "run.html.jinja",
        headline=headline(runs),
        place=f"{runs[0].dataset_label}, {runs[0].network}",
        subject=sentence_of(runs),
        standing=_standing(runs),
        comparisons=comparisons_of(shown, runs) if shown else [],
        notes=notes(runs),
        pictures=pictures,
        context=f"Data and network: {sentence_of(runs)}. {_provenance_words(runs)}",
        comparison=comparison_table(runs),
        terms=method_of_measurement(runs),
        settings=settings_table(runs),
        versions=versions(),
    )


def _standing(runs: list[Run]) -> str:
    """How far the cells have come and whose joules these are."""
    done = sum(1 for run in runs if run.result)
    cells = f"{len(runs)} cell{'s' if len(runs) != 1 else ''}"
    cells += ", all finished" if done == len(runs) else f", {done} finished"
    return f"{cells}. {_provenance_words(runs)}"


def _provenance_words(runs: list[Run]) -> str:
    found = provenances_of(last_energy(run) for run in runs)
    if not found:
        return "No cell has an energy from a meter."
    return "Energy: " + " and ".join(found) + "."
