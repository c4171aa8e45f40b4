# SPDX-License-Identifier: Apache-2.0
"""Pictures that arrive once: from a folder that is being filled, or as a tar archive on stdin.

Every picture is written to a spool in the run folder before it is trained on. After a kill, what
came since the last checkpoint is read back from there, so the run goes on with the same pictures in
the same order. What no spool can bring back are pictures that were still in a pipe.
"""

from __future__ import annotations

import os
import struct
import tarfile
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from e2train.data.dataset import Images, Labels
from e2train.data.folder import Entry, Refused, list_part, printable, read_entry
from e2train.data.pictures import LARGEST_FILE, SUFFIXES, PictureError, decode, load_pillow
from e2train.errors import UserError
from e2train.files import write_atomically

SPOOL = "arrivals.spool"
POLL_SECONDS = 0.2
# A file that was written to within so many seconds may still be written to.
SETTLE_SECONDS = 0.5
_HEAD = struct.Struct("<4sQIII")  # magic, number, label, bytes of the name, checksum of all
_MAGIC = b"E2A1"


@dataclass(frozen=True)
class Arrived:
    """One picture. number: counted from 0 over the whole run; name: of its file."""

    number: int
    name: str
    label: int
    pixels: Images


class Source(Protocol):
    """Where pictures come from."""

    def come(self) -> list[tuple[str, str, Callable[[], bytes]]] | None:
        """Name, class and reader of the content of what has come since; None after the end."""


class FolderSource:
    """`ROOT/train/CLASS/`, looked at again and again; it ends where nothing comes for a while."""

    def __init__(self, root: Path, wait_seconds: float, seen: set[str]) -> None:
        """`seen`: names that have been taken already."""
        self._root, self._wait, self._seen = root, wait_seconds, seen
        self._last = time.monotonic()

    def come(self) -> list[tuple[str, str, Callable[[], bytes]]] | None:
        now = time.time_ns()
        found = [one for one in list_part(self._root, "train") if one.name not in self._seen]
        old = now - int(SETTLE_SECONDS * 1e9)
        ready = [one for one in found if isinstance(one, Refused) or one.modified_ns <= old]
        if len(ready) < len(found) or ready:
            self._last = time.monotonic()
        elif time.monotonic() - self._last > self._wait:
            return None
        self._seen.update(one.name for one in ready)
        entries = [one for one in ready if isinstance(one, Entry)]
        entries.sort(key=lambda one: (one.modified_ns, one.name))
        return [(one.name, one.label, self._reader(one)) for one in entries] + [
            (one.name, "", _failing(one.reason)) for one in ready if isinstance(one, Refused)
        ]

    def _reader(self, entry: Entry) -> Callable[[], bytes]:
        def read() -> bytes:
            try:
                return read_entry(self._root, entry)
            except PictureError:
                raise
            except UserError:
                raise PictureError("changed while it was read") from None

        return read


