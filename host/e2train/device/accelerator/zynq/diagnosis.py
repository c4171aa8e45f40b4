# SPDX-License-Identifier: Apache-2.0
"""What went wrong on the board, in a line: registers, the last launch, the likely cause."""

from __future__ import annotations

from ....errors import UserError
from .. import generated as hw

START, DONE, IDLE, READY = 1, 2, 4, 8  # of the control register
RESPONSES = ("SLVERR on a read", "DECERR on a read", "SLVERR on a write", "DECERR on a write")
HINTS = {
    "SLVERR": "the memory controller refused it",
    "DECERR": "no memory answers at the address",
}
OPERATIONS = {code: name for name, code in hw.OPERATIONS.items()}
SHOWN = ("samples", "channels", "height", "width", "filters", "kernel_h", "kernel_w", "stride")


class BoardError(UserError):
    """The board did not do what it was told; the text says in a line what is known."""


def launch_text(registers: dict[int, int]) -> str:
    """The launch that registers (by offset) describe."""
    code = registers.get(hw.OFFSETS["operation"], 0)
    told = [f"{name} {registers.get(hw.OFFSETS[name], 0)}" for name in SHOWN]
    return f"{OPERATIONS.get(code, f'operation {code}')} ({', '.join(told)})"


def responses_text(seen: int) -> str:
    """The ports of the bus watch's bits, and what each has met."""
    found = []
    for port, name in enumerate(hw.PORTS):
        kinds = [kind for bit, kind in enumerate(RESPONSES) if seen >> (4 * port + bit) & 1]
        if kinds:
            found.append(f"{name} (gmem{port}) met {' and '.join(kinds)}")
    hints = [hint for kind, hint in HINTS.items() if any(kind in text for text in found)]
    return f"{'; '.join(found)}: {', '.join(hints)}"


def bus_error(launch: str, seen: int) -> BoardError:
    """A launch ended, but the memory refused part of it."""
    return BoardError(f"zynq: {launch}: bus error: {responses_text(seen)}; its results are lost")


def hang(launch: str, seconds: float, registers: dict[str, int], seen: int | None) -> BoardError:
    """A launch did not end; registers: control, interrupt status, enables, by name."""
    values = ", ".join(f"{name} 0x{value:x}" for name, value in registers.items())
    cause = responses_text(seen) if seen else _cause(registers)
    return BoardError(
        f"zynq: {launch} did not end within {seconds:g} s ({values}); suspected: {cause}"
    )


def _cause(registers: dict[str, int]) -> str:
    control, status = registers["control"], registers["interrupt status"]
    if control == 0xFFFFFFFF:
        return "the registers do not answer: the fabric has no clock, or another overlay is loaded"
    if control & DONE or status & 1:
        return (
            "the kernel is done, but its interrupt did not arrive: is the line at IRQ_F2P[0], and "
            "does another program use its UIO device?"
        )
    if control & START or not control & IDLE:
        return (
            "the kernel waits for memory that does not answer: is every port at an HP interface "
            "that is enabled?"
        )
    return "the kernel is idle and was not started: did another program write to its registers?"
