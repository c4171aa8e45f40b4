# SPDX-License-Identifier: Apache-2.0
"""`e2train device`, and that its self-test finds a device that is wrong by one."""

import numpy as np
import pytest

from device_cases import device
from e2train import cli
from e2train.device import selftest
from e2train.device.emulator import numpy_emulator as numpy_device
from reference_device import convolved, input_gradient, weight_gradient


def test_list_names_every_backend(capsys):
    assert cli.run(["device", "list"]) == 0
    shown = capsys.readouterr().out
    for name in ("native", "torch", "cuda", "numpy"):
        assert name in shown


@pytest.mark.parametrize("backend", ["numpy", "native", "torch"])
def test_selftest_passes(backend, capsys):
    device(backend)
    assert cli.run(["device", "selftest", "--backend", backend]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"emulator ({backend}")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "conv_forward",
        "conv_backward_input",
        "conv_backward_weight",
        "psg_backward_weight",
    ]
    assert all(line.endswith(": ok") for line in lines[1:])


def test_selftest_of_an_unknown_device_is_a_users_mistake(capsys):
    assert cli.run(["device", "selftest", "--device", "nonesuch"]) == 2
    assert "unknown device 'nonesuch'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("operation", "kernel"),
    [
        ("conv_forward", "_forward"),
        ("conv_backward_input", "_backward_input"),
        ("conv_backward_weight", "weight_gradient"),
    ],
)
def test_selftest_finds_one_wrong_integer(operation, kernel, monkeypatch, capsys):
    right = getattr(numpy_device.NumpyEmulator, kernel)

    def wrong(*given):
        found = right(*given).copy()
        found.flat[-1] += 1
        return found

    monkeypatch.setattr(numpy_device.NumpyEmulator, kernel, wrong)
    assert cli.run(["device", "selftest", "--backend", "numpy"]) == 1
    shown = capsys.readouterr().out
    assert f"{operation}: 40 cases" in shown and "40 of 40 cases FAILED" in shown
    assert ": 1 of " in shown


def test_selftest_finds_one_wrong_sign(monkeypatch, capsys):
    right = numpy_device.decide_signs

    def wrong(predictor, full, beta_q):
        return right(predictor, -full, beta_q)

    monkeypatch.setattr(numpy_device, "decide_signs", wrong)
    assert cli.run(["device", "selftest", "--backend", "numpy"]) == 1
    assert "psg_backward_weight" in capsys.readouterr().out


def test_what_the_selftest_expects_is_right():
    for name, g in selftest.GEOMETRIES.items():
        for values, o in selftest._operands(g, batch=1):
            where = f"{name}, {values}"
            assert np.array_equal(selftest._forward(o, g), convolved(o.x, o.w, g)), where
            back = selftest._backward_input(o, g)
            assert np.array_equal(back, input_gradient(o.g, o.w, g)), where
            sums = selftest._backward_weight(o.x, o.g, g)
            assert np.array_equal(sums, weight_gradient(o.x, o.g, g)), where
