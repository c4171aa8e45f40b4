# SPDX-License-Identifier: Apache-2.0
"""Other programs' names for our networks' parameters, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from e2train.device.counter import Counter
from e2train.errors import UserError
from e2train.models.plain_torch import plain_network
from e2train.network.float32 import FloatArithmetic
from e2train.network.float_backend import float_backend
from e2train.network.models import network_spec
from e2train.network.network import Network
from e2train.network.parameters import Parameters, initial_parameters
from e2train.network.spec import NetworkSpec
from e2train.weights.files import Weights
from e2train.weights.fit import Fitted, Normalisation, fit, renormalise
from e2train.weights.layouts import CIFAR_RESNET, MOBILENET_V2, OWN

SHAPE, CLASSES = (3, 16, 16), 5
MEAN, DEVIATION = (100, 120, 90), (60.0, 50.0, 70.0)


def spec_of(name: str, classes: int = CLASSES) -> NetworkSpec:
    return network_spec(name, SHAPE, classes)


def torch_network(name: str, classes: int = CLASSES) -> torch.nn.Module:
    """A plain torch network whose every tensor (statistics too) has values of its own."""
    torch.manual_seed(3)
    network = plain_network(name, SHAPE[0], classes)
    for tensor_name, tensor in network.state_dict().items():
        if tensor_name.endswith(("running_var", "bn1.weight", "bn2.weight")):
            tensor.copy_(torch.rand_like(tensor) + 0.5)
        elif tensor_name.endswith(("running_mean", "bias")):
            tensor.copy_(torch.randn_like(tensor) * 0.3)
    return network.eval()


def arrays_of(network: torch.nn.Module) -> dict[str, np.ndarray]:
    state = network.state_dict()
    return {n: t.numpy() for n, t in state.items() if not n.endswith("num_batches_tracked")}


def fitted(
    arrays: dict[str, np.ndarray], spec: NetworkSpec, renew: bool = False
) -> tuple[Parameters, Fitted]:
    parameters = initial_parameters(spec, 0)
    return parameters, fit(Weights(Path("w.pt"), arrays), spec, parameters, renew)


def our_logits(spec: NetworkSpec, parameters: Parameters, images: np.ndarray) -> np.ndarray:
    arithmetic = FloatArithmetic(float_backend(), Counter(), MEAN, DEVIATION)
    return Network(spec, arithmetic, parameters).logits(images, 0, training=False)


def their_logits(
    network: torch.nn.Module, images: np.ndarray, normalisation: Normalisation
) -> np.ndarray:
    mean, deviation = (
        np.array(v, np.float32)[:, None, None]
        for v in (normalisation.mean, normalisation.deviation)
    )
    with torch.no_grad():
        return network(torch.from_numpy((images - mean) / deviation)).numpy()


def pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (6, *SHAPE), np.uint8)


@pytest.mark.parametrize(
    ("name", "layout"),
    [("resnet-8", CIFAR_RESNET), ("resnet-20", CIFAR_RESNET), ("mobilenet-v2", MOBILENET_V2)],
)
def test_torch_names_compute_the_same(name: str, layout: str) -> None:
    network = torch_network(name)
    parameters, found = fitted(arrays_of(network), spec_of(name))
    assert found.layout.startswith(layout) and found.classes is None
    images = pictures()
    ours = our_logits(spec_of(name), parameters, images)
    theirs = their_logits(network, images, Normalisation(MEAN, DEVIATION))
    assert np.ptp(theirs) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * np.abs(theirs).max())


def test_torchvisions_last_layer() -> None:
    arrays = arrays_of(torch_network("resnet-8"))
    renamed = {n.replace("linear.", "fc."): a for n, a in arrays.items()}
    parameters, found = fitted(renamed, spec_of("resnet-8"))
    assert found.layout == f"{CIFAR_RESNET} (fc)"
    same = fitted(arrays, spec_of("resnet-8"))[0]
    assert all(np.array_equal(parameters[name], same[name]) for name in same)


def test_own_names() -> None:
    spec = spec_of("resnet-8")
    before = initial_parameters(spec, 9)
    flat = dict(before)
    flat["classifier.weight"] = flat["classifier.weight"][:, :, 0, 0]  # both shapes are known
    for arrays in (before, flat):
        after, found = fitted(arrays, spec)
        assert found == Fitted(OWN, None)
        assert all(np.array_equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize(("theirs", "renew", "told"), [(7, False, 7), (5, True, 5)])
def test_a_classifier_of_other_classes_is_replaced(theirs: int, renew: bool, told: int) -> None:
    spec, network = spec_of("resnet-8"), torch_network("resnet-8", theirs)
    parameters, found = fitted(arrays_of(network), spec, renew)
    assert found.classes == told
    fresh = initial_parameters(spec, 0)
    for name, value in parameters.items():
        assert np.array_equal(value, fresh[name]) == name.startswith("classifier."), name


#: tensors taken out, tensors put in, what the error says
CHANGES: dict[str, tuple[list[str], dict[str, tuple[int, ...]], list[str]]] = {
    "missing": (
        ["layer2.0.bn1.weight", "layer2.0.bn1.bias"],
        {},
        ["2 missing: layer2.0.bn1.weight, layer2.0.bn1.bias"],
    ),
    "left over": ([], {"layer4.0.bn1.bias": (16,)}, ["1 left over: layer4.0.bn1.bias"]),
    "misshapen": (
        [],
        {"conv1.weight": (16, 1, 3, 3)},
        ["1 misshapen: conv1.weight (16, 1, 3, 3) in place of (16, 3, 3, 3)"],
    ),
    "narrow": ([], {"linear.weight": (5, 32)}, ["misshapen: linear.weight (5, 32)"]),
    "no bias": (["linear.bias"], {}, ["1 missing: linear.bias"]),
    "option B": ([], {"layer2.0.shortcut.0.weight": (32, 16, 1, 1)}, ["left over", "option B"]),
    "downsample": ([], {"layer2.0.downsample.1.running_mean": (32,)}, ["left over", "option B"]),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_does_not_fit_is_listed(kind: str) -> None:
    taken, put, words = CHANGES[kind]
    arrays, spec = arrays_of(torch_network("resnet-8")), spec_of("resnet-8")
    arrays = {name: array for name, array in arrays.items() if name not in taken}
    arrays |= {name: np.ones(shape, np.float32) for name, shape in put.items()}
    parameters = initial_parameters(spec, 0)
    with pytest.raises(UserError) as caught:
        fit(Weights(Path("w.pt"), arrays), spec, parameters, False)
    line = str(caught.value)
    assert "\n" not in line and "w.pt: is not of resnet-8" in line
    for word in words:
        assert word in line
    fresh = initial_parameters(spec, 0)
    assert all(np.array_equal(parameters[name], fresh[name]) for name in fresh), "none copied"


def test_a_deeper_network_is_refused_with_a_short_list() -> None:
    with pytest.raises(UserError) as caught:
        fitted(arrays_of(torch_network("resnet-20")), spec_of("resnet-8"))
    assert "60 left over: layer1.1.bn1.bias" in str(caught.value)
    assert "and 56 more" in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("names", "network", "words"),
    [
        (["features.0.0.weight"], "resnet-8", "is of a MobileNetV2, and the network"),
        (["conv1.weight", "layer1.0.conv1.weight"], "mobilenet-v2", "is of a ResNet"),
        (["encoder.1", "encoder.2"], "resnet-8", "(encoder.1, encoder.2, ...) have no names known"),
    ],
)
def test_another_network(names: list[str], network: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        fitted(dict.fromkeys(names, np.ones(3, np.float32)), spec_of(network))
    assert words in str(caught.value)


def test_another_normalisation_changes_the_first_layer_alone() -> None:
    """Scales exactly; means up to the pictures' border, so here on a network without padding."""
    theirs = Normalisation((110.0, 118.5, 99.0), (64.0, 63.0, 55.0))
    ours = Normalisation(tuple(map(float, MEAN)), DEVIATION)
    network = torch_network("resnet-8")
    parameters, _ = fitted(arrays_of(network), spec_of("resnet-8"))
    before = {name: value.copy() for name, value in parameters.items()}
    renormalise(parameters, "stem.conv", theirs, ours)
    changed = {name for name in before if not np.array_equal(before[name], parameters[name])}
    assert changed == {"stem.conv.weight", "stem.conv.running_mean"}
    images = pictures()
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))

    def stem(weight: np.ndarray, mean: np.ndarray, given: Normalisation) -> np.ndarray:
        m, d = (np.array(v, np.float32)[:, None, None] for v in (given.mean, given.deviation))
        x = torch.from_numpy((images - m) / d)
        y = torch.conv2d(x, torch.from_numpy(weight), padding=1).numpy()
        return (y - mean[:, None, None])[inside]

    expected = stem(before["stem.conv.weight"], before["stem.conv.running_mean"], theirs)
    found = stem(parameters["stem.conv.weight"], parameters["stem.conv.running_mean"], ours)
    np.testing.assert_allclose(found, expected, atol=2e-5)
