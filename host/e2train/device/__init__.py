# SPDX-License-Identifier: Apache-2.0
"""Devices that compute the training operations: `open_device("emulator")`."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import UserError
from .base import Convolved, Device, Peaked, PsgResult, Tensor
from .geometry import Geometry

__all__ = ["Convolved", "Device", "Geometry", "Peaked", "PsgResult", "Tensor", "open_device"]

BACKENDS = ("auto", "numpy", "torch", "cuda")


def open_device(name: str = "emulator", *, backend: str = "auto") -> Device:
    """Open a device by name.

    "emulator": bit-exact on this computer; `backend` "numpy", "torch" (CPU), "cuda", or "auto",
    which takes CUDA or CPU torch where installed and NumPy otherwise. Raises UserError for a name
    or backend that is not available here.
    """
    if name != "emulator":
        raise UserError(f"unknown device {name!r}: expected emulator")
    if backend not in BACKENDS:
        raise UserError(f"unknown backend {backend!r}: expected one of {', '.join(BACKENDS)}")
    have_torch = find_spec("torch") is not None
    if backend == "numpy" or (backend == "auto" and not have_torch):
        from .numpy_device import NumpyEmulator

        return NumpyEmulator()
    if not have_torch:
        raise UserError(f"backend {backend!r} needs torch: pip install 'e2train[emulator]'")
    from .torch_device import open_torch

    return open_torch(backend)
