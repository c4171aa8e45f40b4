# SPDX-License-Identifier: Apache-2.0
"""Is this board sound? Every pass against exact sums, a training step, speed against the model."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..cost.accelerator.launches import launched
from ..device import Geometry, open_device
from ..device.accelerator import generated as hw
from ..device.accelerator.device import KernelDevice
from ..device.base import Device
from ..device.counter import Counter
from ..device.operations import Convolution, Vector
from ..device.selftest import Check, run_selftest
from ..methods import psg
from ..network.integer import FixedArithmetic
from ..network.models import network_spec
from ..network.network import Network
from ..network.parameters import initial_parameters

CYCLES_OVER = 2.0  # measured over modelled: beyond it something is wrong with clock or ports
QUICK_CHECKS = 16  # of the first geometry: every pass at every extreme
PICTURE = (1, 8, 8)
SAMPLES = 16
RATE_SHAPE = (64, 16, 32, 32)  # of the tensor that the bandwidth is measured with
LAYER = Geometry(16, 32, 32, 16, (3, 3), 1, 1, 1)
LEAST_LAUNCHES = 20
PASSES = {
    "conv_forward": "forward pass",
    "conv_backward_input": "backward pass to the input",
    "conv_backward_weight": "backward pass to the weights",
    "psg_backward_weight": "PSG's two phases",
}

Cycles = Callable[[], float]
"""Cycles of the fabric's clock since some moment."""


@dataclass(frozen=True)
class Line:
    """One finding: what was looked at, whether it is right (None: nothing to compare with), what
    was found, and where to look if it is not right."""

    name: str
    right: bool | None
    found: str
    look: str = ""


def host_cycles() -> float:
    """The host's clock in cycles of the fabric's configured one."""
    return time.perf_counter() * hw.TARGET_CLOCK_MHZ * 1e6


def run_board_selftest(
    device: KernelDevice, cycles: Cycles = host_cycles, *, judged: bool = True, quick: bool = False
) -> Iterator[Line]:
    """The lines, one after the other. `cycles` measures launches, which are `judged` by the model
    (a simulated kernel takes no time to compute). `quick` leaves all but one geometry out."""
    yield _round_trip(device)
    yield from _passes(device, quick)
    yield from _vector_unit(device)
    yield _training_step(device)
    yield from _speed(device, cycles, judged)


def _round_trip(device: KernelDevice) -> Line:
    """The host's bytes to memory, through the kernel to other bytes of it, and back."""
    x = np.random.default_rng(0).integers(-128, 128, (32, 4, 16, 16)).astype(np.int8)
    moved = device.get(device.take(device.put(x), np.arange(32)[::-1].copy()))
    wrong = int(np.count_nonzero(moved != x[::-1]))
    return Line(
        "memory round trip",
        wrong == 0,
        f"{x.nbytes >> 10} KiB, {wrong} bytes differ",
        "flush and invalidate of the cache, HP ports, and the DDR addresses of the block design",
    )


def _passes(device: KernelDevice, quick: bool) -> Iterator[Line]:
    found: dict[str, list[Check]] = defaultdict(list)
    for check in islice(run_selftest(device), QUICK_CHECKS if quick else None):
        found[check.operation].append(check)
    for operation, checks in found.items():
        failed = [check for check in checks if check.wrong]
        total = sum(check.total for check in checks)
        text = f"{len(checks)} cases, {total:,} integers"
        if failed:
            text += f"; {len(failed)} cases differ, first {failed[0].case}"
        yield Line(
            PASSES[operation],
            not failed,
            text,
            "the bitstream's timing report (WNS must not be negative); other lines that fail, too, "
            "point to memory",
        )


def _vector_steps(device: Device) -> dict[str, tuple[np.ndarray, ...]]:
    """Each operation of the vector unit on the same operands, by name."""
    rng = np.random.default_rng(1)
    shape = (SAMPLES + 3, 12, 6, 5)
    half = rng.integers(-(2**15), 2**15, shape).astype(np.int16)
    y, g = device.put(half), device.put(half[::-1].copy())
    m, o = (rng.integers(-(2**13), 2**13, shape[1]).astype(np.int32) for _ in range(2))
    normalised = device.normalise(y, m, o, 14, rectify=True).tensor
    backward = device.normalise_backward(g, y, m, m[::-1].copy(), o, 15).tensor
    return {
        "narrow": (device.get(device.narrow(y, 8)),),
        "normalise": (device.get(normalised),),
        "mask": (device.get(device.mask(g, normalised, 100)),),
        "channel sums": device.gradient_sums(g, y),
        "normalise backward": (device.get(backward),),
        "shortcut": (device.get(device.shortcut_pad(y, 2, 16)),),
        "pool": (device.pool(y),),
        "sample products": (device.gate_products(g, y, y),),
    }


