# SPDX-License-Identifier: Apache-2.0
"""A board has no torch, matplotlib or scikit-learn: NumPy trains there, to the same bits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from e2train.data.load import load_dataset
from e2train.runs.checkpoint import read_checkpoint
from e2train.training.experiment import load_experiment
from e2train.training.trainer import Trainer
from engine_parts import emulator

# The finders of sys.path skip the blocked packages, as where they are not installed.
BOARD = """
import sys
BLOCKED = {
    "PIL", "hls4ml", "matplotlib", "onnx", "onnxruntime", "qonnx", "safetensors",
    "scipy", "sklearn", "torch",
}

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in BLOCKED:
            return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from importlib.util import find_spec

if find_spec("torch") is not None:
    raise SystemExit("torch is not blocked")
"""
TRAIN = """
from pathlib import Path
import e2train, e2train.cli, powermeter
from e2train.data.load import load_dataset
from e2train.device import open_device
from e2train.training.experiment import load_experiment
from e2train.training.trainer import Trainer

path, out = map(Path, sys.argv[1:])
experiment = load_experiment(path)
device = open_device("emulator", backend="numpy")
out.mkdir()
with Trainer(experiment, load_dataset("digits"), out, device=device) as trainer:
    trainer.run()
assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
"""
EXPERIMENT = """\
[train]
iterations = 4
batch = 16
log_every = 2
checkpoint_every = 4
{method}
[slu]
skip = 0.3
gated = "all"
warmup = 0.0
[swa]
start = 0.5
every = 1
statistics_batches = 1
"""
METHODS = {
    "psg": '[method]\narithmetic = "fixed"\nupdate = "psg"',
    "fixed8": '[method]\narithmetic = "fixed"\nupdate = "sgd"',
    "sgd": "",
}


def board(*arguments: object, script: str) -> None:
    command = [sys.executable, "-c", BOARD + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_trains_on_numpy_alone(method: str, tmp_path: Path) -> None:
    path = tmp_path / "case.toml"
    path.write_text(EXPERIMENT.format(method=METHODS[method]))
    board(path, tmp_path / "board", script=TRAIN)
    result = json.loads((tmp_path / "board/result.json").read_text())
    assert result["cell"]["iterations_run"] == 4
    if method == "sgd":
        return
    # and the laptop's torch gives the same run, byte for byte
    (tmp_path / "laptop").mkdir()
    data: Any = load_dataset("digits")
    with Trainer(
        load_experiment(path), data, tmp_path / "laptop", device=emulator("torch")
    ) as trainer:
        trainer.run()
    first, second = (tmp_path / name for name in ("board", "laptop"))
    for file in ("events.jsonl", "meter/samples.csv"):
        assert (first / file).read_bytes() == (second / file).read_bytes(), file
    arrays = [read_checkpoint(out / "checkpoint.npz").arrays for out in (first, second)]
    assert arrays[0].keys() == arrays[1].keys()
    for name, array in arrays[0].items():
        assert array.tobytes() == arrays[1][name].tobytes(), name


def test_command_line_starts_without_them() -> None:
    board("--help", script="from e2train.cli import run\nsys.exit(run(sys.argv[1:]))\n")


def test_devices_fall_back(tmp_path: Path) -> None:
    script = """
from e2train.device import open_device
from e2train.errors import UserError
assert open_device("emulator", backend="numpy").name == "emulator (numpy)"
try:
    open_device("emulator", backend="torch")
except UserError as error:
    assert "needs torch" in str(error)
else:
    raise SystemExit("torch opened where there is none")
"""
    board(script=script)
