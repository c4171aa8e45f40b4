# SPDX-License-Identifier: Apache-2.0
"""What the parameters of a network are called in other programs' state dicts.

ResNets for CIFAR as in the widely copied `pytorch_resnet_cifar10` (`conv1`, `layer1.0.conv1`,
`linear`; torchvision's classes call the last layer `fc`), and MobileNetV2 as in torchvision
(`features.0.0`, `classifier.1`). Every name is written out by rule; none is guessed by shape.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..network.spec import NetworkSpec

OWN = "e2train's own names"
CIFAR_RESNET = "CIFAR ResNet names"
MOBILENET_V2 = "torchvision's MobileNetV2 names"
#: A batch norm's parameters here and in torch.
NORM = {
    "gamma": "weight",
    "beta": "bias",
    "running_mean": "running_mean",
    "running_variance": "running_var",
}
CLASSIFIER = ("classifier.weight", "classifier.bias")
#: Shortcuts with parameters (He et al. 2016, option B), which the networks here do not have.
PROJECTION = re.compile(r"layer\d+\.\d+\.(shortcut|downsample)\.\d+\.\w+")


@dataclass(frozen=True)
class Layout:
    """`keys`: the file's name of each of a network's parameters; `marker`: in such files alone."""

    name: str
    keys: dict[str, str]
    marker: str


def layouts(spec: NetworkSpec) -> tuple[Layout, ...]:
    """The layouts that a file of this network can have; the first is the one it is exported in."""
    own = {name: name for unit in spec.units() for name in _parameters(unit.name)}
    own |= {name: name for name in CLASSIFIER}
    return (*_common(spec), Layout(OWN, own, "stem.conv.weight"))


def foreign(names: set[str]) -> str | None:
    """Of which kind of network the names of a file are, if of any known."""
    markers = {"layer1.0.conv1.weight": "a ResNet", "features.0.0.weight": "a MobileNetV2"}
    return next((kind for marker, kind in markers.items() if marker in names), None)


def _parameters(unit: str) -> list[str]:
    return [f"{unit}.{kind}" for kind in ("weight", *NORM)]


def _common(spec: NetworkSpec) -> tuple[Layout, ...]:
    if spec.name == "mobilenet-v2":
        keys = _mobilenet_keys(spec)
        return (Layout(MOBILENET_V2, keys | _last("classifier.1"), "features.0.0.weight"),)
    keys = _resnet_keys(spec)
    return tuple(
        Layout(f"{CIFAR_RESNET} ({last})", keys | _last(last), f"{last}.weight")
        for last in ("linear", "fc")
    )


def _last(name: str) -> dict[str, str]:
    return {"classifier.weight": f"{name}.weight", "classifier.bias": f"{name}.bias"}


def _unit_keys(unit: str, convolution: str, norm: str) -> dict[str, str]:
    keys = {f"{unit}.weight": f"{convolution}.weight"}
    return keys | {f"{unit}.{here}": f"{norm}.{there}" for here, there in NORM.items()}


def _resnet_keys(spec: NetworkSpec) -> dict[str, str]:
    """`stage2.block1.conv1` is `layer2.0.conv1`, its batch norm `layer2.0.bn1`."""
    keys = _unit_keys("stem.conv", "conv1", "bn1")
    for unit in spec.units():
        place = re.fullmatch(r"stage(\d+)\.block(\d+)\.conv(\d)", unit.name)
        if place is not None:
            block = f"layer{place[1]}.{int(place[2]) - 1}"
            keys |= _unit_keys(unit.name, f"{block}.conv{place[3]}", f"{block}.bn{place[3]}")
    return keys


def _mobilenet_keys(spec: NetworkSpec) -> dict[str, str]:
    """`features.I` is block I, with pairs of a convolution and its norm inside."""
    keys: dict[str, str] = {}
    last = len(spec.blocks) - 1
    for index, block in enumerate(spec.blocks):
        if index in (0, last):
            feature = f"features.{index}"
            keys |= _unit_keys(block.units[0].name, f"{feature}.0", f"{feature}.1")
            continue
        for place, unit in enumerate(block.units):
            inner = f"features.{index}.conv.{place}"
            if unit is block.units[-1]:  # the projection, and its norm after it
                norm = f"features.{index}.conv.{place + 1}"
                keys |= _unit_keys(unit.name, inner, norm)
            else:
                keys |= _unit_keys(unit.name, f"{inner}.0", f"{inner}.1")
    return keys
