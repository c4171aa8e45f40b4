# SPDX-License-Identifier: Apache-2.0
"""`e2train device`: which devices there are, and whether they keep the numeric contract."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="Devices: list them, test them.", no_args_is_help=True)

SHOWN = 5  # failed cases that are printed for each operation


@app.command("list")
def list_devices() -> None:
    """List the devices, and what stands behind each."""
    from e2train.device.accelerator import csim_build, rtl_build
    from e2train.device.accelerator.simulated import build as simulated_build
    from e2train.device.accelerator.zynq.overlay import board_found
    from e2train.device.selftest import emulator_backends
    from e2train.errors import UserError

    table = Table(title="devices")
    for column in ("device", "backend", "available", "detail"):
        table.add_column(column)
    for backend in emulator_backends():
        table.add_row(
            "emulator", backend.name, "yes" if backend.available else "no", backend.detail
        )
    for name, needs in (
        ("csim", csim_build.prerequisites),
        ("rtl", rtl_build.prerequisites),
        ("simulated-board", simulated_build.prerequisites),
    ):
        try:
            table.add_row(name, "-", "yes", needs())
        except UserError as missing:
            table.add_row(name, "-", "no", str(missing))
    table.add_row("zynq", "-", *board_found())
    Console().print(table)


@app.command()
def selftest(
    device: Annotated[
        str, typer.Option(help="emulator, csim, rtl, simulated-board or zynq.")
    ] = "emulator",
    backend: Annotated[str, typer.Option(help="Of emulator: auto, native, torch, ...")] = "auto",
    overlay: Annotated[Path | None, typer.Option(help="Of zynq: the .bit file.")] = None,
) -> None:
    """Compare the kernel operations with int64 sums at extreme values; exit 1 on any difference."""
    from e2train.device import open_device
    from e2train.device.selftest import Check, run_selftest

    checks: dict[str, list[Check]] = defaultdict(list)
    with open_device(device, backend=backend, overlay=overlay) as opened:
        typer.echo(f"{opened.name}:")
        for check in run_selftest(opened):
            checks[check.operation].append(check)
    for operation, found in checks.items():
        failed = [check for check in found if check.wrong]
        verdict = f"{len(failed)} of {len(found)} cases FAILED" if failed else "ok"
        total = sum(check.total for check in found)
        typer.echo(f"  {operation}: {len(found)} cases, {total:,} integers: {verdict}")
        for check in failed[:SHOWN]:
            typer.echo(f"    {check.case}: {check.wrong:,} of {check.total:,} integers differ")
    if any(check.wrong for found in checks.values() for check in found):
        raise typer.Exit(1)
