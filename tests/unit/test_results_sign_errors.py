# SPDX-License-Identifier: Apache-2.0
"""Wrong signs of many predictors: the same as each one's own, on a layer and on a training run."""

import numpy as np
import pytest

from e2train.bench.sign_bound_table import random_layer
from e2train.cli import run
from e2train.device.emulator.numpy_emulator import NumpyEmulator
from e2train.device.geometry import Geometry
from e2train.methods.sign_bound import Predictor, observed_failures
from e2train.methods.sign_errors import Grid, SignCount, sign_counts

LAYER = Geometry(6, 8, 8, 5, (3, 3), 1, 1, 1)
GRID = Grid((3, 4), (8, 10), (False, True), (0.05, 0.2))
EXPERIMENT = """\
name = "psg"
network = "resnet-8"
[data]
name = "digits"
[train]
iterations = 8
batch = 16
lr = 0.01
[method]
arithmetic = "fixed"
update = "psg"
"""


def test_counts_are_those_of_each_predictor_alone():
    x, g = random_layer(LAYER, 4, 7)
    with NumpyEmulator() as device:
        found = list(sign_counts(device, x, g, LAYER, GRID))
        assert len(found) == 16 and len({one.predictor for one in found}) == 16
        for one in found:
            alone = observed_failures(device, x, g, LAYER, one.predictor)
            assert (one.predicted, one.wrong) == (alone.predicted, int(alone.failed.sum()))
            assert one.weights == LAYER.weights
    assert sum(one.wrong for one in found) > 0


def test_a_full_gradient_of_zero_is_wrong_where_the_predictor_decides():
    geometry = Geometry(1, 1, 2, 1, (1, 1), 1, 0, 1)
    x, g = np.array([[[[16, 1]]]], np.int8), np.array([[[[1000, -16000]]]], np.int16)
    grid = Grid((4,), (10,), (False,), (0.05,))
    with NumpyEmulator() as device:
        (one,) = sign_counts(device, x, g, geometry, grid)
    assert (one.predicted, one.wrong) == (1, 1)


def test_counts_of_different_predictors_do_not_add():
    one = SignCount(Predictor(0.05), 10, 5, 1)
    assert one.plus(one) == SignCount(Predictor(0.05), 20, 10, 2)
    with pytest.raises(ValueError, match="expected"):
        one.plus(SignCount(Predictor(0.1), 10, 5, 1))


@pytest.fixture
def experiment(tmp_path):
    file = tmp_path / "psg.toml"
    file.write_text(EXPERIMENT)
    return file


def test_command_counts_every_convolution(tmp_path, experiment, capsys):
    out = tmp_path / "counts.csv"
    given = ["results", "sign-errors", str(experiment), "--after", "2", "--batches", "2"]
    assert run([*given, "--out", str(out)]) == 0
    head, _, *rows = out.read_text().splitlines()
    assert head == (
        "# network=resnet-8; dataset=UCI digits 8x8; batch=16; seed=0; trained=2; mini_batches=2"
    )
    layers = {row.split(",")[0]: int(row.split(",")[5]) for row in rows}
    assert (next(iter(layers)), [*layers][-1]) == ("stage3.block1.conv2", "stem.conv")
    assert layers["stage3.block1.conv2"] == 2 * 64 * 64 * 9  # of two mini-batches
    assert "classifier" not in layers and len(layers) == 7
    assert len(rows) == 7 * 5 * 7 * 2 * 5


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (("psg", "sgd"), [], "expected 'psg'"),
        (("", ""), ["--after", "7", "--batches", "2"], "the experiment has 8 mini-batches"),
        (("[method]", "[stochastic_depth]\nskip = 0.2\n[method]"), [], "skips blocks"),
        (("", ""), ["--out", "no/such/x.csv"], "no such folder"),
    ],
)
def test_mistakes_are_one_line(tmp_path, experiment, capsys, change, options, said):
    text = EXPERIMENT.replace(f'update = "{change[0]}"', f'update = "{change[1]}"')
    if change[0].startswith("["):
        text = EXPERIMENT.replace(*change)
    experiment.write_text(text)
    out = tmp_path / "x.csv"
    given = ["results", "sign-errors", str(experiment), "--after", "1", "--out", str(out)]
    assert run([*given, *options]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not out.exists()
