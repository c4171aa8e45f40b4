# SPDX-License-Identifier: Apache-2.0
"""Writes what C++, Verilog, Tcl and Python share from the one hardware configuration.

Of C++ that is: constants, the arguments of a launch, the top function and csim's entry to it.
"""

from __future__ import annotations

from pathlib import Path

from ...files import write_text
from .config import CHECKOUT, CONFIG, Config, argument_offsets, configuration_hash, load_config

COSIMULATION_BEATS = 1 << 17
"""Beats of each memory port's array in the vendor's C/RTL cosimulation: 1 MiB."""

IDENTITY = ("abi_version", "configuration_hash")
"""Registers that every launch sets, even one that is refused: what the kernel is."""

_ACCELERATOR = """\
// clang-format off
#include "e2train/accelerator.hpp"

// The register file, the memory ports and nothing else: e2::run does the work.
extern "C" std::uint32_t {top}(
{parameters}) {{
// 64-bit ports to the HP interfaces, whose AXI3 takes bursts of 16 beats.
{ports}
// Every base address and scalar, what the kernel is and the error code, in one register file.
{scalars}
#pragma HLS INTERFACE s_axilite port=return bundle=control
    *abi_version = e2::ABI_VERSION;
    *configuration_hash = e2::CONFIGURATION_HASH;
    e2::Arguments arguments;
{assignments}
    return e2::run(arguments, {names});
}}
"""

_CSIM = """\
// clang-format off
#include <cstdint>

#include "e2train/types.hpp"

extern "C" std::uint32_t {top}(
{parameters});

// The accelerator on a register file (32-bit words, index = offset / 4) and memory ports in the
// order of the configuration. Returns the error code.
extern "C" std::uint32_t e2train_launch(const std::uint32_t *registers, e2::Beat *const *ports,
                                        std::uint32_t *abi_version,
                                        std::uint32_t *configuration_hash) {{
    return {top}(
{values});
}}

// The same on one memory that all ports see (byte address 0 is memory[0]); what the kernel is goes
// to its registers.
extern "C" std::uint32_t e2train_csim(std::uint32_t *registers, e2::Beat *memory) {{
    e2::Beat *const ports[] = {{{memories}}};
    return e2train_launch(registers, ports, {identity});
}}
"""


def _guarded(name: str, body: str) -> str:
    guard = f"E2TRAIN_GENERATED_{name}_HPP"
    return f"#ifndef {guard}\n#define {guard}\n\n{body}\n#endif\n"


def hardware(constants: dict[str, int]) -> str:
    """hardware.hpp: every integer of the configuration."""
    lines = "\n".join(f"constexpr int {name} = {value};" for name, value in constants.items())
    return _guarded("HARDWARE", f"namespace e2 {{\n\n{lines}\n\n}}  // namespace e2\n")


def _kind(name: str) -> str:
    return "std::uint32_t" if name.endswith("_address") else "std::int32_t"


def arguments(config: Config) -> str:
    """arguments.hpp: what a launch is told: a member a register, and names of other uses."""
    offsets = argument_offsets(config)
    members = "\n".join(
        f"    {_kind(name)} {name};  // 0x{offsets[name]:02x}"
        for name in config["registers"]["arguments"]
    )
    own_names = "\n".join(
        f"    {_kind(register)} {name}() const {{ return {register}; }}"
        for name, register in config["names"].items()
    )
    body = (
        "#include <cstdint>\n\nnamespace e2 {\n\n// clang-format off\n"
        f"struct Arguments {{\n{members}\n\n{own_names}\n}};\n"
        "// clang-format on\n\n}  // namespace e2\n"
    )
    return _guarded("ARGUMENTS", body)


def _parameters(config: Config) -> str:
    ports = config["registers"]["ports"]
    lines = [f"const e2::Beat *{name}" for name in ports[:-1]] + [f"e2::Beat *{ports[-1]}"]
    lines += [f"{_kind(name)} {name}" for name in config["registers"]["arguments"]]
    lines += [f"std::uint32_t *{name}" for name in IDENTITY]
    return ",\n".join(f"    {line}" for line in lines)


def accelerator(config: Config) -> str:
    """e2train_accelerator.cpp: the top function with its interfaces."""
    registers, offsets = config["registers"], argument_offsets(config)
    burst = "max_read_burst_length=16 max_write_burst_length=16"
    ports = "\n".join(
        f"#pragma HLS INTERFACE m_axi port={name} offset=slave bundle=gmem{i} "
        f"depth={COSIMULATION_BEATS} {burst}"
        for i, name in enumerate(registers["ports"])
    )
    scalars = "\n".join(
        f"#pragma HLS INTERFACE s_axilite port={name} bundle=control offset=0x{at:02x}"
        for name, at in {**offsets, **{name: registers[name] for name in IDENTITY}}.items()
    )
    return _ACCELERATOR.format(
        top=config["target"]["top"],
        parameters=_parameters(config),
        ports=ports,
        scalars=scalars,
        assignments="\n".join(f"    arguments.{n} = {n};" for n in registers["arguments"]),
        names=", ".join(registers["ports"]),
    )


def csim_abi(config: Config) -> str:
    """csim_abi.cpp: the top function called on a register file and a memory."""
    registers, offsets = config["registers"], argument_offsets(config)
    values = [f"ports[{index}]" for index in range(len(registers["ports"]))]
    for name in registers["arguments"]:
        word = f"registers[{offsets[name] // 4}]"
        signed = f"static_cast<std::int32_t>({word})"
        values.append(word if name.endswith("_address") else signed)
    values += IDENTITY
    return _CSIM.format(
        top=config["target"]["top"],
        parameters=_parameters(config),
        values=",\n".join(f"        {value}" for value in values),
        memories=", ".join("memory" for _ in registers["ports"]),
        identity=", ".join(f"registers + {registers[name] // 4}" for name in IDENTITY),
    )


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
    found["CONFIGURATION_HASH"] = configuration_hash(config)
    found["COSIMULATION_BEATS"] = COSIMULATION_BEATS
    return found


def strings(config: Config) -> dict[str, str]:
    """Every string of the configuration as SECTION_KEY."""
    return {
        f"{section}_{key}".upper(): value
        for section, values in config.items()
        for key, value in values.items()
        if isinstance(value, str) and section != "names"
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
    lines.append("}\n\nNAMES = {")
    lines += [f'    "{name}": "{register}",' for name, register in config["names"].items()]
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
        Path("hls/include/e2train/generated/hardware.hpp"): notice + hardware(constants(config)),
        Path("hls/include/e2train/generated/arguments.hpp"): notice + arguments(config),
        Path("hls/src/generated/e2train_accelerator.cpp"): notice + accelerator(config),
        Path("hls/src/generated/csim_abi.cpp"): notice + csim_abi(config),
        Path("hls/scripts/generated/hardware.tcl"): _tcl(config),
        Path("hls/rtl/generated/e2train_hardware.vh"): _verilog(config),
        Path("host/e2train/device/accelerator/generated.py"): _python(config),
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
