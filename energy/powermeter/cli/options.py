# SPDX-License-Identifier: Apache-2.0
"""What the subcommands of `powermeter` have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from powermeter.errors import MeterError
from powermeter.meters.settings import parse_pairs

DriverOption = Annotated[str, typer.Option("--driver", help="See `powermeter list`.")]
PortOption = Annotated[str, typer.Option("--port", help="Serial port, e.g. /dev/ttyUSB0.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the driver; repeatable. `powermeter list DRIVER` names them.",
    ),
]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """A `MeterError` becomes one line on standard error and exit code 2; Ctrl-C becomes 130."""
    try:
        yield
    except MeterError as error:
        typer.echo(f"powermeter: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def settings_of(pairs: list[str] | None) -> dict[str, Any]:
    """`NAME=VALUE` options as a dict of words; `MeterError`. The driver reads the words."""
    return dict(parse_pairs(pairs or ()))
