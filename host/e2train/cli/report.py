# SPDX-License-Identifier: Apache-2.0
"""`e2train report`: run folders to a page, figures and a summary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders, or one folder that holds them; finished or not."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Where the report goes; else the folder of the runs."
        ),
    ] = None,
) -> None:
    """Write report.html, figures/ and summary.json for the given runs."""
    # The package draws with NumPy and matplotlib; other commands should start without them.
    from e2train.report import write_report

    written = write_report(runs, out)
    typer.echo(written.headline)
    typer.echo(f"{written.page}, {len(written.figures)} figures, {written.summary}")
