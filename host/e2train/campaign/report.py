# SPDX-License-Identifier: Apache-2.0
"""The campaign's report: one page, figures and a summary, from the campaign's file alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import BinaryIO

import e2train

from ..errors import UserError
from ..files import write_atomically, write_text
from ..report.page import POLICY, STYLE, Picture
from ..report.render import load_matplotlib, render
from ..report.style import DARK, LIGHT, shown
from ..report.words import PROVENANCE_MEANING
from .figures import Panel, charts
from .statistics import CONFIDENCE, MODELLED, Group, groups, places, provenances
from .status import Snapshot, snapshot
from .store import FAILED, FINISHED, Store
from .tables import Column, columns, html_table, summary_rows, words

_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>
<p class="what">Measurement campaign · $name</p>
<h1>$title</h1>
<p class="where">$standing</p>
</header>
<main>
$notes
<section aria-label="Figures" class="figures">
$figures
</section>
<section>
<h2>Accuracy, energy and time</h2>
$tables
</section>
<section>
<h2>How these numbers came to be</h2>
$method
</section>
<p class="fine">e2train $version. Every cell, with the hash of its raw log: cells.csv of
<code>e2train campaign export</code>.</p>
</main>
</body>
</html>
"""
)


@dataclass(frozen=True)
class Written:
    """Where a report was written, and its first line."""

    page: Path
    summary: Path
    figures: tuple[Path, ...]
    headline: str


def write_report(store: Store, out: Path) -> Written:
    """Report on the finished cells. Raises UserError where none is, or the folder is no place."""
    load_matplotlib()
    found, seen = groups(store), snapshot(store)
    if not found:
        raise UserError(f"{store.path.parent}: no cell has finished yet")
    baseline = store.get("baseline") or ""
    panels = _panels(found, baseline)
    drawn = charts(store, found, panels)
    subtitles = _subtitles(panels)
    pictures = {
        key: Picture(
            chart, render(chart, LIGHT, subtitles[key]), render(chart, DARK, subtitles[key])
        )
        for key, chart in drawn.items()
    }
    table = columns(found, baseline)
    title = headline(found, table, baseline)
    figures = tuple(out / "figures" / f"{key}.png" for key in pictures)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for file, picture in zip(figures, pictures.values(), strict=True):
        _write_png(file, picture.light)
    page = _page(seen, found, table, baseline, title, [*pictures.values()])
    write_text(out / "report.html", page)
    summary = {
        "schema": 1,
        "name": seen.name,
        "meter": seen.meter,
        "baseline": baseline,
        "confidence": CONFIDENCE,
        "cells": seen.counts,
        "rows": summary_rows(found, table),
    }
    text = json.dumps(summary, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(out / "summary.json", text + "\n")
    return Written(out / "report.html", out / "summary.json", figures, title)


def _write_png(file: Path, png: bytes) -> None:
    def put(stream: BinaryIO) -> None:
        stream.write(png)

    write_atomically(file, put)


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


def headline(found: Sequence[Group], table: Sequence[Column], baseline: str) -> str:
    """One line out of the data: the method that saves most energy, with its provenance."""
    provenance = provenances(found)[0]
    column = next(one for one in table if one.key == f"saving_{provenance}")
    top1 = next(one for one in table if one.key == "top1")
    others = [(group, column.value(group)) for group in found if group.method != baseline]
    saved = [(group, value) for group, value in others if value is not None]
    if not saved:
        count = sum(len(group.rows) for group in found)
        return f"{count} finished cells, none to compare with {baseline} yet"
    group, best = max(saved, key=lambda item: item[1].mean)
    verb = "less" if best.mean >= 0 else "more"
    amount = words(best).lstrip("−")
    return (
        f"{group.method} on {group.network}: {amount} % {verb} energy ({provenance}) than "
        f"{baseline}, top-1 {words(top1.value(group))} %"
    )


def _page(
    seen: Snapshot,
    found: Sequence[Group],
    table: Sequence[Column],
    baseline: str,
    title: str,
    pictures: Sequence[Picture],
) -> str:
    colors = {name: getattr(LIGHT, name) for name in ("paper", "ink", "muted", "grid")}
    colors |= {f"d{name}": getattr(DARK, name) for name in ("paper", "ink", "muted", "grid")}
    tables = []
    for network, dataset in places(found):
        own = [group for group in found if (group.network, group.dataset) == (network, dataset)]
        caption = (
            f"{network} on {own[0].rows[0]['dataset_label']}. Means over repeats ± half of the "
            f"95 % confidence interval (Student's t). Savings against {baseline}, seed by seed."
        )
        tables.append(html_table(own, table, caption))
    return _PAGE.substitute(
        policy=POLICY,
        title=escape(title),
        style=STYLE.substitute(colors),
        name=escape(seen.name),
        standing=escape(f"{seen.sentence}. Energy: {' and '.join(provenances(found))}."),
        notes=_notes(seen, found),
        figures="\n".join(_figure(picture) for picture in pictures),
        tables="\n".join(tables),
        method=_method(found),
        version=escape(e2train.__version__),
    )


def _figure(picture: Picture) -> str:
    chart = picture.chart
    return (
        "<figure><picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data(picture.dark)}">'
        f'<img src="{_data(picture.light)}" alt="{escape(chart.alt)}">'
        f"</picture><figcaption><strong>{escape(chart.title)}.</strong> {escape(chart.caption)}"
        "</figcaption></figure>"
    )


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _notes(seen: Snapshot, found: Sequence[Group]) -> str:
    """What a reader must know before the figures."""
    lines = []
    listed = provenances(found)
    if "simulated" in listed:
        lines.append(
            "Simulated energy comes from a simulated meter driven by an energy model: it is no "
            "measurement of hardware."
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
    text = "".join(f"<p>{escape(line)}</p>" for line in dict.fromkeys(lines))
    return f'<div class="notes" role="note">{text}</div>' if text else ""


def _method(found: Sequence[Group]) -> str:
    terms = [
        (
            "Repeats and intervals",
            "A repeat is a run with another seed. ± is half of the 95 % confidence interval of the "
            "mean, Student's t with n - 1 degrees of freedom: how far the mean would scatter. "
            "It does not hold the error that the meter has in every repeat; that stands in a "
            "column of its own (expanded uncertainty, k = 2, mean of the repeats). The "
            "simulated meter draws another instrument for each seed: there it scatters too.",
        ),
        (
            "Energy in total, ratio, saving",
            "Joules of the whole training window. Ratios and savings are formed between cells of "
            "one seed and one provenance, then averaged.",
        ),
        (
            "Energy above idle",
            "Total less idle power times the window's length. Idle power is the mean of an idle "
            "run before and one after each cell, on the same meter. A negative value stays so.",
        ),
        (
            "Time",
            "Length of the training window on the meter's clock. On the simulated meter that is "
            "modelled time of the board, not of the computer that trained.",
        ),
    ]
    listed = dict.fromkeys([*provenances(found), MODELLED])
    terms += [(f"Provenance: {name}", PROVENANCE_MEANING[name]) for name in listed]
    rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in terms)
    return f"<dl>{rows}</dl>"
