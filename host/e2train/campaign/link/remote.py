# SPDX-License-Identifier: Apache-2.0
"""One cell's training on the board: started detached, asked how it stands, its files followed.

Plain files in the cell's folder there, and commands that every Linux has (sh, setsid, flock, kill,
tail, sha256sum):

experiment.toml   what to train
run/              the run folder of `e2train train`
lock              held (flock) by the training as long as it lives
pid               the training's process group
exit              exit code, once it has ended by itself
output.txt        what it printed
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from powermeter.energy.clock import host_time_s

from ... import __version__
from ...errors import UserError
from .address import Board
from .clock import EXCHANGES, ClockReading, best_of
from .ssh import BoardError, LinkLost, connected, library, over

if TYPE_CHECKING:
    import asyncssh

EXPERIMENT, BASE, RUN = "experiment.toml", "base.npz", "run"
_CHUNK = 1 << 18
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_LEAST_FREE = 1 << 20


@dataclass(frozen=True)
class Standing:
    """Whether the training lives, its exit code if it ended by itself, whether it has a result."""

    running: bool
    exit_code: int | None
    finished: bool


class RemoteCell:
    """The cell's folder on the board, through an open connection.

    Every method raises LinkLost where the connection goes, and BoardError where the board fails.
    """

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        sftp: asyncssh.SFTPClient,
        board: Board,
        cell: str,
    ) -> None:
        self._connection, self._sftp, self._board = connection, sftp, board
        self._folder = f"{board.folder}/{cell}" if cell else board.folder
        self._clock: asyncssh.SSHClientProcess[str] | None = None
        self._boot = ""

    # ---- what the board is ----------------------------------------------------------------------

    async def check(self) -> None:
        """Raise BoardError unless the board has this version of e2train and room to work in."""
        said = (await self._shell(f"{self._board.program} --version", where="")).strip()
        if said != f"e2train {__version__}":
            raise BoardError(
                f"{self._board.address}: has {said or 'another e2train'}, this computer e2train "
                f"{__version__}: install the same version on both"
            )
        await self._shell("command -v setsid flock sha256sum >/dev/null", where="")
        await self.make_folder()

    async def make_folder(self) -> None:
        """Make the cell's folder, where it is missing."""
        await self._shell(f"mkdir -p {shlex.quote(self._folder)}", where="")

    async def measure_clock(self) -> ClockReading:
        """Compare the board's clock with this computer's; the channel stays open for the next."""
        with over(self._board.address):
            if self._clock is None:
                self._clock = await self._connection.create_process(
                    f"{self._board.program} campaign clock"
                )
                self._boot = (await self._clock.stdout.readline()).strip()
            exchanges = [await self._exchange(self._clock) for _ in range(EXCHANGES)]
        return best_of(self._boot, exchanges)

    async def _exchange(self, clock: asyncssh.SSHClientProcess[str]) -> tuple[float, float, float]:
        sent = host_time_s()
        clock.stdin.write("\n")
        answer = await clock.stdout.readline()
        came = host_time_s()
        if not answer.endswith("\n"):
            ended = await clock.wait()
            if ended.exit_status:  # None where the connection went
                raise BoardError(await self._failed(self._board.program, ended))
            raise LinkLost(f"{self._board.address}: the clock there stopped answering")
        return sent, float(answer), came

    # ---- the training ---------------------------------------------------------------------------

    async def put(self, name: str, content: bytes) -> None:
        """Write a file into the cell's folder, whole or not at all."""
        part = f"{self._folder}/{name}.part"
        with over(self._board.address):
            try:
                async with self._sftp.open(part, "wb") as stream:
                    await stream.write(content)
                await self._sftp.posix_rename(part, f"{self._folder}/{name}")
            except library().SFTPError as error:
                raise BoardError(await self._explained(f"{name}: {error}")) from None

    async def start(self, meter: str, fixed: bool) -> None:
        """Start the training, or go on from its checkpoint; it lives on without the connection."""
        board = self._board
        words = [EXPERIMENT, "--out", RUN, "--resume", "--quiet", "--meter", meter]
        if fixed:
            words += ["--device", board.device]
        train = f"{board.program} train {shlex.join(words)}"
        for option, path in (("--data", board.data), ("--overlay", board.overlay)):
            train += "" if path is None else f" {option} {_from_home(path)}"
        job = (
            f"echo $$ >pid; {train} >output.txt 2>&1; code=$?; "
            "echo $code >exit.part && mv exit.part exit"
        )
        # The redirections let the channel close at once. The lock is waited for, as somebody may
        # just be trying whether it is held.
        detached = f"setsid -f flock --no-fork -w 10 lock sh -c {shlex.quote(job)}"
        await self._shell(f"rm -f exit pid output.txt; {detached} </dev/null >/dev/null 2>&1")

    async def standing(self) -> Standing:
        """How the training stands."""
        said = await self._shell(
            "flock -n lock true && echo idle || echo running; cat exit 2>/dev/null; "
            "test -e run/result.json && echo finished; true"
        )
        words = said.split()
        code = next((int(word) for word in words if word.isdigit()), None)
        return Standing("running" in words, code, "finished" in words)

    async def exit_code(self) -> int | None:
        """The exit code, once the training has ended by itself."""
        with over(self._board.address):
            try:
                async with self._sftp.open(f"{self._folder}/exit", "rb") as stream:
                    return int(await stream.read())
            except library().SFTPNoSuchFile:
                return None

    async def stop(self) -> None:
        """End the training as Ctrl-C does; its checkpoint stays. Returns when it has ended."""
        await self._shell(
            'flock -n lock true || kill -s INT -- "-$(cat pid)" 2>/dev/null; flock -w 60 lock true'
        )

    async def set_aside(self) -> None:
        """Keep what was trained so far under another name: the cell begins anew."""
        await self._shell(
            "n=1; while test -e attempt-$n; do n=$((n+1)); done; "
            "if test -e run; then mv run attempt-$n; fi; rm -f exit"
        )

    async def last_words(self) -> str:
        """Why the training ended, as far as it could say."""
        said = await self._shell("tail -n 1 output.txt 2>/dev/null; true")
        line = " ".join(said.split()).removeprefix("e2train: ")
        return await self._explained(line or "the training ended without a word")

    # ---- its files ------------------------------------------------------------------------------

    async def pull(self, name: str, here: Path) -> bool:
        """Append to `here` what the board's file holds beyond it; whether there was anything.

        A file that is not there yet is empty. Where the board's is shorter it was begun anew, and
        so is this one.
        """
        path = f"{self._folder}/{name}"
        with over(self._board.address):
            try:
                size = (await self._sftp.stat(path)).size or 0
            except library().SFTPNoSuchFile:
                return False
            have = here.stat().st_size if here.exists() else 0
            if size < have:
                here.unlink()
                have = 0
            begin = have
            if size > have:
                async with self._sftp.open(path, "rb") as remote:
                    while data := await remote.read(_CHUNK, have):
                        assert isinstance(data, bytes)  # of a file opened as bytes
                        _append(here, data)
                        have += len(data)
        return have > begin

    async def names(self, inside: str) -> list[str]:
        """Files of a folder and of the folders in it, relative to it; none where it is missing."""
        with over(self._board.address):
            if not await self._sftp.isdir(f"{self._folder}/{inside}"):
                return []
            found: list[str] = []
            for entry in await self._sftp.readdir(f"{self._folder}/{inside}"):
                name = str(entry.filename)
                if stat.S_ISREG(entry.attrs.permissions or 0):
                    found.append(name)
                elif stat.S_ISDIR(entry.attrs.permissions or 0) and name.strip("."):
                    found += [f"{name}/{more}" for more in await self.names(f"{inside}/{name}")]
        return [name for name in found if not name.endswith(".part")]

    async def digests(self, inside: str, names: list[str]) -> dict[str, str]:
        """SHA-256 of files of a folder, in hexadecimal."""
        said = await self._shell(f"cd {shlex.quote(inside)} && sha256sum -- {shlex.join(names)}")
        pairs = (line.split(maxsplit=1) for line in said.splitlines())
        return {name.lstrip("*"): digest for digest, name in pairs}

    # ---- below ----------------------------------------------------------------------------------

    async def _shell(self, command: str, where: str | None = None) -> str:
        """What a command prints, run in the cell's folder (or in `where`; '' for the home)."""
        folder = self._folder if where is None else where
        line = f"cd {shlex.quote(folder)} && {{ {command}; }}" if folder else command
        with over(self._board.address):
            # by sh, whatever shell the user has there
            done = await self._connection.run(f"sh -c {shlex.quote(line)}", check=False)
        if done.exit_status is None and done.exit_signal is None:
            raise LinkLost(f"{self._board.address}: the connection was closed")
        if done.exit_status:
            raise BoardError(await self._failed(command, done))
        return str(done.stdout)

    async def _failed(self, command: str, done: Any) -> str:
        said = " ".join(str(done.stderr).split()) or f"exit code {done.exit_status}"
        program = command.startswith(self._board.program)
        if program and done.exit_status in (_NOT_FOUND, _NOT_EXECUTABLE):
            return (
                f"{self._board.address}: no e2train there ({said}): install it on the board, or "
                "name it with --board-program"
            )
        return await self._explained(said)

    async def _explained(self, line: str) -> str:
        """The line, after the board's name, and that its disk is full where it is."""
        full = "no space" in line.lower()
        with over(self._board.address):
            try:
                disk = await self._sftp.statvfs(self._board.folder)
                full = full or (disk.bavail or 0) * (disk.frsize or 0) < _LEAST_FREE
            except library().SFTPError:  # not every server can say
                pass
        advice = " (the disk there is full: free some room and repeat the command)" if full else ""
        return f"{self._board.address}: {line}{advice}"


def _append(path: Path, data: bytes) -> None:
    """Raises UserError where the disk here is full: that is no matter of the link."""
    try:
        with open(path, "ab") as stream:
            stream.write(data)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def _from_home(path: str) -> str:
    """For a shell: the path, which begins at the user's home where it is relative."""
    return shlex.quote(path) if path.startswith("/") else f'"$HOME"/{shlex.quote(path)}'


@asynccontextmanager
async def opened(board: Board, cell: str = "") -> AsyncIterator[RemoteCell]:
    """The cell's folder on the board, as long as the connection holds."""
    async with connected(board.address, board.password) as connection:
        with over(board.address):
            sftp = await connection.start_sftp_client()
        yield RemoteCell(connection, sftp, board, cell)
