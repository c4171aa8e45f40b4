# SPDX-License-Identifier: Apache-2.0
"""Devices that compute the training operations: `open_device("emulator")`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .base import Convolved, Device, Peaked, PsgResult, Tensor
from .geometry import Geometry

if TYPE_CHECKING:
    from .accelerator.device import KernelDevice

__all__ = ["Convolved", "Device", "Geometry", "Peaked", "PsgResult", "Tensor", "open_device"]

DEVICES = ("emulator", "csim", "simulated-board", "zynq")
BACKENDS = ("auto", "native", "numpy", "torch", "cuda")


def open_device(
    name: str = "emulator",
    *,
    backend: str = "auto",
    threads: int | None = None,
    overlay: Path | str | None = None,
    tiles: Path | None = None,
) -> Device:
    """Open a device by name.

    "emulator": bit-exact on this computer; `backend` "native" (C++ kernels, built at first use),
    "torch" (CPU), "cuda", "numpy", or "auto", which takes the first of native, torch and numpy that
    works here and says so on standard error where it is not the first. All give the same integers.
    `threads` (native only): OMP_NUM_THREADS, or else every processor, where it is None.
    "csim": the accelerator's HLS C++ on this computer (built at first use from a checkout).
    "simulated-board": the same behind pynq and Verilog, in a simulator (built likewise).
    "zynq": the accelerator on the board that this runs on; `overlay` is its .bit, with the .hwh
    beside it.
    `tiles` (not the emulator): a file of tile plans, which the driver then need not work out.
    Raises UserError for a name or backend that is not available here.
    """
    if name not in DEVICES:
        raise UserError(f"unknown device {name!r}: expected one of {', '.join(DEVICES)}")
    if overlay is not None and name != "zynq":
        raise UserError(f"overlay {str(overlay)!r}: device {name} has none")
    if name != "emulator":
        if backend != "auto":
            raise UserError(f"backend {backend!r}: device {name} has none")
        return _open_accelerator(name, overlay, tiles)
    if tiles is not None:
        raise UserError(f"tiles {str(tiles)!r}: device {name} takes no tile plans")
    if backend not in BACKENDS:
        raise UserError(f"unknown backend {backend!r}: expected one of {', '.join(BACKENDS)}")
    if backend == "auto":
        return _first_available(threads)
    return _open_backend(backend, threads)


def _open_accelerator(name: str, overlay: Path | str | None, tiles: Path | None) -> Device:
    from .accelerator.tile_plans import TilePlans, read_tile_plans

    plans = TilePlans(None if tiles is None else read_tile_plans(tiles))
    device = _open_transport(name, overlay)
    device.driver.tiles = plans
    return device


def _open_transport(name: str, overlay: Path | str | None) -> KernelDevice:
    if name == "csim":
        from .accelerator.csim import open_csim

        return open_csim()
    if name == "simulated-board":
        from .accelerator.simulated.open import open_simulated

        return open_simulated()
    from .accelerator.zynq.open import open_zynq

    return open_zynq(None if overlay is None else Path(overlay))


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
