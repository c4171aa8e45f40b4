# SPDX-License-Identifier: Apache-2.0
"""What a bitstream was made from: a JSON file beside it, written last, with checksums of all files.

`python -m e2train.board.manifest BOARD FOLDER` ends a build (bitstreams/Makefile).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ..checked import Fields, parse_object
from ..device.accelerator import generated as hw
from ..device.accelerator.config import CHECKOUT
from ..errors import UserError
from ..files import write_text
from .boards import load_board

STEM = "e2train"
BITSTREAM, HANDOFF = f"{STEM}.bit", f"{STEM}.hwh"
FILES = (BITSTREAM, HANDOFF, "timing.rpt", "utilisation.rpt", "power.rpt")
FACTS = ("tool", "board_files", "setup_slack_ns", "hold_slack_ns")


@dataclass(frozen=True)
class Manifest:
    """Of one bitstream; slack in ns; checksums: SHA-256 by file name."""

    board: str
    part: str
    clock_mhz: int
    commit: str
    configuration_hash: int
    abi_version: int
    tool: str
    board_files: str
    setup_slack_ns: float
    hold_slack_ns: float
    made: str
    checksums: dict[str, str]


def write_manifest(name: str, folder: Path) -> Path:
    """Write the manifest of the build in `folder`; UserError where a part of it is missing."""
    board, facts = load_board(name), _facts(folder / "facts.txt")
    manifest = Manifest(
        name,
        board.part,
        board.fabric.clock_mhz,
        commit(CHECKOUT),
        hw.CONFIGURATION_HASH,
        hw.ABI_VERSION,
        facts["tool"],
        facts["board_files"] or "none: the values of the board's own file",
        float(facts["setup_slack_ns"]),
        float(facts["hold_slack_ns"]),
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        {file: _checksum(folder / file) for file in FILES},
    )
    path = folder / f"{STEM}.json"
    write_text(path, json.dumps(vars(manifest), indent=1) + "\n")
    return path


def read_manifest(bitstream: Path) -> Manifest:
    """The manifest beside a bitstream, whose files are all there and unchanged, else UserError."""
    path = bitstream.with_suffix(".json")
    try:
        found = Fields(parse_object(path.read_bytes()), str(path))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: a build writes it beside the .bit") from error
    except ValueError as error:
        raise UserError(f"{path}: not a manifest: {error}") from error
    checksums = found.part("checksums")
    manifest = Manifest(
        board=found.text("board"),
        part=found.text("part"),
        clock_mhz=found.count("clock_mhz"),
        commit=found.text("commit"),
        configuration_hash=found.count("configuration_hash"),
        abi_version=found.count("abi_version"),
        tool=found.text("tool"),
        board_files=found.text("board_files"),
        setup_slack_ns=found.number("setup_slack_ns"),
        hold_slack_ns=found.number("hold_slack_ns"),
        made=found.text("made"),
        checksums={file: checksums.text(file) for file in FILES},
    )
    for file in (BITSTREAM, HANDOFF):
        there = bitstream.with_suffix(Path(file).suffix)
        if _checksum(there) != manifest.checksums[file]:
            raise UserError(f"{there}: not the file that {path.name} was written for")
    return manifest


def foreign(manifest: Manifest) -> list[str]:
    """What of a bitstream differs from this package, in words; empty where nothing does."""
    found = []
    for name, theirs, mine in (
        ("register layout (ABI)", manifest.abi_version, hw.ABI_VERSION),
        ("accelerator configuration", manifest.configuration_hash, hw.CONFIGURATION_HASH),
    ):
        if theirs != mine:
            found.append(f"{name} 0x{theirs:08x}, this package has 0x{mine:08x}")
    return found


def commit(checkout: Path) -> str:
    """The checkout's commit, with what is not in it said so; `unknown` without git."""
    try:
        head, changed = (
            subprocess.run(
                ["git", *words], cwd=checkout, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head} with uncommitted changes" if changed else head


def _facts(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: the build did not reach its end") from error
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    missing = [name for name in FACTS if name not in found]
    if missing:
        raise UserError(f"{path}: no {missing[0]}: the build did not reach its end")
    return found


def _checksum(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def main() -> None:
    """End a build: BOARD FOLDER."""
    name, folder = sys.argv[1:]
    try:
        path = write_manifest(name, Path(folder))
    except UserError as error:
        sys.exit(f"bitstream: {error}")
    print(f"bitstream: {path.with_suffix('.bit')}, with {path.name}, .hwh and reports beside it")


if __name__ == "__main__":
    main()
