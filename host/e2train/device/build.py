# SPDX-License-Identifier: Apache-2.0
"""Builds C++ with this computer's compiler, once, and keeps the shared library in a cache folder.

A library lies there under a name that hashes its sources and headers, the compiler, its flags and
the processor: a change in any of them builds another one. It is whole or not there at all.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ..files import locked

NAME = "e2train"
Compile = Callable[[Path, Path], None]  # a folder for what passes, and the library to write
Bound = TypeVar("Bound")
Bind = Callable[[Path], Bound]  # what a built file is to the program, such as a ctypes.CDLL


class BuildError(Exception):
    """There is no compiler, or it failed; the text says so in one line."""


def compiler() -> str:
    """Path of the C++ compiler: CXX, else g++, clang++ or c++. Raises BuildError without one."""
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise BuildError("no C++ compiler (g++ or clang++) on PATH")


def run_compiler(command: list[str], seconds: float) -> None:
    """Run a compiler's command. Raises BuildError with its first error, or after `seconds`."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{name}: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["failed"]
        raise BuildError(f"{name}: {lines[0]}")


def key(command: str, words: Iterable[str], root: Path, files: Iterable[Path]) -> str:
    """Hash of the compiler `command`, this processor, `words` and what `files` below `root` hold.

    Raises BuildError where the compiler does not run.
    """
    digest = hashlib.sha256()
    try:
        version = subprocess.run([command, "--version"], capture_output=True, check=False).stdout
    except OSError as error:
        raise BuildError(f"{command}: {error.strerror}") from error
    digest.update(version + b"\0")
    for part in (command, platform.machine(), _processor(), *words):
        digest.update(part.encode() + b"\0")
    for path in files:
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def _processor() -> str:
    """The processor's instruction sets, as far as the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    keys = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(keys)}))


def built_library(kind: str, hashed: str, compile_: Compile, bind: Bind[Bound]) -> Bound:
    """The library `kind`-`hashed`.so, bound: from the cache, or compiled, kept there and bound.

    Of several processes that need it at once, one compiles. Where no folder can keep it, it is
    compiled for this process alone, and a line on standard error says so. What `compile_` and
    `bind` raise passes through, and nothing is kept then.
    """
    name = f"{kind}-{hashed}.so"
    for place in (home_cache, _temporary_cache):
        folder = place()
        if folder is None:
            continue
        if os.access(folder / name, os.R_OK):
            return bind(folder / name)
        if not _can_hold(folder):
            continue
        with _one_at_a_time(folder / f"{kind}.lock"):
            if (folder / name).exists():  # another process built it meanwhile
                return bind(folder / name)
            library = _install(folder, name, compile_, bind)
        if place is not home_cache:
            _warn(f"compiled code is kept in {folder}")
        return library
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as passing:
        compile_(Path(passing), Path(passing) / name)
        library = bind(Path(passing) / name)  # stays mapped when its file goes
    _warn("the code is compiled anew for each process")
    return library


def built_file(kind: str, hashed: str, compile_: Compile) -> Path:
    """Path of what `built_library` keeps, for a program or what another one loads.

    Raises BuildError where no folder can keep it, and what `compile_` raises.
    """

    def path(built: Path) -> Path:
        return built

    built_library(kind, hashed, compile_, path)
    kept = built_library(kind, hashed, compile_, path)  # the first one's path was a passing one
    if not kept.exists():
        raise BuildError(f"no folder can keep {kept.name} (XDG_CACHE_HOME names one)")
    return kept


def _install(folder: Path, name: str, compile_: Compile, bind: Bind[Bound]) -> Bound:
    with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as passing:
        built = Path(passing) / name
        compile_(Path(passing), built)
        library = bind(built)  # one that does not load is not kept; it stays mapped when renamed
        with open(built, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(built, folder / name)
        return library


def home_cache() -> Path | None:
    """The user's cache folder for this program, there or not; None for a user without a home.

    As the XDG base directory specification has it, a relative XDG_CACHE_HOME does not count.
    """
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if chosen.is_absolute():
        return chosen / NAME
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry in the system's list of users
        return None
    return home / ".cache" / NAME if home.is_absolute() else None


def _temporary_cache() -> Path | None:
    """A folder of this user's own among the temporary files; None where somebody else has it.

    What lies in it is run, so nobody else may be able to write to it.
    """
    folder = Path(tempfile.gettempdir()) / f"{NAME}-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return folder if own and stat.S_IMODE(found.st_mode) & 0o077 == 0 else None


def _can_hold(folder: Path) -> bool:
    """Whether files can be made in the folder, which is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _warn(instead: str) -> None:
    cache = home_cache()
    why = "the user has no home folder" if cache is None else f"{cache} cannot be written to"
    print(f"warning: {why}: {instead} (XDG_CACHE_HOME names another folder)", file=sys.stderr)


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock of the cache: a build takes minutes of processor time, once is enough.

    A file system without locks costs that time and nothing else: libraries are renamed into place.
    """
    with locked(path, wait=True, needed=False):
        yield
