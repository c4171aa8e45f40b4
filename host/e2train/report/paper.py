# SPDX-License-Identifier: Apache-2.0
"""The paper's printed figures, and which of them a campaign repeats.

A campaign file names a table of the paper and, for each of its methods, the row of that table:

    [paper]
    table = "table2"
    rows = { "sgd-fp32" = "32-bit SGD", "psg" = "PSG" }

A row of that name may stand in the table once for each network and data set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from e2train.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).with_name("paper.toml")
SOURCE = "paper, metered by its authors"
# A method of a campaign on one network and data set.
Place = tuple[str, str, str]


@dataclass(frozen=True)
class PaperRow:
    """One printed row. Percent; None where the paper prints nothing."""

    row: str
    network: str
    dataset: str
    top1: float
    top5: float | None = None
    computational_saving: float | None = None
    energy_saving: float | None = None


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper."""

    title: str
    rows: tuple[PaperRow, ...]


@cache
def paper_tables() -> dict[str, PaperTable]:
    """All tables of paper.toml, by their names there."""
    found = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {
        name: PaperTable(table["title"], tuple(PaperRow(**row) for row in table["rows"]))
        for name, table in found.items()
    }


def repeated_rows(
    chosen: Mapping[str, Any], places: Iterable[Place], where: str
) -> dict[Place, PaperRow]:
    """The paper's row for each (method, network, data set) of `places` that repeats one.

    `chosen` is the campaign file's table [paper], empty where the campaign repeats no table.
    Raises UserError, one line that begins with `where`, for a table, row or method that does not
    exist, and for a row that the paper has on none of the method's networks and data sets.
    """
    if not chosen:
        return {}
    unknown = [key for key in chosen if key not in ("table", "rows")]
    if unknown:
        raise UserError(f"{where}: unknown key paper.{unknown[0]}: expected table or rows")
    name, rows = chosen.get("table"), chosen.get("rows")
    tables = paper_tables()
    if not isinstance(name, str) or name not in tables:
        raise UserError(f"{where}: paper.table = {name!r}: expected one of {', '.join(tables)}")
    if not isinstance(rows, dict) or not rows:
        raise UserError(f"{where}: paper.rows = {rows!r}: expected a table of method = row")
    listed = list(places)
    found: dict[Place, PaperRow] = {}
    for method, row in rows.items():
        found |= _rows_of(method, row, name, listed, where)
    return found


def _rows_of(
    method: str, row: object, table: str, places: list[Place], where: str
) -> dict[Place, PaperRow]:
    own = [place for place in places if place[0] == method]
    if not own:
        methods = ", ".join(dict.fromkeys(place[0] for place in places))
        raise UserError(f"{where}: paper.rows: {method!r} is no method: expected one of {methods}")
    printed = [one for one in paper_tables()[table].rows if one.row == row]
    if not printed:
        names = ", ".join(dict.fromkeys(repr(one.row) for one in paper_tables()[table].rows))
        raise UserError(f"{where}: paper.rows: {method} = {row!r}: {table} has the rows {names}")
    found = {
        place: one for place in own for one in printed if place[1:] == (one.network, one.dataset)
    }
    if not found:
        where_printed = " and ".join(f"{one.network} on {one.dataset}" for one in printed)
        raise UserError(
            f"{where}: paper.rows: {method} = {row!r}: {table} has that row for {where_printed}, "
            "where this campaign does not run the method"
        )
    return found
