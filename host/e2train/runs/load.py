# SPDX-License-Identifier: Apache-2.0
"""Run folders (schema 1), finished or not, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from e2train.checked import Fields, parse_object, parse_toml
from e2train.errors import UserError
from e2train.runs.answers import Answers, read_answers
from e2train.runs.events import SCHEMA
from powermeter import PROVENANCES

# The order in which cells stand in every figure and table: the baseline first, the sum of it all
# last, anything else between them in the order in which it was given.
ORDER = ("sgd-fp32", "sgd", "smb", "fixed8", "signsgd", "psg", "smd", "sd", "slu")
LAST = "e2train"
# What a simulated or modelled joule of a run speaks of: the board's accelerator, or an array of
# floating-point units that nobody has built for this board.
ACCELERATOR, FLOAT_ARRAY = "accelerator", "hypothetical-float-array"
# What this report writes itself, so that `e2train report runs/demo/*` works a second time.
OUTPUTS = ("report.html", "summary.json", "figures")


@dataclass(frozen=True)
class Energy:
    """Joules, their uncertainty in joules (None where there is none) and where they come from."""

    joules: float
    uncertainty: float | None
    provenance: str


@dataclass(frozen=True)
class ProgressEvent:
    """One progress event. Ratios and shares in percent; energy and counts since the start."""

    iteration: int
    iterations_run: int
    loss: float | None
    energy: Energy | None
    modelled_joules: float
    skip_ratio: float | None
    block_skip: dict[str, float]
    predictor_share: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation on the test data. Accuracies in percent."""

    iteration: int
    top1: float
    top5: float
    energy: Energy | None
    modelled_joules: float
    weights: str


@dataclass(frozen=True)
class RunResult:
    """The finished cell, out of result.json. Accuracies, ratios and shares in percent.

    Seconds and joules of the board are modelled; `evaluation_skip` is the share of the residual
    blocks' multiply-accumulates that evaluation skipped, `evaluation_macs` those a picture took.
    These four are None in older records.
    """

    iterations_offered: int
    iterations_run: int
    top1: float
    top5: float
    energy: Energy | None
    skip_ratio: float | None
    predictor_share: float | None
    seconds: float
    macs: int
    bit_operations: int
    smb_macs_per_iteration: int
    smb_bit_operations_per_iteration: int
    modelled_joules: float
    block_skip: dict[str, float]
    predictor_share_by_layer: dict[str, float]
    macs_by_pass: dict[str, dict[tuple[int, int], int]]
    board_seconds: float | None = None
    board_joules: float | None = None
    evaluation_skip: float | None = None
    evaluation_macs: float | None = None


@dataclass(frozen=True)
class Run:
    """One cell: what started, what happened, what came out (`result` is None while it runs).

    `board_model` says whose joules a simulated or modelled energy of this run stands for.
    """

    folder: Path
    label: str
    name: str
    method: str
    network: str
    dataset: str
    dataset_label: str
    arithmetic: str
    board_model: str
    iterations: int
    batch: int
    seed: int
    layers: tuple[str, ...]
    blocks: tuple[str, ...]
    progress: tuple[ProgressEvent, ...]
    evaluations: tuple[Evaluation, ...]
    result: RunResult | None
    settings: dict[str, object]
    torn: bool
    answers: Answers | None = None

    @property
    def iteration(self) -> int:
        """The last iteration that an event speaks of."""
        last = [events[-1].iteration for events in (self.progress, self.evaluations) if events]
        return max(last, default=0)

    @property
    def state(self) -> str:
        """'finished', or how far the run has come."""
        if self.result:
            return "finished"
        return f"running, {self.iteration} of {self.iterations} iterations"


def load_runs(paths: list[Path]) -> list[Run]:
    """Read the run folders `paths`; a folder that holds run folders stands for all of them.

    Raises UserError for a missing or broken file, and for runs that cannot be compared.
    """
    own = [path for path in paths if path.name in OUTPUTS and not (path / "events.jsonl").exists()]
    kept = [path for path in paths if path not in own] or paths
    folders = dict.fromkeys(folder for path in kept for folder in run_folders(path))
    runs = [load_run(folder) for folder in folders]
    check_comparable(runs)
    return sorted(label_apart(runs), key=_rank)


