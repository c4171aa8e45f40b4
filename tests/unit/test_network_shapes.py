# SPDX-License-Identifier: Apache-2.0
"""The networks' sizes against the literature, and the statistics of their first weights."""

from __future__ import annotations

import math

import numpy as np
import pytest

from e2train.errors import UserError
from e2train.network.models import network_spec, resnet
from e2train.network.parameters import initial_parameters, trainable
from e2train.network.spec import NetworkSpec

CIFAR = (3, 32, 32)


def weights_of(spec: NetworkSpec) -> int:
    """Trainable numbers: weights, batch norm, bias."""
    return sum(v.size for k, v in initial_parameters(spec, 0).items() if trainable(k))


@pytest.mark.parametrize(
    ("name", "weights"),
    # The counts that "0.27M" to "1.7M" of He et al. 2016, table 6, abbreviate (option A).
    [
        ("resnet-20", 269_722),
        ("resnet-32", 464_154),
        ("resnet-44", 658_586),
        ("resnet-56", 853_018),
        ("resnet-110", 1_727_962),
        ("resnet-8", 269_722 - 2 * 97_216),
        ("resnet-38", 464_154 + 97_216),
        ("resnet-74", 853_018 + 3 * 97_216),
    ],
)
def test_resnet_weights(name: str, weights: int) -> None:
    assert weights_of(network_spec(name, CIFAR, 10)) == weights


def test_mobilenet_weights() -> None:
    """The 3,504,872 of the ImageNet network less 990 of its 1,000 classes."""
    spec = network_spec("mobilenet-v2", CIFAR, 10)
    assert weights_of(spec) == 3_504_872 - 990 * 1281
    assert len(spec.skippable_blocks) == 10
    assert sum(unit.geometry.groups > 1 for unit in spec.units()) == 17


@pytest.mark.parametrize(
    ("name", "millions"),
    # resnet-20, -56 and -110 are 41, 127 and 255 million with additions and batch norm counted
    [("resnet-20", 40.55), ("resnet-56", 125.49), ("resnet-110", 252.89), ("mobilenet-v2", 87.98)],
)
def test_multiply_accumulates(name: str, millions: float) -> None:
    spec = network_spec(name, CIFAR, 10)
    assert spec.forward_macs / 1e6 == pytest.approx(millions, abs=0.01)


def test_resnet_20_layer_by_layer() -> None:
    spec = network_spec("resnet-20", CIFAR, 10)
    stage = 16 * 16 * 9 * 32 * 32
    assert spec.blocks[0].macs == 3 * 16 * 9 * 32 * 32
    assert [block.macs for block in spec.blocks[1:4]] == [2 * stage] * 3
    assert [block.macs for block in spec.blocks[4:7]] == [stage // 2 + stage, *[2 * stage] * 2]
    assert spec.classifier.macs == 640
    last = spec.blocks[-1].units[-1].geometry
    assert (last.filters, last.out_height, last.out_width) == (64, 8, 8)
    assert len(list(spec.units())) == 19


@pytest.mark.parametrize("depth", [7, 9, 2, 0, -4, 21])
def test_impossible_depths(depth: int) -> None:
    with pytest.raises(ValueError, match="expected 6n\\+2"):
        resnet(depth, CIFAR, 10)


@pytest.mark.parametrize("name", ["resnet-9", "resnet-", "resnet", "vgg-16", "", "resnet-20x"])
def test_unknown_networks(name: str) -> None:
    with pytest.raises(UserError) as caught:
        network_spec(name, CIFAR, 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["resnet-20", "mobilenet-v2"])
def test_he_initialisation(name: str) -> None:
    """Each layer's mean and deviation lie within five standard errors of N(0, sqrt(2 / fan-in))."""
    spec = network_spec(name, CIFAR, 10)
    parameters = initial_parameters(spec, 7)
    everything = []
    for unit in spec.units():
        weight = parameters[f"{unit.name}.weight"].astype(np.float64)
        g = unit.geometry
        fan_in = g.channels // g.groups * g.kernel[0] * g.kernel[1]
        scaled = weight.ravel() / math.sqrt(2.0 / fan_in)
        everything.append(scaled)
        assert abs(scaled.mean()) < 5 / math.sqrt(scaled.size)
        assert abs(scaled.var() - 1) < 5 * math.sqrt(2 / scaled.size)
    pooled = np.concatenate(everything)
    assert abs((pooled**4).mean() - 3) < 5 * math.sqrt(96 / pooled.size), "not a normal's tails"
    for key, value in parameters.items():
        assert value.dtype == np.float32
        if not key.endswith(".weight"):
            assert (value == (1 if key.endswith((".gamma", ".running_variance")) else 0)).all()


def test_initial_weights_depend_on_seed_and_layer_alone() -> None:
    small, large = network_spec("resnet-8", CIFAR, 10), network_spec("resnet-20", CIFAR, 10)
    first, second = initial_parameters(small, 1), initial_parameters(large, 1)
    shared = "stage1.block1.conv1.weight"
    assert np.array_equal(first[shared], second[shared])
    other = initial_parameters(small, 2)
    assert not np.array_equal(first[shared], other[shared])
    assert not np.array_equal(first[shared], first["stage1.block1.conv2.weight"])
