# SPDX-License-Identifier: Apache-2.0
"""Small networks, batches and devices that the tests of the engine share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from e2train.data.dataset import Dataset
from e2train.data.digits import load_digits
from e2train.device import Device, open_device
from e2train.device.counter import Counter
from e2train.errors import UserError
from e2train.network.float32 import FloatArithmetic
from e2train.network.float_backend import NumpyFloat, TorchFloat
from e2train.network.integer import FixedArithmetic, FixedSettings
from e2train.network.models import network_spec
from e2train.network.network import Network
from e2train.network.parameters import initial_parameters
from e2train.network.spec import NetworkSpec

BACKENDS = ("numpy", "torch", "native")
SMALL_RESNET = ("resnet-8", (1, 8, 8), 10)
SMALL_MOBILENET = ("mobilenet-v2", (3, 16, 16), 10)


@lru_cache(maxsize=1)
def digits() -> Dataset:
    return load_digits()


def emulator(backend: str) -> Device:
    """The emulator on a backend; skips the test where it cannot be had."""
    import pytest

    try:
        return open_device("emulator", backend=backend)
    except UserError as error:
        pytest.skip(str(error))


def batch(spec: NetworkSpec, samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 pictures and labels: digits where they fit, else smooth random colour pictures."""
    first = next(spec.units()).geometry
    shape = (first.channels, first.height, first.width)
    if shape == (1, 8, 8):
        data = digits()
        chosen = np.random.default_rng(seed).permutation(len(data.train_labels))[:samples]
        return data.train_images[chosen], data.train_labels[chosen]
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (samples, shape[0], -(-shape[1] // 4), -(-shape[2] // 4)))
    smooth = coarse.repeat(4, axis=2).repeat(4, axis=3)[:, :, : shape[1], : shape[2]]
    images = smooth + rng.integers(-20, 21, (samples, *shape))
    return images.clip(0, 255).astype(np.uint8), rng.integers(0, 10, samples)


def mean_of(spec: NetworkSpec) -> tuple[int, ...]:
    channels = next(spec.units()).geometry.channels
    return digits().mean if channels == 1 else (120,) * channels


def fixed_network(
    device: Any,
    settings: FixedSettings,
    *,
    spec: NetworkSpec | None = None,
    policy: Any = None,
    seed: int = 0,
) -> Network:
    spec = network_spec(*SMALL_RESNET) if spec is None else spec
    arithmetic = FixedArithmetic(device, Counter(), settings, mean_of(spec))
    return Network(spec, arithmetic, initial_parameters(spec, seed), policy)


def float_network(
    backend: str,
    *,
    spec: NetworkSpec | None = None,
    policy: Any = None,
    seed: int = 0,
    deviation: float = 50.0,
) -> Network:
    spec = network_spec(*SMALL_RESNET) if spec is None else spec
    mean = mean_of(spec)
    floats = NumpyFloat() if backend == "numpy" else TorchFloat()
    arithmetic = FloatArithmetic(floats, Counter(), mean, (deviation,) * len(mean))
    return Network(spec, arithmetic, initial_parameters(spec, seed), policy)


class GivenDecisions:
    """A skip policy that does as it is told: `ran` bool [skippable blocks, N]."""

    def __init__(self, ran: np.ndarray, wants_products: bool = False) -> None:
        self.ran = np.asarray(ran, bool)
        self._wants_products = wants_products
        self.products: dict[int, np.ndarray] = {}

    def begin(self, iteration: int, samples: int, training: bool) -> None:
        assert samples == self.ran.shape[1]

    def decide(self, index: int, arithmetic: Any, stream: Any) -> np.ndarray:
        return self.ran[index]

    def scale(self, index: int) -> float:
        return 1.0

    def wants_products(self, index: int) -> bool:
        return self._wants_products

    def observe(self, index: int, products: np.ndarray) -> None:
        self.products[index] = products
