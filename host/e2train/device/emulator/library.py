# SPDX-License-Identifier: Apache-2.0
"""Builds the emulator's C++ kernels for this very processor, once, and loads them with ctypes.

The shared library lies in the user's cache folder under a name that hashes the sources, the
compiler, its flags and the processor: a change in any of them builds another one.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "kernels"
# Hidden symbols: two builds of these kernels in one process must not share their templates.
COMMON_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fwrapv",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fvisibility=hidden",
    "-Wno-psabi",
)
# Tried in this order: this processor's instructions, as the compilers for different processors
# call them; then the plain instruction set.
FLAG_SETS: tuple[tuple[str, ...], ...] = (("-march=native",), ("-mcpu=native",), ())
BUILD_SECONDS = 300


class NativeUnavailable(Exception):
    """The kernels cannot be built or loaded here; the text says why in one line."""


class Geometry(ctypes.Structure):
    """The C++ `Geometry`: a convolution with its batch."""

    _fields_ = [
        (name, ctypes.c_int32)
        for name in (
            "samples",
            "channels",
            "height",
            "width",
            "filters",
            "kernel_h",
            "kernel_w",
            "stride",
            "padding",
            "depthwise",
            "out_height",
            "out_width",
        )
    ]


class GradientStore(ctypes.Structure):
    """The C++ `GradientStore`: what is done with input gradients as they are stored."""

    _fields_ = [
        ("shift", ctypes.c_int32),
        ("output_bits", ctypes.c_int32),
        ("ceiling", ctypes.c_int32),
        ("output", ctypes.c_void_p),
        ("residual", ctypes.c_void_p),
    ]


_INT, _LONG, _POINTER = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
# i: int, l: int64, p: pointer; the first letter is the result (v: none)
_SIGNATURES = {
    "e2_convolve": "lpppipppi",
    "e2_forward": "vppppi",
    "e2_input_gradient": "lppipppi",
    "e2_input_gradient_exact": "vppippi",
    "e2_weight_gradient": "vpppiipi",
    "e2_narrow": "vplipi",
    "e2_normalise": "lplippipiiipi",
    "e2_mask": "vppiilpi",
    "e2_gradient_sums": "vpplippi",
    "e2_normalise_backward": "lpplipppipi",
    "e2_add": "vpplpi",
    "e2_gate_products": "vpppilpi",
    "e2_take": "vppilpi",
    "e2_merge": "vpppiilpi",
    "e2_pool": "vpiiiiiipi",
    "e2_shortcut_pad": "vpiiiiiiip",
    "e2_shortcut_pad_backward": "vpiiiiiiip",
    "e2_describe": "ip",
}
_TYPES = {"i": _INT, "l": _LONG, "p": _POINTER, "v": None}


def _compiler() -> str:
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise NativeUnavailable("no C++ compiler (g++ or clang++) on PATH")


def _processor() -> str:
    """The processor's instruction sets, as far as the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    keys = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(keys)}))


def _sources() -> list[Path]:
    return sorted(SOURCES.glob("*.cpp"))


def _key(compiler: str, flags: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    for part in (compiler, version.stdout, *COMMON_FLAGS, *flags, platform.machine(), _processor()):
        digest.update(part.encode() + b"\0")
    for path in sorted(SOURCES.glob("*.[ch]pp")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "e2train"


def _compile(compiler: str, flags: tuple[str, ...], target: Path) -> None:
    command = [compiler, *COMMON_FLAGS, *flags, *map(str, _sources()), "-o", str(target)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeUnavailable(f"{compiler}: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["failed"]
        raise NativeUnavailable(f"{compiler} {' '.join(flags)}: {lines[0]}")


def _bind(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeUnavailable(str(error)) from error
    for name, letters in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, *function.argtypes = (_TYPES[letter] for letter in letters)
    return library


def _build(flags: tuple[str, ...]) -> ctypes.CDLL:
    """The library for `flags`, from the cache or built (and kept, where it can be)."""
    compiler = _compiler()
    kept = _cache_folder() / f"kernels-{_key(compiler, flags)}.so"
    if kept.exists():
        return _bind(kept)
    with _build_folder(kept.parent) as folder:
        built = Path(folder) / kept.name
        _compile(compiler, flags, built)
        library = _bind(built)  # stays mapped wherever its file goes
        if Path(folder).parent == kept.parent:
            with open(built, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(
                built, kept
            )  # several processes may build at once: each renames a whole file
        return library


def _build_folder(cache: Path) -> tempfile.TemporaryDirectory[str]:
    """A passing folder, inside the cache where that can be written to."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=cache, prefix="build-")
    except OSError:
        return tempfile.TemporaryDirectory(prefix="e2train-")


@cache
def load(flags: tuple[str, ...] | None = None) -> ctypes.CDLL:
    """The kernels, built at the first call; `flags` replaces the choice of FLAG_SETS.

    Raises NativeUnavailable where there is no compiler, or none of the flag sets compiles.
    """
    failure = NativeUnavailable("no flags to build with")
    for candidate in FLAG_SETS if flags is None else (flags,):
        try:
            return _build(candidate)
        except NativeUnavailable as error:
            failure = error
    raise failure


def describe(library: ctypes.CDLL) -> str:
    """What the kernels were built for, such as "512-bit vectors, byte products (VNNI)"."""
    lanes = ctypes.c_int()
    bytes_a_product = library.e2_describe(ctypes.byref(lanes)) == 1
    products = "byte products (VNNI)" if bytes_a_product else "16-bit products"
    return f"{lanes.value * 32}-bit vectors, {products}"
