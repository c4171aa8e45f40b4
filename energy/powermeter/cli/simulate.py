# SPDX-License-Identifier: Apache-2.0
"""`powermeter simulate` and `bench`."""

from __future__ import annotations

import csv
import json
import math
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from powermeter.cli.bench import run_bench
from powermeter.cli.options import JsonOption, SetOption, one_line_errors, settings_of
from powermeter.errors import SimulatorError
from powermeter.meters import find_driver
from powermeter.record.priority import go_first
from powermeter.simulation.device import Segment
from powermeter.simulation.faults import KINDS, OF_THE_DEVICE, Fault, FaultyDevice
from powermeter.simulation.pty import RealtimePty


def simulate(
    driver: Annotated[str, typer.Option("--driver", help="Which meter.")] = "ina226-serial",
    seconds: Annotated[float | None, typer.Option(help="How long; else until Ctrl-C.")] = None,
    power: Annotated[float, typer.Option(help="The board's power in watts.")] = 2.6,
    trace: Annotated[
        Path | None, typer.Option(help="CSV of `seconds,watts` that the board does first.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND@T[+S]", help=f"At T seconds, for S: {', '.join(KINDS)}."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the instrument's errors.")] = 0,
    link: Annotated[
        Path | None, typer.Option(help="A link to the port that stays when it is replugged.")
    ] = None,
    settings: SetOption = None,
) -> None:
    """Run a simulated meter in real time; the first line printed is its port."""
    with one_line_errors():
        go_first()
        found = find_driver(driver)
        if found.simulator is None:
            raise SimulatorError(f"{driver}: there is no simulator")
        faults = [Fault.parse(text) for text in fault or ()]
        segments = [] if trace is None else read_trace(trace)
        device = found.simulator(seed, **settings_of(settings))
        for one in faults:
            if one.kind in OF_THE_DEVICE:  # refuses now what it could not do then
                found.simulator(seed).fault(one.kind)
        faulty = FaultyDevice(device, faults, seed)
        with closing(RealtimePty(faulty, idle_w=power, link=link)) as simulator:
            simulator.play(segments)
            typer.echo(simulator.path)
            until = math.inf if seconds is None else time.monotonic() + seconds
            while (rest := until - time.monotonic()) > 0:
                time.sleep(min(rest, 0.2))


def bench(
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to record.")] = 60.0,
    load: Annotated[
        str | None,
        typer.Option(help="Command that keeps the cores busy; else matrix products on each."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Record a simulated INA226 at its fastest setting with every core busy; count what is lost."""
    with one_line_errors():
        outcome = run_bench(seconds, load)
    if as_json:
        typer.echo(json.dumps(outcome.to_dict()))
    else:
        typer.echo("\n".join(outcome.lines()))
    raise typer.Exit(0 if outcome.lost == 0 else 1)


def read_trace(path: Path) -> list[Segment]:
    """Rows of `seconds,watts`; a first row of names is skipped; `SimulatorError`."""
    segments: list[Segment] = []
    try:
        with open(path, newline="") as stream:
            for number, row in enumerate(csv.reader(stream), 1):
                try:
                    seconds, watts = map(float, row)
                    if not (0 <= seconds < math.inf and math.isfinite(watts)):
                        raise ValueError
                except ValueError:
                    if number == 1:
                        continue
                    raise SimulatorError(f"{path}: line {number} is not `seconds,watts`") from None
                segments.append((seconds, watts))
    except OSError as error:
        raise SimulatorError(f"{path}: not readable ({error.strerror})") from error
    return segments
