# SPDX-License-Identifier: Apache-2.0
"""The drivers by name. A new one is a module with a `Meter` and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from powermeter.drivers.ina226_lines import LineDecoder
from powermeter.drivers.ina226_serial import BAUD, Ina226Serial
from powermeter.errors import MeterError
from powermeter.meter import Decoder, Meter
from powermeter.transport import SerialTransport, is_pseudo_terminal


@dataclass(frozen=True)
class Driver:
    """How to make a meter on a port, and a decoder for a raw log of one."""

    name: str
    description: str
    open_port: Callable[..., Meter]
    decoder: Callable[[dict[str, Any]], Decoder]


def _ina226_on_port(port: str, **options: Any) -> Meter:
    provenance = "simulated" if is_pseudo_terminal(port) else "metered"
    return Ina226Serial(SerialTransport(port, BAUD), provenance=provenance, **options)


DRIVERS: dict[str, Driver] = {
    "ina226-serial": Driver(
        "ina226-serial",
        "INA226 with EdgePowerMeter firmware 2, serial line 115200 8N1",
        _ina226_on_port,
        lambda identity: LineDecoder(identity["shunt_override"]),
    ),
}


def find_driver(name: str) -> Driver:
    """The driver called `name`; `MeterError` lists those that exist."""
    try:
        return DRIVERS[name]
    except KeyError:
        raise MeterError(f"no driver {name!r}; there is: {', '.join(DRIVERS)}") from None
