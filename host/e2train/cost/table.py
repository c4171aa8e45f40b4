# SPDX-License-Identifier: Apache-2.0
"""The cost table `costs.toml` as checked data."""

from __future__ import annotations

import math
import re
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
    """What the board does a second, and its power at the 12 V input."""

    dsp_slices: float
    clock_hz: float
    efficiency: float
    dram_bytes_per_s: float
    idle_w: float
    processor_active_w: float
    fabric_energy_ratio: float
    processor_macs_per_s: float


@dataclass(frozen=True)
class CostTable:
    """All of `costs.toml`; `macs_per_dsp` by operand widths ("8x16", smaller first) and `other`."""

    published: Published
    choice: Choice
    board: Board
    macs_per_dsp: dict[str, float]


Part = TypeVar("Part", Published, Choice, Board)


def load_table(path: Path | None = None) -> CostTable:
    """Read and check a cost table (default: the package's); UserError names file and key."""
    path = DEFAULT_PATH if path is None else path
    try:
        content = parse_toml(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: not a TOML file: {error}") from error
    board = dict(_section(path, content, "board", content.get("board")))
    rates = _section(path, content, "board.macs_per_dsp", board.pop("macs_per_dsp", None))
    _refuse_unknown(path, "", content, ("published", "choice", "board"))
    return CostTable(
        _part(
            path,
            "published",
            _section(path, content, "published", content.get("published")),
            Published,
        ),
        _part(path, "choice", _section(path, content, "choice", content.get("choice")), Choice),
        _part(path, "board", board, Board),
        _rates(path, rates),
    )


def _section(path: Path, content: dict[str, Any], name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{path}: section [{name}] is missing")
    return value


def _refuse_unknown(
    path: Path, section: str, given: dict[str, Any], known: tuple[str, ...]
) -> None:
    for key in given:
        if key not in known:
            raise UserError(f"{path}: unknown key '{section}{key}'")


def _part(path: Path, section: str, given: dict[str, Any], kind: type[Part]) -> Part:
    names = tuple(field.name for field in fields(kind))
    _refuse_unknown(path, f"{section}.", given, names)
    return kind(**{name: _number(path, section, given, name) for name in names})


def _rates(path: Path, given: dict[str, Any]) -> dict[str, float]:
    for key in given:
        if key != "other" and not re.fullmatch(r"\d+x\d+", key):
            raise UserError(f"{path}: key 'board.macs_per_dsp.{key}': expected widths such as 8x16")
    return {
        name: _number(path, "board.macs_per_dsp", given, name) for name in {**given, "other": 0}
    }


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
