# SPDX-License-Identifier: Apache-2.0
"""Where a campaign stands: one snapshot of its file for the terminal, the live page and JSON."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from ..report.style import joules
from .store import FAILED, FINISHED, RUNNING, Store

_QUERY = """
SELECT cells.*, results.top1, results.energy_j, results.energy_uncertainty_j,
       results.energy_provenance, results.host_seconds,
       (SELECT count(*) FROM attempts WHERE attempts.cell = cells.id) AS tries
FROM cells LEFT JOIN results ON results.cell = cells.id ORDER BY position
"""


@dataclass(frozen=True)
class Snapshot:
    """The campaign at one moment: facts, counts of cells by state, one row a cell."""

    name: str
    meter: str
    order: str
    paused: bool
    taken: float
    counts: dict[str, int]
    rows: list[dict[str, Any]]
    left_s: float | None

    @property
    def total(self) -> int:
        """Number of cells."""
        return len(self.rows)

    @property
    def sentence(self) -> str:
        """'3 of 12 cells finished, 2 running; about 4 min left'."""
        words = [f"{self.counts.get(FINISHED, 0)} of {self.total} cells finished"]
        words += [f"{self.counts[s]} {s}" for s in (RUNNING, FAILED) if self.counts.get(s)]
        line = ", ".join(words)
        if self.paused:
            return line + "; paused"
        return line if self.left_s is None else f"{line}; about {_duration(self.left_s)} left"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        keys = (
            "id", "method", "network", "dataset", "seed", "state", "phase", "worker", "iteration",
            "total", "loss", "joules", "provenance", "top1", "energy_j", "energy_uncertainty_j",
            "energy_provenance", "tries", "error",
        )  # fmt: skip
        return {
            "name": self.name,
            "meter": self.meter,
            "paused": self.paused,
            "counts": self.counts,
            "seconds_left": self.left_s,
            "cells": [{key: row[key] for key in keys} for row in self.rows],
        }


def snapshot(store: Store) -> Snapshot:
    """Read the campaign's state."""
    rows = store.rows(_QUERY)
    return Snapshot(
        name=store.get("name") or "",
        meter=store.get("meter") or "",
        order=store.get("order") or "",
        paused=store.paused,
        taken=time.time(),
        counts=dict(Counter(row["state"] for row in rows)),
        rows=rows,
        left_s=_time_left(store, rows),
    )


def _time_left(store: Store, rows: list[dict[str, Any]]) -> float | None:
    """An estimate: mean time a finished iteration took, for the iterations that are left."""
    spent = store.rows(
        "SELECT sum(ended - started) AS seconds, sum(cells.total) AS work FROM attempts JOIN cells "
        "ON cells.id = attempts.cell WHERE outcome = 'finished'"
    )[0]
    running = sum(row["state"] == RUNNING for row in rows)
    if not spent["work"] or not running:
        return None
    left = sum(
        row["total"] - (row["iteration"] or 0)
        for row in rows
        if row["state"] not in (FINISHED, FAILED)
    )
    return float(spent["seconds"] / spent["work"] * left / running)


def status_table(seen: Snapshot, most: int | None = None) -> Table:
    """One row a cell for the terminal; with `most`, only as many, those that run first."""
    table = Table(title=f"{seen.name}: {seen.sentence}", caption=f"meter: {seen.meter}")
    for heading, justify in (
        ("cell", "left"), ("state", "left"), ("iteration", "right"), ("loss", "right"),
        ("top-1 [%]", "right"), ("energy [J]", "right"),
    ):  # fmt: skip
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    rows = seen.rows
    if most is not None and len(rows) > most:
        rank = {RUNNING: 0, FAILED: 1, FINISHED: 2}
        rows = sorted(rows, key=lambda row: (rank.get(row["state"], 3), -(row["updated"] or 0)))
        rows = rows[:most]
    for row in rows:
        *words, energy, provenance = cell_words(row)
        table.add_row(row["id"], *words, f"{energy} {provenance}".strip())
    return table


def cell_words(row: dict[str, Any]) -> tuple[str, str, str, str, str, str]:
    """State, iteration, loss, top-1, energy and its provenance of a cell, as text."""
    done, running = row["state"] == FINISHED, row["state"] == RUNNING
    state = f"{row['state']}: {row['phase']}" if running else row["state"]
    if row["error"]:
        state += f": {row['error']}"
    energy, provenance = "", ""
    if done and row["energy_j"] is not None:
        energy = joules(row["energy_j"], row["energy_uncertainty_j"])
        provenance = row["energy_provenance"]
    elif running and row["joules"] is not None:
        energy, provenance = f"{row['joules']:.4g} so far", row["provenance"]
    return (
        state,
        f"{row['iteration'] or 0}/{row['total']}"
        if running
        else ("" if not done else str(row["total"])),
        f"{row['loss']:.3f}" if running and row["loss"] is not None else "",
        f"{row['top1']:.2f}" if done else "",
        energy,
        provenance,
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
