# SPDX-License-Identifier: Apache-2.0
"""The generated C++: constants, the arguments of a launch, the top function, csim's entry."""

from __future__ import annotations

from .config import Config, argument_offsets

COSIMULATION_BEATS = 1 << 17
"""Beats of each memory port's array in the vendor's C/RTL cosimulation: 1 MiB."""

_ACCELERATOR = """\
// clang-format off
#include "e2train/accelerator.hpp"

// The register file, the memory ports and nothing else: e2::run does the work.
extern "C" std::uint32_t {top}(
{parameters}) {{
// 64-bit ports to the HP interfaces, whose AXI3 takes bursts of 16 beats.
{ports}
// Every base address and scalar, and the error code, in one register file.
{scalars}
#pragma HLS INTERFACE s_axilite port=return bundle=control
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

// The accelerator on a register file (32-bit words, index = offset / 4) and one memory that all
// ports see (byte address 0 is memory[0]). Returns the error code.
extern "C" std::uint32_t e2train_csim(const std::uint32_t *registers, std::uint64_t *memory) {{
    return {top}(
{values});
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
    """arguments.hpp: what a launch is told, a member for each argument register."""
    offsets = argument_offsets(config)
    members = "\n".join(
        f"    {_kind(name)} {name};  // 0x{offsets[name]:02x}"
        for name in config["registers"]["arguments"]
    )
    body = (
        "#include <cstdint>\n\nnamespace e2 {\n\n// clang-format off\n"
        f"struct Arguments {{\n{members}\n}};\n// clang-format on\n\n}}  // namespace e2\n"
    )
    return _guarded("ARGUMENTS", body)


def _parameters(config: Config) -> str:
    ports = config["registers"]["ports"]
    lines = [f"const e2::Beat *{name}" for name in ports[:-1]] + [f"e2::Beat *{ports[-1]}"]
    lines += [f"{_kind(name)} {name}" for name in config["registers"]["arguments"]]
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
        for name, at in offsets.items()
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
    values = ["memory"] * len(registers["ports"])
    for name in registers["arguments"]:
        word = f"registers[{offsets[name] // 4}]"
        signed = f"static_cast<std::int32_t>({word})"
        values.append(word if name.endswith("_address") else signed)
    return _CSIM.format(
        top=config["target"]["top"],
        parameters=_parameters(config),
        values=",\n".join(f"        {value}" for value in values),
    )
