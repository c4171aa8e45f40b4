# SPDX-License-Identifier: Apache-2.0
"""`powermeter`: read, record, integrate and simulate meters from the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from powermeter.drivers import DRIVERS, find_driver
from powermeter.drivers.ina226_chip import DEFAULT_AVERAGES, DEFAULT_CONVERSION_US
from powermeter.errors import MeterError, RecordingError
from powermeter.events import Sample
from powermeter.integrate import WindowResult
from powermeter.recorder import META
from powermeter.recording import integrate_folder
from powermeter.session import open_session
from powermeter.simulators.ina226 import RealtimeIna226
from powermeter.simulators.ina226_device import Ina226Device

app = typer.Typer(
    help="Meters, recordings and joules that say where they come from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DriverOption = Annotated[str, typer.Option("--driver", help="See `powermeter list`.")]
PortOption = Annotated[str, typer.Option("--port", help="Serial port, e.g. /dev/ttyUSB0.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except MeterError as error:
        typer.echo(f"powermeter: {error}", err=True)
        raise typer.Exit(2) from None


@app.command("list")
def list_drivers() -> None:
    """Name the drivers, and the serial ports of this machine."""
    from serial.tools import list_ports

    for driver in DRIVERS.values():
        typer.echo(f"driver  {driver.name:<16}{driver.description}")
    for port in list_ports.comports():
        typer.echo(f"port    {port.device:<16}{port.description}")


@app.command()
def read(
    driver: DriverOption,
    port: PortOption,
    samples: Annotated[int, typer.Option(min=1, help="Readings to print.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Print readings as they come."""
    with _one_line_errors(), closing(find_driver(driver).open_port(port)) as meter:
        meter.open()
        if not as_json:
            typer.echo("device_time_s      power_w  voltage_v  current_a")
        for _, sample in zip(range(samples), meter.samples(), strict=False):
            host = time.time()
            if as_json:
                typer.echo(json.dumps({"host_time_s": host, **_numbers(sample)}))
            else:
                typer.echo("{1:13.6f} {4:12.4f} {2:10.4f} {3:10.4f}".format(*sample))


@app.command()
def record(
    driver: DriverOption,
    port: PortOption,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long.")],
    out: Annotated[Path, typer.Option(help="Folder for raw.log, samples.csv, events.jsonl.")],
) -> None:
    """Record a meter into a folder and print the energy."""
    with _one_line_errors():
        if (out / META).exists():
            raise RecordingError(f"{out}: already holds a recording")
        with open_session(f"{driver}:{port}", out) as session:
            until = time.monotonic() + seconds
            while (rest := until - time.monotonic()) > 0:
                session.advance([])
                time.sleep(min(rest, 0.2))
            _print_result(session.energy(), as_json=False)


@app.command()
def integrate(
    folder: Annotated[Path, typer.Argument(help="A recording.")],
    begin: Annotated[float | None, typer.Option(help="Seconds of the meter's clock.")] = None,
    end: Annotated[float | None, typer.Option(help="Seconds of the meter's clock.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Energy of a recording, or of a window of it."""
    with _one_line_errors():
        _print_result(integrate_folder(folder, begin, end), as_json)


@app.command()
def simulate(
    seconds: Annotated[float | None, typer.Option(help="How long; else until Ctrl-C.")] = None,
    power: Annotated[float, typer.Option(help="The board's power in watts.")] = 2.6,
    seed: Annotated[int, typer.Option(help="Draws the instrument's errors.")] = 0,
    averages: Annotated[int, typer.Option(help="Averages a reading.")] = DEFAULT_AVERAGES,
    conversion_us: Annotated[
        int, typer.Option(help="Conversion time, bus and shunt.")
    ] = DEFAULT_CONVERSION_US,
) -> None:
    """Run a simulated INA226 meter in real time; the first line printed is its port."""
    with _one_line_errors():
        device = Ina226Device(seed, averages=averages, vct_us=conversion_us, ict_us=conversion_us)
        with (
            closing(RealtimeIna226(device, idle_w=power)) as simulator,
            suppress(KeyboardInterrupt),
        ):
            typer.echo(simulator.path)
            until = float("inf") if seconds is None else time.monotonic() + seconds
            while (rest := until - time.monotonic()) > 0:
                time.sleep(min(rest, 0.2))


def _numbers(sample: Sample) -> dict[str, float]:
    names = ("device_time_s", "power_w", "voltage_v", "current_a")
    return {name: getattr(sample, name) for name in names}


def _print_result(result: WindowResult, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        return
    mean = "no" if result.mean_power_w is None else f"{result.mean_power_w:.4f} W"
    typer.echo(f"energy    {result.joules}")
    typer.echo(f"mean      {mean} over {result.samples} readings")
    typer.echo(f"coverage  {result.coverage:.4%}, longest gap {result.max_gap_s:.3g} s")
    typer.echo("valid     yes" if result.valid else f"valid     no: {result.reason}")
