# SPDX-License-Identifier: Apache-2.0
"""`powermeter`: find, read, record, check, integrate, simulate and try out meters."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Annotated

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
from powermeter.events import Sample
from powermeter.meters import NAMES, find_driver
from powermeter.meters.probing import open_meter, probe_port

app = typer.Typer(
    help="Meters, recordings and joules that say where they come from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_OPTIONAL = ("voltage_v", "current_a", "energy_wh")


@app.command("list")
def list_drivers() -> None:
    """Name the drivers, and the serial ports of this machine."""
    from serial.tools import list_ports

    for name in NAMES:
        try:
            description = find_driver(name).description
        except MissingPackageError as error:
            description = f"not usable: {error}"
        typer.echo(f"driver  {name:<16}{description}")
    for port in list_ports.comports():
        typer.echo(f"port    {port.device:<16}{port.description}")


@app.command()
def probe(
    port: PortOption,
    driver: Annotated[str | None, typer.Option("--driver", help="Ask in this manner only.")] = None,
) -> None:
    """Ask which instrument is on a port, in the manner of each driver."""
    with one_line_errors():
        names = NAMES if driver is None else (find_driver(driver).name,)
        found = None
        for found in probe_port(port, names):
            typer.echo(f"{port}: {found.answer} (driver {found.driver})")
        if found is None:
            raise NoAnswerError(f"{port}: no instrument answered that a driver knows")


@app.command()
def read(
    driver: DriverOption,
    port: PortOption,
    samples: Annotated[int, typer.Option(min=1, help="Readings to print.")] = 10,
    as_json: JsonOption = False,
    settings: SetOption = None,
) -> None:
    """Print readings as they come."""
    with one_line_errors(), closing(open_meter(driver, port, settings_of(settings))) as meter:
        if not as_json:
            typer.echo("   host_time_s     power_w  voltage_v  current_a")
        for _, (host_s, sample) in zip(range(samples), meter.samples(), strict=False):
            row = {"host_time_s": host_s, **_numbers(sample)}
            typer.echo(json.dumps(row) if as_json else _columns(row))


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
