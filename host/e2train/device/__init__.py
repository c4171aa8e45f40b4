# SPDX-License-Identifier: Apache-2.0
"""Devices that compute the training operations: `open_device("emulator")`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from ..errors import UserError
from .base import Convolved, Device, Peaked, PsgResult, Tensor
from .geometry import Geometry

__all__ = ["Convolved", "Device", "Geometry", "Peaked", "PsgResult", "Tensor", "open_device"]

DEVICES = ("emulator", "csim", "rtl")
BACKENDS = ("auto", "native", "numpy", "torch", "cuda")


def open_device(
    name: str = "emulator", *, backend: str = "auto", threads: int | None = None
) -> Device:
    """Open a device by name.

    "emulator": bit-exact on this computer; `backend` "native" (C++ kernels, built at first use),
    "torch" (CPU), "cuda", "numpy", or "auto", which takes the first of native, torch and numpy that
    works here and says so on standard error where it is not the first. All give the same integers.
    `threads` (native only): OMP_NUM_THREADS, or else every processor, where it is None.
    "csim": the accelerator's HLS C++ on this computer (built at first use from a checkout).
    "rtl": the same with its MAC core in Verilog, simulated cycle by cycle by Verilator.
    Raises UserError for a name or backend that is not available here.
    """
    if name not in DEVICES:
        raise UserError(f"unknown device {name!r}: expected one of {', '.join(DEVICES)}")
    if name in ("csim", "rtl"):
        if backend != "auto":
            raise UserError(f"backend {backend!r}: device {name} has none")
        if name == "rtl":
            from .accelerator.rtl import open_rtl

            return open_rtl()
        from .accelerator.csim import open_csim

        return open_csim()
    if backend not in BACKENDS:
        raise UserError(f"unknown backend {backend!r}: expected one of {', '.join(BACKENDS)}")
    if backend == "auto":
        return _first_available(threads)
    return _open_backend(backend, threads)


def _first_available(threads: int | None) -> Device:
    try:
        return _open_backend("native", threads)
    except UserError as error:
        backend = "torch" if find_spec("torch") is not None else "numpy"
        print(f"warning: emulator falls back to {backend}, slower: {error}", file=sys.stderr)
        return _open_backend(backend, threads)


def _open_backend(backend: str, threads: int | None) -> Device:
    if backend == "native":
        from .emulator.library import NativeUnavailable
        from .emulator.native import NativeEmulator

        try:
            return NativeEmulator(threads)
        except NativeUnavailable as error:
            raise UserError(f"backend 'native': {error}") from error
    if backend == "numpy":
        from .emulator.numpy_emulator import NumpyEmulator

        return NumpyEmulator()
    if find_spec("torch") is None:
        raise UserError(f"backend {backend!r} needs torch: pip install 'e2train[emulator]'")
    from .emulator.torch_emulator import open_torch

    return open_torch(backend)
