# SPDX-License-Identifier: Apache-2.0
"""What makes an instrument known to the package: one `Driver` a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from powermeter.meters.meter import Decoder, Meter, Transport
from powermeter.meters.settings import Setting, read_settings
from powermeter.meters.transport import SerialTransport, is_pseudo_terminal

if TYPE_CHECKING:  # simulators need NumPy and drivers do not
    from powermeter.simulation.device import Device


@dataclass(frozen=True)
class Driver:
    """How to meet an instrument, on a real port, in a simulation and in a recording.

    meter:      `meter(transport, *, provenance, settings=None, clock=host_time_s)` -> `Meter`, not
                yet opened. `settings` is a dict of the driver's own names, e.g. {"range_a": 1.0},
                or their words as a user typed them; `MeterError` for what it does not take.
    open_port:  `open_port(port, *, settings=None)` -> the same, with its transport opened.
    decoder:    `decoder(identity)` -> a fresh `Decoder`; `identity` as `Meter.identity()` gave it.
    probe:      asks on an open transport (at this driver's line settings) which instrument is
                there: one line of text, or None if none answered that this driver knows. Takes at
                most a second or two and leaves the instrument as it was.
    settings:   what can be set.
    simulator:  `simulator(seed=0, **settings)` -> a `Device`; None where there is none. Its
                settings are those of the simulated instrument, declared beside it.
    scan:       asks every address of a bus on an open transport: for each the answer of an
                instrument there, or None; None where the protocol has no addresses.
    """

    name: str
    description: str
    meter: Callable[..., Meter]
    open_port: Callable[..., Meter]
    decoder: Callable[[dict[str, Any]], Decoder]
    probe: Callable[[Transport], str | None]
    settings: tuple[Setting, ...] = ()
    simulator: Callable[..., Device] | None = None
    baud: int | None = None
    frame: str = "8N1"
    scan: Callable[[Transport], Iterator[str | None]] | None = None


def serial_driver(
    name: str,
    description: str,
    *,
    baud: int,
    frame: str = "8N1",
    meter: Callable[..., Meter],
    decoder: Callable[[dict[str, Any]], Decoder],
    probe: Callable[[Transport], str | None],
    declared: tuple[Setting, ...],
    simulator: Callable[..., Device] | None = None,
    scan: Callable[[Transport], Iterator[str | None]] | None = None,
) -> Driver:
    """A driver on a serial port; on a pseudo-terminal its joules are `simulated`."""

    def open_port(port: str, *, settings: dict[str, Any] | None = None) -> Meter:
        values = read_settings(name, declared, settings)  # before the port is opened
        provenance = "simulated" if is_pseudo_terminal(port) else "metered"
        transport = SerialTransport(port, baud, frame)
        return meter(transport, provenance=provenance, settings=values)

    return Driver(
        name,
        description,
        meter,
        open_port,
        decoder,
        probe,
        declared,
        simulator,
        baud=baud,
        frame=frame,
        scan=scan,
    )
