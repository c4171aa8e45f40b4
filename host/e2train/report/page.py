# SPDX-License-Identifier: Apache-2.0
"""The HTML page: one file, nothing fetched, no script."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from string import Template

from e2train.report.render import Chart
from e2train.report.style import DARK, LIGHT, Theme, sentence_of
from e2train.report.summary import headline, last_energy, provenances_of
from e2train.report.tables import comparison_table, settings_table
from e2train.report.words import method_of_measurement, notes, versions
from e2train.runs.load import Run

# A hostile name in a run folder meets escaping first and this policy second.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

PAGE = Template(
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
<p class="what">Energy-efficient CNN training · $subject</p>
<h1>$headline</h1>
<p class="where">$standing</p>
</header>
<main>
$notes
<section aria-label="Figures" class="figures">
$figures
</section>
<section>
<h2>Comparison</h2>
$comparison
</section>
<section>
<h2>How these numbers came to be</h2>
$method
</section>
<section>
<h2>Experiment settings</h2>
$settings
</section>
<section>
<h2>Software</h2>
$versions
</section>
</main>
</body>
</html>
"""
)

STYLE = Template(
    """
:root { --paper: $paper; --ink: $ink; --muted: $muted; --line: $grid; --page: #f5f6f8;
  --warn: #fff4d6; }
@media (prefers-color-scheme: dark) {
  :root { --paper: $dpaper; --ink: $dink; --muted: $dmuted; --line: $dgrid; --page: #0d1117;
    --warn: #3a2f10; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
header, main { max-width: 1240px; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.5rem; }
h1 { font-size: clamp(1.35rem, 3.4vw, 2.2rem); line-height: 1.2; margin: 0.2rem 0 0.4rem;
  overflow-wrap: anywhere; text-wrap: balance; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.6rem; }
p, li, dd { max-width: 75ch; overflow-wrap: anywhere; }
.what, .where { color: var(--muted); margin: 0; }
.notes { background: var(--warn); border-radius: 8px; padding: 0.6rem 1rem; margin: 1rem 0; }
.notes p { margin: 0.2rem 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
  gap: 1rem; margin-top: 1rem; align-items: start; }
figure { margin: 0; background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  overflow: hidden; }
figure img { display: block; width: 100%; height: auto; }
figcaption { padding: 0.5rem 0.9rem 0.8rem; font-size: 0.88rem; color: var(--muted);
  overflow-wrap: anywhere; }
figcaption strong { color: var(--ink); font-weight: 600; }
.wide { overflow-x: auto; background: var(--paper); border: 1px solid var(--line);
  border-radius: 10px; }
table { border-collapse: collapse; font-size: 0.86rem; width: 100%;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0.6rem 0.8rem; color: var(--muted); font-size: 0.88rem; }
th, td { padding: 0.42rem 0.55rem; border-top: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
thead th { white-space: normal; min-width: 4.4rem; vertical-align: bottom; font-weight: 600; }
th[scope="row"], td.text, thead th.text { text-align: left; }
th[scope="row"] { position: sticky; left: 0; background: var(--paper); white-space: normal;
  min-width: 8rem; max-width: 15rem; overflow-wrap: anywhere; }
tbody tr:hover td, tbody tr:hover th { background: var(--page); }
.swatch { display: inline-block; width: 0.75em; height: 0.75em; border-radius: 3px;
  margin-right: 0.45em; }
.state { display: block; font-weight: 400; color: var(--muted); font-size: 0.85em; }
.same td { color: var(--muted); }
td.text { white-space: normal; overflow-wrap: anywhere; min-width: 6rem; }
dt { font-weight: 600; margin-top: 0.7rem; }
dd { margin: 0.1rem 0 0; }
footer, .fine { color: var(--muted); font-size: 0.88rem; }
main { padding-bottom: 3rem; }
@media print { body { background: none; } figure, .wide { break-inside: avoid; } }
"""
)


@dataclass(frozen=True)
class Picture:
    """A chart with its two PNGs."""

    chart: Chart
    light: bytes
    dark: bytes


def build_page(runs: list[Run], pictures: list[Picture]) -> str:
    """The whole report as HTML. All text out of run folders is escaped."""
    title = headline(runs)
    return PAGE.substitute(
        policy=POLICY,
        title=escape(f"{title} · {runs[0].dataset_label}, {runs[0].network}"),
        style=_style(LIGHT, DARK),
        subject=escape(sentence_of(runs)),
        headline=escape(title),
        standing=escape(_standing(runs)),
        notes=_notes(runs),
        figures="\n".join(_figure(picture, _context(runs)) for picture in pictures),
        comparison=comparison_table(runs),
        method=method_of_measurement(runs),
        settings=settings_table(runs),
        versions=versions(),
    )


def _style(light: Theme, dark: Theme) -> str:
    colors = {name: getattr(light, name) for name in ("paper", "ink", "muted", "grid")}
    colors |= {"d" + name: getattr(dark, name) for name in ("paper", "ink", "muted", "grid")}
    return STYLE.substitute(colors)


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


def _context(runs: list[Run]) -> str:
    return f"Data and network: {sentence_of(runs)}. {_provenance_words(runs)}"


def _notes(runs: list[Run]) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in notes(runs))
    return f'<div class="notes" role="note">{lines}</div>' if lines else ""


def _figure(picture: Picture, context: str) -> str:
    chart = picture.chart
    return (
        "<figure><picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data(picture.dark)}">'
        f'<img src="{_data(picture.light)}" alt="{escape(chart.alt)}">'
        "</picture>"
        f"<figcaption><strong>{escape(chart.title)}.</strong> {escape(chart.caption.strip())} "
        f"{escape(context)}</figcaption></figure>"
    )


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
