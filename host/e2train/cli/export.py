# SPDX-License-Identifier: Apache-2.0
"""`e2train export`: a run's network as a file of another program."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError


def export_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="torch, safetensors or onnx: float weights; qonnx or hls4ml: the integer network.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File (of hls4ml: folder) to write [in the run's folder].")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that holds the data set.")] = None,
    pictures: Annotated[
        int | None,
        typer.Option(help="Test pictures to check with [all; qonnx: 1,000; hls4ml: 360]."),
    ] = None,
    part: Annotated[
        str | None, typer.Option(help="The FPGA of an hls4ml project [xc7z020clg484-1].")
    ] = None,
    force: Annotated[
        bool, typer.Option(help="Keep it whatever it answers, and over what is there.")
    ] = False,
) -> None:
    """Write a trained network for use elsewhere, if it answers there as it does here."""
    from ..device import open_device
    from ..models.export import FORMATS, Request, export
    from ..models.hls_project import PART
    from ..models.trained import needs_device

    if format_ not in FORMATS:
        raise UserError(f"--format {format_}: expected one of {', '.join(FORMATS)}")
    if pictures is not None and pictures < 1:
        raise UserError(f"--pictures {pictures}: expected 1 or more")
    request = Request(run, format_, out, data, pictures, part or PART, force)
    with ExitStack() as stack:
        device = stack.enter_context(open_device("emulator")) if needs_device(run) else None
        done = export(request, device)
    for line in done.lines():
        typer.echo(line)
    typer.echo(done.path)
