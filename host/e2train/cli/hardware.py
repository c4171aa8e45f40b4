# SPDX-License-Identifier: Apache-2.0
"""`e2train hardware`: the accelerator's configuration and the files generated from it."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="The accelerator's generated files.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The accelerator's generated files."""


@app.command()
def generate(
    check: Annotated[
        bool, typer.Option(help="Write nothing; exit 1 where a file is stale.")
    ] = False,
) -> None:
    """Write the C++, Verilog, Tcl and Python files that follow from hls/config/hardware.toml.

    And those for bitstreams, which follow from it and the boards' files.
    """
    from e2train.board import bitstream
    from e2train.device.accelerator import generator

    if check:
        for path in (found := generator.stale() + bitstream.stale()):
            typer.echo(f"{path}: stale; run e2train hardware generate")
        if found:
            raise typer.Exit(1)
        return
    for path in generator.generate() + bitstream.generate():
        typer.echo(f"{path}: written")
