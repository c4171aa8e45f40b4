# SPDX-License-Identifier: Apache-2.0
"""What an operator takes, in ns: the table in delays.toml."""

from __future__ import annotations

import sys
from math import ceil, log2
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = tomllib.loads((Path(__file__).with_name("delays.toml")).read_text(encoding="utf-8"))
BUDGET = TABLE["clock"]["period"] * (1 - TABLE["clock"]["uncertainty"])
FREE = {"zext", "sext", "trunc", "bitcast", "freeze", "ptrtoint", "inttoptr", "extractvalue",
        "insertvalue", "alloca", "br", "switch", "unreachable", "ret"}  # fmt: skip
DSP_WIDE, DSP_NARROW = 25, 18


def add(bits: int) -> float:
    return max(TABLE["add"]["at_32"] + (bits - 32) * TABLE["add"]["a_bit"], TABLE["logic"]["delay"])


def compare(bits: int) -> float:
    table = TABLE["compare"]
    return table["least"] if bits <= 1 else table["at_32"] + (bits - 32) * table["a_bit"]


def logic() -> float:
    return TABLE["logic"]["delay"]


def select(ways: int = 2) -> float:
    return TABLE["select"]["delay"] * max(1, ceil(log2(max(ways, 2))))


def shift(bits: int) -> float:
    return TABLE["shift"]["a_level"] * ceil(log2(max(bits, 2)))


def fits_dsp(a: int, b: int) -> bool:
    return max(a, b) <= DSP_WIDE and min(a, b) <= DSP_NARROW


def multiply(a: int, b: int) -> float:
    return TABLE["multiply"]["dsp" if fits_dsp(a, b) else "wide"]


def divide(bits: int) -> float:
    return TABLE["divide"]["a_bit"] * bits


def fifo() -> float:
    return TABLE["fifo"]["delay"]


def memory(lookup: bool) -> float:
    table = TABLE["memory"]
    return table["lookup"] if lookup else BUDGET + table["clock_to_out"]


def port() -> float:
    return TABLE["port"]["cycles"] * BUDGET
