# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


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
