# SPDX-License-Identifier: Apache-2.0
"""Networks by name."""

from __future__ import annotations

import re

from ..errors import UserError
from .mobilenet import mobilenet_v2
from .resnet import resnet
from .spec import NetworkSpec


def network_spec(name: str, shape: tuple[int, int, int], classes: int) -> NetworkSpec:
    """The network called `name` (`resnet-8`, ..., `mobilenet-v2`) for pictures (C, H, W)."""
    if name == "mobilenet-v2":
        return mobilenet_v2(shape, classes)
    match = re.fullmatch(r"resnet-(\d{1,4})", name)
    if match is None:
        raise UserError(f"unknown network {name!r}: expected resnet-8/20/38/74/110 or mobilenet-v2")
    try:
        return resnet(int(match[1]), shape, classes)
    except ValueError as error:
        raise UserError(str(error)) from error
