# SPDX-License-Identifier: Apache-2.0
"""Opens an overlay as a device: files, lock, download, identity, memory."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import UserError
from ....files import locked
from .. import generated as hw
from ..device import KernelDevice
from .overlay import Handoff, check_board, read_overlay
from .transport import ZynqTransport

SECONDS = 60.0
"""A launch of the largest layer takes seconds; beyond this one is taken for lost."""

MIB = 1 << 20
LEAST_BYTES = 1 * MIB
DEFAULT_BYTES = 96 * MIB  # of the 128 MiB that PYNQ's images for Zynq-7000 reserve
SPARED_BYTES = 16 * MIB  # left to other drivers where the pool's size is known
MEMINFO = Path("/proc/meminfo")
LOCK = Path("/run/lock/e2train-zynq.lock")
BOARD_EXTRA = "pip install 'e2train[board]'"


@dataclass(frozen=True)
class Place:
    """Where an overlay is opened: by default on the board that this runs on.

    device: pynq's device, None for the active one. download: whether pynq loads the bitstream.
    find_uio: the UIO device's path of an interrupt's number. lock: of the one fabric there is.
    """

    device: Any = None
    download: bool = True
    find_uio: Callable[[int], str | None] | None = None
    lock: Path | None = None


def open_zynq(overlay: Path | None, *, memory_bytes: int | None = None) -> KernelDevice:
    """The accelerator of an overlay (a .bit with its .hwh beside it) on this board.

    memory_bytes: of contiguous memory for all tensors; None takes what the system's pool has, less
    a little. Raises UserError in a line for whatever is not as it must be.
    """
    if overlay is None:
        raise UserError("device zynq needs the overlay: --overlay FILE.bit")
    return KernelDevice(open_transport(overlay, Place(), memory_bytes=memory_bytes))


def open_transport(
    overlay: Path, place: Place, *, memory_bytes: int | None = None, seconds: float = SECONDS
) -> ZynqTransport:
    """The transport of an overlay in a place. `seconds`: after which a launch is taken for lost."""
    handoff = read_overlay(overlay)
    check_board(overlay, handoff)
    with contextlib.ExitStack() as stack:
        _lock(stack, overlay, place)
        transport = _transport(stack, overlay, handoff, seconds, place)
        check_identity(transport, overlay)
        transport.attach(_arena(place, memory_bytes))
        transport.on_close(stack.pop_all().close)
    return transport


def _lock(stack: contextlib.ExitStack, overlay: Path, place: Place) -> None:
    """Hold the fabric for this process. Two that load overlays or start launches destroy both."""
    path = place.lock
    if path is None:
        path = LOCK if LOCK.parent.is_dir() else Path(tempfile.gettempdir()) / LOCK.name
    if not stack.enter_context(locked(path)):
        raise UserError(f"{overlay}: another process uses the accelerator ({path} is locked)")


def _transport(
    stack: contextlib.ExitStack, overlay: Path, handoff: Handoff, seconds: float, place: Place
) -> ZynqTransport:
    try:
        from pynq import Overlay
        from pynq.interrupt import get_uio_irq

        from .ip import WATCH_MODULE
    except ImportError as error:
        raise UserError(f"device zynq needs pynq: {BOARD_EXTRA} ({error})") from error
    from .interrupt import InterruptLine

    loaded = _load(Overlay, overlay, place)
    ip = _block(loaded, handoff.blocks[hw.TARGET_TOP], overlay)
    watch = None
    if WATCH_MODULE in handoff.blocks:
        watch = _block(loaded, handoff.blocks[WATCH_MODULE], overlay)
        if not watch.known():
            raise UserError(f"{overlay}: no bus watch at its address: files of two builds")
        watch.taken()
    find = place.find_uio or get_uio_irq
    assert handoff.interrupt is not None
    path = find(handoff.interrupt)
    if path is None:
        raise UserError(
            f"{overlay}: interrupt {handoff.interrupt} has no UIO device: the image's device tree "
            "needs a generic-uio node for IRQ_F2P[0], as PYNQ's have"
        )
    line = InterruptLine(path)
    undo = stack.enter_context(contextlib.ExitStack())
    undo.callback(line.close)
    transport = ZynqTransport(f"zynq ({overlay.name})", ip, watch, line, seconds)
    undo.pop_all()
    return transport


def _load(overlay_class: Any, overlay: Path, place: Place) -> Any:
    """pynq's Overlay; what it raises becomes a line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of interrupts that pynq does not find: we do
            return overlay_class(str(overlay), download=place.download, device=place.device)
    except RuntimeError as error:
        if "No Devices Found" in str(error):
            raise UserError(
                "device zynq: no Zynq here that pynq knows: it runs on a board with a PYNQ image, "
                "as root with its environment (sudo -E)"
            ) from error
        raise UserError(f"{overlay}: pynq cannot load it: {error}") from error
    except (OSError, KeyError, ValueError, AttributeError) as error:
        text = str(error) or type(error).__name__
        raise UserError(f"{overlay}: pynq cannot load it: {text}") from error


def _block(loaded: Any, name: str, overlay: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(loaded, name.replace("/", "."))
    except (OSError, RuntimeError, AttributeError) as error:
        raise UserError(f"{overlay}: {name} cannot be used: {error}") from error


def check_identity(transport: ZynqTransport, overlay: Path) -> None:
    """Raise UserError unless the kernel has this host's configuration hash and ABI version.

    Its registers know both once a launch has run: one without an operation is refused, and nothing
    is written. A kernel of another ABI may have other registers, so its version is looked at first.
    """
    if not transport.read_register(hw.REGISTERS_ABI_VERSION):
        for offset in hw.OFFSETS.values():
            transport.write_register(offset, 0)
        transport.start()
        transport.wait()
    for what, offset, own in (
        ("ABI version", hw.REGISTERS_ABI_VERSION, hw.ABI_VERSION),
        ("configuration hash", hw.REGISTERS_CONFIGURATION_HASH, hw.CONFIGURATION_HASH),
    ):
        found = transport.read_register(offset)
        if found != own:
            raise UserError(
                f"{overlay}: its {what} is {found}, this program's is {own}: build the overlay and "
                "install the program from the same checkout"
            )


def _pool_bytes() -> int:
    """What the pool of contiguous memory has free, less what others may need."""
    try:
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("CmaFree:"):
                free = int(line.split()[1]) << 10
                return max(free - SPARED_BYTES, LEAST_BYTES)
    except (OSError, ValueError):
        return DEFAULT_BYTES
    return DEFAULT_BYTES


def _arena(place: Place, memory_bytes: int | None) -> Any:
    import pynq

    wanted = _pool_bytes() if memory_bytes is None else memory_bytes
    target = place.device
    try:
        return pynq.allocate((wanted,), "u1", target=target, cacheable=1)
    except (RuntimeError, MemoryError, OSError) as error:
        raise UserError(
            f"{wanted / MIB:.0f} MiB of contiguous memory are not to be had: close other programs "
            "that use the fabric, or enlarge the pool (cma=256M in the kernel's arguments); "
            f"pynq says: {error}"
        ) from error
