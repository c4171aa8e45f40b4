# SPDX-License-Identifier: Apache-2.0
"""What the scripts in bitstreams/ need to know of a board, generated as Tcl from its file."""

from __future__ import annotations

from pathlib import Path

from ..device.accelerator.config import CHECKOUT, Config, load_config
from ..device.accelerator.generator import NOTICE
from ..files import write_text
from .boards import MIB, Board, board_names, load_board

FOLDER = Path("bitstreams/generated")
CONTROL_BYTES = 1 << 16  # of addresses for the registers, as the vendor's tool assigns them


def master_ports(config: Config) -> list[tuple[str, int]]:
    """The kernel's AXI masters, as HLS names their interfaces, and the HP port of each."""
    interfaces = config["registers"]["hp"]
    return [(f"m_axi_gmem{index}", port) for index, port in enumerate(interfaces)]


def ps7_values(board: Board) -> dict[str, str]:
    """Parameters of Vivado's processing_system7 that say what is on the board."""
    ps7 = board.ps7
    return {
        "PCW_CRYSTAL_PERIPHERAL_FREQMHZ": f"{ps7.crystal_mhz:g}"
        if ps7.crystal_mhz.is_integer()
        else f"{ps7.crystal_mhz:.6f}",
        "PCW_APU_PERIPHERAL_FREQMHZ": f"{ps7.processor_mhz:.6f}",
        "PCW_UIPARAM_DDR_FREQ_MHZ": f"{ps7.ddr_mhz:.6f}",
        "PCW_UIPARAM_DDR_PARTNO": ps7.ddr_part,
        "PCW_UIPARAM_DDR_BUS_WIDTH": f"{ps7.ddr_bus_bits} Bit",
    }


def board_tcl(name: str, board: Board, config: Config) -> str:
    """NAME.tcl: one variable a fact."""
    masters = " ".join(f"{{{master} {port}}}" for master, port in master_ports(config))
    ps7 = " ".join(f"{key} {{{value}}}" for key, value in ps7_values(board).items())
    lines = [
        f'set BOARD_NAME "{name}"',
        f'set BOARD_PART "{board.part}"',
        f"set BOARD_FILES {{{' '.join(board.vivado.board_parts)}}}",
        f"set BOARD_FILES_SOURCE {{{board.vivado.board_files}}}",
        f"set BOARD_CLOCK_MHZ {board.fabric.clock_mhz}",
        f"set BOARD_CONTROL_BASE 0x{board.fabric.control_base:08x}",
        f"set BOARD_CONTROL_BYTES {CONTROL_BYTES}",
        f"set BOARD_DDR_BYTES {board.memory.ddr_mib * MIB}",
        f"set BOARD_PS7 {{{ps7}}}",
        f"set KERNEL_MASTERS {{{masters}}}",
    ]
    notice = NOTICE.replace("hls/config/hardware.toml", "hls/config/hardware.toml and the board")
    return notice + "\n".join(lines) + "\n"


def render(root: Path = CHECKOUT) -> dict[Path, str]:
    """Every board's generated file, by its path in the checkout."""
    config = load_config(root)
    return {
        FOLDER / f"{name}.tcl": board_tcl(name, load_board(name), config) for name in board_names()
    }


def stale(root: Path = CHECKOUT) -> list[Path]:
    """Generated files that are missing or differ from what configuration and boards give."""
    return [
        path
        for path, text in render(root).items()
        if not (root / path).exists() or (root / path).read_text(encoding="utf-8") != text
    ]


def generate(root: Path = CHECKOUT) -> list[Path]:
    """Write the files that are stale; returns them."""
    changed, files = stale(root), render(root)
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_text(root / path, files[path])
    return changed
