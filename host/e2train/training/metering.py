# SPDX-License-Identifier: Apache-2.0
"""The run's energy: counted work to a modelled power trace, and through the meter to joules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from powermeter import MeterSession, WindowResult, open_session
from powermeter.meters.spec import parse_spec
from powermeter.record.session import SIMULATED

from ..cost.energy import EnergyModel, Segment
from ..device.counter import Counter

NO_METER = "none"


def check_meter(meter: str) -> bool:
    """Whether `meter` is a real one, `DRIVER:PORT[,NAME=VALUE...]`; nothing is opened.

    Raises MeterError for what is no meter, and for a setting that its driver does not take.
    """
    if meter in (SIMULATED, NO_METER):
        return False
    parse_spec(meter)
    return True


class RunEnergy:
    """Watches a counter; every mini-batch's work becomes power segments for the meter.

    A simulated meter is driven by the segments (its joules are `simulated`); a real one measures
    whatever the board draws and ignores them; `none` leaves the run without metered energy.
    """

    def __init__(
        self, meter: str, folder: Path, counter: Counter, seed: int, resume: dict[str, Any] | None
    ) -> None:
        self.model = EnergyModel.load()
        self._counter = counter
        self._done = counter.copy()
        self._pending: list[Segment] = []
        self._session: MeterSession | None = None
        if meter != NO_METER:
            folder.mkdir(exist_ok=True)
            idle = self.model.table.board.idle_w
            self._session = open_session(meter, folder, seed=seed, idle_w=idle, resume=resume)

    def mini_batch(self) -> None:
        """Turn what was counted since the last call into power segments."""
        work = self._counter.minus(self._done)
        self._done = self._counter.copy()
        self._pending += self.model.segments(work)

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
