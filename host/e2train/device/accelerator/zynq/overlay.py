# SPDX-License-Identifier: Apache-2.0
"""What an overlay's files say before it is loaded: whole, for this board, with an interrupt?"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as etree

from ....errors import UserError
from .. import generated as hw

FIRST_INTERRUPT = 61  # of the processor's controller: what is at IRQ_F2P[0]
BOARD_NAME = Path("/proc/device-tree/model")
PACKAGES = {"zed": "clg484", "pynq-z1": "clg400", "pynq-z2": "clg400"}
"""Package of the chip on a board whose name holds one of these."""

PROCESSOR = "processing_system7"


@dataclass(frozen=True)
class Handoff:
    """What a .hwh says: the chip (such as 7z020clg484), the blocks' names by module, the interrupt
    of the kernel (None where its line ends nowhere)."""

    chip: str
    blocks: dict[str, str]
    interrupt: int | None


def read_overlay(bit: Path) -> Handoff:
    """Check the .bit and the .hwh beside it, and return what the .hwh says.

    Raises UserError, in a line: a file is missing or unreadable, the two are of different chips,
    there is no accelerator in it, or its interrupt line ends nowhere.
    """
    hwh = bit.with_suffix(".hwh")
    if bit.suffix != ".bit":
        raise UserError(f"{bit}: an overlay is a .bit file with its .hwh beside it")
    if not bit.is_file():
        raise UserError(f"{bit}: no such overlay")
    if not hwh.is_file():
        raise UserError(f"{bit}: its hand-off {hwh.name} is missing: copy both files of the build")
    handoff = _read_handoff(hwh)
    chip = _chip_of(bit)
    if chip != handoff.chip:
        raise UserError(
            f"{bit}: for a {chip}, but {hwh.name} is of a {handoff.chip}: files of two builds"
        )
    if hw.TARGET_TOP not in handoff.blocks:
        raise UserError(f"{hwh}: no {hw.TARGET_TOP} in it: the hand-off of another design")
    if handoff.interrupt is None:
        raise UserError(
            f"{hwh}: the interrupt of {hw.TARGET_TOP} is not connected to the processor's IRQ_F2P"
        )
    return handoff


def check_board(bit: Path, handoff: Handoff) -> None:
    """Raise UserError where this board is known to have the chip in another package."""
    name = board_name()
    for known, package in PACKAGES.items():
        if known in name.lower() and not handoff.chip.endswith(package):
            raise UserError(
                f"{bit}: built for a {handoff.chip}, but this board ({name}) has a {package}: "
                "build the overlay for it"
            )


def board_name() -> str:
    """Of the board that this runs on; empty where it is none that says so."""
    if "BOARD" in os.environ:  # PYNQ's images set it
        return os.environ["BOARD"]
    try:
        return BOARD_NAME.read_text(encoding="utf-8", errors="replace").strip("\0\n")
    except OSError:
        return ""


def board_found() -> tuple[str, str]:
    """Whether this is a Zynq-7000 board ("yes" or "no"), and what it says of itself or why not."""
    name = board_name()
    if platform.machine() != "armv7l":
        return "no", f"runs on a Zynq-7000 board, this is a {platform.machine()}"
    return "yes", f"{name or 'a board without a name'}; needs --overlay FILE.bit"


def _chip_of(bit: Path) -> str:
    """The part in a bitstream's header."""
    head = bit.read_bytes()[:512]
    found = re.search(rb"b\x00[\x02-\x40]([0-9a-z]+?)(?:-\d)?\x00", head)
    if not head.startswith(b"\x00\x09\x0f\xf0") or found is None:
        raise UserError(f"{bit}: not a bitstream with a header, as Vivado writes it")
    return found.group(1).decode().removeprefix("xc")


def _read_handoff(hwh: Path) -> Handoff:
    try:
        root = etree.parse(hwh).getroot()
    except (etree.ParseError, OSError) as error:
        raise UserError(f"{hwh}: not a hand-off: {error}") from error
    info = root.find("SYSTEMINFO")
    if info is None:
        raise UserError(f"{hwh}: not a hand-off: no SYSTEMINFO in it")
    chip = f"{info.get('DEVICE', '')}{info.get('PACKAGE', '')}"
    modules = list(root.iter("MODULE"))
    blocks = {
        (module.get("VLNV") or "::").split(":")[2]: (module.get("FULLNAME") or "").lstrip("/")
        for module in modules
    }
    return Handoff(chip, blocks, _interrupt(modules))


def _interrupt(modules: list[etree.Element]) -> int | None:
    """Number of the interrupt that the kernel's line is at, directly or through a concat."""
    kinds = {m.get("INSTANCE"): m.get("MODTYPE") for m in modules}
    for module in modules:
        if (module.get("VLNV") or "::").split(":")[2] != hw.TARGET_TOP:
            continue
        for place in module.iterfind("PORTS/PORT[@NAME='interrupt']/CONNECTIONS/CONNECTION"):
            kind, pin = kinds.get(place.get("INSTANCE")), place.get("PORT") or ""
            if kind == PROCESSOR and pin == "IRQ_F2P":
                return FIRST_INTERRUPT
            concat = re.fullmatch(r"In(\d)", pin)
            if kind == "xlconcat" and concat:
                return FIRST_INTERRUPT + int(concat.group(1))
    return None
