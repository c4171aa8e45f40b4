# SPDX-License-Identifier: Apache-2.0
"""Builds the accelerator's HLS C++ with the host's compiler, once, as a shared library.

It needs a checkout's hls folder and the ap_types headers of AMD's HLS tools, which the hls4ml
package carries. The library lies in the user's cache folder under a name that hashes the sources,
the compiler and the flags.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ...errors import UserError
from ..emulator.library import NativeUnavailable, _build_folder, _cache_folder, _compiler
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
        compiler = _compiler()
    except NativeUnavailable as error:
        raise CsimUnavailable(f"device csim: {error}") from error
    ap_types()
    return f"HLS C++, {len(sources(root))} files, {Path(compiler).name}"


def _key(compiler: str, root: Path) -> str:
    digest = hashlib.sha256()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    target = subprocess.run(  # what -march=native means here
        [compiler, "-march=native", "-Q", "--help=target"],
        capture_output=True,
        text=True,
        check=False,
    )
    for part in (compiler, version.stdout, target.stdout, *FLAGS, str(ap_types())):
        digest.update(part.encode() + b"\0")
    for path in (*sources(root), *sorted((root / "hls/include").rglob("*.hpp"))):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CsimUnavailable(f"device csim: {command[0]}: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["failed"]
        raise CsimUnavailable(f"device csim: {Path(command[0]).name}: {lines[0]}")


def _compile(compiler: str, root: Path, folder: Path, target: Path) -> None:
    """One object for each file, as many at once as there are processors."""
    includes = ["-I", str(root / "hls/include"), "-isystem", str(ap_types())]
    objects = [folder / f"{index}.o" for index in range(len(sources(root)))]

    def build(source: Path, made: Path) -> None:
        _run([compiler, *FLAGS, *includes, "-c", str(source), "-o", str(made)])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(build, sources(root), objects))
    _run([compiler, "-shared", *map(str, objects), "-o", str(target)])


def _bind(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.e2train_csim.restype = ctypes.c_uint32
    library.e2train_csim.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    return library


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold a lock of the cache: the build takes minutes of processor time, once is enough.

    The system releases it where the process dies. Without a cache, nobody else waits for this.
    """
    try:
        lock = os.open(folder / "csim.lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError:
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@cache
def load(root: Path = CHECKOUT) -> ctypes.CDLL:
    """The accelerator as a library with `e2train_csim(registers, memory)`, built at first use.

    Raises CsimUnavailable where the checkout, hls4ml's headers or a compiler are missing.
    """
    prerequisites(root)
    compiler = _compiler()
    kept = _cache_folder() / f"csim-{_key(compiler, root)}.so"
    if kept.exists():
        return _bind(kept)
    with _build_folder(kept.parent) as name, _one_at_a_time(kept.parent):
        if kept.exists():  # another process built it meanwhile
            return _bind(kept)
        folder = Path(name)
        built = folder / kept.name
        _compile(compiler, root, folder, built)
        library = _bind(built)  # stays mapped wherever its file goes
        if folder.parent == kept.parent:
            with open(built, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(built, kept)  # whole, or not at all
        return library
