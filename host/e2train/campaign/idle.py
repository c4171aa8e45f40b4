# SPDX-License-Identifier: Apache-2.0
"""Idle power around a cell, and the energy that is left when idle is taken off.

Nothing is clamped: a cell that drew less than idle comes out negative.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from powermeter import MeterError, MeterSession, WindowResult, open_session
from powermeter.energy.net import net_of

from ..cost.energy import EnergyModel
from ..training.metering import NO_METER
from .lease import Heartbeat

SIMULATED = "simulated"
_CHECK_S = 0.5


@dataclass(frozen=True)
class NetEnergy:
    """Energy above idle with its expanded uncertainty (k = 2), in joules; or why there is none."""

    joules: float | None
    uncertainty: float | None
    missing: str | None


def measure_idle(
    meter: str, folder: Path, seconds: float, seed: int, heart: Heartbeat
) -> WindowResult | None:
    """Record `seconds` of the idle board into `folder`; None without a meter or without seconds.

    On the simulated meter the idle board draws the cost table's idle power. Where the recorder dies
    the window is invalid and says why; `MeterError` only where the meter cannot be opened.
    """
    if meter == NO_METER or seconds == 0:
        return None
    folder.mkdir(exist_ok=True)
    idle_w = EnergyModel.load().table.board.idle_w
    session = open_session(meter, folder, seed=seed, idle_w=idle_w)
    try:
        _let_pass(session, meter, seconds, idle_w, heart)
        return session.finish()
    except MeterError as error:
        return WindowResult.lost(session.provenance, str(error))
    finally:
        with suppress(MeterError):  # said above, or the cell was stopped
            session.close()


def _let_pass(
    session: MeterSession, meter: str, seconds: float, idle_w: float, heart: Heartbeat
) -> None:
    if meter == SIMULATED:
        session.advance([(seconds, idle_w)])
        heart.check()
        return
    left = seconds
    while left > 0:
        heart.wait(min(left, _CHECK_S))
        session.advance([])
        left -= _CHECK_S


def above_idle(
    window: WindowResult | None, before: WindowResult | None, after: WindowResult | None
) -> NetEnergy:
    """The window's energy less idle power (mean of before and after) times its length."""
    missing = _missing(window, before, after)
    if missing is not None or window is None or before is None or after is None:
        return NetEnergy(None, None, missing)
    net = net_of(window, before, after).net
    return NetEnergy(net.value, net.uncertainty, None)


def _missing(
    window: WindowResult | None, before: WindowResult | None, after: WindowResult | None
) -> str | None:
    """Why there is no energy above idle; None where there is."""
    if window is None:
        return "no meter"
    if not window.valid:
        return window.reason
    for name, idle in (("before", before), ("after", after)):
        if idle is None:
            return f"no idle run {name}"
        if not idle.valid:
            return f"idle run {name}: {idle.reason}"
        if idle.joules.provenance != window.joules.provenance:
            return f"idle run {name} is {idle.joules.provenance}"
    return None
