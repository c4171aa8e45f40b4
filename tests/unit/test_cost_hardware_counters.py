# SPDX-License-Identifier: Apache-2.0
"""The performance model's counts against what the compiled kernels count as they run (csim).

Tiles, operand words of the array, beats on every port and PSG's visits must be equal: they are
what the model's cycles follow from.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from e2train.cost.accelerator.launches import CONVOLUTIONS, launched, psg_launched, psg_of_mask
from e2train.device import Geometry, open_device
from e2train.device.accelerator.layout import LANES
from e2train.device.accelerator.tiling.cycles import Tally
from e2train.device.operations import MERGE, TAKE, Convolution, Processor, Vector
from e2train.methods import slu
from e2train.methods.slu import SluGates
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


def convolution(pass_, geometry, **others):
    bits = {"forward": (8, 8), "backward_input": (16, 8), "backward_weight": (8, 16)}[pass_]
    return Convolution(pass_, "", geometry, SAMPLES, bits, 16, **others)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_passes(csim, geometry):
    csim.driver.totals.clear()
    x, g, w = operands(geometry)
    x, g = csim.put(x), csim.put(g)
    csim.convolve(x, w, geometry, 8)
    work = launched(convolution("forward", geometry))
    found, totals = counted(csim, "convolve")
    assert (found, totals["launches"]) == (modelled(work.tally), work.launches)
    csim.input_gradient(g, w, geometry, 8, residual=csim.put(np.zeros(x.shape, np.int16)))
    work = launched(convolution("backward_input", geometry, fused=(16,)))
    found, totals = counted(csim, "input_gradient")
    assert (found, totals["launches"]) == (modelled(work.tally), work.launches)
    csim.weight_gradient(x, g, geometry)
    work = launched(convolution("backward_weight", geometry))
    assert counted(csim, "weight_gradient")[0] == modelled(work.tally)


def psg_with(operation, unsure):
    """PSG's launch where the very weights of `unsure` are unsure."""
    return psg_launched(operation, psg_of_mask(operation.geometry, operation.samples, unsure).total)


@pytest.mark.parametrize("geometry", GEOMETRIES[:-1], ids=str)
@pytest.mark.parametrize("beta_q", [0, 3000, 30000])
def test_psg(csim, geometry, beta_q):
    csim.driver.totals.clear()
    x, g, _ = operands(geometry)
    unsure = ~csim.psg_gradient(csim.put(x), csim.put(g), geometry, beta_q, 4, 10).predicted
    found, totals = counted(csim, "psg_gradient")
    work = convolution("backward_weight", geometry, predictor=(4, 10), unsure=int(unsure.sum()))
    assert found == modelled(psg_with(work, unsure).tally)
    assert totals["visits"] == psg_of_mask(geometry, SAMPLES, unsure).compaction.visits


