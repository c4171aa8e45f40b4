# SPDX-License-Identifier: Apache-2.0
"""`e2train board selftest`: is this board sound? A line each, and where to look if not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

VERDICTS = {True: "ok    ", False: "FAILED", None: "      "}


def selftest(
    overlay: Annotated[Path | None, typer.Option(help="The .bit file, its .hwh beside it.")] = None,
    device: Annotated[str, typer.Option(help="zynq, or simulated-board without one.")] = "zynq",
    quick: Annotated[bool, typer.Option(help="One geometry a pass.")] = False,
) -> None:
    """Compare every pass and a training step with exact integers, and speed with the model."""
    from e2train.board.selftest import host_cycles, run_board_selftest
    from e2train.device import open_device
    from e2train.device.accelerator.device import KernelDevice
    from e2train.device.accelerator.simulated.open import SimulatedBoard
    from e2train.errors import UserError

    if device not in ("zynq", "simulated-board"):
        raise UserError(f"--device {device}: expected zynq or simulated-board")
    failed = 0
    with open_device(device, overlay=overlay) as opened:
        assert isinstance(opened, KernelDevice)
        typer.echo(f"{opened.name}: files, configuration hash, interrupt and memory are right")
        if isinstance(opened, SimulatedBoard):
            lines = run_board_selftest(opened, opened.simulation.cycles, judged=False, quick=quick)
        else:
            lines = run_board_selftest(opened, host_cycles, quick=quick)
        for line in lines:
            typer.echo(f"{VERDICTS[line.right]} {line.name}: {line.found}")
            if line.right is False:
                failed += 1
                typer.echo(f"       look at: {line.look}")
    if failed:
        raise typer.Exit(1)
