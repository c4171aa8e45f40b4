# SPDX-License-Identifier: Apache-2.0
"""The campaign's one SQLite file: cells, claims with leases, attempts, results, curves.

Every change is one transaction (BEGIN IMMEDIATE), so that of several workers one at most gets a
cell, and a process that dies at any instruction leaves a file that is whole. The journal is
SQLite's default one, not the write-ahead log, which does not work over network file systems.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from ..errors import UserError
from ..files import LocksMissing, check_locks
from .plan import Campaign, experiment_from
from .schema import RESULT_COLUMNS, SCHEMA, VERSION

FILE = "campaign.sqlite"
LOOK_S = 5.0  # how long a command that somebody waits for lets a lock of the file last
WORK_S = 600.0  # how long a cell does, whose result would be lost, and who gives out cells
_TURN_S = 0.5  # SQLite waits this long at once: between turns Ctrl-C is heard
WAITING, RUNNING, FINISHED, FAILED = "waiting", "running", "finished", "failed"
LOST, INTERRUPTED = "lost", "interrupted"


@dataclass(frozen=True)
class Claim:
    """The right to run one cell until `lease_s` after its last renewal."""

    cell: str
    token: str
    worker: str
    host: str
    lease_s: float


@dataclass(frozen=True)
class CellProgress:
    """How far a running cell has come. Joules so far with their provenance, where there are any."""

    iteration: int = 0
    loss: float | None = None
    joules: float | None = None
    provenance: str | None = None
    phase: str = "starting"


class StoreLocked(UserError):
    """Another program held the campaign's file for longer than there was patience."""


