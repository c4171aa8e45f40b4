# SPDX-License-Identifier: Apache-2.0
"""Before the first cell: can the board be reached, and can it do the work?"""

from __future__ import annotations

import asyncio
import uuid

from ...errors import UserError
from ..store import RUNNING, Store
from .address import Board
from .remote import opened
from .ssh import LinkLost, LinkRefused

WHERE, HERE = "trains on", "this computer"
FOLDERS = "e2train-campaigns"


def check_board(board: Board, metered: bool) -> str:
    """One line on the board. Raises UserError where it cannot be reached or used."""

    async def look() -> str:
        async with opened(board) as remote:
            await remote.check()
            if not metered:
                return f"{board.address}: ready"
            reading = await remote.measure_clock()
            bound_ms = 1e3 * reading.bound_s
            return f"{board.address}: ready, its clock is known to within {bound_ms:.2g} ms"

    try:
        return asyncio.run(look())
    except LinkLost as lost:
        raise LinkRefused(f"{lost}: is the board on, and its address right?") from None


def board_folder(store: Store, name: str) -> str:
    """Where the campaign's cells are on a board, by default: its own, whoever else has the name."""
    key = "board folder"
    if (known := store.get(key)) is None:
        known = f"{FOLDERS}/{name}-{uuid.uuid4().hex[:8]}"
        store.set(key, known)
    return known


def keep_to(store: Store, on_board: bool) -> None:
    """Note whether the campaign trains on a board. Raises UserError where it did otherwise before.

    A campaign's cells are compared, so they may not come from different machines.
    """
    now = "a board" if on_board else HERE
    begun = store.rows("SELECT 1 FROM cells WHERE state IN ('finished', ?) LIMIT 1", (RUNNING,))
    known = store.get(WHERE) or HERE
    if begun and known != now:
        how = "with --board" if known != HERE else "without --board"
        raise UserError(f"{store.path}: its cells were trained on {known}: go on {how}")
    store.set(WHERE, now)
