# SPDX-License-Identifier: Apache-2.0
"""Builds the processor's C++ once, on a laptop or on the board, and loads it with ctypes."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from ..device import build

SOURCES = Path(__file__).resolve().parent / "kernels"
# No fused multiply-add: NumPy rounds the product and the sum.
FLAGS = (
    "-std=c++17",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
)
# Tried in this order: this processor's instructions, as compilers for different processors call
# them; then the plain instruction set.
PROCESSOR_FLAGS: tuple[tuple[str, ...], ...] = (("-march=native",), ("-mcpu=native",), ())
BUILD_SECONDS = 300

# i: int, l: int64, p: pointer, f: float, d: double; the first letter is the result (v: none)
_SIGNATURES = {
    "e2p_quantise": "iplp",
    "e2p_centre": "vplilpp",
    "e2p_steps": "vpippf",
    "e2p_move": "vpliiipppipp",
    "e2p_moments": "vppilipp",
    "e2p_follow": "vppppild",
    "e2p_forward": "ippfppiiippp",
    "e2p_backward_line": "vpppppiliiippp",
    "e2p_backward": "ipiiiipp",
    "e2p_gate_step": "vppiidd",
    "e2p_gate_backward": "vpppppppii",
    "e2p_train_forward": "ippildppppfiipp",
    "e2p_train_backward": "ipppppiliiiippp",
}
_TYPES = {
    "i": ctypes.c_int,
    "l": ctypes.c_int64,
    "p": ctypes.c_void_p,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
    "v": None,
}


class NativeUnavailable(Exception):
    """The C++ cannot be built or loaded here; the text says why in one line."""


def _bind(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeUnavailable(str(error)) from error
    for name, letters in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, *function.argtypes = (_TYPES[letter] for letter in letters)
    return library


@cache
def load() -> ctypes.CDLL:
    """The library, built at the first call. Raises NativeUnavailable where there is no compiler."""
    failure = NativeUnavailable("no flags to build with")
    for processor in PROCESSOR_FLAGS:
        try:
            return _build((*FLAGS, *processor))
        except NativeUnavailable as error:
            failure = error
    raise failure


def _build(flags: tuple[str, ...]) -> ctypes.CDLL:
    def compile_(folder: Path, target: Path) -> None:
        sources = map(str, sorted(SOURCES.glob("*.cpp")))
        build.run_compiler([compiler, *flags, *sources, "-o", str(target)], BUILD_SECONDS)

    try:
        compiler = build.compiler()
        files = sorted(SOURCES.glob("*.[ch]pp"))
        hashed = build.key(compiler, flags, SOURCES, files)
        return build.built_library("processor", hashed, compile_, _bind)
    except build.BuildError as error:
        raise NativeUnavailable(str(error)) from error