class Store:
    """Access to the file in `folder`. Cheap to make: it connects anew for each transaction.

    Every method raises UserError, which names the file, where it cannot be read or written, and
    StoreLocked where another program locks it for longer than `patience_s` seconds. `say` gets a
    line as soon as that takes longer than a command would wait.
    """

    def __init__(
        self,
        folder: Path,
        patience_s: float = LOOK_S,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.path = folder / FILE
        self.patience_s, self.say = patience_s, say
        try:
            found = self.path.exists()
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from error
        if not found:
            raise UserError(f"{folder}: holds no campaign ({FILE} is missing)")

    @staticmethod
    def open(folder: Path) -> Store:
        """The store of `folder`. Raises UserError where it is not of this program's version."""
        store = Store(folder)
        if (version := store.get("version")) != VERSION:
            raise UserError(f"{store.path}: version {version}, but this program writes {VERSION}")
        return store

    @staticmethod
    def create(folder: Path) -> Store:
        """The store of `folder`, made where there is none. Raises UserError if it cannot be.

        LocksMissing where the folder's file system has no locks, which keep workers apart.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            check_locks(folder)
            if not (folder / FILE).exists():
                _make(folder)
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{folder}: cannot hold a campaign: {reason}") from None
        return Store.open(folder)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection; what SQLite reports on it becomes a UserError."""
        start = monotonic()
        place = self.path.resolve().as_uri() + "?mode=rw"  # never makes a file
        try:
            with closing(
                sqlite3.connect(place, timeout=_TURN_S, isolation_level=None, uri=True)
            ) as base:
                base.row_factory = sqlite3.Row
                yield base
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # a defect of this program
        except sqlite3.DatabaseError as error:
            raise _explained(self.path, error, monotonic() - start) from error

    def _patiently(self, base: sqlite3.Connection, statement: str) -> None:
        """Execute what may have to wait for other programs."""
        start, told = monotonic(), False
        while True:
            try:
                base.execute(statement).fetchall()
                return
            except sqlite3.OperationalError as error:
                waited = monotonic() - start
                if not _is_lock(error) or waited >= self.patience_s:
                    raise
            if waited >= LOOK_S and not told:
                self.say(f"{self.path}: locked by another program; waiting for it to end")
                told = True

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of it happens, or none."""
        with self._connected() as base:
            base.execute("PRAGMA foreign_keys = ON")
            self._patiently(base, "BEGIN IMMEDIATE")
            try:
                yield base
                self._patiently(base, "COMMIT")  # which waits for those who read
            except BaseException:
                with suppress(sqlite3.OperationalError):  # SQLite may have rolled back itself
                    base.execute("ROLLBACK")
                raise

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows of a query that changes nothing."""
        with self._connected() as base:
            base.execute("BEGIN")
            # reading anything takes the lock for reading, which the transaction then keeps
            self._patiently(base, "SELECT name FROM sqlite_master LIMIT 1")
            return [dict(row) for row in base.execute(query, parameters)]

    # ---- facts of the campaign ------------------------------------------------------------------

    def get(self, key: str) -> str | None:
        """A fact of the campaign, such as its baseline."""
        found = self.rows("SELECT value FROM campaign WHERE key = ?", (key,))
        return None if not found else str(found[0]["value"])

    def set(self, key: str, value: object) -> None:
        """Write a fact of the campaign."""
        with self._transaction() as base:
            base.execute("INSERT OR REPLACE INTO campaign VALUES (?, ?)", (key, str(value)))

    @property
    def paused(self) -> bool:
        """Whether everybody was asked to stop."""
        return self.get("paused") == "1"

    def enter(self, campaign: Campaign, meter: str) -> None:
        """Put the plan's cells into the file, and failed ones back to waiting.

        Cells that are there already keep what they have. Raises UserError where the file holds a
        cell that the plan lacks or has with other settings, or another kind of meter.
        """
        kept = {row["id"]: row["settings"] for row in self.rows("SELECT id, settings FROM cells")}
        planned = {cell.id: cell.experiment for cell in campaign.cells}
        for cell, settings in kept.items():
            if cell not in planned:
                raise UserError(f"{self.path}: holds {cell}, which the file no longer lists")
            if experiment_from(json.loads(settings), cell) != planned[cell]:
                raise UserError(f"{self.path}: {cell} was planned with other settings")
        before = self.get("meter")
        if before and before.partition(":")[0] != meter.partition(":")[0]:
            raise UserError(f"{self.path}: was begun with --meter {before}, not {meter}")
        with self._transaction() as base:
            facts = {"name": campaign.name, "baseline": campaign.baseline, "meter": meter}
            facts |= {"text": campaign.text, "order": campaign.order, "paused": "0"}
            base.executemany("INSERT OR REPLACE INTO campaign VALUES (?, ?)", facts.items())
            for position, cell in enumerate(campaign.cells):
                base.execute(
                    "INSERT OR IGNORE INTO cells (id, method, family, network, dataset, seed, "
                    "after, settings, state, total) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (cell.id, cell.method, cell.family, cell.network, cell.dataset, cell.seed,
                     cell.after, json.dumps(cell.experiment.as_dict()), WAITING,
                     cell.experiment.offered),
                )  # fmt: skip
                base.execute("UPDATE cells SET position = ? WHERE id = ?", (position, cell.id))
            base.execute(
                "UPDATE cells SET state = ?, error = NULL WHERE state = ?", (WAITING, FAILED)
            )

    # ---- claims ---------------------------------------------------------------------------------

    def claim(self, claim: Claim) -> bool:
        """Take the cell, if it may be run now; the caller holds the lock file of its folder.

        A running cell may be taken over when its lease has run out, or when its holder ran on
        this host: as the lock file is free, that process is dead.
        """
        now = time.time()
        with self._transaction() as base:
            row = base.execute("SELECT * FROM cells WHERE id = ?", (claim.cell,)).fetchone()
            stale = row["host"] == claim.host or (row["lease_until"] or 0) < now
            if not (row["state"] == WAITING or (row["state"] == RUNNING and stale)):
                return False
            if row["after"] is not None and not _finished(base, row["after"]):
                return False
            base.execute(
                "UPDATE attempts SET outcome = ?, ended = ? WHERE token = ? AND outcome = ?",
                (LOST, now, row["token"], RUNNING),
            )
            base.execute(
                "UPDATE cells SET state = ?, token = ?, worker = ?, host = ?, lease_until = ?, "
                "phase = 'starting', updated = ?, error = NULL WHERE id = ?",
                (RUNNING, claim.token, claim.worker, claim.host, now + claim.lease_s, now,
                 claim.cell),
            )  # fmt: skip
            base.execute(
                "INSERT INTO attempts (cell, token, worker, host, started, outcome) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (claim.cell, claim.token, claim.worker, claim.host, now, RUNNING),
            )
        return True

    def renew(self, claim: Claim, progress: CellProgress) -> bool:
        """Prolong the lease and write the progress; False when the claim was lost to another."""
        now = time.time()
        values = asdict(progress)
        names = ", ".join(f"{name} = :{name}" for name in values)
        facts = {"now": now, "until": now + claim.lease_s, "id": claim.cell, "token": claim.token}
        with self._transaction() as base:
            done = base.execute(
                f"UPDATE cells SET lease_until = :until, updated = :now, {names} "
                "WHERE id = :id AND token = :token AND state = 'running'",
                values | facts,
            )
            return done.rowcount == 1

    def finish(
        self, claim: Claim, result: Mapping[str, Any], points: Sequence[Mapping[str, Any]]
    ) -> bool:
        """Write the cell's result and curve, once; False when the claim was lost to another."""
        with self._transaction() as base:
            if not self._end(base, claim, FINISHED, FINISHED, None):
                return False
            columns = ", ".join(RESULT_COLUMNS)
            marks = ", ".join(f":{name}" for name in RESULT_COLUMNS)
            base.execute(f"INSERT INTO results ({columns}) VALUES ({marks})", dict(result))
            base.executemany(
                "INSERT INTO points VALUES (:cell, :iteration, :joules, :provenance, "
                ":modelled_joules, :loss, :top1)",
                [dict(point) for point in points],
            )
        return True

    def release(self, claim: Claim, state: str, outcome: str, error: str | None = None) -> bool:
        """Give the cell up: back to waiting, or failed with a reason."""
        with self._transaction() as base:
            return self._end(base, claim, state, outcome, error)

    def fail(self, cell: str, error: str) -> None:
        """A cell whose processes keep dying is given up, unless it has finished after all."""
        now = time.time()
        with self._transaction() as base:
            base.execute(
                "UPDATE attempts SET outcome = ?, ended = ? WHERE cell = ? AND outcome = ?",
                (LOST, now, cell, RUNNING),
            )
            base.execute(
                "UPDATE cells SET state = ?, error = ?, token = NULL, lease_until = NULL "
                "WHERE id = ? AND state != ?",
                (FAILED, error, cell, FINISHED),
            )

    @staticmethod
    def _end(
        base: sqlite3.Connection, claim: Claim, state: str, outcome: str, error: str | None
    ) -> bool:
        now = time.time()
        done = base.execute(
            "UPDATE cells SET state = ?, token = NULL, lease_until = NULL, updated = ?, error = ? "
            "WHERE id = ? AND token = ? AND state = ?",
            (state, now, error, claim.cell, claim.token, RUNNING),
        )
        if done.rowcount != 1:
            return False
        base.execute(
            "UPDATE attempts SET outcome = ?, ended = ? WHERE token = ?",
            (outcome, now, claim.token),
        )
        return True


