# SPDX-License-Identifier: Apache-2.0
"""`powermeter record`, `integrate` and `check`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from powermeter.cli.options import (
    DriverOption,
    JsonOption,
    PortOption,
    SetOption,
    one_line_errors,
    settings_of,
)
from powermeter.energy.joules import Joules
from powermeter.errors import RecordingError, described
from powermeter.record.audit import audit
from powermeter.record.recording import META, RESULT, integrate_folder, read_result, write_result
from powermeter.record.session import MeterSession, open_session

FolderArgument = Annotated[Path, typer.Argument(help="A recording.")]
_HOST_TIME = "Host time in seconds since 1970 (of the simulation, where it was simulated)."


def record(
    driver: DriverOption,
    port: PortOption,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long.")],
    out: Annotated[Path, typer.Option(help="Folder for the recording.")],
    as_json: JsonOption = False,
    settings: SetOption = None,
) -> None:
    """Record a meter into a folder and print the energy.

    A recorder that dies is an error: exit code 2. What it recorded until then is kept.
    """
    with one_line_errors():
        if (out / META).exists():
            raise RecordingError(f"{out}: already holds a recording")
        session = open_session(f"{driver}:{port}", out, settings=settings_of(settings))
        try:
            _record_for(session, seconds)
            stored = read_result(out)
        except (Exception, SystemExit) as error:  # whatever it is: the recording may lack something
            raise RecordingError(
                f"{described(error)}; {out} holds what was recorded until then"
            ) from error
        typer.echo(json.dumps(stored) if as_json else _described(stored))


def _record_for(session: MeterSession, seconds: float) -> None:
    with session:
        until = time.monotonic() + seconds
        try:
            while (rest := until - time.monotonic()) > 0:
                session.advance([])
                time.sleep(min(rest, 0.2))
        except KeyboardInterrupt:
            typer.echo("powermeter: stopped early", err=True)


def integrate(
    folder: FolderArgument,
    begin: Annotated[float | None, typer.Option(help=_HOST_TIME)] = None,
    end: Annotated[float | None, typer.Option(help=_HOST_TIME)] = None,
    as_json: JsonOption = False,
) -> None:
    """Energy of a recording, or of a window of it, from its raw bytes.

    A recording whose program was killed gets its result.json here.
    """
    with one_line_errors():
        result = integrate_folder(folder, begin, end)
        if begin is None and end is None and not (folder / RESULT).exists():
            write_result(folder, result, None)
        typer.echo(json.dumps(result.to_dict()) if as_json else _described(result.to_dict()))


def check(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Derive every joule again from the raw bytes alone and compare with the stored result."""
    with one_line_errors():
        found = audit(folder)
    if as_json:
        outcome = {"passed": found.passed, "findings": found.findings, "sha256": found.digests}
        typer.echo(json.dumps(outcome | {"derived": found.result.to_dict()}))
    else:
        typer.echo(_described(found.result.to_dict()))
        for line in found.findings:
            typer.echo(f"differs   {line}")
        typer.echo("check     passed" if found.passed else "check     FAILED")
    raise typer.Exit(0 if found.passed else 1)


def _described(result: dict[str, Any]) -> str:
    mean = result["mean_power_w"]
    energy = Joules(result["joules"], result["uncertainty_joules"], result["provenance"])
    lines = [
        f"energy    {energy}, k = {result['coverage_factor']}",
        f"mean      {'no' if mean is None else f'{mean:.4f} W'} over {result['samples']} readings",
        f"coverage  {result['coverage']:.4%}, longest gap {result['max_gap_s']:.3g} s",
    ]
    if result["counter_joules"] is not None:
        lines.append(f"counter   {result['counter_joules']:.6g} J by the meter's own")
    lines.append("valid     yes" if result["valid"] else f"valid     no: {result['reason']}")
    return "\n".join(lines)
