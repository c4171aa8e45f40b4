# SPDX-License-Identifier: Apache-2.0
"""`e2train train` with several experiments, a time limit, and a backend that is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2train.cli import run as cli

SETTINGS = """\
name = "{name}"
[train]
iterations = 8
batch = 16
log_every = 2
checkpoint_every = 4
"""


@pytest.fixture
def experiments(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "first.toml", tmp_path / "second.toml"]
    for path in paths:
        path.write_text(SETTINGS.format(name=path.stem))
    return [str(path) for path in paths]


def train(*arguments: str) -> int:
    return cli(["train", "--meter", "none", *arguments])


def test_each_of_several_experiments_has_a_run_folder(
    experiments: list[str], tmp_path: Path
) -> None:
    assert train(*experiments, "--out", str(tmp_path / "runs")) == 0
    for name in ("first", "second"):
        result = json.loads((tmp_path / "runs" / name / "result.json").read_text())
        assert result["cell"]["name"] == name
        assert result["cell"]["iterations_run"] == 8


def test_two_experiments_of_one_name_are_refused(
    experiments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(experiments[0], experiments[0], "--out", str(tmp_path / "runs")) == 2
    assert "'first'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_time_limit_leaves_a_checkpoint_to_go_on_from(
    experiments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", str(tmp_path / "runs"))
    assert train(*experiments, *out, "--seconds", "0") == 0
    assert "stopped, 1 of 8 mini-batches offered" in capsys.readouterr().out
    for name in ("first", "second"):
        assert not (tmp_path / "runs" / name / "result.json").exists()
    assert train(*experiments, *out, "--resume") == 0
    for name in ("first", "second"):
        events = (tmp_path / "runs" / name / "events.jsonl").read_text().splitlines()
        logged = [
            json.loads(e)["iteration"] for e in events if json.loads(e)["event"] == "progress"
        ]
        assert logged == [2, 4, 6, 8]


def test_without_cuda_nothing_begins(
    experiments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    for chosen in (experiments, experiments[:1]):
        assert train(*chosen, "--out", str(tmp_path / "runs"), "--backend", "cuda") == 2
        assert "no CUDA device" in capsys.readouterr().err
        assert not list(tmp_path.rglob("events.jsonl"))
