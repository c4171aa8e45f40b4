# SPDX-License-Identifier: Apache-2.0
"""Follows a cell's training on the board through every loss of the link, to its end.

The board needs nobody: the training was started detached and writes files. Here is what there is
to do: start it where it does not run, read on in its files where reading stopped, measure its
clock, and come back, in growing intervals, when the connection is gone.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from powermeter.record.recording import digest

from ...errors import UserError
from ..lease import Heartbeat, Stopped
from .address import Board
from .clock import ClockReading
from .remote import BASE, EXPERIMENT, RUN, RemoteCell, opened
from .ssh import BoardError, LinkLost

POLL_S = 0.5
CLOCK_S = 30.0  # from one measurement of the board's clock to the next
ALIVE_S = 10.0  # from one question whether the training lives to the next
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
MOST_DEATHS = 3
MIRROR = "board"
LOSSES = "link-lost.jsonl"
EVENTS, TIMING = "events.jsonl", "timing.jsonl"
_DIGEST_TRIES = 2
_TAIL = 1 << 18  # bytes at the end of a log that hold its last events
_RECENT = 8


@dataclass
class Order:
    """What is to be trained. `base` holds the bytes of the checkpoint that it starts from, if any.

    `meter` is what the board itself meters with; `fixed`: a device computes it.
    """

    experiment: str
    base: bytes | None
    meter: str
    fixed: bool


class Follower:
    """Follows one cell into `folder` (here).

    `on_news` is called at each look, with what a new progress event says, or with nothing, and
    `on_clock`, if set, with each measurement of the board's clock.
    """

    def __init__(
        self,
        board: Board,
        cell: str,
        folder: Path,
        heart: Heartbeat,
        on_news: Callable[[dict[str, Any]], None],
    ) -> None:
        self._board, self._cell, self._folder = board, cell, folder
        self._heart, self._on_news = heart, on_news
        #: Gets each measurement of the board's clock, if set.
        self.on_clock: Callable[[ClockReading], None] | None = None
        self._mirror = folder / MIRROR
        self._mirror.mkdir(exist_ok=True)
        self._starts = 0
        self._wait_s = FIRST_WAIT_S

    def prepare(self, anew: bool) -> tuple[bool, bool]:
        """Whether the training was begun by an earlier attempt and goes on, and whether it is over.

        With `anew`, neither: it is stopped, and what it left there is set aside.
        """

        async def ask(remote: RemoteCell) -> tuple[bool, bool]:
            await remote.make_folder()
            found = await remote.standing()
            if anew:
                if found.running:
                    await remote.stop()
                await remote.set_aside()
                return False, False
            return found.running or found.finished, found.finished and not found.running

        begun, over = asyncio.run(self._persist(ask))
        return begun, over

    def train(self, order: Order) -> None:
        """See the training to its end, and fetch its run folder into this one's `board`.

        Raises Stopped where the cell must stop here (paused: then the board stops as well),
        BoardError where the training failed, LinkRefused.
        """
        asyncio.run(self._persist(lambda remote: self._attend(remote, order)))
        asyncio.run(self._persist(self._fetch))

    # ---- the link -------------------------------------------------------------------------------

    async def _persist(self, work: Callable[[RemoteCell], Any]) -> Any:
        """Do `work` over a connection, and again over the next where that one is lost."""
        while True:
            try:
                async with opened(self._board, self._cell) as remote:
                    return await work(remote)
            except LinkLost as lost:
                await self._wait(str(lost))

    async def _wait(self, lost: str) -> None:
        self._heart.note(phase=f"no link to the board ({lost}); trying again")
        if self._wait_s == FIRST_WAIT_S:
            self._note_loss(lost)
        until = time.monotonic() + self._wait_s
        while time.monotonic() < until:
            await asyncio.sleep(0.1)
            self._look({})
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    def _note_loss(self, lost: str) -> None:
        row = {"lost": lost, "at": datetime.now(timezone.utc).isoformat(timespec="milliseconds")}
        with open(self._folder / LOSSES, "a") as stream:
            stream.write(json.dumps(row) + "\n")

    def _look(self, news: dict[str, Any]) -> None:
        self._heart.check()
        self._on_news(news)

    async def _measure_clock(self, remote: RemoteCell) -> None:
        if self.on_clock is not None:
            self.on_clock(await remote.measure_clock())

    # ---- the training ---------------------------------------------------------------------------

    async def _attend(self, remote: RemoteCell, order: Order) -> None:
        await self._measure_clock(remote)
        try:
            while not await self._ended(remote, order):
                pass
        except Stopped:
            if self._heart.paused:
                with suppress(LinkLost):  # then it trains on, and is found again later
                    await remote.stop()
            raise
        except (UserError, OSError):  # it failed, or the disk here: the next cell needs the board
            with suppress(LinkLost, BoardError):
                await remote.stop()
            raise
        await self._measure_clock(remote)

    async def _ended(self, remote: RemoteCell, order: Order) -> bool:
        """Start the training where it does not run, and follow it; whether it came to its end."""
        found = await remote.standing()
        if found.finished and not found.running:
            return True
        if not found.running:
            await self._start(remote, order)
        clock_due = alive_due = time.monotonic() + ALIVE_S
        while True:
            code = await remote.exit_code()
            await self._read_on(remote)
            if code is not None:
                return await self._verdict(remote)
            now = time.monotonic()
            if now > clock_due:
                await self._measure_clock(remote)
                clock_due = now + CLOCK_S
            if now > alive_due:
                alive_due = now + ALIVE_S
                found = await remote.standing()
                if not found.running and found.exit_code is None:
                    return False  # killed, or the board was started anew: go on from its checkpoint
            await asyncio.sleep(POLL_S)

    async def _start(self, remote: RemoteCell, order: Order) -> None:
        self._starts += 1
        if self._starts > MOST_DEATHS:
            raise BoardError(await remote.last_words())
        for name in (EVENTS, TIMING):
            (self._mirror / name).unlink(missing_ok=True)
        if order.base is not None:
            await remote.put(BASE, order.base)
        await remote.put(EXPERIMENT, order.experiment.encode())
        await remote.start(order.meter, order.fixed)

    async def _verdict(self, remote: RemoteCell) -> bool:
        if (await remote.standing()).finished:
            return True
        words = await remote.last_words()
        with suppress(LinkLost, BoardError):  # it stays on the board as well
            await remote.pull(f"{RUN}/checkpoint.npz", self._mirror / "checkpoint.npz")
        raise BoardError(words)

    async def _read_on(self, remote: RemoteCell) -> None:
        await remote.pull(f"{RUN}/{TIMING}", self._mirror / TIMING)
        new = await remote.pull(f"{RUN}/{EVENTS}", self._mirror / EVENTS)
        self._wait_s = FIRST_WAIT_S  # the link works
        self._heart.note(phase="training on the board")
        self._look(_last_progress(self._mirror / EVENTS) if new else {})

    # ---- what it left ---------------------------------------------------------------------------

    async def _fetch(self, remote: RemoteCell) -> None:
        """Every file of the run folder, compared by its SHA-256."""
        self._heart.note(phase="fetching")
        names = await remote.names(RUN)
        wanted = await remote.digests(RUN, names)
        for name in names:
            here = self._mirror / name
            here.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(_DIGEST_TRIES):
                await remote.pull(f"{RUN}/{name}", here)
                if digest(here) == wanted[name]:
                    break
                here.unlink()
            else:
                raise BoardError(f"{self._board.address}: {name} differs from what arrived here")


def _last_progress(path: Path) -> dict[str, Any]:
    """The last progress event of a log that is being written; empty where there is none yet."""
    with open(path, "rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL))
        *lines, _ = stream.read().split(b"\n")
    for line in reversed(lines[-_RECENT:]):
        if line.startswith(b'{"event":"progress"'):
            return dict(json.loads(line))
    return {}
