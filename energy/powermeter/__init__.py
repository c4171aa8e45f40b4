# SPDX-License-Identifier: Apache-2.0
"""Power meters: drivers, simulators, recordings and energies with uncertainty and provenance."""

from powermeter.energy.integrate import Limits, WindowResult
from powermeter.energy.joules import PROVENANCES, Joules
from powermeter.errors import MeterError
from powermeter.record.session import MeterSession, open_session

__all__ = [
    "PROVENANCES",
    "Joules",
    "Limits",
    "MeterError",
    "MeterSession",
    "WindowResult",
    "open_session",
]
