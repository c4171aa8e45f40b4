# SPDX-License-Identifier: Apache-2.0
"""Results and curves as CSV; numbers as Python writes them, so that nothing is rounded away."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import write_text
from .schema import RESULT_COLUMNS
from .store import Store

CELL_COLUMNS = ("method", "network", "dataset", "seed", "state", "error")
POINT_COLUMNS = (
    "cell", "iteration", "joules", "provenance", "modelled_joules", "loss", "top1",
)  # fmt: skip
_CELLS = """
SELECT cells.id AS id, cells.method, cells.network, cells.dataset, cells.seed, cells.state,
       cells.error, results.* FROM cells LEFT JOIN results ON results.cell = cells.id
ORDER BY position
"""


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
