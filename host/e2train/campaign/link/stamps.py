# SPDX-License-Identifier: Apache-2.0
"""What `timing.jsonl` of a run says of when it worked, on its machine's clock.

A run that was interrupted and went on from its checkpoint worked in several stretches. Each counts
up to the checkpoint that the next went on from: what came after it was done again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UserError

#: The stamp of `timing.jsonl` that tells when an event of `events.jsonl` was written.
STAMP_OF = {"progress": "time", "evaluation": "evaluated"}


@dataclass
class Stretch:
    """Work without interruption, from `begin_s` to `end_s` of the board's clock since `boot`.

    `events` holds, for each event with energies, its kind, iteration and moment, in their order.
    """

    boot: str
    begin_s: float
    end_s: float
    events: list[tuple[str, int, float]] = field(default_factory=list)


def stretches(path: Path) -> list[Stretch]:
    """The stretches of a finished run. Raises UserError for a file without them."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    found: list[Stretch] = []
    kinds = {stamp: event for event, stamp in STAMP_OF.items()}
    for row in rows:
        clock = row["clock"]
        if row["event"] == "began":
            found.append(Stretch(row["boot"], clock, clock))
            continue
        if not found:
            break
        found[-1].end_s = clock
        if row["event"] in kinds:
            found[-1].events.append((kinds[row["event"]], row["iteration"], clock))
    if not found or rows[-1]["event"] != "ended":
        raise UserError(f"{path}: does not tell when the run began and ended")
    return found
