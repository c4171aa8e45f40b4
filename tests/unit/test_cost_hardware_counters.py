# SPDX-License-Identifier: Apache-2.0
"""The performance model's counts against what the compiled kernels count as they run (csim).

Tiles, operand words of the array, beats on every port and PSG's visits must be equal: they are
what the model's cycles follow from.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from e2train.cost.accelerator.iteration import iteration_work, position_work, weight_work
from e2train.cost.accelerator.work import VECTOR, Setting

from e2train.device import Geometry, open_device
from e2train.device.accelerator.tiling.cycles import REQUANTISED, Options, Tally
from e2train.device.accelerator.tiling.plan import plan_convolution, tiles_of
from e2train.device.accelerator.tiling.psg_cycles import psg_pass
from e2train.network.integer import FixedSettings
from e2train.network.models import network_spec
from engine_parts import batch, fixed_network

SAMPLES = 19
COUNTED = {
    "tiles": "steps",
    "core_steps": "core_steps",
    "column_beats": "columns",
    "row_beats": "rows",
    "extra_beats": "extra",
    "output_beats": "output",
}
GEOMETRIES = (
    Geometry(16, 12, 10, 24, (3, 3), 1, 1, 1),
    Geometry(20, 9, 9, 33, (3, 3), 2, 1, 1),
    Geometry(24, 9, 9, 24, (3, 3), 2, 1, 24),
    Geometry(40, 8, 8, 10, (1, 1), 1, 0, 1),
    Geometry(5, 11, 9, 7, (7, 5), 2, 3, 1),
    Geometry(300, 7, 7, 20, (3, 3), 1, 1, 1),  # several launches a pass
)


SOURCES = Path(__file__).parents[2] / "hls" / "src"


@pytest.fixture(scope="module")
def csim():
    """The compiled kernels; only missing tools or sources skip, a failing build does not."""
    pytest.importorskip("hls4ml", reason="needs hls4ml's ap_types headers")
    if shutil.which("g++") is None or not SOURCES.is_dir():
        pytest.skip("needs g++ and the kernels' sources")
    with open_device("csim") as device:
        yield device


def counted(csim, operation):
    """What the kernels counted on one operation since the last call, as the model names it."""
    totals = csim.driver.totals.pop(operation)
    return {ours: totals[theirs] for theirs, ours in COUNTED.items()}, totals


def modelled(tally):
    return {name: getattr(tally, name) for name in COUNTED.values()}


def operands(geometry, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (SAMPLES, geometry.channels, geometry.height, geometry.width))
    g = rng.standard_t(3, (SAMPLES, geometry.filters, geometry.out_height, geometry.out_width))
    w = rng.integers(-127, 128, geometry.weight_shape)
    return x.astype(np.int8), (500 * g).clip(-32768, 32767).astype(np.int16), w.astype(np.int8)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_passes(csim, geometry):
    csim.driver.totals.clear()
    x, g, w = operands(geometry)
    x, g, setting = csim.put(x), csim.put(g), Setting(SAMPLES, "signsgd")
    csim.convolve(x, w, geometry, 8)
    work = position_work("forward", "", geometry, setting, REQUANTISED)
    found, totals = counted(csim, "convolve")
    assert (found, totals["launches"]) == (modelled(work.tally), work.launches)
    csim.input_gradient(g, w, geometry, 8, residual=csim.put(np.zeros(x.shape, np.int16)))
    work = position_work("backward_input", "", geometry, setting, Options(extra_beats=4))
    found, totals = counted(csim, "input_gradient")
    assert (found, totals["launches"]) == (modelled(work.tally), work.launches)
    csim.weight_gradient(x, g, geometry)
    work = weight_work("", geometry, setting)
    assert counted(csim, "weight_gradient")[0] == modelled(work.tally)


@pytest.mark.parametrize("geometry", GEOMETRIES[:-1], ids=str)
@pytest.mark.parametrize("beta_q", [0, 3000, 30000])
def test_psg(csim, geometry, beta_q):
    csim.driver.totals.clear()
    x, g, _ = operands(geometry)
    unsure = ~csim.psg_gradient(csim.put(x), csim.put(g), geometry, beta_q, 4, 10).predicted
    found, totals = counted(csim, "psg_gradient")
    work = weight_work("", geometry, Setting(SAMPLES, masks={"": unsure}))
    assert found == modelled(work.tally)
    plan = plan_convolution(geometry, SAMPLES, "psg")
    assert totals["visits"] == psg_pass(geometry, SAMPLES, tiles_of(plan), unsure).compaction.visits


class _Recorder:
    """Passes everything on to a device and keeps PSG's unsure weights, in order."""

    def __init__(self, device):
        self._device, self.unsure = device, []

    def __getattr__(self, name):
        return getattr(self._device, name)

    def psg_gradient(self, *arguments):
        result = self._device.psg_gradient(*arguments)
        self.unsure.append(~result.predicted)
        return result


def test_a_whole_iteration(csim):
    """ResNet-8 with PSG; the first iteration runs some passes twice, so the second one counts."""
    spec = network_spec("resnet-8", (1, 8, 8), 10)
    recorder = _Recorder(csim)
    network = fixed_network(recorder, FixedSettings(predict=True), spec=spec)
    images, labels = batch(spec, SAMPLES)
    network.forward_backward(images, labels, 0)
    recorder.unsure.clear()
    csim.driver.totals.clear()
    network.forward_backward(images, labels, 1)
    order = [
        one.layer for one in iteration_work(spec, Setting(SAMPLES)) if one.pass_[9:] == "weight"
    ]
    masks = dict(zip(order, recorder.unsure, strict=True))
    work = iteration_work(spec, Setting(SAMPLES, masks=masks))
    for pass_, operation in (
        ("forward", "convolve"),
        ("backward_input", "input_gradient"),
        ("backward_weight", "psg_gradient"),
    ):
        mine = [one for one in work if one.pass_ == pass_]
        found, totals = counted(csim, operation)
        assert totals["launches"] == sum(one.launches for one in mine)
        assert found == modelled(sum((one.tally for one in mine), Tally()))
    mine = [one for one in work if one.pass_ in VECTOR]
    left = csim.driver.totals
    assert set(left) == {"map", "channel_sums", "pool", "resample"}
    assert sum(t["launches"] for t in left.values()) == sum(one.launches for one in mine)
    found = {
        ours: sum(t[theirs] for t in left.values())
        for theirs, ours in COUNTED.items()
        if theirs.endswith("beats")
    }
    total = sum((one.tally for one in mine), Tally())
    assert found == {name: getattr(total, name) for name in found}
