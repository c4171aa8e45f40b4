# SPDX-License-Identifier: Apache-2.0
"""Device rtl: csim with its MAC core replaced by the Verilog, simulated by Verilator."""

from __future__ import annotations

from . import generated as hw
from .csim import CsimTransport
from .device import KernelDevice
from .rtl_build import load

OPERATIONS = {number: name for name, number in hw.OPERATIONS.items()}


class RtlTransport(CsimTransport):
    """csim's registers and memory, the core cycle by cycle.

    core_cycles: cycles of the core by operation, of all launches so far: its streams never wait for
    the memory here, so this is what the core itself takes.
    """

    name = "rtl (HLS C++, MAC core in Verilog)"
    _load = staticmethod(load)

    def __init__(self, *given: int) -> None:
        """Raises RtlUnavailable where the kernel cannot be built."""
        super().__init__(*given)
        self.core_cycles: dict[str, int] = {}

    def start(self) -> None:
        before = self._library.e2train_core_cycles()
        super().start()
        spent = self._library.e2train_core_cycles() - before
        operation = OPERATIONS.get(self.read_register(hw.REGISTERS_OPERATION), "unknown")
        self.core_cycles[operation] = self.core_cycles.get(operation, 0) + spent


def open_rtl() -> KernelDevice:
    """The accelerator with its core in Verilog. Raises RtlUnavailable where it cannot be built."""
    return KernelDevice(RtlTransport())
