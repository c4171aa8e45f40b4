# SPDX-License-Identifier: Apache-2.0
"""Run folders: what is read, what is tolerated, what is refused in one line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2train.checked import Fields
from e2train.errors import UserError
from e2train.report.charts_training import smoothed
from e2train.runs.load import load_run, load_runs
from report_folders import CELLS, Made, make_run, make_runs

PSG = CELLS[2]


def refused(action: Callable[[], object], *words: str) -> str:
    """The one line of the UserError that `action` must raise; it must hold all `words`."""
    with pytest.raises(UserError) as caught:
        action()
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line
    return line


def test_finished_run_is_read_whole(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path / "psg", PSG, iterations=400))
    assert (run.name, run.network, run.iterations, run.seed) == ("psg", "resnet-8", 400, 0)
    assert [event.iteration for event in run.progress] == list(range(20, 401, 20))
    assert [event.iteration for event in run.evaluations] == [100, 200, 300, 400]
    assert run.result is not None and run.result.energy is not None
    assert run.result.energy.provenance == "simulated"
    assert run.result.macs_by_pass["predictor"].keys() == {(4, 10)}
    assert run.settings["train.drops"] == [0.5, 0.75]
    assert run.state == "finished" and not run.torn


def test_running_run_says_how_far_it_is(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path / "psg", PSG, iterations=400, until=140))
    assert run.result is None
    assert run.state == "running, 140 of 400 iterations"


@pytest.mark.parametrize(
    "tail", ['{"event": "progress", "iter', "\x00\x00\x00\n", "[1, 2]\n", "\n"]
)
def test_torn_last_line_is_left_out_and_marked(tmp_path: Path, tail: str) -> None:
    folder = make_run(tmp_path / "psg", PSG, until=100)
    whole = load_run(folder)
    with open(folder / "events.jsonl", "a") as stream:
        stream.write(tail)
    torn = load_run(folder)
    assert torn.progress == whole.progress
    assert torn.torn == bool(tail.strip())


def test_events_cut_anywhere_never_end_in_a_traceback(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "psg", PSG, until=100)
    text = (folder / "events.jsonl").read_bytes()
    first_line = text.index(b"\n")
    for length in range(0, len(text), 37):
        (folder / "events.jsonl").write_bytes(text[:length])
        if length < first_line:
            refused(lambda: load_run(folder), "events.jsonl", "start event")
        else:
            assert load_run(folder).iteration <= 100


def test_broken_line_in_the_middle_names_file_and_line(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "psg", PSG)
    file = folder / "events.jsonl"
    lines = file.read_text().splitlines()
    lines[3] = lines[3][:30]
    file.write_text("\n".join(lines) + "\n")
    refused(lambda: load_run(folder), f"{file}:4", "not a line of JSON")


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("experiment.toml", None, ["missing"]),
        ("experiment.toml", b"a = = 1\n", ["not a TOML file"]),
        ("experiment.toml", b"a = '\xff'\n", ["not a TOML file"]),
        ("events.jsonl", None, ["missing"]),
        ("events.jsonl", b"", ["start event"]),
        ("result.json", b'{"schema": 1, ', ["not a JSON object"]),
        ("result.json", b"[]", ["not a JSON object"]),
        ("result.json", b'{"schema": 2}', ["schema 2", "schema 1"]),
        ("result.json", b'{"schema": 1}', ["'cell'", "missing"]),
    ],
)
def test_broken_file_is_named(
    tmp_path: Path, name: str, content: bytes | None, words: list[str]
) -> None:
    folder = make_run(tmp_path / "psg", PSG)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    refused(lambda: load_run(folder), str(folder / name), *words)


def set_key(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change, words",
    [
        (set_key("cell", "top1", value="high"), ["top1", '"high"']),
        (set_key("cell", "top1", value=float("nan")), ["top1", "null"]),
        (set_key("cell", "seconds", value=10**400), ["seconds", "a number"]),
        (set_key("cell", "top1", value=True), ["top1", "a number", "true"]),
        (set_key("cell", "iterations_run", value=-1), ["iterations_run", "-1"]),
        (set_key("cell", "energy_provenance", value="measured"), ["metered", '"measured"']),
        (set_key("macs", value=1.5), ["macs", "1.5"]),
        (set_key("block_skip", value={"a": "b"}), ["block_skip"]),
        (set_key("macs_by_pass", "forward", value={"8by8": 1}), ["8by8", "bit widths"]),
        (set_key("macs_by_pass", "forward", value=3), ["forward", "an object"]),
        (set_key("network", value="resnet-20"), ["resnet-20", "resnet-8"]),
        (set_key("cell", "name", value="slu"), ["slu", "psg"]),
    ],
)
def test_wrong_value_in_the_result_names_the_key(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], words: list[str]
) -> None:
    folder = make_run(tmp_path / "psg", PSG, change=change)
    refused(lambda: load_run(folder), str(folder / "result.json"), *words)


def test_wrong_value_in_an_event_names_the_line(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "psg", PSG)
    file = folder / "events.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[5]["energy"]["provenance"] = "guessed"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused(lambda: load_run(folder), f"{file}:6", "provenance", "guessed")


def test_events_without_energy_or_loss(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "slu", Made("slu", 90.0, 0.5, provenance=None))
    text = re.sub(r'"loss": [0-9.]+', '"loss": NaN', (folder / "events.jsonl").read_text(), count=1)
    (folder / "events.jsonl").write_text(text)
    run = load_run(folder)
    assert run.progress[0].loss is None and run.progress[1].loss is not None
    assert all(event.energy is None for event in run.progress)


@pytest.mark.parametrize(
    "options, both",
    [
        ({"network": "resnet-20"}, ["resnet-8", "resnet-20"]),
        ({"dataset": "cifar10"}, ["digits", "cifar10"]),
        ({"label": "CIFAR-10 (JPEG)"}, ["digits", "CIFAR-10 (JPEG)"]),
    ],
)
def test_unlike_runs_are_refused(tmp_path: Path, options: dict[str, str], both: list[str]) -> None:
    first = make_run(tmp_path / "a", CELLS[0])
    second = make_run(tmp_path / "b", PSG, **options)
    refused(lambda: load_runs([first, second]), str(first), str(second), *both)


def test_same_cell_twice_is_refused_and_other_seeds_are_told_apart(tmp_path: Path) -> None:
    one, other = make_run(tmp_path / "a", PSG), make_run(tmp_path / "b", PSG)
    refused(lambda: load_runs([one, other]), str(one), str(other), "psg")
    third = make_run(tmp_path / "c", PSG, seed=1)
    assert [run.label for run in load_runs([third, one])] == ["psg (seed 1)", "psg (seed 0)"]
    assert len(load_runs([one, one])) == 1


def test_folder_of_runs_stands_for_them_in_fixed_order(tmp_path: Path) -> None:
    make_runs(tmp_path, CELLS)
    assert [run.name for run in load_runs([tmp_path])] == [cell.name for cell in CELLS]


def test_own_output_among_the_arguments_is_passed_over(tmp_path: Path) -> None:
    make_runs(tmp_path, CELLS[:2])
    (tmp_path / "figures").mkdir()
    (tmp_path / "report.html").touch()
    (tmp_path / "summary.json").touch()
    assert len(load_runs(sorted(tmp_path.iterdir()))) == 2


def test_no_run_folder(tmp_path: Path) -> None:
    refused(lambda: load_runs([tmp_path / "none"]), str(tmp_path / "none"), "no such run folder")
    refused(lambda: load_runs([tmp_path]), str(tmp_path / "events.jsonl"), "missing")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(value=json_values)
def test_any_value_is_read_as_its_kind_or_refused(value: Any) -> None:
    fields = Fields({"key": value}, "file")
    readers: list[tuple[Callable[[str], Any], type | tuple[type, ...]]] = [
        (fields.text, str),
        (fields.count, int),
        (fields.number, float),
        (fields.texts, tuple),
        (fields.numbers, dict),
        (fields.part, Fields),
    ]
    for read, kind in readers:
        try:
            assert isinstance(read("key"), kind)
        except UserError as error:
            assert str(error).startswith("file: key 'key' should be")
            assert "\n" not in str(error)


def test_import_and_errors_without_matplotlib(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import e2train.cli.report, e2train.report\n"
        "try: e2train.report.write_report([])\n"
        "except e2train.report.UserError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["the report needs matplotlib: pip install e2train[report]"]


@pytest.mark.parametrize("reach", [0, 1, 7, 1000])
def test_moving_average_against_a_plain_loop(reach: int) -> None:
    values = np.random.default_rng(reach).normal(size=50)
    expected = [values[max(0, i - reach) : i + reach + 1].mean() for i in range(50)]
    assert smoothed(values, reach) == pytest.approx(expected)