def _make(folder: Path) -> None:
    """Make the file under another name and link it into place: nobody sees it half made."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / FILE
        with closing(sqlite3.connect(path)) as base:
            base.executescript(SCHEMA)
            base.execute("INSERT INTO campaign VALUES ('version', ?)", (VERSION,))
            base.commit()
        with suppress(FileExistsError):  # another coordinator was faster
            os.link(path, folder / FILE)


def _finished(base: sqlite3.Connection, cell: str) -> bool:
    row = base.execute("SELECT state FROM cells WHERE id = ?", (cell,)).fetchone()
    return row is not None and row["state"] == FINISHED


def _is_lock(error: sqlite3.Error) -> bool:
    return "locked" in str(error)


def _explained(path: Path, error: sqlite3.DatabaseError, waited_s: float) -> UserError:
    """What SQLite's report on the campaign's file means to its user.

    By SQLite's texts (sqlite.org/rescode.html): error codes come with Python 3.11 only.
    """
    text = str(error)
    if _is_lock(error) or "locking" in text or "I/O" in text:
        with suppress(OSError):  # then the folder cannot be tried
            try:
                check_locks(path.parent)
            except LocksMissing as missing:
                return missing
    if _is_lock(error):
        return StoreLocked(
            f"{path}: still locked by another program after {waited_s:.0f} s: by an `e2train "
            "campaign` command that hangs or was stopped (Ctrl-Z), or by a program that has the "
            "file open, such as a database browser or a backup; end it and try again"
        )
    meaning = {
        "readonly": "cannot be written to: the file, its folder or its disk is read-only",
        "unable to open": "cannot be opened: no permission, or its folder cannot be written to",
        "permission denied": "cannot be opened: no permission",
        "I/O": "cannot be read or written: its disk fails, is gone or is full",
        "full": "cannot be written to: no space is left on its disk",
        "malformed": "is damaged: bring back a copy of it, or begin anew with another --out",
        "no such": "not a campaign of this program, or of another version",
        "not a database": "not a campaign of this program",
    }
    found = (line for word, line in meaning.items() if word in text)
    return UserError(f"{path}: {next(found, 'cannot be used')} ({text})")