def pairs(destination, source):
    """Pairs of groups that meet, of samples `source` placed at `destination`."""
    return len(set(zip(destination // LANES, source // LANES, strict=True)))


def test_moves(csim):
    """Samples taken out of 40 and put back; their groups meet as often as they can."""
    rng = np.random.default_rng(0)
    tensor = csim.put(rng.integers(-9, 9, (40, 5, 15, 14)).astype(np.int16))  # more than a chunk
    for chosen in (np.sort(rng.permutation(40)[:23]), np.sort(rng.permutation(40)[:35])):
        places = np.arange(len(chosen))
        meet = pairs(places, chosen)
        assert meet == -(-len(chosen) // LANES) + 3 - 1  # what the model takes for granted
        csim.driver.totals.clear()
        part = csim.take(tensor, chosen)
        work = launched(Vector(TAKE, "", len(chosen), 5 * 15 * 14, 0, 16, 16, 40))
        assert beats(counted(csim, "move")[0]) == beats(modelled(work.tally))
        csim.merge(tensor, chosen, part)
        work = launched(Vector(MERGE, "", 40, 5 * 15 * 14, 0, 16, 16, len(chosen)))
        assert beats(counted(csim, "move")[0]) == beats(modelled(work.tally))


def beats(found):
    return {name: n for name, n in found.items() if "steps" not in name}


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


def executed(csim, policy):
    """Launches modelled from what the engine records of an iteration, of ResNet-8 with PSG.

    The first iteration runs some passes twice, so the second one counts.
    """
    spec = network_spec("resnet-8", (1, 8, 8), 10)
    recorder = _Recorder(csim)
    network = fixed_network(recorder, FixedSettings(predict=True), spec=spec, policy=policy)
    if isinstance(policy, SluGates):
        policy.counter = network.arithmetic.counter
    images, labels = batch(spec, SAMPLES)
    network.forward_backward(images, labels, 0)
    recorder.unsure.clear()
    csim.driver.totals.clear()
    network.arithmetic.counter.take_operations()
    network.forward_backward(images, labels, 1)
    masks, work = iter(recorder.unsure), []
    for one in network.arithmetic.counter.take_operations():
        if isinstance(one, Processor):
            continue
        predicts = isinstance(one, Convolution) and one.predictor is not None
        work.append(psg_with(one, next(masks)) if predicts else launched(one))
    assert next(masks, None) is None
    return work


def test_a_whole_iteration(csim):
    work = executed(csim, None)
    calls = (("convolve",), ("input_gradient",), ("psg_gradient", "weight_gradient"))
    for pass_, operations in zip(CONVOLUTIONS, calls, strict=True):
        mine = [one for one in work if one.pass_ == pass_]
        counts = [counted(csim, operation) for operation in operations]
        assert sum(totals["launches"] for _, totals in counts) == sum(one.launches for one in mine)
        found = {name: sum(each[name] for each, _ in counts) for name in counts[0][0]}
        assert found == modelled(sum((one.tally for one in mine), Tally()))
    compare_vectors(csim, work, {"map", "channel_sums", "pool", "resample"})


def compare_vectors(csim, work, expected):
    """Launches and beats of the vector unit."""
    mine = [one for one in work if one.pass_ not in CONVOLUTIONS]
    left = {name: totals for name, totals in csim.driver.totals.items() if name in expected}
    assert set(left) == expected
    assert sum(t["launches"] for t in left.values()) == sum(one.launches for one in mine)
    found = {
        ours: sum(t[theirs] for t in left.values())
        for theirs, ours in COUNTED.items()
        if theirs.endswith("beats")
    }
    total = sum((one.tally for one in mine), Tally())
    assert found == {name: getattr(total, name) for name in found}


def test_an_iteration_with_gates(csim, monkeypatch):
    """SLU's gates on, decisions drawn: the vector unit looks, multiplies and moves as modelled."""
    monkeypatch.setattr(slu, "LONGEST_BURST", 1.0)  # every block explores
    spec = network_spec("resnet-8", (1, 8, 8), 10)
    gates = SluGates(spec, None, 0.4, seed=3, gated="all", explore=0.8)
    work = executed(csim, gates)
    ran, looked = gates.ran.sum(axis=1), gates.chosen.sum(axis=1)
    assert ((ran > 0) & (ran < SAMPLES)).all() and (looked > 0).all()
    # in and, where the shortcut pads, the shortcut; the gradient; both again of what is explored
    takes = sum(2 * (2 if block.shortcut == "identity" else 3) for block in gates.blocks)
    moves = {TAKE: takes, MERGE: 2 * len(ran)}
    assert {kind: sum(one.pass_ == kind for one in work) for kind in moves} == moves
    assert {one.pass_ for one in work} >= {"gate_features", "gate_products"}
    moved = csim.driver.totals.pop("move")
    assert moved["launches"] == sum(moves.values())
    ours = [one for one in work if one.pass_ in moves]
    modelled_beats = sum((one.tally for one in ours), Tally()).beats
    found = sum(n for name, n in moved.items() if name.endswith("_beats"))
    assert 0.9 * modelled_beats <= found <= modelled_beats  # some groups' ends coincide
    others = [one for one in work if one.pass_ not in moves]
    kinds = {"map", "channel_sums", "pool", "resample", "sample_products"}
    compare_vectors(csim, others, kinds)
