# SPDX-License-Identifier: Apache-2.0
"""Builds the accelerator's HLS C++ with the host's compiler, once, as a shared library.

It needs a checkout's hls folder and the ap_types headers of AMD's HLS tools, which the hls4ml
package carries.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ...errors import UserError
from .. import build
from .config import CHECKOUT

FLAGS = ("-std=c++14", "-O3", "-march=native", "-fPIC", "-Wno-unknown-pragmas")
AP_TYPES = Path("templates/vivado/ap_types")
BUILD_SECONDS = 600


class CsimUnavailable(UserError):
    """The accelerator's C++ cannot be built here; the text says in one line what is missing."""


def ap_types() -> Path:
    """Folder of ap_int.h and hls_stream.h; CsimUnavailable where hls4ml is not installed."""
    spec = find_spec("hls4ml")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / AP_TYPES / "ap_int.h").exists():
            return Path(folder) / AP_TYPES
    raise CsimUnavailable(
        "device csim needs the ap_types headers of hls4ml: pip install 'e2train[hls]'"
    )


def sources(root: Path = CHECKOUT) -> list[Path]:
    """The accelerator's C++ files; CsimUnavailable where there is no checkout."""
    found = sorted((root / "hls/src").rglob("*.cpp"))
    if not found:
        raise CsimUnavailable(f"device csim needs the checkout's C++: no {root / 'hls/src'}/*.cpp")
    return found


def prerequisites(root: Path = CHECKOUT) -> str:
    """What csim would be built from, in a line; CsimUnavailable where something is missing."""
    try:
        compiler = build.compiler()
    except build.BuildError as error:
        raise CsimUnavailable(f"device csim: {error}") from error
    ap_types()
    return f"HLS C++, {len(sources(root))} files, {Path(compiler).name}"


def _key(compiler: str, root: Path) -> str:
    files = (*sources(root), *sorted((root / "hls/include").rglob("*.hpp")))
    return build.key(compiler, (*FLAGS, str(ap_types())), root, files)


def compile_objects(
    compiler: str, jobs: list[tuple[Path, tuple[str, ...]]], folder: Path
) -> list[Path]:
    """Compile sources, each with its flags, as many at once as there are processors.

    Returns the objects, in `folder`. Raises BuildError.
    """
    objects = [folder / f"{index}.o" for index in range(len(jobs))]

    def make_object(job: tuple[Path, tuple[str, ...]], made: Path) -> None:
        source, flags = job
        command = [compiler, *flags, "-c", str(source), "-o", str(made)]
        build.run_compiler(command, BUILD_SECONDS)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(make_object, jobs, objects))
    return objects


def link(compiler: str, objects: list[Path], target: Path) -> None:
    """Make a shared library of objects. Raises BuildError."""
    build.run_compiler([compiler, "-shared", *map(str, objects), "-o", str(target)], BUILD_SECONDS)


def kernel_flags(root: Path = CHECKOUT, flags: Sequence[str] = FLAGS) -> tuple[str, ...]:
    """What the accelerator's own C++ is compiled with."""
    return (*flags, "-I", str(root / "hls/include"), "-isystem", str(ap_types()))


def compile_kernel(
    compiler: str,
    root: Path,
    folder: Path,
    target: Path,
    flags: Sequence[str] = FLAGS,
    files: Sequence[Path] | None = None,
) -> None:
    """The kernel's C++, or other `files` on its headers, as a shared library. Raises BuildError."""
    words = kernel_flags(root, flags)
    chosen = sources(root) if files is None else files
    link(compiler, compile_objects(compiler, [(one, words) for one in chosen], folder), target)


def bind(path: Path) -> ctypes.CDLL:
    """The library at `path`, its entry declared."""
    library = ctypes.CDLL(str(path))
    library.e2train_csim.restype = ctypes.c_uint32
    library.e2train_csim.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    return library


@cache
def load(root: Path = CHECKOUT) -> ctypes.CDLL:
    """The accelerator as a library with `e2train_csim(registers, memory)`, built at first use.

    Raises CsimUnavailable where the checkout, hls4ml's headers or a compiler are missing.
    """
    prerequisites(root)

    def compile_(folder: Path, target: Path) -> None:
        compile_kernel(compiler, root, folder, target)

    try:
        compiler = build.compiler()
        return build.built_library("csim", _key(compiler, root), compile_, bind)
    except build.BuildError as error:
        raise CsimUnavailable(f"device csim: {error}") from error
