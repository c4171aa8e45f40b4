# SPDX-License-Identifier: Apache-2.0
"""`e2train predict`: ask a trained network about picture files."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer


def predict_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    images: Annotated[list[Path], typer.Argument(help="Picture files.", show_default=False)],
    top: Annotated[int, typer.Option(help="How many classes to name.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder that holds the data set, for a run with averaged weights."),
    ] = None,
) -> None:
    """Name the likeliest classes of pictures, what was skipped, and the modelled energy.

    Pictures are turned, resized and cropped to the size that the network was trained on, in grey or
    colour as it was.
    """
    from ..device import open_device
    from ..models.predict import predict
    from ..models.trained import load_trained, needs_device

    with ExitStack() as stack:
        device = stack.enter_context(open_device("emulator")) if needs_device(run) else None
        trained = load_trained(run, data, device)
        found = predict(trained, images, top)
    if as_json:
        facts = {"run": str(run), "network": trained.parts.spec.name, "weights": trained.weights}
        typer.echo(json.dumps({**facts, **found.as_dict()}, indent=1))
    else:
        for line in found.lines():
            typer.echo(line)
    wrong = [one for one in found.pictures if one.error is not None]
    for one in wrong:
        print(f"e2train: {one.file}: {one.error}", file=sys.stderr)
    if wrong:
        raise typer.Exit(2)
