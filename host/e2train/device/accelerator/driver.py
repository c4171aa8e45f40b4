# SPDX-License-Identifier: Apache-2.0
"""Starts launches on a transport: checks, registers, start, done, error code, result block."""

from __future__ import annotations

import numpy as np

from . import generated as hw
from .launch import Launch, LaunchResult
from .limits import check_buffers, check_sizes
from .memory import SharedMemory
from .tile_plans import TilePlans
from .transport import Transport

ERROR_NAMES = {code: name for name, code in hw.ERRORS.items()}
WORD = 8
LARGEST = {"peak", "max_msb"}  # of the result header: maxima, which do not add up


class KernelError(Exception):
    """The accelerator refused a launch that the host let through: `code` is its error code."""

    def __init__(self, operation: str, code: int) -> None:
        super().__init__(f"{operation}: the accelerator reports error {code} ({_error_name(code)})")
        self.code = code


def _error_name(code: int) -> str:
    return ERROR_NAMES.get(code, "unknown")


class Driver:
    """The register file of one accelerator.

    A launch writes the ports' base addresses and every argument, in the register file's order, so
    that nothing of an earlier launch remains; then it starts, waits and reads the error code.
    `totals`: by operation, launches and the sums of what their result headers report (beats, tiles,
    operand words of the array, ...), to compare with the performance model.
    """

    def __init__(self, transport: Transport, gap: int = 0, tiles: TilePlans | None = None) -> None:
        self.transport = transport
        self.tiles = TilePlans() if tiles is None else tiles
        self.memory = SharedMemory(transport, gap)
        self.totals: dict[str, dict[str, int]] = {}

    def run(self, launch: Launch) -> LaunchResult:
        """Run one launch to its end.

        Raises LaunchRefused before anything is written and KernelError for an error code of the
        accelerator.
        """
        check_sizes(launch.registers)
        words = hw.RESULT_SUMS + launch.results
        block = self.memory.block(words * WORD)
        launch.write("result_address", block, words * WORD)
        check_buffers(launch.buffers, self.transport.base, len(self.transport.memory))
        self._start(launch.registers)
        self.transport.wait()
        code = self.transport.read_register(hw.REGISTERS_ERROR)
        if code != hw.ERRORS_OK:
            raise KernelError(launch.operation, code)
        found = self.memory.download(block, np.int64, (words,))
        header = {name: int(found[at]) for name, at in hw.RESULT.items() if at < hw.RESULT_SUMS}
        self._count(launch.operation, header)
        return LaunchResult(header, found[hw.RESULT_SUMS :])

    def _start(self, registers: dict[str, int]) -> None:
        for name, offset in hw.OFFSETS.items():
            self.transport.write_register(offset, registers.get(name, 0) & 0xFFFFFFFF)
        self.transport.start()

    def _count(self, operation: str, header: dict[str, int]) -> None:
        totals = self.totals.setdefault(operation, {})
        for name, value in {"launches": 1, **header}.items():
            if name not in LARGEST:
                totals[name] = totals.get(name, 0) + value
