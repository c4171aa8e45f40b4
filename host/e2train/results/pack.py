# SPDX-License-Identifier: Apache-2.0
"""Records of finished runs, packed small: NAME-seedN/{result.json,events.jsonl,experiment.toml}.

An archive (.tar.xz) of the same runs has the same bytes. It holds no meter logs, timings, weights
or paths of the machine. Of the progress events a limited number is kept, evenly spaced, the last
among them; evaluations are all kept.
"""

from __future__ import annotations

import io
import json
import lzma
import re
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..checked import parse_object
from ..errors import UserError
from ..files import write_atomically
from ..runs.load import Run, load_run, run_folders

SUFFIX = ".tar.xz"
RESULT, EVENTS, EXPERIMENT = "result.json", "events.jsonl", "experiment.toml"
FILES = (RESULT, EVENTS, EXPERIMENT)
KEPT_EVENTS = ("start", "progress", "evaluation", "end")
POINTS = 400
LARGEST_MEMBER = 64 << 20  # bytes: a record is far smaller, a damaged or foreign archive may not be
_CHECKPOINT = re.compile(r'^(checkpoint = )"(.*)"$', re.MULTILINE)


def pack(paths: Sequence[Path], out: Path, *, points: int = POINTS, again: bool = False) -> int:
    """Write the runs in `paths` (run folders, or folders of them) to `out`; how many they are.

    `points`: progress events that are kept of each. Raises UserError, and writes nothing, where a
    run has not finished or is there twice, and where `out` exists, unless `again` replaces it.
    """
    if not out.name.endswith(SUFFIX):
        raise UserError(f"{out}: the name of an archive ends in {SUFFIX}")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder")
    if out.exists() and not again:
        raise UserError(f"{out}: exists; give another name, or --replace to replace it")
    folders = dict.fromkeys(folder for path in paths for folder in run_folders(path))
    members: dict[str, Path] = {}
    for folder in folders:
        run = _finished(folder)
        name = f"{run.name}-seed{run.seed}"
        if name in members:
            raise UserError(f"{members[name]} and {folder} are both {name}: pack one of them")
        members[name] = folder
    content = _archive({name: _record(folder, points) for name, folder in members.items()})
    write_atomically(out, lambda stream: _put(stream, content))
    return len(members)


def _put(stream: Any, content: bytes) -> None:
    stream.write(content)


def _finished(folder: Path) -> Run:
    run = load_run(folder)
    if run.result is None:
        raise UserError(f"{folder}: {run.state}; only finished runs are packed")
    return run


def _record(folder: Path, points: int) -> dict[str, bytes]:
    """The three files of one run, thinned and without paths of the machine."""
    result = parse_object((folder / RESULT).read_bytes())
    if "/" in str(result.get("meter", "")):  # driver:port,settings
        result["meter"] = str(result["meter"]).partition(":")[0]
    settings = (folder / EXPERIMENT).read_text(encoding="utf-8")
    return {
        RESULT: (json.dumps(result, indent=1) + "\n").encode(),
        EVENTS: thinned((folder / EVENTS).read_bytes(), points),
        EXPERIMENT: _CHECKPOINT.sub(_without_path, settings).encode(),
    }


def _without_path(match: re.Match[str]) -> str:
    """A checkpoint's folder and name: where else it lay is the machine's."""
    return f'{match[1]}"{"/".join(PurePosixPath(match[2]).parts[-2:])}"'


def thinned(events: bytes, points: int) -> bytes:
    """The lines of events.jsonl with at most `points` progress events, the last among them."""
    lines = [(line, parse_object(line).get("event")) for line in events.splitlines() if line]
    places = [number for number, (_, kind) in enumerate(lines) if kind == "progress"]
    step = max(1, -(-len(places) // points))
    wanted = set(places[::-1][::step])
    return b"".join(
        line + b"\n"
        for number, (line, kind) in enumerate(lines)
        if kind in KEPT_EVENTS and (kind != "progress" or number in wanted)
    )


def _archive(records: dict[str, dict[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(records):
            for file, content in records[name].items():
                member = tarfile.TarInfo(f"{name}/{file}")
                member.size, member.mode = len(content), 0o644
                archive.addfile(member, io.BytesIO(content))
    return lzma.compress(buffer.getvalue(), preset=9)


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Write the run folders of `archive` into `folder`; UserError where it is no such archive."""
    found: dict[Path, None] = {}
    try:
        with tarfile.open(archive, mode="r:xz") as content:
            for member in content:
                parts = PurePosixPath(member.name).parts
                fits = len(parts) == 2 and parts[0] not in ("..", "/") and parts[1] in FILES
                if not (member.isfile() and fits and member.size <= LARGEST_MEMBER):
                    raise UserError(f"{archive}: holds {member.name!r}, which no record has")
                target = folder / parts[0]
                target.mkdir(exist_ok=True)
                found[target] = None
                stream = content.extractfile(member)
                assert stream is not None  # of a regular file
                (target / parts[1]).write_bytes(stream.read())
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise UserError(f"{archive}: not an archive of runs ({error})") from None
    return list(found)


def read_archives(folder: Path) -> list[Run]:
    """The runs of all archives in `folder`, by archive and name.

    Their `folder` is ARCHIVE/NAME, which is where they come from and no folder. Raises UserError
    for a damaged archive or record.
    """
    runs: list[Run] = []
    for archive in sorted(folder.glob(f"*{SUFFIX}")):
        with tempfile.TemporaryDirectory() as place:
            for target in unpack(archive, Path(place)):
                try:
                    run = _finished(target)
                except UserError as error:
                    raise UserError(str(error).replace(place, str(archive))) from None
                runs.append(replace(run, folder=archive / target.name))
    return runs
