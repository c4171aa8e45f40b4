# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures in sub-folders, one a class: what is there, and reading it with care.

Either `train/CLASS/` and `test/CLASS/` (or `val/CLASS/`), or `CLASS/` alone, of which a share
becomes the test set. Pictures may lie in sub-folders of their class. Names that begin with a dot
are left alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2train.data.pictures import LARGEST_FILE, SUFFIXES, PictureError
from e2train.errors import UserError

TRAIN, TEST, WHOLE = "train", "test", "whole"
TEST_FOLDERS = ("test", "val")


@dataclass(frozen=True)
class Entry:
    """A picture's file: name relative to the folder, part (TRAIN, TEST or WHOLE), class, stat."""

    name: str
    part: str
    label: str
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Refused:
    """A file that is not used, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{printable(self.name)} {self.reason}"


@dataclass(frozen=True)
class Scan:
    """What a folder holds. `others`: names of files that are no pictures by their suffix."""

    root: Path
    entries: tuple[Entry, ...]
    refused: tuple[Refused, ...]
    others: tuple[str, ...]

    @property
    def divided(self) -> bool:
        """Whether the folder itself says what is for training and what for testing."""
        return any(entry.part != WHOLE for entry in self.entries)


def printable(name: str) -> str:
    """A file's name on one line, whatever bytes it has: `caf\\xe9.jpg`."""
    text = os.fsencode(name).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def scan(root: Path) -> Scan:
    """Look at every file of `root` once, without opening any.

    Raises UserError where `root` is no folder of classes, or a class's folder leads out of it.
    """
    try:
        parts = _parts(root)
        found = [
            item
            for part, folder in parts
            for label in _class_folders(folder)
            for item in _class_files(root, part, folder / label, label)
        ]
    except OSError as error:
        where = printable(str(error.filename or root))
        raise UserError(f"{where}: {error.strerror or error}") from error
    entries = tuple(item for item in found if isinstance(item, Entry))
    refused = tuple(item for item in found if isinstance(item, Refused))
    others = tuple(item for item in found if isinstance(item, str))
    if not entries:
        raise UserError(
            f"{root}: no pictures ({', '.join(SUFFIXES)}) in folders of classes, "
            "such as train/CLASS/ and test/CLASS/, or CLASS/ alone"
        )
    return Scan(root, entries, refused, others)


def list_part(root: Path, part: str) -> list[Entry | Refused]:
    """The pictures in `ROOT/PART/CLASS/` at this moment, none where there is no such folder.

    Files that vanish meanwhile are left out. UserError as of `scan`.
    """
    folder = root / part
    if not folder.is_dir():
        return []
    found: list[Entry | Refused] = []
    for label in _class_folders(folder):
        try:
            items = list(_class_files(root, part, folder / label, label))
        except FileNotFoundError:
            continue
        found += [item for item in items if not isinstance(item, str)]
    return found


def _parts(root: Path) -> list[tuple[str, Path]]:
    if not (root / "train").is_dir():
        return [(WHOLE, root)]
    for name in TEST_FOLDERS:
        if (root / name).is_dir():
            return [(TRAIN, root / "train"), (TEST, root / name)]
    raise UserError(f"{root}: has a folder train, but none named {' or '.join(TEST_FOLDERS)}")


def _class_folders(folder: Path) -> list[str]:
    """Names of the classes; UserError for one that cannot be told or leads elsewhere."""
    names = []
    for item in sorted(os.scandir(folder), key=lambda one: one.name):
        if item.name.startswith(".") or not item.is_dir():
            continue
        where = f"{folder}/{printable(item.name)}"
        try:
            item.name.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{where}: the name of a class must be UTF-8; rename the folder"
            ) from None
        if not item.name.isprintable():
            raise UserError(f"{where}: the name of a class must be printable; rename the folder")
        if item.is_symlink():
            raise UserError(f"{where}: a class must be a folder of its own, not a symbolic link")
        names.append(item.name)
    return names


def _class_files(
    root: Path, part: str, folder: Path, label: str
) -> Iterator[Entry | Refused | str]:
    """The pictures of a class, the links that are not followed, and files that are no pictures."""
    real_root = os.path.realpath(root)

    def stop(error: OSError) -> None:
        raise error

    for where, folders, files in os.walk(folder, onerror=stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if os.path.islink(os.path.join(where, name)):
                link = os.path.relpath(os.path.join(where, name), root)
                yield Refused(link, "is a symbolic link to a folder, which is not followed")
        for name in sorted(files):
            path = os.path.join(where, name)
            relative = os.path.relpath(path, root)
            if name.startswith("."):
                continue
            if not name.lower().endswith(SUFFIXES):
                yield relative
            elif os.path.islink(path) and not _inside(os.path.realpath(path), real_root):
                yield Refused(relative, "is a symbolic link out of the folder")
            else:
                yield _entry(path, relative, part, label)


def _inside(path: str, root: str) -> bool:
    return os.path.commonpath([path, root]) == root


def _entry(path: str, relative: str, part: str, label: str) -> Entry | Refused:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            return Refused(relative, "is a symbolic link to nothing")
        raise
    if not stat.S_ISREG(status.st_mode):
        return Refused(relative, "is no regular file")
    return Entry(relative, part, label, status.st_size, status.st_mtime_ns)


def read_entry(root: Path, entry: Entry) -> bytes:
    """The content of a picture's file.

    Raises PictureError where it cannot be read or is too large, and UserError where it is no
    longer what `scan` saw.
    """
    if entry.size > LARGEST_FILE:
        raise PictureError(f"has {entry.size >> 20} MiB, {LARGEST_FILE >> 20} MiB are the limit")
    try:
        # A pipe put in the file's place must not block.
        descriptor = os.open(root / entry.name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            content = stream.read(entry.size + 1)
            status = os.fstat(descriptor)
    except FileNotFoundError:
        raise changed(root, entry.name) from None
    except OSError as error:
        raise PictureError(f"cannot be read ({error.strerror})") from error
    seen = (entry.size, entry.size, entry.modified_ns)
    if (len(content), status.st_size, status.st_mtime_ns) != seen:
        raise changed(root, entry.name)
    return content


def changed(root: Path, name: str) -> UserError:
    """That the folder is not still: nothing of it is kept."""
    return UserError(
        f"{root}: changed while it was read ({printable(name)}); "
        "run the command again once nothing writes to it"
    )
