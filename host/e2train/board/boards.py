# SPDX-License-Identifier: Apache-2.0
"""The boards that a bitstream can be built for, one TOML file each beside this module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..checked import build, read_toml
from ..device.accelerator import generated as hw
from ..device.accelerator.zynq.open import SPARED_BYTES
from ..errors import UserError

FOLDER = Path(__file__).resolve().parent
MIB = 1 << 20
GP0 = range(0x4000_0000, 0x8000_0000)
"""Addresses of the processor's port to the fabric, M_AXI_GP0 (UG585, table 4-1)."""

BUS_BITS = (16, 32)


@dataclass(frozen=True)
class Vivado:
    """[vivado]: the board's names in the vendor's tools, preferred one first; where to get them."""

    board_parts: tuple[str, ...]
    board_files: str


@dataclass(frozen=True)
class Ps7:
    """[ps7]: what the processing system needs to be told where the board files are not installed.

    Frequencies in MHz; ddr_part as Vivado's list of memory parts calls it.
    """

    crystal_mhz: float
    processor_mhz: float
    ddr_mhz: float
    ddr_part: str
    ddr_bus_bits: int


@dataclass(frozen=True)
class Fabric:
    """[fabric]: clock of the accelerator in MHz, and the address of its registers."""

    clock_mhz: int
    control_base: int


@dataclass(frozen=True)
class Memory:
    """[memory], in MiB: all DDR, what Linux keeps, the image's pool of contiguous memory.

    The driver leaves SPARED_BYTES of a pool to others.
    """

    ddr_mib: int
    linux_mib: int
    pool_mib: int

    @property
    def most(self) -> int:
        """Bytes for tensors in a pool that has all DDR but Linux's."""
        return (self.ddr_mib - self.linux_mib) * MIB - SPARED_BYTES

    @property
    def room(self) -> int:
        """Bytes for tensors in the pool as the image has it."""
        return self.pool_mib * MIB - SPARED_BYTES


@dataclass(frozen=True)
class Power:
    """[power]: where a meter goes; idle power in W at that place, with its source, if known."""

    supply: str
    meter: str
    idle_w: float | None = None
    idle_source: str | None = None


@dataclass(frozen=True)
class Image:
    """[image]: the PYNQ image that the board starts from; whether PYNQ's makers publish it."""

    pynq: str
    official: bool
    source: str

    @property
    def summary(self) -> str:
        """A few words for a table."""
        return f"PYNQ {self.pynq}, {'official' if self.official else 'to be built'}"


@dataclass(frozen=True)
class Board:
    """One board; `title` is its name for people."""

    title: str
    part: str
    vivado: Vivado
    ps7: Ps7
    fabric: Fabric
    memory: Memory
    power: Power
    image: Image


def board_names() -> list[str]:
    """The names of the boards, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_board(name: str) -> Board:
    """The board called `name` (`zedboard`, ...); UserError for another name or a wrong file."""
    if name not in board_names():
        raise UserError(f"unknown board {name!r}: expected one of {', '.join(board_names())}")
    return read_board(FOLDER / f"{name}.toml")


def read_board(path: Path) -> Board:
    """The board in a TOML file. UserError, which names file and key, where a value is wrong."""
    board: Board = build(Board, read_toml(path), str(path))
    for key, problem in _problems(board).items():
        raise UserError(f"{path}: {key}: {problem}")
    return board


def _problems(board: Board) -> dict[str, str]:
    found = {}
    die, grade = board.part[:7], board.part.rpartition("-")[2]
    if (die, grade) != (hw.TARGET_PART[:7], hw.TARGET_PART.rpartition("-")[2]):
        found["part"] = (
            f"{board.part} given, expected the die and speed grade that the accelerator is "
            f"synthesised for, those of {hw.TARGET_PART}"
        )
    if not board.vivado.board_parts:
        found["vivado.board_parts"] = "empty, expected at least one name"
    if not 1 <= board.fabric.clock_mhz <= hw.TARGET_CLOCK_MHZ:
        found["fabric.clock_mhz"] = (
            f"{board.fabric.clock_mhz} given, expected 1 to {hw.TARGET_CLOCK_MHZ}, "
            "which the accelerator is synthesised for"
        )
    base = board.fabric.control_base
    if base not in GP0 or base % (1 << 16):
        found["fabric.control_base"] = (
            f"0x{base:08x} given, expected a multiple of 64 KiB from 0x{GP0.start:08x} to "
            f"0x{GP0.stop - 1:08x}, where the processor's port GP0 is"
        )
    memory = board.memory
    least = SPARED_BYTES // MIB + 1
    if not least <= memory.pool_mib <= memory.ddr_mib - memory.linux_mib:
        found["memory.pool_mib"] = (
            f"{memory.pool_mib} given, expected {least} to {memory.ddr_mib - memory.linux_mib} "
            "(ddr_mib less linux_mib)"
        )
    if board.ps7.ddr_bus_bits not in BUS_BITS:
        found["ps7.ddr_bus_bits"] = f"{board.ps7.ddr_bus_bits} given, expected 16 or 32"
    if (board.power.idle_w is None) != (board.power.idle_source is None):
        found["power.idle_w"] = "idle_w and idle_source belong together: give both or neither"
    return found
