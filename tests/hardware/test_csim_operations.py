# SPDX-License-Identifier: Apache-2.0
"""What C simulation alone does: several launches an operation, and guard bytes around buffers.

That each operation is right, on csim as on every device, is tested in test_device_*.py.
"""

import numpy as np
import pytest

import csim_device
from csim_device import csim, expect_same
from device_cases import Values
from e2train.device import Geometry


@pytest.mark.parametrize("batch", [1, 17])
def test_requantised_after_several_launches(batch):
    """The last launch of a split reduction rounds, masks, adds and takes sums and peak."""
    forward, back = (
        Geometry(600, 2, 3, 20, (3, 3), 1, 1, 1),
        Geometry(20, 2, 3, 600, (3, 3), 1, 1, 1),
    )

    def steps(dev):
        values = Values(11)
        dev.convolve(dev.put(values.x(forward, batch)), values.w(forward), forward, 9)
        for bits in (16, 8):
            dev.input_gradient(
                dev.put(values.g(back, batch)),
                values.w(back),
                back,
                9,
                output=dev.put(values.array((batch, 20, 2, 3), np.int8)),
                residual=dev.put(values.stream(batch, 20, 2, 3)),
                g_bits=bits,
            )

    expect_same(steps)


def test_moves_longer_than_the_chip_holds():
    """More words a group than a chunk of the move, of both kinds."""

    def steps(dev):
        values = Values(3)
        for kind in (np.int8, np.int16):
            base = dev.put(values.array((40, 3, 20, 20), kind))
            chosen = np.flatnonzero(values.random.random(40) < 0.5)
            part = dev.put(values.array((len(chosen), 3, 20, 20), kind))
            dev.merge(base, chosen, part)
            dev.take(base, chosen)

    expect_same(steps)


@pytest.mark.parametrize(
    ("part", "weight"), [("end of out", -3), ("middle of out", -5), ("sums", -7)]
)
def test_a_write_outside_would_be_noticed(part, weight, monkeypatch):
    """The watch itself: with one byte less declared, a correct launch is a stray write."""

    def fewer(registers):
        out, result = csim_device.written(registers)
        if part == "sums":
            return [out, (result[0], result[1] - 8)]
        if part == "middle of out":
            return [(out[0], 100), (out[0] + 101, out[1] - 101), result]
        return [(out[0], out[1] - 1), result]

    dev = csim()
    x = dev.put(np.full((16, 1, 5, 5), 127, np.int8))
    w, geometry = np.full((1, 1, 1, 1), weight, np.int8), Geometry(1, 5, 5, 1, (1, 1), 1, 0, 1)
    monkeypatch.setattr(csim_device, "_written", fewer)
    with pytest.raises(AssertionError, match="bytes written outside"):
        dev.convolve(x, w, geometry, 0)


def test_selftest_passes(capsys):
    from e2train import cli

    csim()
    assert cli.run(["device", "selftest", "--device", "csim"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "csim (HLS C++):" and len(lines) == 5
    assert all(line.endswith(": ok") for line in lines[1:])
