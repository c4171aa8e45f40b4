# SPDX-License-Identifier: Apache-2.0
"""`e2train results`: pack finished runs, rebuild docs/results, count wrong signs of predictors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError

app = typer.Typer(no_args_is_help=True, help="Results beside the paper's claims.")
FOLDER = Path("docs/results")


@app.command()
def pack(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Finished run folders, or folders that hold them."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Archive to write, NAME.tar.xz.")
    ],
    points: Annotated[int, typer.Option(min=1, help="Progress events kept of each run.")] = 400,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an archive.")] = False,
) -> None:
    """Pack finished runs small: result, experiment and events, without meter logs and paths."""
    from ..results.pack import pack as pack_runs

    count = pack_runs(runs, out, points=points, again=replace)
    typer.echo(f"{out}: {count} runs, {out.stat().st_size:,} bytes")


@app.command()
def build(
    folder: Annotated[
        Path, typer.Argument(help="Folder with logs/, data/ and README.md.")
    ] = FOLDER,
) -> None:
    """Rebuild the pages and figures of docs/results from its packed runs and data."""
    from ..results import build as results

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; run this where docs/results is, or name it")
    written = results.write(folder, results.build(folder))
    typer.echo(f"{folder}: {len(written)} files")


@app.command("sign-errors")
def sign_errors(
    experiment: Annotated[Path, typer.Argument(help="Experiment file (TOML) with update psg.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Table to write (CSV).")],
    after: Annotated[int, typer.Option(min=0, help="Mini-batches to train before.")] = 600,
    batches: Annotated[int, typer.Option(min=1, help="Mini-batches to count on.")] = 3,
    data: Annotated[Path | None, typer.Option(help="Folder that holds the data set.")] = None,
) -> None:
    """Train for a while, then count wrong signs for many widths and thresholds of the predictor."""
    from ..data.load import load_data
    from ..device import open_device
    from ..files import write_text
    from ..methods.sign_errors import Grid
    from ..training.experiment import load_experiment
    from ..training.sign_errors import measure

    chosen = load_experiment(experiment)
    if chosen.method.update != "psg":
        raise UserError(f"{experiment}: method.update = {chosen.method.update!r}: expected 'psg'")
    if chosen.slu.skip or chosen.stochastic_depth.skip:
        raise UserError(f"{experiment}: skips blocks: every layer must see every mini-batch here")
    if after + batches > chosen.offered:
        raise UserError(
            f"--after {after} --batches {batches}: the experiment has {chosen.offered} mini-batches"
        )
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder")
    dataset = load_data(chosen.data, data)
    with open_device("emulator") as device:
        found = measure(
            chosen, dataset, device, iterations=after, mini_batches=batches, grid=Grid()
        )
    write_text(out, found.text())
    typer.echo(f"{out}: {len(found.counts)} rows")


@app.command("one-pass")
def one_pass(
    campaigns: Annotated[
        list[Path] | None,
        typer.Argument(metavar="CAMPAIGN...", help="Folders of finished campaigns to take in."),
    ] = None,
    docs: Annotated[Path, typer.Option(help="Folder of one-pass.md.")] = Path("docs"),
) -> None:
    """Rebuild docs/one-pass.md and its figures from its tables, and from campaigns given."""
    from ..results.one_pass import keep, write_page

    for campaign in campaigns or []:
        keep(campaign, docs)
    written = write_page(docs)
    typer.echo(f"{written[0]}: {len(written) - 1} figures")