def run_folders(path: Path) -> list[Path]:
    """`path` itself when it is a run folder, else the run folders in it, by name."""
    if not path.is_dir():
        raise UserError(f"{path}: no such run folder")
    if any((path / name).exists() for name in ("events.jsonl", "result.json")):
        return [path]
    inside = sorted(child.parent for child in path.glob("*/events.jsonl"))
    if not inside:
        raise UserError(f"{path / 'events.jsonl'}: missing, so {path} is no run folder")
    return inside


def load_run(folder: Path) -> Run:
    """Read one run folder. Raises UserError naming the file that is missing or broken."""
    events_file = folder / "events.jsonl"
    events, torn = _read_events(events_file)
    if not events or events[0].values.get("event") != "start":
        raise UserError(f"{events_file}: does not begin with a start event")
    start = events[0]
    _check_schema(start)
    result_file = folder / "result.json"
    result = _read_result(result_file, start) if result_file.exists() else None
    return Run(
        folder=folder,
        label=start.text("name"),
        name=start.text("name"),
        method=start.text("method"),
        network=start.text("network"),
        dataset=start.text("dataset"),
        dataset_label=start.text("dataset_label"),
        arithmetic=start.text("arithmetic"),
        board_model=_board_model(start),
        iterations=start.count("iterations"),
        batch=start.count("batch"),
        seed=start.count("seed"),
        layers=start.texts("layers"),
        blocks=start.texts("blocks"),
        progress=tuple(_progress(e) for e in events if e.values.get("event") == "progress"),
        evaluations=tuple(_evaluation(e) for e in events if e.values.get("event") == "evaluation"),
        result=result,
        settings=_read_settings(folder / "experiment.toml"),
        torn=torn,
        answers=read_answers(folder),
    )


def check_comparable(runs: list[Run]) -> None:
    """A report compares like with like: one data set, one network, and no cell twice."""
    first = runs[0]
    for run in runs[1:]:
        for what, ours, theirs in (
            ("network", first.network, run.network),
            ("data set", first.dataset, run.dataset),
            ("data set", first.dataset_label, run.dataset_label),
        ):
            if ours != theirs:
                raise UserError(
                    f"a report compares one {what}: {first.folder} has {ours}, "
                    f"{run.folder} has {theirs}"
                )
    seen: dict[tuple[str, int], Path] = {}
    for run in runs:
        twin = seen.setdefault((run.name, run.seed), run.folder)
        if twin != run.folder:
            raise UserError(
                f"{twin} and {run.folder} are both named '{run.name}' with seed {run.seed}: "
                "a report needs one name for each cell"
            )


def label_apart(runs: list[Run]) -> list[Run]:
    """Cells that share a name and differ by seed carry the seed in their label."""
    names = [run.name for run in runs]
    return [
        replace(run, label=f"{run.name} (seed {run.seed})") if names.count(run.name) > 1 else run
        for run in runs
    ]


def _rank(run: Run) -> int:
    for key in (run.name, run.method):
        if key in ORDER:
            return ORDER.index(key)
        if key == LAST:
            return len(ORDER) + 1
    return len(ORDER)


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{file}: missing") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None


def _read_events(file: Path) -> tuple[list[Fields], bool]:
    """The events, and whether the last line was torn off, as a killed run leaves it."""
    lines = _read_bytes(file).split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    events: list[Fields] = []
    for number, line in enumerate(lines, start=1):
        try:
            events.append(Fields(parse_object(line), f"{file}:{number}"))
        except ValueError:
            if number == len(lines):
                return events, True
            raise UserError(f"{file}:{number}: not a line of JSON") from None
    return events, False


def _check_schema(fields: Fields) -> None:
    schema = fields.count("schema")
    if schema != SCHEMA:
        raise UserError(f"{fields.where}: schema {schema}, but this e2train reads schema {SCHEMA}")


def _board_model(start: Fields) -> str:
    """The board that the run's energy model speaks of; older runs name their arithmetic only."""
    if "board_model" in start.values:
        return start.one_of("board_model", (ACCELERATOR, FLOAT_ARRAY))
    return ACCELERATOR if start.text("arithmetic") == "fixed" else FLOAT_ARRAY


