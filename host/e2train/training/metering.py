# SPDX-License-Identifier: Apache-2.0
"""The run's energy: counted work to a modelled power trace, and through the meter to joules."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from powermeter import MeterSession, WindowResult, open_session
from powermeter.errors import described
from powermeter.meters.spec import parse_spec
from powermeter.record.session import SIMULATED

from ..cost.board import BoardModel, Segment, board_model
from ..cost.energy import EnergyModel
from ..device.counter import Counter

NO_METER = "none"
_LOST = "lost"  # in a checkpoint, in place of the meter's position
_Answer = TypeVar("_Answer")


def check_meter(meter: str) -> bool:
    """Whether `meter` is a real one, `DRIVER:PORT[,NAME=VALUE...]`; nothing is opened.

    Raises MeterError for what is no meter, and for a setting that its driver does not take.
    """
    if meter in (SIMULATED, NO_METER):
        return False
    parse_spec(meter)
    return True


class RunEnergy:
    """Watches a counter; every mini-batch's operations become power segments for the meter.

    The segments are those of the board's one model (`cost.board`). A simulated meter is driven by
    them (its joules are `simulated`); a real one measures whatever the board draws and ignores
    them; `none` leaves the run without metered energy. Whatever fails in metering once it has
    begun, the run goes on without joules: `on_loss` is told why, once, and a run that is taken up
    from its checkpoint stays without.
    """

    def __init__(
        self,
        meter: str,
        folder: Path,
        counter: Counter,
        seed: int,
        resume: dict[str, Any] | None,
        on_loss: Callable[[str], None],
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
        self._on_loss = on_loss
        self._final: WindowResult | None = None  # of a recording that has been ended
        if resume is not None and _LOST in resume:
            self._final = WindowResult.lost(resume["provenance"], resume[_LOST])
        elif meter != NO_METER:
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
        pending, self._pending = self._pending, []
        if pending:
            self._asked(lambda session: session.advance(pending))

    @property
    def window(self) -> WindowResult | None:
        """The meter's window over the run so far; None without a meter."""
        return self._asked(lambda session: session.energy()) or self._final

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
        position = self._asked(lambda session: session.position())
        if position is None and self._final is not None:
            return {_LOST: self._final.reason, "provenance": self._final.joules.provenance}
        return position

    def close(self) -> None:
        """Stop the meter; the window stays that of the whole recording."""
        final = self._asked(lambda session: session.finish())
        if final is not None:
            self._final, self._session = final, None

    def _asked(self, question: Callable[[MeterSession], _Answer]) -> _Answer | None:
        """The meter's answer; None without a meter, or without one any more."""
        session = self._session
        if session is None:
            return None
        try:
            return question(session)
        except Exception as error:  # anything at all: no joule is valid after it
            self._session = None
            self._final = WindowResult.lost(session.provenance, described(error))
            with suppress(Exception):  # that it failed is known
                session.fail(error)
                session.close()
            self._on_loss(self._final.reason)
            return None
