# SPDX-License-Identifier: Apache-2.0
"""The live page: one self-contained file, rewritten whole while the campaign runs; no script."""

from __future__ import annotations

import time
from html import escape
from pathlib import Path
from string import Template

from ..files import write_text
from ..report.page import POLICY
from ..report.style import DARK, LIGHT
from .status import Snapshot, cell_words
from .store import FAILED, FINISHED, RUNNING

FILE = "live.html"
REFRESH_S = 2

_PAGE = Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">$refresh
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { --paper: $paper; --ink: $ink; --muted: $muted; --line: $grid; }
@media (prefers-color-scheme: dark) {
  :root { --paper: $dpaper; --ink: $dink; --muted: $dmuted; --line: $dgrid; } }
body { margin: 1.5rem auto; max-width: 1100px; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font-family: system-ui, "DejaVu Sans", sans-serif; }
p { color: var(--muted); }
.bar { display: flex; height: 0.8rem; border: 1px solid var(--line); border-radius: 4px;
  overflow: hidden; }
.finished { background: #00806a; } .running { background: #c98a00; }
.failed { background: #c43c00; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem;
  font-variant-numeric: tabular-nums; margin-top: 1rem; }
th, td { text-align: left; padding: 0.3rem 0.5rem; border-top: 1px solid var(--line); }
td.number, th.number { text-align: right; white-space: nowrap; }
</style></head><body>
<h1>$name</h1>
<p>$sentence. Meter: $meter; order: $order. As of $now.</p>
<div class="bar" role="img" aria-label="$sentence">$bar</div>
<div class="wide"><table><thead><tr><th>Cell</th><th>State</th><th class="number">Iteration</th>
<th class="number">Loss</th><th class="number">Top-1 [%]</th><th class="number">Energy [J]</th>
<th>Provenance</th></tr></thead><tbody>
$rows
</tbody></table></div></body></html>
"""
)


def write_live_page(folder: Path, seen: Snapshot, over: bool = False) -> None:
    """Write live.html; a browser that has it open reloads it until the campaign is `over`."""
    write_text(folder / FILE, live_page(seen, over))


def live_page(seen: Snapshot, over: bool) -> str:
    """The page as HTML."""
    colors = {name: getattr(LIGHT, name) for name in ("paper", "ink", "muted", "grid")}
    colors |= {f"d{name}": getattr(DARK, name) for name in ("paper", "ink", "muted", "grid")}
    return _PAGE.substitute(
        colors,
        policy=POLICY,
        refresh="" if over else f'\n<meta http-equiv="refresh" content="{REFRESH_S}">',
        title=escape(f"{seen.counts.get(FINISHED, 0)}/{seen.total} · {seen.name}"),
        name=escape(seen.name),
        sentence=escape(seen.sentence),
        meter=escape(seen.meter),
        order=escape(seen.order),
        now=time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seen.taken)),
        bar=_bar(seen),
        rows="\n".join(_row(row["id"], cell_words(row)) for row in seen.rows),
    )


def _bar(seen: Snapshot) -> str:
    shares = {state: seen.counts.get(state, 0) for state in (FINISHED, RUNNING, FAILED)}
    return "".join(
        f'<div class="{state}" style="width:{100 * count / max(seen.total, 1):.2f}%"></div>'
        for state, count in shares.items()
        if count
    )


def _row(cell: str, words: tuple[str, ...]) -> str:
    state, *numbers, provenance = words
    columns = "".join(f'<td class="number">{escape(text)}</td>' for text in numbers)
    return (
        f"<tr><td>{escape(cell)}</td><td>{escape(state)}</td>{columns}"
        f"<td>{escape(provenance)}</td></tr>"
    )
