# SPDX-License-Identifier: Apache-2.0
"""The emulator's ratios to float32 torch and to itself, each beside its aim.

Two sides of a ratio alternate, and the ratio is the median of the turns' own ratios: what slows
the machine for a while slows both sides of a turn. Processor time, one thread, unless said.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..device import open_device
from ..device.base import Device
from ..methods.smd import DEFAULT_PROBABILITY
from ..network.models import network_spec
from .child import Job, Outcome, run_child
from .emulator import CLASSES, SHAPE, EmulatorTraining, Taken, in_turns, mini_batch

SKIP = 0.4
HASHED = 1 << 27  # bytes
NEEDED = 1.8  # processors that two threads have to get for their speed to say anything
EAGER, COMPILED = "float32 torch", "float32 torch, compiled"
PSG, GATED, SLU = "PSG", "PSG with gates that skip nothing", f"PSG, SLU skips {SKIP:.0%}"


@dataclass(frozen=True)
class Aim:
    """A bound that a ratio shall keep: an upper one, or a lower one with `at_least`."""

    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.bound:g}"


VNNI, AVX2 = Aim(0.45), Aim(0.6)
E2TRAIN, THREADS, MEMORY, GATES = Aim(0.25), Aim(1.7, at_least=True), Aim(0.6), Aim(1.03)


@dataclass(frozen=True)
class Ratio:
    """A measured ratio: its value in each turn, its aim, and the medians of both sides.

    sides: what was compared, in seconds or bytes as `unit` says. judged: False where the machine
    was too busy for the measured value to say anything.
    """

    name: str
    network: str
    turns: list[float]
    aim: Aim
    unit: str
    sides: dict[str, float] = field(default_factory=dict)
    note: str = ""
    judged: bool = True

    @property
    def value(self) -> float:
        """The median over the turns."""
        return statistics.median(self.turns)

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None where it cannot be judged."""
        return self.aim.met(self.value) if self.judged else None

    def record(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {
            "name": self.name,
            "network": self.network,
            "value": self.value,
            "turns": self.turns,
            "aim": str(self.aim),
            "met": self.met,
            "unit": self.unit,
            "sides": self.sides,
            "note": self.note,
        }


def _processor(times: Sequence[Taken]) -> list[float]:
    return [one.processor for one in times]


def _ratio(
    name: str, network: str, over: tuple[str, Sequence[float]], under: tuple[str, Sequence[float]],
    aim: Aim, unit: str = "s", *, share: float = 1.0, note: str = "", judged: bool = True,
) -> Ratio:  # fmt: skip
    turns = [share * a / b for a, b in zip(over[1], under[1], strict=True)]
    sides = {said: statistics.median(values) for said, values in (over, under)}
    return Ratio(name, network, turns, aim, unit, sides, note, judged)


def against_torch(
    name: str, device: Device, vnni: bool, iterations: int, batch: int, compile_: bool
) -> list[Ratio]:
    """PSG, E2-Train and the gates' overhead of one network. Needs torch.

    `vnni`: whether the device's kernels use it, which decides the aim. `compile_`: take the better
    of eager torch and torch.compile.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps, note = _steps(name, device, batch, compile_)
        times = dict(
            zip(steps, map(_processor, in_turns(list(steps.values()), iterations)), strict=True)
        )
    finally:
        torch.set_num_threads(threads)
    if COMPILED in times:
        medians = {one: statistics.median(times[one]) for one in (EAGER, COMPILED)}
        note = ", ".join(f"{one} {seconds:.3f} s" for one, seconds in medians.items())
    best = min((EAGER, COMPILED), key=lambda one: statistics.median(times.get(one, [float("inf")])))
    theirs = best, times[best]
    aim = VNNI if vnni else AVX2
    half = 1.0 - DEFAULT_PROBABILITY
    return [
        _ratio("PSG over float32", name, (PSG, times[PSG]), theirs, aim, note=note),
        _ratio(
            "E2-Train over float32, for each offered iteration", name, (SLU, times[SLU]), theirs,
            E2TRAIN, share=half, note=f"SMD leaves out {DEFAULT_PROBABILITY:.0%} of the iterations",
        ),
        _ratio(
            "gates that skip nothing over no gates", name, (GATED, times[GATED]), (PSG, times[PSG]),
            GATES,
        ),
    ]  # fmt: skip


def _steps(
    name: str, device: Device, batch: int, compile_: bool
) -> tuple[dict[str, Callable[[], None]], str]:
    """What takes turns, and why torch.compile is not among it, where it is not."""
    from .torch_reference import FloatTraining, compiled_training

    spec = network_spec(name, SHAPE, CLASSES)
    images, labels = mini_batch(batch)

    def ours(skip: float | None) -> Callable[[], None]:
        return EmulatorTraining(spec, device, images, labels, skip=skip).step

    steps = {
        PSG: ours(None),
        EAGER: FloatTraining(spec, images, labels).step,
        GATED: ours(0.0),
        SLU: ours(SKIP),
    }
    if not compile_:
        return steps, "eager torch alone, as asked"
    compiled, failure = compiled_training(spec, images, labels)
    if compiled is None:
        return steps, f"eager torch alone, torch.compile failed: {failure}"
    return {**steps, COMPILED: compiled.step}, ""


def two_threads(name: str, backend: str, iterations: int, batch: int) -> Ratio:
    """Wall time of PSG with one thread over that with two, on two devices in turns.

    Two threads that only hash take turns with them: what they get of the processors tells whether
    the machine had two to give. Where it had not, the ratio is not judged.
    """
    spec = network_spec(name, SHAPE, CLASSES)
    images, labels = mini_batch(batch)
    with (
        open_device("emulator", backend=backend, threads=1) as single,
        open_device("emulator", backend=backend, threads=2) as double,
    ):
        trainings = [EmulatorTraining(spec, one, images, labels) for one in (single, double)]
        one, two, hashing = in_turns(
            [*(training.step for training in trainings), hash_on_two_threads], iterations
        )
    given, got = (
        statistics.median(taken.processor / taken.wall for taken in times)
        for times in (hashing, two)
    )
    return _ratio(
        "two threads against one, wall time", name, ("one thread", [taken.wall for taken in one]),
        ("two threads", [taken.wall for taken in two]), THREADS,
        note=f"the machine gave {given:.2f} processors to two threads that only hash, "
        f"{got:.2f} to the emulator's",
        judged=given >= NEEDED,
    )  # fmt: skip


def hash_on_two_threads() -> None:
    """Work of two threads that do not wait for each other, tenths of a second each."""
    block = bytes(HASHED)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: hashlib.sha256(block).digest(), range(2)))


def memory(name: str, backend: str, batch: int) -> list[Ratio]:
    """Peak of resident memory against eager torch: of whole processes, and of training alone."""
    ours = run_child(Job(name, batch, 2, backend=backend))
    theirs = run_child(Job(name, batch, 2, float32=True))
    measures: dict[str, Callable[[Outcome], int]] = {
        "peak memory of the process": lambda found: found.peak,
        "peak memory without interpreter and libraries": lambda found: found.used,
    }
    return [
        _ratio(said, name, (PSG, [of(ours)]), (EAGER, [of(theirs)]), MEMORY, "bytes")
        for said, of in measures.items()
    ]
