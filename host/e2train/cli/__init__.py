# SPDX-License-Identifier: Apache-2.0
"""The command line `e2train`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from e2train import __version__
from e2train.cli import (
    bench,
    board,
    board_selftest,
    bound,
    campaign,
    cost,
    data,
    device,
    divergence,
    export,
    finetune,
    gates,
    hardware,
    predict,
    report,
    results,
    train,
)
from e2train.errors import UserError
from powermeter import MeterError

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the signal's number, as shells report it."""

app = typer.Typer(
    name="e2train",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Each subcommand has a module of its own here, which imports what it needs when it runs: the
# command line must start on a board that has neither torch nor matplotlib.
app.add_typer(data.app, name="data")
app.add_typer(device.app, name="device")
app.add_typer(hardware.app, name="hardware")
app.add_typer(bench.app, name="bench")
board.app.command("selftest")(board_selftest.selftest)
app.add_typer(board.app, name="board")
app.add_typer(campaign.app, name="campaign")
app.add_typer(results.app, name="results")
app.command("report")(report.report)
app.command()(train.train)
app.command()(finetune.finetune)
app.command()(bound.bound)
app.command()(divergence.divergence)
app.command()(gates.gates)
app.command("predict")(predict.predict_command)
app.command("export")(export.export_command)
app.command("cost")(cost.cost_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"e2train {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Train CNNs with few joules (E2-Train) on an FPGA or its exact emulator, and report both."""


def _fail(message: str, code: int) -> int:
    print(f"e2train: {message}", file=sys.stderr)
    return code


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code. A user's mistake is one line on stderr and code 2.

    `arguments` default to those of the process. Programming errors keep their traceback.
    """
    try:
        app(args=None if arguments is None else list(arguments))
    except SystemExit as done:
        if done.code == INTERRUPTED:
            return _fail("interrupted", INTERRUPTED)
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except (UserError, MeterError) as error:
        return _fail(str(error), 2)
    except OSError as error:
        return _fail(": ".join(str(p) for p in (error.filename, error.strerror or error) if p), 2)
    return 0


def main() -> None:
    """Entry point of the command `e2train`."""
    sys.exit(run())
