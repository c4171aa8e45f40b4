# SPDX-License-Identifier: Apache-2.0
"""`e2train data`: get data sets and look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from e2train.data import load_dataset
from e2train.data.fetch import fetch
from e2train.data.load import default_folder

app = typer.Typer(no_args_is_help=True, help="Get data sets and look at them.")

FOLDER_HELP = "Folder of data sets [default: $E2TRAIN_DATA, else ./data]."


@app.command("fetch")
def fetch_command(
    name: Annotated[str, typer.Argument(help="cifar10 or cifar100.")],
    out: Annotated[Path | None, typer.Option(help=FOLDER_HELP)] = None,
    url: Annotated[
        str | None, typer.Option(help="Take the archive from this URL's folder instead.")
    ] = None,
) -> None:
    """Download a data set from its home page, check it and unpack it."""
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(name, total=None)
        folder = fetch(
            name,
            default_folder() if out is None else out,
            lambda done, total: bar.update(task, completed=done, total=total),
            url,
        )
    typer.echo(folder)


@app.command("check")
def check_command(
    folder: Annotated[
        Path, typer.Argument(help="Folder of pictures in folders of classes, or an .npz file.")
    ],
    size: Annotated[int, typer.Option(help="Height and width that pictures are given.")] = 32,
    grey: Annotated[bool, typer.Option("--grey", help="One channel in place of three.")] = False,
    test_share: Annotated[
        float, typer.Option(help="Share of each class to test on, where no folder says so.")
    ] = 0.2,
    split_seed: Annotated[int, typer.Option(help="Decides which pictures these are.")] = 0,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where augmented pictures go (PNG) [NAME-sheet.png]."),
    ] = None,
) -> None:
    """Say what training would see of your own pictures, and what is wrong with them."""
    from e2train.data.settings import FOLDER, DataSettings, check_data
    from e2train.data.survey import survey, write_sheet

    settings = DataSettings(
        FOLDER, size=size, colour=not grey, test_share=test_share, split_seed=split_seed
    )
    check_data(settings)
    lines, dataset = survey(folder, settings)
    for line in lines:
        typer.echo(line)
    out = Path(f"{folder.resolve().stem}-sheet.png") if sheet is None else sheet
    write_sheet(out, dataset)
    typer.echo(f"augmented pictures: {out}")


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="digits, cifar10 or cifar100.")],
    data: Annotated[Path | None, typer.Option(help=FOLDER_HELP)] = None,
) -> None:
    """Print what a data set holds."""
    dataset = load_dataset(name, data)
    channels, height, width = dataset.train_images.shape[1:]
    shift = f"shift by up to {dataset.shift} pixels"
    rows = {
        "label": dataset.label,
        "images": f"{len(dataset.train_labels):,} training, {len(dataset.test_labels):,} test",
        "size": f"{channels} x {height} x {width}, 8 bits",
        "classes": dataset.classes,
        "mean": ", ".join(map(str, dataset.mean)),
        "std": ", ".join(map(str, dataset.std)),
        "augmentation": f"mirror, {shift}" if dataset.mirror else shift,
    }
    for key, value in rows.items():
        typer.echo(f"{key:13} {value}")
