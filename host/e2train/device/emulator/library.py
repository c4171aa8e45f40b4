# SPDX-License-Identifier: Apache-2.0
"""Builds the emulator's C++ kernels for this very processor, once, and loads them with ctypes."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from .. import build

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
FLAG_SETS: tuple[tuple[str, ...], ...] = (
    ("-march=native", "-mprefer-vector-width=512"),  # as wide as there are; x86 alone knows it
    ("-march=native",),
    ("-mcpu=native",),
    (),
)
BUILD_SECONDS = 300


class NativeUnavailable(Exception):
    """The kernels cannot be built or loaded here; the text says why in one line."""


class NativeGeometry(ctypes.Structure):
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
    "e2_weight_gradient": "vppppi",
    "e2_psg_gradients": "vpppiippi",
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


def _key(compiler: str, flags: tuple[str, ...]) -> str:
    files = sorted(SOURCES.glob("*.[ch]pp"))
    return build.key(compiler, (*COMMON_FLAGS, *flags), SOURCES, files)


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

    def compile_(folder: Path, target: Path) -> None:
        sources = map(str, sorted(SOURCES.glob("*.cpp")))
        command = [compiler, *COMMON_FLAGS, *flags, *sources, "-o", str(target)]
        build.run_compiler(command, BUILD_SECONDS)

    try:
        compiler = build.compiler()
        return build.built_library("kernels", _key(compiler, flags), compile_, _bind)
    except build.BuildError as error:
        raise NativeUnavailable(str(error)) from error


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
    """What the kernels work with, such as "512-bit vectors, byte products (VNNI)"."""
    lanes = ctypes.c_int()
    products = {
        1: "byte products (matrix tiles, AMX)",
        2: "byte products (VNNI)",
        3: "16-bit products",
    }[library.e2_describe(ctypes.byref(lanes))]
    return f"{lanes.value * 32}-bit vectors, {products}"
