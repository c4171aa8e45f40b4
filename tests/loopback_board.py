# SPDX-License-Identifier: Apache-2.0
"""A computer reached over SSH on loopback that plays the board, and a user with keys to it.

The system's sshd serves where there is one. Elsewhere asyncssh's server does, in a process of its
own: its own implementation of the protocol, real commands and real files. Passwords are always
asyncssh's, since sshd would ask for the system's.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncssh

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
PASSWORD = "correct horse"
USER = "board"
PROGRAM = f"{sys.executable} -m e2train.cli"


class LoopbackBoard:
    """The board in `folder`: its home, its host key; `laptop` is the home of the user elsewhere."""

    def __init__(self, folder: Path, *, sshd: bool = SSHD is not None) -> None:
        self.folder, self.sshd = folder, sshd
        self.home, self.laptop = folder / "board", folder / "laptop"
        self.home.mkdir(parents=True, exist_ok=True)
        (self.laptop / ".ssh").mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.host_key = self._key(folder / "host_key")
        user = self._key(self.laptop / ".ssh" / "id_ed25519")
        (folder / "authorized_keys").write_text(user)
        self.know(self.host_key)
        self._server: subprocess.Popen[bytes] | None = None

    @staticmethod
    def _key(path: Path) -> str:
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(path)
        path.chmod(0o600)
        return key.export_public_key().decode()

    def know(self, key: str) -> None:
        """What the laptop takes for the board's host key."""
        (self.laptop / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}")

    def forget_user(self) -> None:
        """The laptop has no key to the board any more."""
        (self.laptop / ".ssh" / "id_ed25519").unlink()

    @property
    def address(self) -> str:
        user = os.environ.get("USER", "root") if self.sshd else USER
        return f"{user}@127.0.0.1:{self.port}"

    @property
    def options(self) -> list[str]:
        """Of `e2train campaign run`."""
        folder = str(self.home / "cells")
        return ["--board", self.address, "--board-program", PROGRAM, "--board-folder", folder]

    @property
    def environment(self) -> dict[str, str]:
        """Of a command on the laptop; compiled kernels stay where they are."""
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        kept = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
        return kept | {"HOME": str(self.laptop), "XDG_CACHE_HOME": cache, "OMP_NUM_THREADS": "1"}

    def __enter__(self) -> LoopbackBoard:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Serve; returns once connections are taken."""
        self._server = subprocess.Popen(self._command(), cwd=self.home)
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < until and self._server.poll() is None, "no SSH server"
                time.sleep(0.05)

    def kill(self) -> None:
        """The server and every connection of it go at once, with no word to the other end."""
        if self._server is None:
            return
        for pid in [self._server.pid, *_sessions(self._server.pid)]:
            os.kill(pid, signal.SIGKILL)
        self._server.wait()
        self._server = None

    def _command(self) -> list[str]:
        if not self.sshd:
            # asyncssh's server leaves coroutines behind where a connection breaks
            quiet = "ignore::RuntimeWarning"
            return [sys.executable, "-W", quiet, __file__, str(self.folder), str(self.port)]
        variables = {name: os.environ.get(name, "") for name in ("PYTHONPATH", "XDG_CACHE_HOME")}
        environment = " ".join(f'"{n}={v}"' for n, v in variables.items() if v)
        settings = self.folder / "sshd_config"
        settings.write_text(
            f"ListenAddress 127.0.0.1\nHostKey {self.folder / 'host_key'}\nUsePAM no\n"
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}\nStrictModes no\n"
            f"PidFile none\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
            f"SetEnv OMP_NUM_THREADS=1 {environment}\n"
        )
        assert SSHD is not None
        return [SSHD, "-D", "-e", "-q", "-p", str(self.port), "-f", str(settings)]


def _sessions(server: int) -> list[int]:
    """Processes of sshd that serve connections: what a user started there is not one."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
        except OSError:
            continue  # it ended meanwhile
        name, _, rest = text.partition("(")[2].rpartition(")")
        parent = int(rest.split()[1])
        if name.startswith("sshd") and parent == server:
            pid = int(status.parent.name)
            found += [pid, *_sessions(pid)]
    return found


class _Server(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return username == USER and password == PASSWORD


async def _run(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """A command in a shell, as sshd runs it."""
    started = await asyncio.create_subprocess_shell(
        process.command or "exit 1",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert started.stdin is not None
    await process.redirect_stdin(started.stdin)
    await asyncio.gather(
        _pump(started.stdout, process.stdout), _pump(started.stderr, process.stderr)
    )
    process.exit(await started.wait())


async def _pump(source: asyncio.StreamReader | None, sink: asyncssh.SSHWriter[bytes]) -> None:
    """Everything, before the exit code: asyncssh's own redirection may drop the end."""
    assert source is not None
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()


async def serve(folder: Path, port: int) -> None:
    """Take connections until killed."""
    server = await asyncssh.create_server(
        _Server,
        "127.0.0.1",
        port,
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "authorized_keys"),
        process_factory=_run,
        sftp_factory=True,
        encoding=None,
        reuse_address=True,
    )
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
