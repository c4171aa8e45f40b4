# SPDX-License-Identifier: Apache-2.0
"""Reads hls/config/hardware.toml, the one description of the accelerator."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ...checked import read_toml
from ...errors import UserError

CHECKOUT = Path(__file__).resolve().parents[4]
CONFIG = Path("hls/config/hardware.toml")
LISTS = {("registers", "ports"), ("registers", "hp"), ("registers", "arguments")}
HP_PORTS = 4  # of a Zynq-7000
SECTIONS = (
    "target",
    "abi",
    "array",
    "widths",
    "buffers",
    "limits",
    "bandwidth",
    "operations",
    "options",
    "errors",
    "registers",
    "names",
    "result",
)

ELSEWHERE = {
    "target": {"part", "clock_mhz"},  # of the board
    "bandwidth": {"total_bytes_per_cycle"},  # of the performance model
    "registers": {"hp"},  # of the block design around the kernel
}
"""Keys that neither the kernel's function nor its registers depend on."""

Config = dict[str, dict[str, Any]]


def load_config(root: Path = CHECKOUT) -> Config:
    """The configuration of the checkout at `root`: section -> key -> integer, string or names.

    Raises UserError where the file is missing or is not what the generator can use.
    """
    path = root / CONFIG
    if not path.exists():
        raise UserError(f"{path}: not found; the hardware files need a checkout's hls folder")
    config: Config = read_toml(path)
    for problem in _problems(config):
        raise UserError(f"{path}: {problem}")
    return config


def _problems(config: Config) -> list[str]:
    found = [f"no section [{name}]" for name in SECTIONS if name not in config]
    found += [f"unknown section [{name}]" for name in config if name not in SECTIONS]
    for section, values in config.items():
        if not isinstance(values, dict):
            found.append(f"{section} = {values!r}: expected a section [{section}]")
            continue
        for key, value in values.items():
            listed = (section, key) in LISTS
            text = section in ("target", "names")
            expected: type = list if listed else str if text else int
            if key == "clock_mhz":
                expected = int
            if not isinstance(value, expected) or isinstance(value, bool):
                found.append(f"[{section}] {key}: {value!r} given, expected {expected.__name__}")
    if found:
        return found
    for section in ("operations", "options", "errors", "result"):
        numbers = list(config[section].values())
        if len(set(numbers)) != len(numbers):
            found.append(f"[{section}]: two names share a number")
    names = config["registers"]["ports"] + config["registers"]["arguments"]
    if len(set(names)) != len(names):
        found.append("[registers]: two registers share a name")
    interfaces = config["registers"]["hp"]
    if len(interfaces) != len(config["registers"]["ports"]) or any(
        interface not in range(HP_PORTS) for interface in interfaces
    ):
        found.append(
            f"[registers] hp: expected an HP interface, 0 to {HP_PORTS - 1}, for each port"
        )
    for name, register in config["names"].items():
        if register not in config["registers"]["arguments"]:
            found.append(f"[names] {name}: no register {register!r}")
        if name in names:
            found.append(f"[names] {name}: a register has this name")
    if not 0 <= max(config["options"].values()) < 31:
        found.append("[options]: bits 0 to 30 only")
    return found


def argument_offsets(config: Config) -> dict[str, int]:
    """Byte offset of every port's base address and every argument, in the register file's order."""
    registers = config["registers"]
    names = registers["ports"] + registers["arguments"]
    return {name: registers["first"] + i * registers["step"] for i, name in enumerate(names)}


def configuration_hash(config: Config) -> int:
    """Positive 31-bit number of everything that shapes the kernel or its registers.

    31 bits, so that a plain integer of C++, Verilog or Tcl holds it. Order and spelling of the file
    do not matter, nor do board and clock: the same kernel has the same hash on each of them.
    """
    shaping = {
        section: {
            key: value for key, value in values.items() if key not in ELSEWHERE.get(section, ())
        }
        for section, values in config.items()
    }
    text = json.dumps(shaping, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1 or 1
