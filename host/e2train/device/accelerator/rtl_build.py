# SPDX-License-Identifier: Apache-2.0
"""Builds the accelerator with its MAC core in Verilog, and a bench of the core alone.

Verilator makes C++ of the Verilog; a harness drives it cycle by cycle in the place of the core's
C++ function. It needs what csim needs, and Verilator.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from .. import build
from . import csim_build, verilator
from .config import CHECKOUT
from .csim_build import CsimUnavailable
from .verilator import RTL, RtlUnavailable

REPLACED = Path("hls/src/mac_core.cpp")
HARNESS = RTL / "harness"
# What the model does once (its constructor, ...) is as long as what it does in every cycle, and not
# worth a compiler's time.
FLAGS = ("-std=c++17", "-fPIC", "-O2", "-march=native", "-w")
SLOW_FLAGS = ("-std=c++17", "-fPIC", "-O0", "-w")


def _model_jobs(
    folder: Path, root: Path, flags: tuple[str, ...] = FLAGS
) -> list[tuple[Path, tuple[str, ...]]]:
    """What to compile for the Verilated core, the longest files first."""
    model = folder / "model"
    model.mkdir()
    files, includes = verilator.verilate(model, root)
    listed = tuple(word for path in (*includes, root / HARNESS) for word in ("-I", str(path)))
    files.sort(key=lambda path: ("Slow" in path.name, -path.stat().st_size))
    return [(path, (*(SLOW_FLAGS if "Slow" in path.name else flags), *listed)) for path in files]


def _key(compiler: str, root: Path, files: list[Path]) -> str:
    binary, _ = verilator.verilator()
    words = (*verilator.MODEL, *FLAGS, *SLOW_FLAGS, binary, str(Path(binary).stat().st_size))
    listed = [*verilator.sources(root), *verilator.headers(root), *files]
    harness = sorted((root / HARNESS).glob("*.[ch]pp"))
    return build.key(compiler, words, root, [*listed, *harness])


def _bind(path: Path) -> ctypes.CDLL:
    library = csim_build.bind(path)
    library.e2train_core_cycles.restype = ctypes.c_uint64
    return library


def _built(kind: str, hashed: str, compile_: build.Compile, bind: build.Bind) -> ctypes.CDLL:
    try:
        return build.built_library(kind, hashed, compile_, bind)
    except build.BuildError as error:
        raise RtlUnavailable(f"device rtl: {error}") from error


def _compiler() -> str:
    try:
        return build.compiler()
    except build.BuildError as error:
        raise RtlUnavailable(f"device rtl: {error}") from error


def prerequisites(root: Path = CHECKOUT) -> str:
    """What rtl would be built from, in a line; RtlUnavailable where something is missing."""
    verilator.verilator()
    try:
        kernels = csim_build.prerequisites(root)
    except CsimUnavailable as error:
        raise RtlUnavailable(str(error).replace("device csim", "device rtl")) from error
    return f"Verilog, {len(verilator.sources(root))} files, Verilator; {kernels}"


@cache
def load(root: Path = CHECKOUT) -> ctypes.CDLL:
    """csim's library with the Verilated core in it, built at first use.

    Beside `e2train_csim` it has `e2train_core_cycles()`: cycles of the core in all launches so far.
    Raises RtlUnavailable where something is missing.
    """
    prerequisites(root)
    compiler = _compiler()
    kernels = [path for path in csim_build.sources(root) if path != root / REPLACED]

    def compile_(folder: Path, target: Path) -> None:
        jobs = _model_jobs(folder, root)
        include = jobs[0][1]
        harness = (*include, *csim_build.kernel_flags(root)[len(csim_build.FLAGS) :])
        jobs.append((root / HARNESS / "mac_core.cpp", (*harness, "-Wno-unknown-pragmas")))
        jobs += [(source, csim_build.kernel_flags(root)) for source in kernels]
        csim_build.link(compiler, csim_build.compile_objects(compiler, jobs, folder), target)

    files = [*csim_build.sources(root), *sorted((root / "hls/include").rglob("*.hpp"))]
    return _built("rtl", _key(compiler, root, files), compile_, _bind)


def build_bench(
    folder: Path, target: Path, root: Path = CHECKOUT, extra: tuple[str, ...] = ()
) -> None:
    """Make `target`, the core alone with `e2_rtl_bench` of harness/bench.cpp; `folder` holds what
    passes. `extra`: further flags of the compiler.

    Raises RtlUnavailable or BuildError.
    """
    jobs = _model_jobs(folder, root, (*FLAGS, *extra))
    jobs.append((root / HARNESS / "bench.cpp", jobs[0][1]))
    compiler = build.compiler()
    csim_build.link(compiler, csim_build.compile_objects(compiler, jobs, folder), target)


@cache
def load_bench(root: Path = CHECKOUT) -> ctypes.CDLL:
    """The bench of the core alone, built at first use.

    Raises RtlUnavailable where something is missing.
    """

    def compile_(folder: Path, target: Path) -> None:
        build_bench(folder, target, root)

    def bind(path: Path) -> ctypes.CDLL:
        library = ctypes.CDLL(str(path))
        library.e2_rtl_bench.restype = ctypes.c_int32
        return library

    return _built("rtl-bench", _key(_compiler(), root, []), compile_, bind)
