# SPDX-License-Identifier: Apache-2.0
"""The coordinator: gives cells to a pool, in order, until none is left; the workers keep the books.

It holds no state of its own that matters: killed and started again it reads the campaign's file
and goes on. What a cell is worth is decided by the claims in `store`, not here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import UserError
from .cell import BUSY, CellOutcome, Job
from .pools import Pool
from .store import FAILED, FINISHED, RUNNING, WAITING, Store

TICK_S = 0.5
BUSY_S = 1.0
MOST_DEATHS = 3
PAUSE_PATIENCE_S = 60.0


@dataclass
class Coordinator:
    """Runs the cells of one campaign. `say` gets a line for each cell that ends; `show` ticks."""

    store: Store
    pool: Pool
    job: Job
    say: Callable[[str], None]
    show: Callable[[], None]
    _flying: dict[Future[CellOutcome], str] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _deaths: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Until every cell has finished or failed, or the campaign is paused.

        Raises UserError where the pool is gone. Ctrl-C pauses: cells stop after their iteration.
        """
        killing = True
        try:
            while self._step():
                pass
            killing = False
        except KeyboardInterrupt:
            self.store.set("paused", 1)
            self._drain()
            raise
        finally:
            self.pool.close(kill=killing)

    def _step(self) -> bool:
        """One tick; False when nothing is left to do."""
        paused = self.store.paused
        left = [] if paused else self._open_cells()
        if not self._flying and not left:
            return False
        room = self.pool.slots() - len(self._flying)
        for cell in self._ready(left)[: max(0, room)]:
            self._flying[self.pool.submit(replace(self.job, cell=cell))] = cell
        self._collect()
        self.pool.check()
        self.show()
        return True

    def _open_cells(self) -> list[str]:
        """Cells that are neither finished nor failed, nor waiting for one that failed."""
        rows = self.store.rows("SELECT id, state, after FROM cells ORDER BY position")
        state = {row["id"]: row["state"] for row in rows}
        after = {row["id"]: row["after"] for row in rows}

        def hopeless(cell: str | None) -> bool:
            return cell is not None and (state[cell] == FAILED or hopeless(after[cell]))

        return [cell for cell in state if state[cell] != FINISHED and not hopeless(cell)]

    def _ready(self, left: list[str]) -> list[str]:
        """Of these, in order, those that could be claimed now: waiting ones before stale ones."""
        now = time.monotonic()
        rows = self.store.rows(
            "SELECT id, state FROM cells WHERE state IN ('waiting', 'running') AND (after IS NULL "
            "OR after IN (SELECT id FROM cells WHERE state = 'finished')) ORDER BY position"
        )
        flying = set(self._flying.values())
        free = [
            row
            for row in rows
            if row["id"] in left
            and row["id"] not in flying
            and self._not_before.get(row["id"], 0.0) <= now
        ]
        order = {WAITING: 0, RUNNING: 1}
        return [row["id"] for row in sorted(free, key=lambda row: order[row["state"]])]

    def _collect(self) -> None:
        if not self._flying:
            time.sleep(TICK_S)
            return
        done, _ = wait(self._flying, timeout=TICK_S, return_when=FIRST_COMPLETED)
        for future in done:
            cell = self._flying.pop(future, None)
            if cell is not None:
                self._note(cell, future)

    def _note(self, cell: str, future: Future[CellOutcome]) -> None:
        """What a finished future means: an outcome, or a process that died under the cell."""
        try:
            outcome = future.result()
        except BrokenExecutor:
            others = list(self._flying.values())
            self._flying.clear()  # one death breaks the whole pool
            self.pool.restart()
            for victim in [cell, *others]:
                self._died(victim)
        except UserError:
            raise
        except Exception as error:  # a cluster reports deaths in its own words
            self.pool.check()
            self._died(cell, str(error) or type(error).__name__)
        else:
            if outcome.state == BUSY:
                self._not_before[cell] = time.monotonic() + BUSY_S
            else:
                self.say(
                    f"{cell}: {outcome.state}" + f" ({outcome.message})" * bool(outcome.message)
                )

    def _died(self, cell: str, reason: str = "its process died") -> None:
        self._deaths[cell] += 1
        line = " ".join(reason.split())
        if self._deaths[cell] >= MOST_DEATHS:
            self.store.fail(cell, f"given up after {MOST_DEATHS} tries: {line}")
        self.say(f"{cell}: {line}")

    def _drain(self) -> None:
        """Wait for the cells in flight to notice the pause."""
        self.say("pausing: cells stop after their iteration (Ctrl-C again: at once)")
        wait(self._flying, timeout=PAUSE_PATIENCE_S)


def verdict(store: Store, folder: Path) -> str:
    """One line about where the campaign stands. Raises UserError where cells failed."""
    rows = store.rows("SELECT id, state, error FROM cells ORDER BY position")
    states = Counter(row["state"] for row in rows)
    failed = [row for row in rows if row["state"] == FAILED]
    if failed:
        first = failed[0]
        blocked = f", {states[WAITING]} not run" if states[WAITING] else ""
        raise UserError(
            f"{folder}: {len(failed)} of {len(rows)} cells failed{blocked}; "
            f"{first['id']}: {first['error']}"
        )
    if states[FINISHED] == len(rows):
        return f"all {len(rows)} cells are finished; {folder}"
    return (
        f"{states[FINISHED]} of {len(rows)} cells are finished; the same command goes on; {folder}"
    )
