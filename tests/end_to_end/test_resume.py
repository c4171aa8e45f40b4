# SPDX-License-Identifier: Apache-2.0
"""A run that SIGKILL ends at any moment and --resume takes up again is the run that was left alone.

Final weights, events, result (but for its seconds) and the meter's record must be the same bytes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2train.runs.checkpoint import Checkpoint, read_checkpoint

SETTINGS = """\
name = "{name}"
[train]
iterations = {iterations}
batch = 128
log_every = 5
checkpoint_every = {checkpoint_every}
evaluate_every = 20
"""
METHODS = {
    "e2train": """\
[method]
arithmetic = "fixed"
update = "psg"
[smd]
drop = 0.5
[slu]
skip = 0.3
gated = "all"
warmup = 0.1
[swa]
start = 0.5
every = 2
statistics_batches = 3
""",
    "sgd": "",
}
KILLS = 4  # a run is left alone after so many, or it might never end


@dataclass
class Case:
    method: str
    iterations: int = 60
    checkpoint_every: int = 10

    def experiment(self, folder: Path) -> Path:
        path = folder / "case.toml"
        text = SETTINGS.format(
            name=self.method, iterations=self.iterations, checkpoint_every=self.checkpoint_every
        )
        path.write_text(text + METHODS[self.method])
        return path


def start(experiment: Path, out: Path, resume: bool) -> subprocess.Popen:
    command = [sys.executable, "-m", "e2train.cli", "train", str(experiment), "--quiet"]
    command += ["--out", str(out), *(["--resume"] if resume else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(child: subprocess.Popen) -> None:
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err


def events_in(out: Path) -> int:
    try:
        return (out / "events.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def kill_at_random(child: subprocess.Popen, out: Path, rng: random.Random, most: int) -> str:
    """Wait for a random number of further events, and a random while more; then SIGKILL."""
    wanted = events_in(out) + rng.randrange(0, most)
    while child.poll() is None and events_in(out) < wanted:
        time.sleep(0.0005)
    time.sleep(rng.random() * 0.03)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    return f"after {events_in(out)} events" if child.returncode == -signal.SIGKILL else "too late"


def result_without_seconds(out: Path) -> dict[str, Any]:
    result = json.loads((out / "result.json").read_text())
    assert result["cell"].pop("seconds") > 0
    return result


def without_clock(saved: Checkpoint) -> dict[str, Any]:
    """A checkpoint's facts, less how long it took."""
    return {key: value for key, value in saved.meta.items() if key not in ("seconds", "timing")}


def same_run(found: Path, expected: Path) -> None:
    for name in ("events.jsonl", "experiment.toml", "meter/samples.csv", "meter/raw.log"):
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    assert result_without_seconds(found) == result_without_seconds(expected)
    mine, theirs = (read_checkpoint(out / "checkpoint.npz") for out in (found, expected))
    assert mine.arrays.keys() == theirs.arrays.keys()
    for name, array in mine.arrays.items():
        assert array.dtype == theirs.arrays[name].dtype
        assert array.tobytes() == theirs.arrays[name].tobytes(), name
    assert without_clock(mine) == without_clock(theirs)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of a case's run that nobody touched, made once."""
    made: dict[tuple, Path] = {}

    def get(case: Case) -> Path:
        key = (case.method, case.iterations, case.checkpoint_every)
        if key not in made:
            folder = tmp_path_factory.mktemp("undisturbed")
            finish(start(case.experiment(folder), folder / "run", resume=False))
            made[key] = folder / "run"
        return made[key]

    return get


E2TRAIN, SGD = Case("e2train"), Case("sgd", iterations=30)
UNALIGNED = Case("e2train", checkpoint_every=7)  # checkpoints between two progress events


@pytest.mark.parametrize(
    ("case", "number"), [(E2TRAIN, 0), (E2TRAIN, 1), (E2TRAIN, 2), (UNALIGNED, 3), (SGD, 4)]
)
def test_killed_and_resumed(case: Case, number: int, tmp_path: Path, undisturbed: Any) -> None:
    seed = int(os.environ.get("E2TRAIN_KILL_SEED", 0)) or random.SystemRandom().randrange(1, 2**31)
    print(f"E2TRAIN_KILL_SEED={seed} repeats these delays")
    rng, out = random.Random(seed + number), tmp_path / "run"
    experiment, expected = case.experiment(tmp_path), undisturbed(case)
    killed = 0
    for attempt in range(KILLS):
        child = start(experiment, out, resume=attempt > 0)
        when = kill_at_random(child, out, rng, most=8)
        print(f"attempt {attempt}: killed {when}")
        killed += when != "too late"
        if (out / "result.json").exists():
            break
    assert killed, "no attempt was killed in time"
    finish(start(experiment, out, resume=True))
    same_run(out, expected)


def test_the_runs_do_what_they_are_meant_to(undisturbed: Any) -> None:
    """Dropped batches, skipped blocks, predicted signs, averages, metered energy: all are in it."""
    result = result_without_seconds(undisturbed(E2TRAIN))
    cell = result["cell"]
    assert 0 < cell["iterations_run"] < cell["iterations_offered"] == 60
    assert 0 < cell["skip_ratio"] < 100 and 0 < cell["predictor_share"] < 100
    assert cell["energy_joules"] > 0 and cell["energy_provenance"] == "simulated"
    lines = (undisturbed(E2TRAIN) / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert [e["weights"] for e in events if e["event"] == "evaluation"][-1] == "swa"
    assert any(e.get("energy") for e in events)
    saved = read_checkpoint(undisturbed(E2TRAIN) / "checkpoint.npz")
    groups = {name.split("/")[0] for name in saved.arrays}
    assert groups == {"parameters", "velocity", "average", "gates", "gate_velocity"}
    assert any(np.abs(saved.arrays[n]).max() > 0 for n in saved.arrays if n.startswith("gate_vel"))


def test_killed_at_every_checkpoint(tmp_path: Path, undisturbed: Any) -> None:
    """Not at random: ended right after each checkpoint in turn, so that each is resumed from."""
    experiment, out = E2TRAIN.experiment(tmp_path), tmp_path / "run"
    resumed_from = []
    for attempt in range(5):
        child = start(experiment, out, resume=attempt > 0)
        before = resumed_from[-1] if resumed_from else 0
        while child.poll() is None and iteration_of(out) <= before:
            time.sleep(0.0005)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        resumed_from.append(iteration_of(out))
        if resumed_from[-1] >= 60:
            break
    assert len(set(resumed_from)) >= 3, resumed_from
    finish(start(experiment, out, resume=True))
    same_run(out, undisturbed(E2TRAIN))


def iteration_of(out: Path) -> int:
    path = out / "checkpoint.npz"
    return read_checkpoint(path).meta["iteration"] if path.exists() else 0
