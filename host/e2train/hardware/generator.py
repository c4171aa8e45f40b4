# SPDX-License-Identifier: Apache-2.0
"""Writes what C++, Verilog, Tcl and Python share from the one hardware configuration."""

from __future__ import annotations

from pathlib import Path

from ..files import write_text
from . import cpp_files
from .config import CHECKOUT, CONFIG, Config, argument_offsets, load_config

WARNING = f"Generated from {CONFIG} by `e2train hardware generate`: do not edit."
NOTICE = f"# SPDX-License-Identifier: Apache-2.0\n# {WARNING}\n"


def constants(config: Config) -> dict[str, int]:
    """Every integer of the configuration as SECTION_KEY, and every argument's register offset."""
    found = {
        f"{section}_{key}".upper(): value
        for section, values in config.items()
        for key, value in values.items()
        if isinstance(value, int)
    }
    offsets = argument_offsets(config)
    found |= {f"REGISTERS_{name}".upper(): offset for name, offset in offsets.items()}
    found["REGISTERS_WORDS"] = (max(offsets.values()) + 4) // 4
    found["COSIMULATION_BEATS"] = cpp_files.COSIMULATION_BEATS
    return found


def strings(config: Config) -> dict[str, str]:
    """Every string of the configuration as SECTION_KEY."""
    return {
        f"{section}_{key}".upper(): value
        for section, values in config.items()
        for key, value in values.items()
        if isinstance(value, str)
    }


def _python(config: Config) -> str:
    lines = [NOTICE + '"""The hardware configuration, for hosts without the checkout."""\n']
    lines += [f'{name} = "{value}"' for name, value in strings(config).items()]
    lines += [f"{name} = {value}" for name, value in constants(config).items()]
    for section in ("operations", "options", "errors", "result"):
        lines.append(f"\n{section.upper()} = {{")
        lines += [f'    "{key}": {value},' for key, value in config[section].items()]
        lines.append("}")
    lines.append("\nOFFSETS = {")
    lines += [f'    "{name}": 0x{at:02X},' for name, at in argument_offsets(config).items()]
    lines.append("}\n\nPORTS = (")
    lines += [f'    "{name}",' for name in config["registers"]["ports"]]
    lines.append(")")
    return "\n".join(lines) + "\n"


def _tcl(config: Config) -> str:
    lines = [f'set {name} "{value}"' for name, value in strings(config).items()]
    lines += [f"set {name} {value}" for name, value in constants(config).items()]
    return NOTICE + "\n".join(lines) + "\n"


def _verilog(config: Config) -> str:
    lines = [f"localparam integer {name} = {value};" for name, value in constants(config).items()]
    return NOTICE.replace("# ", "// ") + "\n".join(lines) + "\n"


def render(config: Config) -> dict[Path, str]:
    """Every generated file, by its path in the checkout."""
    notice = NOTICE.replace("# ", "// ")
    return {
        Path("hls/include/e2train/generated/hardware.hpp"): notice
        + cpp_files.hardware(constants(config)),
        Path("hls/include/e2train/generated/arguments.hpp"): notice + cpp_files.arguments(config),
        Path("hls/src/generated/e2train_accelerator.cpp"): notice + cpp_files.accelerator(config),
        Path("hls/src/generated/csim_abi.cpp"): notice + cpp_files.csim_abi(config),
        Path("hls/scripts/generated/hardware.tcl"): _tcl(config),
        Path("hls/rtl/generated/e2train_hardware.vh"): _verilog(config),
        Path("host/e2train/hardware/generated.py"): _python(config),
    }


def stale(root: Path = CHECKOUT) -> list[Path]:
    """Generated files that are missing or differ from what the configuration gives."""
    return [
        path
        for path, text in render(load_config(root)).items()
        if not (root / path).exists() or (root / path).read_text(encoding="utf-8") != text
    ]


def generate(root: Path = CHECKOUT) -> list[Path]:
    """Write the files that are stale; returns them."""
    changed = stale(root)
    files = render(load_config(root))
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_text(root / path, files[path])
    return changed
