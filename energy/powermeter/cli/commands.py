# SPDX-License-Identifier: Apache-2.0
"""`powermeter`: find, read, record, check, integrate, simulate and try out meters."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, NamedTuple

import typer

from powermeter.cli.options import (
    DriverOption,
    JsonOption,
    PortOption,
    SetOption,
    one_line_errors,
    settings_of,
)
from powermeter.cli.recordings import check, integrate, record
from powermeter.cli.simulate import bench, simulate
from powermeter.errors import MissingPackageError, NoAnswerError
from powermeter.events import Malformed, OverRange, Sample
from powermeter.meters import NAMES, find_driver
from powermeter.meters.probing import Found, open_meter, probe_port, scan_port

app = typer.Typer(
    help="Meters, recordings and joules that say where they come from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
#: Of a Modbus line.
ADDRESSES = 247
_OPTIONAL = ("voltage_v", "current_a", "energy_wh")


@app.command("list")
def list_drivers(
    driver: Annotated[
        str | None, typer.Argument(help="Show what can be set on this driver.")
    ] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="Show what can be set on every driver.")
    ] = False,
) -> None:
    """Name the drivers and the serial ports of this machine, or what can be set on a driver."""
    from serial.tools import list_ports

    if driver is not None or settings:
        with one_line_errors():
            for name in NAMES if driver is None else (driver,):
                typer.echo("\n".join(_settings_lines(name)))
        return
    for name in NAMES:
        try:
            description = find_driver(name).description
        except MissingPackageError as error:
            description = f"not usable: {error}"
        typer.echo(f"driver  {name:<16}{description}")
    for port in list_ports.comports():
        typer.echo(f"port    {port.device:<16}{port.description}")


def _settings_lines(name: str) -> list[str]:
    """What can be set on a driver, two lines a setting."""
    try:
        declared = find_driver(name).settings
    except MissingPackageError as error:
        return [f"driver  {name:<16}not usable: {error}"]
    lines = [f"driver  {name}"]
    for setting in declared:
        lines.append(f"  {setting.name:<16}{setting.help}")
        default = f"; default: {setting.default_text}" if setting.default_text else ""
        lines.append(f"  {'':<16}{setting.takes}{default}")
    return lines


@app.command()
def probe(
    port: PortOption,
    driver: Annotated[str | None, typer.Option("--driver", help="Ask in this manner only.")] = None,
    scan: Annotated[
        bool, typer.Option("--scan", help="Ask every address of a bus (PZEM: 1 to 247).")
    ] = False,
) -> None:
    """Ask which instrument is on a port, in the manner of each driver."""
    with one_line_errors():
        names = NAMES if driver is None else (find_driver(driver).name,)
        found = None
        for found in _scan(port, names) if scan else probe_port(port, names):
            typer.echo(f"{port}: {found.answer} (driver {found.driver})")
        if found is None:
            raise NoAnswerError(f"{port}: no instrument answered that a driver knows")


def _scan(port: str, names: tuple[str, ...]) -> Iterator[Found]:
    """Each address of each driver that has any, with a bar on standard error."""
    for name, addresses in scan_port(port, names):
        with typer.progressbar(addresses, length=ADDRESSES, label=name, file=sys.stderr) as bar:
            answers = [answer for answer in bar if answer is not None]
        yield from (Found(name, answer) for answer in answers)


@app.command()
def read(
    driver: DriverOption,
    port: PortOption,
    samples: Annotated[int, typer.Option(min=1, help="Readings to print.")] = 10,
    as_json: JsonOption = False,
    settings: SetOption = None,
) -> None:
    """Print readings as they come."""
    told: dict[str, str] = {}  # kind of an event -> what is to be said of it, once

    def tell(event: NamedTuple) -> None:
        if note := _note(event):
            told.setdefault(type(event).__name__, note)

    with one_line_errors(), closing(open_meter(driver, port, settings_of(settings))) as meter:
        for note in meter.notes:
            typer.echo(f"powermeter: note: {port}: {note}", err=True)
        if not as_json:
            typer.echo("   host_time_s     power_w  voltage_v  current_a")
        for _, (host_s, sample) in zip(range(samples), meter.samples(tell), strict=False):
            # with a reading, so that a meter without any is one line of error
            for kind, note in told.items():
                if note:
                    typer.echo(f"powermeter: note: {port}: {note}", err=True)
                    told[kind] = ""
            row = {"host_time_s": host_s, **_numbers(sample)}
            typer.echo(json.dumps(row) if as_json else _columns(row))


def _note(event: NamedTuple) -> str:
    """What the user should know of an event that is no reading; "" for nothing."""
    if isinstance(event, OverRange):
        return f"the {event.what} is beyond the meter's range"
    if isinstance(event, Malformed):
        return f"{event.line!r} could not be read: {event.reason}"
    return ""


def _numbers(sample: Sample) -> dict[str, float]:
    """What the meter gave, by name."""
    given = {name: getattr(sample, name) for name in _OPTIONAL}
    head = {"device_time_s": sample.device_time_s, "power_w": sample.power_w}
    return head | {name: value for name, value in given.items() if value is not None}


def _columns(row: dict[str, float]) -> str:
    text = f"{row['host_time_s']:14.3f}"
    for name, width in (("power_w", 12), ("voltage_v", 11), ("current_a", 11)):
        text += f"{row[name]:{width}.4f}" if name in row else f"{'-':>{width}}"
    return text


app.command()(record)
app.command()(integrate)
app.command()(check)
app.command()(simulate)
app.command()(bench)


def main() -> None:
    """The `powermeter` command."""
    app(prog_name="powermeter")
