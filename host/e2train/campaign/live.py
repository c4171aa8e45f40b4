# SPDX-License-Identifier: Apache-2.0
"""The live page: one self-contained file, rewritten whole while the campaign runs; no script."""

from __future__ import annotations

import sys
import time
from functools import cache
from pathlib import Path

from ..errors import UserError
from ..files import write_text
from ..report.html import Table, TableRow, build_html, environment
from .status import Snapshot, cell_words
from .store import FAILED, FINISHED, RUNNING

FILE = "live.html"
REFRESH_S = 2
HEADINGS = ("State", "Iteration", "Loss", "Top-1 [%]", "Energy [J]", "Provenance")


def write_live_page(folder: Path, seen: Snapshot, over: bool = False) -> None:
    """Write live.html; a browser that has it open reloads it until the campaign is `over`.

    Where jinja2 is not installed, as on a small board, the campaign does without the page, and
    one line on the terminal says so.
    """
    if _can_write_pages():
        write_text(folder / FILE, live_page(seen, over))


@cache
def _can_write_pages() -> bool:
    try:
        environment()
    except UserError as error:
        print(f"no {FILE}: {error}", file=sys.stderr)
        return False
    return True


def live_page(seen: Snapshot, over: bool) -> str:
    """The page as HTML."""
    counts = {state: seen.counts.get(state, 0) for state in (FINISHED, RUNNING, FAILED)}
    percents = {state: 100 * count / max(seen.total, 1) for state, count in counts.items() if count}
    return build_html(
        "live.html.jinja",
        seen=seen,
        finished=counts[FINISHED],
        refresh_s=None if over else REFRESH_S,
        now=time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seen.taken)),
        shares=list(percents.items()),
        cells=Table(
            caption="All cells in the order in which they run.",
            label="Cells of the campaign",
            corner="Cell",
            headings=HEADINGS,
            rows=[TableRow(row["id"], cell_words(row)) for row in seen.rows],
            is_text=True,
        ),
    )
