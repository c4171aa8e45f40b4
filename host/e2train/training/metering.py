# SPDX-License-Identifier: Apache-2.0
"""The run's energy: counted work to a modelled power trace, and through the meter to joules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from powermeter import MeterSession, WindowResult, open_session

from ..cost.board import BoardModel, Segment, board_model
from ..cost.energy import EnergyModel
from ..device.counter import Counter

NO_METER = "none"


class RunEnergy:
    """Watches a counter; every mini-batch's operations become power segments for the meter.

    The segments are those of the board's one model (`cost.board`). A simulated meter is driven by
    them (its joules are `simulated`); a real one measures whatever the board draws and ignores
    them; `none` leaves the run without metered energy.
    """

    def __init__(
        self,
        meter: str,
        folder: Path,
        counter: Counter,
        seed: int,
        resume: dict[str, Any] | None,
        *,
        float32: bool,
        board: dict[str, float] | None = None,
    ) -> None:
        """`float32`: the arithmetic; `board`: the modelled seconds and joules of a checkpoint."""
        self.model = EnergyModel.load()
        self.board_model = board_model(float32)
        self.board = {"seconds": 0.0, "joules": 0.0} if board is None else dict(board)
        self._board = BoardModel(self.model, float32)
        self._counter = counter
        self._done = counter.copy()
        self._pending: list[Segment] = []
        self._session: MeterSession | None = None
        if meter != NO_METER:
            folder.mkdir(exist_ok=True)
            idle = self.model.table.board.idle_w
            self._session = open_session(meter, folder, seed=seed, idle_w=idle, resume=resume)

    def mini_batch(self) -> None:
        """Turn what was recorded since the last call into power segments."""
        counted = self._counter.minus(self._done)
        self._done = self._counter.copy()
        segments = self._board.segments(self._counter.take_operations(), counted)
        for seconds, watts in segments:
            self.board["seconds"] += seconds
            self.board["joules"] += seconds * watts
        self._pending += segments

    def settle(self) -> None:
        """Let the meter see all segments so far."""
        if self._session is not None and self._pending:
            self._session.advance(self._pending)
        self._pending = []

    @property
    def window(self) -> WindowResult | None:
        """The meter's window over the run so far; None without a meter."""
        return None if self._session is None else self._session.energy()

    def joules(self) -> dict[str, Any] | None:
        """Energy so far with uncertainty and provenance; None without a valid measurement."""
        window = self.window
        if window is None or not window.valid:
            return None
        energy = window.joules
        return {
            "joules": energy.value,
            "uncertainty_joules": energy.uncertainty,
            "provenance": energy.provenance,
        }

    def reason(self) -> str | None:
        """Why there are no joules, in a few words; None where there are."""
        window = self.window
        if window is None:
            return "no meter"
        return None if window.valid else window.reason

    def modelled(self) -> dict[str, Any]:
        """Operations and bytes so far times published costs."""
        energy = self.model.joules(self._counter)
        return {"joules": energy.total, "provenance": energy.provenance}

    def position(self) -> dict[str, Any] | None:
        """The meter's position for a checkpoint."""
        return None if self._session is None else self._session.position()

    def close(self) -> None:
        """Stop the meter."""
        if self._session is not None:
            self._session.close()
