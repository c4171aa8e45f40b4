# SPDX-License-Identifier: Apache-2.0
"""The accelerator's sources and how a compiler here finds what they include."""

from __future__ import annotations

import importlib.util
import subprocess
from functools import cache
from pathlib import Path

HLS = Path(__file__).resolve().parent.parent


class Missing(Exception):
    """Something that a check needs is not installed; the text says what, in one line."""


def synthesised(hls: Path = HLS) -> list[Path]:
    """Every file that becomes hardware: what scripts/project.tcl adds, headers left out."""
    sources = sorted((hls / "src").glob("*.cpp"))
    return [*sources, hls / "src/generated/e2train_accelerator.cpp"]


def bench(hls: Path = HLS) -> list[Path]:
    """The test bench, which is software only."""
    return [*sorted((hls / "tb").glob("*.cpp")), hls / "src/generated/csim_abi.cpp"]


@cache
def ap_types() -> Path:
    """The folder of ap_int.h and hls_stream.h in the installed hls4ml, which is not imported."""
    found = importlib.util.find_spec("hls4ml")
    if found is None or not found.submodule_search_locations:
        raise Missing("hls4ml is not installed: pip install hls4ml (its wheel has ap_int.h)")
    return Path(found.submodule_search_locations[0]) / "templates/vivado/ap_types"


@cache
def system_includes() -> tuple[str, ...]:
    """The folders where g++ looks for the C++ library; libclang's wheel brings none."""
    try:
        shown = subprocess.run(
            ["g++", "-E", "-x", "c++", "-std=c++14", "-v", "/dev/null"],
            capture_output=True,
            text=True,
            check=True,
        ).stderr
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing("g++ is missing; on Debian: apt-get install g++") from error
    listed = shown.split("#include <...> search starts here:")[1].split("End of search list.")[0]
    return tuple(line.strip() for line in listed.splitlines() if line.strip())
