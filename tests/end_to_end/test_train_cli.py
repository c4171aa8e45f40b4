# SPDX-License-Identifier: Apache-2.0
"""`e2train train` as people meet it: exit codes, one line a mistake, and nothing spoilt."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from e2train.cli import run as cli
from e2train.runs.checkpoint import read_checkpoint

SHORT = """\
[train]
iterations = 8
batch = 16
log_every = 2
checkpoint_every = 4
{train}
[method]
arithmetic = "fixed"
update = "psg"
{more}
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    return written(tmp_path)


def written(folder: Path, train: str = "", more: str = "") -> Path:
    path = folder / "case.toml"
    path.write_text(SHORT.format(train=train, more=more))
    return path


def ok(*arguments: object) -> None:
    assert cli(["train", "--quiet", *map(str, arguments)]) == 0


def mistake(capsys: pytest.CaptureFixture[str], *arguments: object, words: tuple = ()) -> str:
    """The command must exit with 2 and one line on standard error that holds the words."""
    capsys.readouterr()
    code = cli(["train", "--quiet", *map(str, arguments)])
    shown = capsys.readouterr()
    assert code == 2, shown
    lines = shown.err.splitlines()
    assert len(lines) == 1, shown.err
    for word in words:
        assert str(word) in lines[0], lines[0]
    return lines[0]


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def process(*arguments: object, **options: Any) -> subprocess.Popen:
    command = [sys.executable, "-m", "e2train.cli", "train", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_run(experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ok(experiment, "--out", tmp_path / "run")
    shown = capsys.readouterr().out
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert f"top-1 {result['cell']['top1']:.2f} %" in shown
    assert "8 of 8 mini-batches run" in shown and str(tmp_path / "run") in shown
    names = {path.name for path in (tmp_path / "run").iterdir()}
    expected = {"experiment.toml", "events.jsonl", "timing.jsonl", "checkpoint.npz", "meter"}
    assert names == expected | {"result.json", "answers.npz"}


def test_default_folder_and_seed(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ok(experiment, "--meter", "none", "--seed", 5)
    assert json.loads((tmp_path / "runs/case/result.json").read_text())["seed"] == 5
    assert "seed = 5" in (tmp_path / "runs/case/experiment.toml").read_text()


def test_progress_on_a_pipe(experiment: Path, tmp_path: Path) -> None:
    """Without --quiet, output that is no terminal must hold neither control codes nor errors."""
    child = process(experiment, "--out", tmp_path / "run")
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0
    assert "\x1b" not in out + err and "Traceback" not in err


# ---- mistakes -----------------------------------------------------------------------------------


def test_mistakes_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    path = written(tmp_path, train="lr = -1")
    mistake(capsys, path, "--out", out, words=("train.lr", "-1", path))
    path = written(tmp_path, train="learning_rate = 1")
    mistake(capsys, path, "--out", out, words=("train.learning_rate", path))
    mistake(capsys, tmp_path / "none.toml", "--out", out, words=("none.toml", "No such file"))
    path = written(tmp_path, more="[slu]\nskip = 0.2")  # no block of the default network has a gate
    mistake(capsys, path, "--out", out, words=("slu.skip = 0.2", "resnet-8", "0%", path))
    path = written(tmp_path, more="[slu]\nexplore = 0")
    mistake(capsys, path, "--out", out, words=("slu.explore", "0.0", path))
    path.write_text("[[[")
    mistake(capsys, path, "--out", out, words=("not TOML", path))
    assert not out.exists(), "nothing is made for a run that cannot be"


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_impossible_seed(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    mistake(capsys, experiment, "--out", tmp_path / "run", "--seed", seed, words=("seed", seed))


def test_batch_larger_than_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "big.toml"
    path.write_text("[train]\nbatch = 5000\niterations = 2\n")
    mistake(capsys, path, "--out", tmp_path / "run", words=("train.batch = 5000", "1437"))


def test_unknown_device_meter_and_data(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    mistake(capsys, experiment, "--out", out, "--device", "abacus", words=("abacus", "emulator"))
    for meter in ("thumb", "thumb:/dev/null", "ina226-serial:/dev/none"):
        mistake(capsys, experiment, "--out", tmp_path / meter[:5], "--meter", meter)
    path = tmp_path / "cifar.toml"
    path.write_text('[data]\nname = "cifar10"\n[train]\niterations = 2\n')
    empty = tmp_path / "empty"
    empty.mkdir()
    mistake(capsys, path, "--out", out, "--data", empty, words=(empty,))


def test_out_is_a_file_or_below_one(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    mistake(capsys, experiment, "--out", file, words=(file,))
    mistake(capsys, experiment, "--out", file / "run", words=(file,))
    assert file.read_text() == "precious"


def test_out_cannot_be_written(
    experiment: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mistake(capsys, experiment, "--out", "/proc/run", words=("/proc/run",))
    if os.getuid() != 0:  # root writes where it likes
        tmp_path.joinpath("locked").mkdir(mode=0o555)
        mistake(capsys, experiment, "--out", tmp_path / "locked", words=("locked", "denied"))


def test_full_disk_is_said_first(
    experiment: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, 1 << 40, 5 << 20))
    mistake(capsys, experiment, "--out", tmp_path / "run", words=("5 MiB free", tmp_path / "run"))


def test_disk_that_fills_up_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a disk that fills while training."""
    path = written(tmp_path, train="seed = 1")
    ok(path, "--out", tmp_path / "good", "--meter", "none")
    limit = (tmp_path / "good/checkpoint.npz").stat().st_size // 2
    out = tmp_path / "run"
    shutil.copytree(tmp_path / "good", out)
    (out / "result.json").unlink()

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    fresh = tmp_path / "fresh"
    child = process(path, "--quiet", "--out", fresh, preexec_fn=small_files)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 2
    assert len(err.splitlines()) == 1 and "checkpoint.npz" in err and "too large" in err
    assert not (fresh / "checkpoint.npz").exists(), "a part of a checkpoint is none"


def test_existing_run_is_not_overwritten(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    ok(experiment, "--out", out)
    before = files(out)
    mistake(capsys, experiment, "--out", out, words=(out, "--resume"))
    assert files(out) == before


def test_finished_run_says_so(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    ok(experiment, "--out", out)
    before = files(out)
    ok(experiment, "--out", out, "--resume")
    assert "already finished" in capsys.readouterr().out
    assert files(out) == before


def test_finished_run_of_another_experiment_is_no_success(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    ok(experiment, "--out", out)
    before = files(out)
    written(tmp_path, train="lr = 0.01")
    mistake(capsys, experiment, "--out", out, "--resume", words=(out,))
    assert files(out) == before


def unfinished(experiment: Path, out: Path) -> dict[Path, bytes]:
    """A run that was killed after its last checkpoint."""
    ok(experiment, "--out", out)
    (out / "result.json").unlink()
    return files(out)


def test_refused_resume_leaves_the_run_as_it_was(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    before = unfinished(experiment, out)
    written(tmp_path, train="lr = 0.01")
    mistake(capsys, experiment, "--out", out, "--resume", words=("checkpoint.npz", "lr"))
    assert files(out) == before
    written(tmp_path)
    mistake(capsys, experiment, "--out", out, "--resume", "--meter", "none", words=("meter",))
    assert files(out) == before
    ok(experiment, "--out", out, "--resume")


def test_damaged_checkpoint_is_refused(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    unfinished(experiment, out)
    path = out / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:5000])
    before = files(out)
    mistake(capsys, experiment, "--out", out, "--resume", words=(path,))
    assert files(out) == before


def test_resume_of_nothing_starts(experiment: Path, tmp_path: Path) -> None:
    ok(experiment, "--out", tmp_path / "run", "--resume")
    assert (tmp_path / "run/result.json").exists()


# ---- breaking off -------------------------------------------------------------------------------


@pytest.mark.parametrize("arithmetic", ['"fixed"\nupdate = "psg"', '"float32"'])
def test_divergence(tmp_path: Path, arithmetic: str) -> None:
    path = tmp_path / "wild.toml"
    path.write_text(
        "[train]\niterations = 500\nbatch = 16\nlr = 500.0\nmomentum = 0.99\ncheckpoint_every = 1\n"
        f"[method]\narithmetic = {arithmetic}\n"
    )
    child = process(path, "--quiet", "--out", tmp_path / "run")
    _, err = child.communicate(timeout=60)
    assert child.returncode == 2
    assert len(err.splitlines()) == 1, err
    assert "iteration" in err and "diverged" in err
    saved = read_checkpoint(tmp_path / "run/checkpoint.npz")
    assert saved.meta["iteration"] >= 1
    assert not (tmp_path / "run/result.json").exists()


def test_interrupt(tmp_path: Path) -> None:
    """Ctrl-C: one line, exit code 130, and --resume goes on."""
    path = written(tmp_path, train="evaluate_every = 0")
    text = path.read_text().replace("iterations = 8", "iterations = 3000")
    path.write_text(text)
    out = tmp_path / "run"
    child = process(path, "--quiet", "--out", out, "--meter", "none")
    deadline = time.monotonic() + 60
    while not (out / "checkpoint.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert len(err.splitlines()) == 1 and "interrupted" in err
    saved = read_checkpoint(out / "checkpoint.npz")
    assert saved.meta["iteration"] < 3000