def _failing(reason: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise PictureError(reason)

    return read


class TarSource:
    """A tar archive of `CLASS/FILE`, as it comes; nothing of it is unpacked to disk."""

    def __init__(self, stream: BinaryIO) -> None:
        try:
            # read to its end, and the stream is the process's own: nothing is to be closed
            self._tar = tarfile.open(fileobj=stream, mode="r|*")  # noqa: SIM115
        except (tarfile.TarError, OSError, EOFError) as error:
            raise UserError(f"standard input: expected a tar archive ({error})") from error
        self._members = iter(self._tar)

    def come(self) -> list[tuple[str, str, Callable[[], bytes]]] | None:
        try:
            member = next(self._members, None)
            if member is None:
                return None
            name = member.name
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if member.isdir() or len(parts) < 2 or not name.lower().endswith(SUFFIXES):
                return []
            if not member.isfile():
                return [(name, parts[-2], _failing("is no regular file"))]
            if member.size > LARGEST_FILE:
                return [(name, parts[-2], _failing(f"has {member.size >> 20} MiB"))]
            stream = self._tar.extractfile(member)
            content = b"" if stream is None else stream.read()
        except (tarfile.TarError, OSError, EOFError) as error:
            raise UserError(f"standard input: the tar archive is damaged ({error})") from error
        return [(name, parts[-2], lambda: content)]


class Arrivals:
    """Mini-batches of pictures in the order in which they come."""

    def __init__(
        self,
        open_source: Callable[[set[str]], Source],
        class_names: tuple[str, ...],
        shape: tuple[int, int, int],
        tell: Callable[[str], None],
    ) -> None:
        """`open_source` is given the names of what came before a kill; `tell` takes a line."""
        load_pillow()
        self._open_source, self._shape, self._tell = open_source, shape, tell
        self._places = {name: place for place, name in enumerate(class_names)}
        self._waiting: deque[Arrived] = deque()
        self._source: Source | None = None
        self._spool: BinaryIO | None = None
        self._next = 0

    def begin(self, folder: Path, taken: int) -> None:
        """Open the spool in the run folder `folder`; `taken` pictures were trained on before."""
        path, names = folder / SPOOL, set[str]()
        self._path, self._names_path = path, folder / f"{SPOOL}.names"
        if taken or path.exists():
            names = _names(self._names_path)
            self._waiting.extend(one for one in _spooled(path, self._shape) if one.number >= taken)
        self._next = self._waiting[-1].number + 1 if self._waiting else taken
        self._source = self._open_source(names)
        self.keep(taken)

    def keep(self, taken: int) -> None:
        """After a checkpoint: what was trained on before it need not be kept any longer."""
        if self._spool is not None:
            self._spool.close()
        left = [one for one in self._waiting if one.number >= taken]

        def write(stream: BinaryIO) -> None:
            for one in left:
                stream.write(_record(one))

        write_atomically(self._path, write)
        self._spool = open(self._path, "ab")  # noqa: SIM115 - held for the run

    def take(self, count: int) -> tuple[Images, Labels] | None:
        """The next `count` pictures, uint8 [N, C, H, W] and int64 [N]; None where none are left.

        Waits for pictures. What cannot be used is told and left out.
        """
        while len(self._waiting) < count:
            if not self._receive():
                return None
        batch = [self._waiting.popleft() for _ in range(count)]
        labels = np.array([one.label for one in batch], np.int64)
        return np.stack([one.pixels for one in batch]), labels

    def _receive(self) -> bool:
        assert self._source is not None and self._spool is not None
        found = self._source.come()
        if found is None:
            return False
        if not found:
            time.sleep(POLL_SECONDS if isinstance(self._source, FolderSource) else 0)
        with open(self._names_path, "ab") as names:
            for name, label, read in found:
                try:
                    place = self._places.get(label)
                    pixels = decode(read(), self._shape)
                    if place is None:
                        raise PictureError(f"is of class {printable(label)!r}, none of the model's")
                    one = Arrived(self._next, name, place, pixels)
                    self._waiting.append(one)
                    self._spool.write(_record(one))
                    self._next += 1
                except PictureError as error:
                    self._tell(f"not used: {Refused(name, str(error))}")
                names.write(os.fsencode(name) + b"\0")
        self._spool.flush()
        return True

    def close(self) -> None:
        """Close the spool, which stays."""
        if self._spool is not None:
            self._spool.close()


def _record(one: Arrived) -> bytes:
    name = os.fsencode(one.name)
    content = name + one.pixels.tobytes()
    head = (_MAGIC, one.number, one.label, len(name))
    return _HEAD.pack(*head, zlib.crc32(repr(head).encode() + content)) + content


def _spooled(path: Path, shape: tuple[int, int, int]) -> Iterator[Arrived]:
    """The whole records of a spool; a last one that was torn off is left out."""
    if not path.exists():
        return
    size = int(np.prod(shape))
    with open(path, "rb") as stream:
        while len(start := stream.read(_HEAD.size)) == _HEAD.size:
            magic, number, label, length, checksum = _HEAD.unpack(start)
            content = stream.read(length + size) if magic == _MAGIC and length < 1 << 16 else b""
            head = (magic, number, label, length)
            if zlib.crc32(repr(head).encode() + content) != checksum:
                return
            pixels = np.frombuffer(content[length:], np.uint8).reshape(shape)
            yield Arrived(number, os.fsdecode(content[:length]), label, pixels)


def _names(path: Path) -> set[str]:
    content = path.read_bytes() if path.exists() else b""
    return {os.fsdecode(name) for name in content.split(b"\0")[:-1]}
