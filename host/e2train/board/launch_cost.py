# SPDX-License-Identifier: Apache-2.0
"""Would it pay to queue launches? What the driver takes for one, against what the kernel takes.

    python -m e2train.board.launch_cost

A training step runs on the simulated board through the real pynq: its launches are written down,
and their accesses to registers counted. Then the same launches go through the same driver and pynq
to registers in plain memory that always say "done": what that takes is the host's own time, without
a simulator that fights for the processor. It is scaled to the board's processor; the kernel's time
is the model's.
"""

from __future__ import annotations

import mmap
import os
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..cost.accelerator.launches import Launched
from ..cost.accelerator.summary import Question
from ..device.accelerator import generated as hw
from ..device.accelerator.driver import Driver
from ..device.accelerator.launch import Launch, LaunchResult
from ..device.accelerator.simulated.open import SimulatedBoard, open_simulated
from ..device.accelerator.zynq.diagnosis import DONE, IDLE
from ..device.accelerator.zynq.interrupt import WORD, InterruptLine
from ..device.accelerator.zynq.open import SECONDS
from ..device.accelerator.zynq.transport import ZynqTransport
from ..network.models import network_spec
from .selftest import training_step

SLOWER = 20.0
"""A Cortex-A9 at 667 MHz runs Python about so many times slower than a PC's processor does."""

NETWORK, BATCH = "resnet-20", 128


@dataclass(frozen=True)
class LaunchCost:
    """launches: of a training step; accesses: to registers, and seconds: of the host on this
    computer, both a launch."""

    launches: int
    accesses: float
    seconds: float


class _Ready(InterruptLine):
    """A line at which an interrupt always waits, and then the control register says "done"."""

    def __init__(self, registers: np.ndarray) -> None:
        self._registers = registers
        self._file, self._other = os.pipe()
        os.write(self._other, bytes(WORD.size))

    def arm(self) -> None:
        os.write(self._other, bytes(WORD.size))

    def wait(self, seconds: float) -> bool:
        self._registers[hw.REGISTERS_CONTROL // WORD.size] = DONE | IDLE
        return super().wait(seconds)

    def close(self) -> None:
        super().close()
        os.close(self._other)


def _done_at_once(base: int, size: int) -> Driver:
    """The board's driver on registers in plain memory, and with an arena of its own."""
    from pynq import Device
    from pynq.buffer import PynqBuffer

    from ..device.accelerator.zynq.ip import AcceleratorIP

    class Mapped(Device):
        capabilities: ClassVar = {"MEMORY_MAPPED": True}

        def mmap(self, base: int, length: int) -> np.ndarray:
            return np.zeros(length // WORD.size, np.uint32)

        def flush(self, *given: object) -> None:
            """There is no cache."""

        invalidate = flush

    device = Mapped("mapped")
    ip = AcceleratorIP({"device": device, "phys_addr": 0, "addr_range": 1 << 16})
    transport = ZynqTransport("mapped", ip, None, _Ready(ip.mmio.array), SECONDS)
    memory = mmap.mmap(-1, size)
    transport.attach(
        PynqBuffer((size,), "u1", buffer=memory, bo=memory, device=device, device_address=base)
    )
    return Driver(transport)


def measure(board: SimulatedBoard) -> LaunchCost:
    """Of the launches of a training step on the board."""
    launches: list[Launch] = []
    run = board.driver.run

    def recorded(launch: Launch) -> LaunchResult:
        launches.append(replace(launch, registers={**launch.registers}, buffers=[*launch.buffers]))
        return run(launch)

    board.driver.run = recorded  # type: ignore[method-assign]
    board.board.accesses.clear()
    training_step(board)
    board.driver.run = run  # type: ignore[method-assign]
    accesses = len(board.board.accesses) / len(launches)
    size = len(board.transport.memory)
    driver = _done_at_once(board.transport.base, 2 * size)
    used = driver.memory.block(size)  # where the launches' buffers are
    begin = time.thread_time()
    for launch in launches:
        driver.run(launch)
    seconds = (time.thread_time() - begin) / len(launches)
    driver.transport.close()
    del used
    return LaunchCost(len(launches), accesses, seconds)


def modelled(network: str = NETWORK, batch: int = BATCH) -> tuple[int, float]:
    """Launches of a PSG iteration on CIFAR-10 pictures, and the kernel's seconds for them."""
    question = Question(network_spec(network, (3, 32, 32), 10), "cifar10", batch)
    work: list[Launched] = question.launched()
    launches = sum(one.launches for one in work)
    return launches, sum(one.tally.cycles for one in work) / question.clock_hz


def report(cost: LaunchCost, launches: int, kernel_seconds: float) -> list[str]:
    """The finding in a few lines."""
    each, kernel = cost.seconds * SLOWER, kernel_seconds / launches
    share = each / (each + kernel)
    return [
        f"a launch: {cost.accesses:.0f} accesses to registers, {cost.seconds * 1e6:.0f} µs of "
        f"driver and pynq here ({cost.launches} launches); {each * 1e3:.1f} ms on a processor that "
        f"is {SLOWER:g} times slower",
        f"{NETWORK}, batch {BATCH}: {launches} launches an iteration, {kernel_seconds:.2f} s in "
        f"the kernel (modelled), {kernel * 1e3:.1f} ms a launch",
        f"so starting launches takes {launches * each:.2f} s, {100 * share:.0f} % of both; a queue "
        "that took all of it away would save no more",
    ]


def main() -> None:
    """Measure and print."""
    board = open_simulated()
    try:
        cost = measure(board)
    finally:
        board.close()
    print("\n".join(report(cost, *modelled())))


if __name__ == "__main__":
    main()
