# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all, and locks on files."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import UserError

# What file systems without locks answer: Lustre mounted without `-o flock`, NFS without its lock
# service, some file systems of clusters and of user space.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


class LocksMissing(UserError):
    """The file system of a folder has no locks."""

    def __init__(self, folder: Path | str, reason: str) -> None:
        super().__init__(folder, reason)
        self.folder, self.reason = folder, reason

    def __str__(self) -> str:
        return (
            f"{self.folder}: its file system has no file locks ({self.reason}), without which two "
            "processes could write the same files: use a folder on another file system, or have "
            "this one mounted with locks (Lustre: mount -o flock)"
        )


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Call `write` with a temporary file beside `path`, flush it to disk, then rename it to `path`.

    A reader, or a process that dies half way, sees the old file or the new one and never a part.
    """
    temporary = path.with_name(path.name + ".part")
    with open(temporary, "wb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` atomically."""

    def write(stream: BinaryIO) -> None:
        stream.write(text.encode())

    write_atomically(path, write)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """Write an .npz file atomically.

    As `np.savez`; but NumPy 1 leaves the archive open where a disk is full, which then fails once
    more, and is heard, when it is collected.
    """
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED

    def write(stream: BinaryIO) -> None:
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)

    write_atomically(path, write)


@contextmanager
def locked(path: Path, *, wait: bool = False, needed: bool = True) -> Iterator[bool]:
    """Hold the lock file `path`, which is made where it is missing (flock).

    The system releases it where the process dies. Yields False where another process has it (with
    `wait`, waits for that one), or where there can be no lock and none is `needed`.

    Raises, where a lock is `needed`:
        LocksMissing: the file system has none.
        UserError: the lock file cannot be opened or locked.
    """
    descriptor = None
    try:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = True
        except BlockingIOError:
            held = False
        except OSError as error:
            if needed and error.errno in _NO_LOCKS:
                raise LocksMissing(str(path.parent), str(error.strerror)) from error
            if needed:
                raise UserError(f"{path}: cannot be locked: {error.strerror}") from error
            held = False
        yield held
    finally:
        if descriptor is not None:
            os.close(descriptor)


def check_locks(folder: Path) -> None:
    """Raise LocksMissing unless files in `folder` can be locked in both of the system's ways.

    Locks of whole files (flock) are what `locked` takes, those of ranges (fcntl) what SQLite takes.
    Raises OSError where no file can be made in `folder`.
    """
    with tempfile.TemporaryFile(dir=folder) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(stream, fcntl.LOCK_UN)
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise LocksMissing(str(folder), str(error.strerror)) from error