def _vector_unit(device: KernelDevice) -> Iterator[Line]:
    found = _vector_steps(device)
    with open_device("emulator", backend="numpy") as emulator:
        expected = _vector_steps(emulator)
    wrong = [
        name
        for name, arrays in expected.items()
        if any(not np.array_equal(a, b) for a, b in zip(arrays, found[name], strict=True))
    ]
    text = f"{len(expected)} operations"
    yield Line(
        "vector unit",
        not wrong,
        f"{text}; wrong: {', '.join(wrong)}" if wrong else text,
        "where the passes are right: the bitstream's timing report; else memory",
    )


def training_step(device: Device) -> tuple[float, dict[str, np.ndarray]]:
    """A PSG step's loss and gradients, of ResNet-8 on small random pictures."""
    spec = network_spec("resnet-8", PICTURE, 10)
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (SAMPLES, *PICTURE)).astype(np.uint8)
    labels = rng.integers(0, 10, SAMPLES)
    settings = psg.settings(psg.BETA, psg.X_MSB_BITS, psg.G_MSB_BITS, 16)
    arithmetic = FixedArithmetic(device, Counter(), settings, (120,))
    network = Network(spec, arithmetic, initial_parameters(spec, 0))
    outcome, gradients = network.forward_backward(images, labels, 0)
    return outcome.loss, gradients


def _training_step(device: KernelDevice) -> Line:
    loss, gradients = training_step(device)
    with open_device("emulator", backend="numpy") as emulator:
        expected_loss, expected = training_step(emulator)
    wrong = [name for name, array in expected.items() if not np.array_equal(array, gradients[name])]
    text = f"ResNet-8, PSG, loss {loss:.6f}, {len(expected)} gradients as the emulator's"
    if wrong or loss != expected_loss:
        first = wrong[0] if wrong else "the loss"
        text = f"ResNet-8, PSG: {len(wrong)} gradients differ, first {first}"
    return Line(
        "training step",
        not wrong and loss == expected_loss,
        text,
        "the lines above; if all of them are right, please report it with this output",
    )


def _fastest(action: Callable[[], object], cycles: Cycles) -> float:
    """Cycles of the fastest of three calls: others may use the processor meanwhile."""
    took = []
    for _ in range(3):
        begin = cycles()
        action()
        took.append(cycles() - begin)
    return min(took)


def _speed(device: KernelDevice, cycles: Cycles, judged: bool) -> Iterator[Line]:
    one = device.put(np.zeros((1, 1, 1, 1), np.int16))
    begin = time.perf_counter()
    for _ in range(LEAST_LAUNCHES):
        device.narrow(one, 1)
    each = (time.perf_counter() - begin) / LEAST_LAUNCHES
    yield Line("smallest launch", None, f"{each * 1e6:,.0f} µs from Python to Python")
    n, channels, height, width = RATE_SHAPE
    stream = device.put(np.ones(RATE_SHAPE, np.int16))
    size = channels * height * width
    model = launched(Vector("narrow", "", n, size, channels, 16, 8)).tally
    took = _fastest(lambda: device.narrow(stream, 3), cycles)
    bytes_moved = 8 * (model.columns + model.rows + model.extra + model.output)
    rate = bytes_moved * hw.TARGET_CLOCK_MHZ / took
    yield _judged("bandwidth", took, model.cycles, judged, f"{rate:,.0f} MB/s, ")
    x = device.put(np.ones((SAMPLES, 16, 32, 32), np.int8))
    w = np.ones(LAYER.weight_shape, np.int8)
    model = launched(Convolution("forward", "", LAYER, SAMPLES, (8, 8), 16)).tally
    took = _fastest(lambda: device.convolve(x, w, LAYER, 5), cycles)
    yield _judged("convolution 16 to 16, 32x32", took, model.cycles, judged, "")


def _judged(name: str, took: float, model: float, judged: bool, prefix: str) -> Line:
    text = f"{prefix}{took:,.0f} cycles, the model says {model:,.0f}"
    if not judged:
        return Line(name, None, f"{text} (the simulated kernel computes in no time)")
    return Line(
        name,
        took <= CYCLES_OVER * model,
        text,
        f"whether FCLK0 runs at {hw.TARGET_CLOCK_MHZ} MHz, the HP ports are 64 bit wide, and what "
        "else uses the processor",
    )
