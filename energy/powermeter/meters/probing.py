# SPDX-License-Identifier: Apache-2.0
"""Which instrument is on a port; and when the one that was asked for is not there, which is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

from powermeter.errors import (
    MeterError,
    MissingPackageError,
    NoAnswerError,
    NoPacketError,
    WrongInstrumentError,
)
from powermeter.meters import NAMES, find_driver
from powermeter.meters.driver import Driver
from powermeter.meters.meter import Meter
from powermeter.meters.transport import SerialTransport


class Found(NamedTuple):
    """A driver whose instrument answered, in its own words."""

    driver: str
    answer: str


def serial_drivers(names: tuple[str, ...] = NAMES) -> Iterator[Driver]:
    """The drivers of instruments on a serial line whose packages are installed."""
    for name in names:
        try:
            driver = find_driver(name)
        except MissingPackageError:
            continue
        if driver.baud is not None:
            yield driver


def probe_port(port: str, names: tuple[str, ...] = NAMES) -> Iterator[Found]:
    """Ask the port in the manner of each driver; `MeterError` if it cannot be opened."""
    for driver in serial_drivers(names):
        with closing(SerialTransport(port, driver.baud or 0, driver.frame)) as transport:
            answer = driver.probe(transport)
        if answer is not None:
            yield Found(driver.name, answer)


def scan_port(
    port: str, names: tuple[str, ...] = NAMES
) -> Iterator[tuple[str, Iterator[str | None]]]:
    """(driver, what answered at each address of its bus) for drivers of instruments on a bus.

    The second is to be used up before the next driver is taken. `MeterError` if the port cannot be
    opened, or if none of the drivers has addresses.
    """
    scanned = [driver for driver in serial_drivers(names) if driver.scan is not None]
    if not scanned:
        raise MeterError(f"{', '.join(names)}: there are no addresses to scan")
    for driver in scanned:
        with closing(SerialTransport(port, driver.baud or 0, driver.frame)) as transport:
            if driver.scan is not None:
                yield driver.name, driver.scan(transport)


def open_meter(name: str, port: str, settings: dict[str, Any] | None = None) -> Meter:
    """A meter, opened and sending; `MeterError`.

    Where it does not answer, or not in its protocol, the others are tried, so that a wrong
    instrument is named.
    """
    driver = find_driver(name)
    meter = driver.open_port(port, settings=settings)
    try:
        meter.open()
    except (NoAnswerError, NoPacketError) as error:
        meter.close()
        others = tuple(other for other in NAMES if other != name)
        found = next(probe_port(port, others), None) if driver.baud is not None else None
        if found is None:
            raise
        raise WrongInstrumentError(
            f"{port}: no {name} there; {found.answer} answered (driver {found.driver})"
        ) from error
    except MeterError:
        meter.close()
        raise
    return meter
