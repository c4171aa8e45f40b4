# SPDX-License-Identifier: Apache-2.0
"""`e2train train --device csim`: killed and resumed, it writes what the emulator writes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from csim_device import watched_transport
from e2train import cli
from e2train.runs.checkpoint import read_checkpoint

EXPERIMENT = """\
name = "case"
network = "resnet-8"
[data]
name = "digits"
[train]
iterations = 16
batch = 16
log_every = 2
checkpoint_every = 4
evaluate_every = 8
[method]
arithmetic = "fixed"
update = "psg"
[smd]
drop = 0.3
[slu]
skip = 0.3
gated = "all"
[swa]
start = 0.5
every = 2
statistics_batches = 2
"""
SAME_BYTES = ("events.jsonl", "experiment.toml", "meter/samples.csv", "meter/raw.log")
SECONDS = ("seconds", "timing")  # how long it took


def start(experiment: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "e2train.cli", "train", str(experiment), "--quiet"]
    return subprocess.Popen([*command, "--device", "csim", "--out", str(out)])


def kill_after_a_checkpoint(child: subprocess.Popen, out: Path) -> None:
    until = time.monotonic() + 300
    while not (out / "checkpoint.npz").exists():
        assert child.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it had finished before it was killed"


def without_seconds(facts: dict) -> dict:
    return {key: value for key, value in facts.items() if key not in SECONDS}


@pytest.mark.skipif(sys.platform != "linux", reason="needs SIGKILL")
def test_killed_on_csim_and_resumed_is_the_emulators_run(tmp_path):
    watched_transport(1 << 17)
    experiment = tmp_path / "case.toml"
    experiment.write_text(EXPERIMENT, encoding="utf-8")
    csim, emulator = tmp_path / "csim", tmp_path / "emulator"
    kill_after_a_checkpoint(start(experiment, csim), csim)
    assert 0 < read_checkpoint(csim / "checkpoint.npz").meta["iteration"] < 16
    arguments = ["train", str(experiment), "--quiet"]
    assert cli.run([*arguments, "--out", str(csim), "--device", "csim", "--resume"]) == 0
    assert cli.run([*arguments, "--out", str(emulator)]) == 0
    for name in SAME_BYTES:
        assert (csim / name).read_bytes() == (emulator / name).read_bytes(), name
    results = [json.loads((out / "result.json").read_text()) for out in (csim, emulator)]
    assert without_seconds(results[0].pop("cell")) == without_seconds(results[1].pop("cell"))
    assert results[0] == results[1]
    mine, theirs = (read_checkpoint(out / "checkpoint.npz") for out in (csim, emulator))
    assert mine.arrays.keys() == theirs.arrays.keys()
    for name, array in mine.arrays.items():
        assert array.tobytes() == theirs.arrays[name].tobytes(), name
    assert without_seconds(mine.meta) == without_seconds(theirs.meta)
