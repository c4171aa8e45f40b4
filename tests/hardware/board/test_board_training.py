# SPDX-License-Identifier: Apache-2.0
"""Training through the real pynq on the simulated board, against the emulator: every integer."""

import numpy as np
import pytest
from board_parts import ROUGH, workbench

from e2train.data.load import load_dataset
from e2train.device import open_device
from e2train.device.accelerator.simulated.client import SLVERR
from e2train.device.accelerator.zynq.diagnosis import BoardError
from e2train.methods import psg
from e2train.methods.sgd import Sgd
from e2train.network.models import network_spec
from e2train.runs.checkpoint import read_checkpoint
from e2train.training.experiment import load_experiment
from e2train.training.trainer import Trainer
from engine_parts import SMALL_RESNET, batch, fixed_network
from recording_device import RecordingDevice, same_calls
from without_torch import board as on_a_board

PSG = psg.settings(psg.BETA, psg.X_MSB_BITS, psg.G_MSB_BITS, 16)
SAMPLES = 16


def psg_step(device):
    """One step of ResNet-8 on 8x8 digits; all calls of the device, and the weights afterwards."""
    spec = network_spec(*SMALL_RESNET)
    recorded = RecordingDevice(device)
    network = fixed_network(recorded, PSG, spec=spec)
    optimiser = Sgd(network.parameters, 0.9, 1e-4)
    outcome, gradients = network.forward_backward(*batch(spec, SAMPLES), 0)
    optimiser.step(network.parameters, gradients, 0.03)
    return recorded.calls, outcome.loss, network.parameters


def test_a_psg_step_leaves_the_emulators_weights(board):
    board.simulation.configure(**ROUGH)
    before = board.simulation.counters()
    calls, loss, weights = psg_step(board)
    with open_device("emulator", backend="numpy") as emulator:
        expected_calls, expected_loss, expected = psg_step(emulator)
    same_calls(calls, expected_calls)
    assert loss == expected_loss and weights.keys() == expected.keys()
    for name, array in weights.items():
        assert array.tobytes() == expected[name].tobytes(), name
    after = board.simulation.counters()
    assert after["violations"] == [0]
    used = np.subtract(after["read_bursts"], before["read_bursts"])
    assert (used > 0).all(), "the step uses every port"
    totals = board.driver.totals
    assert {"convolve", "input_gradient", "psg_gradient", "map"} <= totals.keys()


EXPERIMENT = """\
[train]
iterations = 3
batch = 16
log_every = 1
checkpoint_every = 1
[method]
arithmetic = "fixed"
update = "psg"
"""


def test_a_bus_error_keeps_the_checkpoint(board, tmp_path):
    """Training breaks off with a line; on a sound device it goes on as if nothing had been."""
    path = tmp_path / "case.toml"
    path.write_text(EXPERIMENT)
    experiment, data = load_experiment(path), load_dataset("digits")
    for name in ("broken", "whole"):
        (tmp_path / name).mkdir()
    with Trainer(experiment, data, tmp_path / "broken", device=board) as trainer:

        def after_the_first(done, total, loss):
            if done == 1:
                board.simulation.upset(4, write=True, response=SLVERR, skip=500)

        with pytest.raises(BoardError, match=r"output_port .gmem4. met SLVERR on a write"):
            trainer.run(after_the_first)
    with open_device("emulator", backend="numpy") as emulator:
        for name, resume in (("broken", True), ("whole", False)):
            folder = tmp_path / name
            with Trainer(experiment, data, folder, device=emulator, resume=resume) as trainer:
                assert trainer.iteration == (1 if resume else 0)
                trainer.run()
    first, second = (read_checkpoint(tmp_path / n / "checkpoint.npz") for n in ("broken", "whole"))
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        assert array.tobytes() == second.arrays[name].tobytes(), name


STEP = """
from pathlib import Path
from e2train.device import open_device
from e2train.training.experiment import load_experiment
from e2train.training.trainer import TimeIsUp, Trainer
from e2train.data.load import load_dataset

path, out = map(Path, sys.argv[1:])
out.mkdir()
with open_device("simulated-board") as board:
    with Trainer(load_experiment(path), load_dataset("digits"), out, device=board) as trainer:
        try:
            trainer.run(seconds=0)
        except TimeIsUp:
            pass
        assert trainer.iteration == 1
assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
"""


def test_a_board_trains_without_torch(tmp_path):
    workbench()  # skips where there is no simulation, and has built it
    path = tmp_path / "case.toml"
    path.write_text(EXPERIMENT)
    on_a_board(path, tmp_path / "run", script=STEP, besides=("hls4ml",))  # builds with its headers
    assert read_checkpoint(tmp_path / "run/checkpoint.npz").arrays
