# SPDX-License-Identifier: Apache-2.0
"""Verilator's coverage file: how many lines and toggles of each Verilog file were met."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

Point = tuple[str, str]  # kind ("line", "branch", "toggle") and file
FIELD = re.compile("\x01([^\x02]+)\x02([^\x01']*)")


def read_coverage(path: Path) -> dict[Point, tuple[int, int]]:
    """(kind, file) -> points met and points in all.

    A point of a module counts once, however often the module is instantiated.
    """
    hits: dict[tuple[str, str, str], int] = defaultdict(int)
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("C '"):
            fields = dict(FIELD.findall(line))
            kind = fields["page"].partition("/")[0].removeprefix("v_")
            where = f"{fields['l']}:{fields.get('n', '')}:{fields.get('o', '')}"
            hits[kind, Path(fields["f"]).name, where] += int(line.rpartition("' ")[2])
    found: dict[Point, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for (kind, name, _), count in hits.items():
        met, total = found[kind, name]
        found[kind, name] = met + (count > 0), total + 1
    return dict(found)


def table(points: dict[Point, tuple[int, int]]) -> str:
    """Percent by kind and file, for people."""
    lines = []
    for kind in sorted({kind for kind, _ in points}):
        mine = {name: counts for (of, name), counts in sorted(points.items()) if of == kind}
        for name, (met, total) in mine.items():
            lines.append(f"{kind:7}{name:26}{met:6} of {total:6}{met / total:8.1%}")
        lines.append(f"{kind:7}{'all':26}{share(points, kind):22.1%}")
    return "\n".join(lines)


def share(points: dict[Point, tuple[int, int]], kind: str) -> float:
    """The part of all points of a kind that was met."""
    mine = [counts for (of, _), counts in points.items() if of == kind]
    return sum(met for met, _ in mine) / sum(total for _, total in mine)
