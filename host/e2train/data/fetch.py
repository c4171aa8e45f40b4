# SPDX-License-Identifier: Apache-2.0
"""Download CIFAR from its home page: resumable, checked, and in place whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from e2train.data.cifar import LABEL_FILE, LAYOUTS, Layout, check_sizes
from e2train.errors import UserError
from e2train.files import write_text

DEFAULT_URL = "https://www.cs.toronto.edu/~kriz"
TIMEOUT_SECONDS = 30.0
CHUNK = 1 << 18

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes in all, or None where the server is silent."""


@dataclass(frozen=True)
class Archive:
    """An official archive and its MD5, as its home page (above) prints it."""

    file: str
    md5: str
    megabytes: int
    extras: tuple[str, ...]


ARCHIVES = {
    "cifar10": Archive(
        "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 171, ("batches.meta.txt",)
    ),
    "cifar100": Archive(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        170,
        ("coarse_label_names.txt", "fine_label_names.txt"),
    ),
}


def fetch(name: str, folder: Path, progress: OnBytes, url: str | None = None) -> Path:
    """Make data set `name` ("cifar10", "cifar100") available in `folder`; return its sub-folder.

    The archive comes from `url`, else $E2TRAIN_DATA_URL, else its home page. An interrupted
    download stays as `ARCHIVE.part` and the next call goes on where it ended. What fails its MD5 is
    removed. A data set that is complete already is left as it is.

    Raises:
        UserError: unknown name, no connection, an answer other than the file, a wrong checksum, a
            full disk, or an incomplete data set in the way.
    """
    if name not in ARCHIVES:
        raise UserError(f"cannot fetch {name!r}: expected one of {', '.join(ARCHIVES)}")
    archive, layout = ARCHIVES[name], LAYOUTS[name]
    target = folder / layout.folder
    if target.exists():
        check_sizes(layout, target)
        return target
    base = url or os.environ.get("E2TRAIN_DATA_URL") or DEFAULT_URL
    part = folder / f"{archive.file}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_space(archive, layout, part)
        _download(f"{base.rstrip('/')}/{archive.file}", part, progress)
        _check_md5(part, archive.md5)
        _unpack(archive, layout, part, target)
        part.unlink()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(f"no space left on the disk of {folder}") from error
        raise UserError(f"{error.filename or folder}: {error.strerror or error}") from error
    return target


def _check_space(archive: Archive, layout: Layout, part: Path) -> None:
    """Refuse before the download where archive and unpacked files cannot both fit."""
    have = part.stat().st_size if part.exists() else 0
    need = max(archive.megabytes * 1_000_000 - have, 0) + layout.total_bytes
    free = shutil.disk_usage(part.parent).free
    if free < need:
        raise UserError(
            f"{part.parent} has {free / 1e6:,.0f} MB free, "
            f"{layout.title} needs {need / 1e6:,.0f} MB"
        )


def _open(url: str, start: int) -> http.client.HTTPResponse | None:
    """Request the bytes of `url` from `start` on; None where there are none (HTTP 416)."""
    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
        response: http.client.HTTPResponse = urllib.request.urlopen(
            request, timeout=TIMEOUT_SECONDS
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return None
        raise UserError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, ValueError) as error:
        raise UserError(f"{url}: {getattr(error, 'reason', error)}") from error
    return response


def _download(url: str, part: Path, progress: OnBytes) -> None:
    """Bring `part` to its full length, from where it ends if the server supports that."""
    start = part.stat().st_size if part.exists() else 0
    response = _open(url, start)
    if response is None:
        return  # Nothing is left to ask for; the checksum tells whether the file is right.
    with response:
        if response.status != 206:
            start = 0
        remaining = response.headers.get("Content-Length")
        total = start + int(remaining) if remaining else None
        with open(part, "ab" if start else "wb") as stream:
            done = _copy(url, response, stream.write, start, total, progress)
            stream.flush()
            os.fsync(stream.fileno())
    if total is not None and done < total:
        raise UserError(
            f"{url}: the connection ended after {done:,} of {total:,} bytes; "
            "the same command goes on from there"
        )


def _copy(
    url: str,
    response: http.client.HTTPResponse,
    write: Callable[[bytes], int],
    done: int,
    total: int | None,
    progress: OnBytes,
) -> int:
    """Pass on what arrives until the response ends; return the length reached."""
    progress(done, total)
    while True:
        try:
            chunk = response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise UserError(
                f"{url}: the connection broke after {done:,} bytes ({error}); "
                "the same command goes on from there"
            ) from error
        if not chunk:
            return done
        write(chunk)
        done += len(chunk)
        progress(done, total)


def _check_md5(part: Path, expected: str) -> None:
    """Remove `part` and raise UserError where its MD5 is not `expected`."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(part, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        part.unlink()
        raise UserError(
            f"{part.name.removesuffix('.part')} has MD5 {digest.hexdigest()}, expected {expected}; "
            "it was removed"
        )


def _unpack(archive: Archive, layout: Layout, part: Path, target: Path) -> None:
    """Unpack the files that the data set consists of beside `target`, then rename to it.

    Only regular members with a known base name are read, and they are written under that name: no
    path out of the archive is ever used.
    """
    wanted = {*layout.files, *archive.extras}
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with tarfile.open(part, "r:gz") as tar:
            for member in tar:
                file = Path(member.name).name
                source = tar.extractfile(member) if member.isfile() and file in wanted else None
                if source is not None:
                    with open(staging / file, "wb") as stream:
                        shutil.copyfileobj(source, stream, CHUNK)
                        stream.flush()
                        os.fsync(stream.fileno())
        check_sizes(layout, staging)
        write_text(staging / LABEL_FILE, f"{layout.title}\n")
        staging.chmod(0o755)
        os.replace(staging, target)
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{part}: not a complete tar archive ({error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
