# SPDX-License-Identifier: Apache-2.0
"""A table as text cells: the command line prints it, the docs quote it as Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class TextTable:
    """`columns` names the cells of every row; the first column is left-aligned, others right."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Add a row; ValueError unless it has a cell a column."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells given, expected {len(self.columns)}")
        self.rows.append(tuple(map(str, cells)))

    def markdown(self) -> list[str]:
        """Lines of a Markdown table, without the title."""
        rule = "|---|" + "---:|" * (len(self.columns) - 1)
        head, *body = ("| " + " | ".join(row) + " |" for row in (self.columns, *self.rows))
        return [head, rule, *body]


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage."""
    return f"{share:.{digits}%}"


def print_documented(tables: dict[str, list[str]]) -> None:
    """Print Markdown tables, each below the comment that marks it in the docs."""
    for name, lines in tables.items():
        print(f"<!-- {name} -->", *lines, sep="\n", end="\n\n")
