# SPDX-License-Identifier: Apache-2.0
"""Holding a cell: its lease is kept alive.

A lock file keeps a second process on the same host off the cell's folder. It falls with its
process, so a dead holder is known at once. Where locks do not reach (another host), the lease
decides: who does not renew it in time has lost it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from ..errors import UserError
from .store import CellProgress, Claim, Store, StoreLocked

LEASE_S = 30.0
BEAT_S = 1.0
PAUSED = "paused"


class Stopped(Exception):
    """The cell must stop here: the campaign was paused, or the claim went to another."""


class Heartbeat:
    """Renews a claim from a thread of its own: one iteration may take longer than a lease."""

    def __init__(self, store: Store, claim: Claim) -> None:
        self._store, self._claim = store, claim
        self._progress = CellProgress()
        self._over = threading.Event()
        self._reason: str | None = None
        self._thread = threading.Thread(target=self._beat, name=f"lease of {claim.cell}")

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def note(self, **changes: Any) -> None:
        """Say how far the cell has come. Raises Stopped where it must not go on."""
        self._progress = replace(self._progress, **changes)
        self.check()

    def check(self) -> None:
        """Raise Stopped where the cell must not go on."""
        if self._reason is not None:
            raise Stopped(self._reason)

    @property
    def paused(self) -> bool:
        """Whether the cell stops because the campaign was paused."""
        return self._reason == PAUSED

    def wait(self, seconds: float) -> None:
        """Let time pass, or raise Stopped earlier."""
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(rest, 0.1))

    def _beat(self) -> None:
        renewed = time.monotonic()
        while not self._over.wait(min(BEAT_S, self._claim.lease_s / 4)):
            try:
                if not self._store.renew(self._claim, self._progress):
                    self._reason = "another worker took the cell over"
                elif self._store.paused:
                    self._reason = PAUSED
                renewed = time.monotonic()
            except StoreLocked:
                pass  # nobody else can take the cell either while the file is locked
            except UserError as error:
                # an unreachable disk may come back, but not for longer than the lease
                if time.monotonic() - renewed > self._claim.lease_s:
                    self._reason = f"the campaign's file cannot be written: {error}"
