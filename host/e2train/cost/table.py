# SPDX-License-Identifier: Apache-2.0
"""The cost table `costs.toml` as checked data."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from ..checked import parse_toml
from ..errors import UserError

DEFAULT_PATH = Path(__file__).with_name("costs.toml")
FROM_ZERO = ("dram_position", "idle_w", "processor_active_w")  # the others must be above 0


@dataclass(frozen=True)
class Published:
    """Published energies: pJ an operation, or pJ a 64-bit access."""

    int_add_8_pj: float
    int_add_32_pj: float
    int_multiply_8_pj: float
    int_multiply_32_pj: float
    float_add_32_pj: float
    float_multiply_32_pj: float
    sram_8kb_64bit_pj: float
    dram_64bit_low_pj: float
    dram_64bit_high_pj: float


@dataclass(frozen=True)
class Choice:
    """Where the published figures leave a choice."""

    dram_position: float
    narrow_product_bits: float
    narrow_accumulator_bits: float
    wide_accumulator_bits: float


@dataclass(frozen=True)
class Board:
    """The board's power at the 12 V input, and what its processor does a second."""

    idle_w: float
    processor_active_w: float
    fabric_energy_ratio: float
    processor_macs_per_s: float


@dataclass(frozen=True)
class Hypothetical:
    """What computing float32 on this board would need; no kernel of the accelerator does."""

    dsp_per_float_mac: float
    neon_clock_hz: float
    neon_macs_per_cycle: float
    neon_cores: float
    neon_efficiency: float


@dataclass(frozen=True)
class CostTable:
    """All of `costs.toml`."""

    published: Published
    choice: Choice
    board: Board
    hypothetical: Hypothetical


TablePart = TypeVar("TablePart", Published, Choice, Board, Hypothetical)


def load_table(path: Path | None = None) -> CostTable:
    """Read and check a cost table (default: the package's); UserError names file and key."""
    path = DEFAULT_PATH if path is None else path
    try:
        content = parse_toml(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: not a TOML file: {error}") from error
    _refuse_unknown(path, "", content, tuple(field.name for field in fields(CostTable)))
    return CostTable(
        _part(path, "published", content, Published),
        _part(path, "choice", content, Choice),
        _part(path, "board", content, Board),
        _part(path, "hypothetical", content, Hypothetical),
    )


def _refuse_unknown(
    path: Path, section: str, given: dict[str, Any], known: tuple[str, ...]
) -> None:
    for key in given:
        if key not in known:
            raise UserError(f"{path}: unknown key '{section}{key}'")


def _part(path: Path, section: str, content: dict[str, Any], kind: type[TablePart]) -> TablePart:
    given = content.get(section)
    if not isinstance(given, dict):
        raise UserError(f"{path}: section [{section}] is missing")
    names = tuple(field.name for field in fields(kind))
    _refuse_unknown(path, f"{section}.", given, names)
    return kind(**{name: _number(path, section, given, name) for name in names})


def _number(path: Path, section: str, given: dict[str, Any], name: str) -> float:
    where = f"{path}: key '{section}.{name}'"
    if name not in given:
        raise UserError(f"{where} is missing")
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UserError(f"{where}: {value!r} given, expected a number")
    if value < 0 or (value == 0 and name not in FROM_ZERO):
        raise UserError(f"{where}: {value!r} given, expected more than 0")
    return float(value)