def _energy(fields: Fields) -> Energy | None:
    """The `energy` of an event; None where the meter is missing or its log has a gap."""
    if fields.values.get("energy", 0) is None:
        return None
    part = fields.part("energy")
    joules = part.optional_number("joules")
    if joules is None:
        return None
    uncertainty = part.optional_number("uncertainty_joules")
    return Energy(joules, uncertainty, part.one_of("provenance", PROVENANCES))


def _progress(fields: Fields) -> ProgressEvent:
    return ProgressEvent(
        iteration=fields.count("iteration"),
        iterations_run=fields.count("iterations_run"),
        loss=fields.optional_number("loss"),
        energy=_energy(fields),
        modelled_joules=fields.part("modelled").number("joules"),
        skip_ratio=fields.optional_number("skip_ratio"),
        block_skip=fields.numbers("block_skip"),
        predictor_share=fields.numbers("predictor_share"),
    )


def _evaluation(fields: Fields) -> Evaluation:
    return Evaluation(
        iteration=fields.count("iteration"),
        top1=fields.number("top1"),
        top5=fields.number("top5"),
        energy=_energy(fields),
        modelled_joules=fields.part("modelled").number("joules"),
        weights=fields.one_of("weights", ("current", "swa")),
    )


def _read_result(file: Path, start: Fields) -> RunResult:
    try:
        fields = Fields(parse_object(_read_bytes(file)), str(file))
    except ValueError as error:
        raise UserError(f"{file}: not a JSON object ({error})") from None
    _check_schema(fields)
    cell = fields.part("cell")
    for source, key in ((fields, "network"), (fields, "dataset"), (cell, "name")):
        if source.text(key) != start.text(key):
            raise UserError(
                f"{file}: {key} '{source.text(key)}', but {start.where} has '{start.text(key)}'"
            )
    return RunResult(
        iterations_offered=cell.count("iterations_offered"),
        iterations_run=cell.count("iterations_run"),
        top1=cell.number("top1"),
        top5=cell.number("top5"),
        energy=_cell_energy(cell),
        skip_ratio=cell.optional_number("skip_ratio"),
        predictor_share=cell.optional_number("predictor_share"),
        seconds=cell.number("seconds"),
        macs=fields.count("macs"),
        bit_operations=fields.count("bit_operations"),
        smb_macs_per_iteration=fields.count("smb_macs_per_iteration"),
        smb_bit_operations_per_iteration=fields.count("smb_bit_operations_per_iteration"),
        modelled_joules=fields.number("modelled_joules"),
        block_skip=fields.numbers("block_skip"),
        predictor_share_by_layer=fields.numbers("predictor_share_by_layer"),
        macs_by_pass=_macs_by_pass(fields.part("macs_by_pass")),
        **_newer(fields, cell),
    )


def _newer(fields: Fields, cell: Fields) -> dict[str, float | None]:
    """What older records lack."""
    board = fields.part("board") if "board" in fields.values else Fields({}, fields.where)
    places = {
        "board_seconds": (board, "seconds"),
        "board_joules": (board, "joules"),
        "evaluation_skip": (cell, "evaluation_skip"),
        "evaluation_macs": (cell, "evaluation_macs"),
    }
    return {
        name: part.optional_number(key) if key in part.values else None
        for name, (part, key) in places.items()
    }


def _cell_energy(cell: Fields) -> Energy | None:
    joules = cell.optional_number("energy_joules")
    if joules is None:
        return None
    uncertainty = cell.optional_number("energy_uncertainty_joules")
    return Energy(joules, uncertainty, cell.one_of("energy_provenance", PROVENANCES))


def _macs_by_pass(fields: Fields) -> dict[str, dict[tuple[int, int], int]]:
    table: dict[str, dict[tuple[int, int], int]] = {}
    for name in fields.values:
        widths = fields.part(name)
        table[name] = {}
        for key in widths.values:
            match = re.fullmatch(r"(\d{1,3})x(\d{1,3})", key)
            if not match:
                raise UserError(f"{widths.where}: '{key}' is no pair of bit widths such as 8x16")
            table[name][int(match[1]), int(match[2])] = widths.count(key)
    return table


def _read_settings(file: Path) -> dict[str, object]:
    """The experiment, flattened: {"train.batch": 128, ...}."""
    try:
        return flattened(parse_toml(_read_bytes(file)))
    except ValueError as error:
        raise UserError(f"{file}: not a TOML file ({error})") from None


def flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested settings as {"train.batch": 128, ...}."""
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat.update(flattened(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
