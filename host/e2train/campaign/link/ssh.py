# SPDX-License-Identifier: Apache-2.0
"""The connection to a board: asyncssh, with the user's keys, known_hosts and configuration.

Whatever can go wrong is one of three: the link is lost and may come back (`LinkLost`), the board
refuses this computer or the other way round (`LinkRefused`), or a command fails there
(`BoardError`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from .address import Address

if TYPE_CHECKING:
    import asyncssh

CONNECT_S = 15.0
KEEPALIVE_S = 5.0
MOST_UNANSWERED = 3


class LinkLost(Exception):
    """No connection now; what runs on the board goes on."""


class LinkRefused(UserError):
    """No connection, and trying again would not help."""


class BoardError(UserError):
    """Something failed on the board itself."""


def library() -> Any:
    """The package asyncssh. Raises UserError where it is not installed."""
    try:
        import asyncssh
    except ImportError:
        raise UserError("--board needs asyncssh: pip install 'e2train[link]'") from None
    return asyncssh


@asynccontextmanager
async def connected(
    address: Address, password: str | None
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """An open connection. Raises LinkLost or LinkRefused."""
    ssh = library()
    try:
        connection = await asyncio.wait_for(
            ssh.connect(
                address.host,
                port=() if address.port is None else address.port,
                username=() if address.user is None else address.user,
                password=password,
                keepalive_interval=KEEPALIVE_S,
                keepalive_count_max=MOST_UNANSWERED,
            ),
            CONNECT_S,
        )
    except ssh.HostKeyNotVerifiable as error:
        raise LinkRefused(_unknown_host(address, str(error))) from None
    except ssh.PermissionDenied:
        raise LinkRefused(_denied(address, password)) from None
    except (ssh.KeyImportError, ssh.KeyEncryptionError, ssh.ConfigParseError) as error:
        raise LinkRefused(f"{address}: your SSH keys or configuration: {error}") from None
    except (OSError, ssh.Error, asyncio.TimeoutError, TimeoutError) as error:
        raise LinkLost(f"{address}: {_reason(error)}") from None
    try:
        yield connection
    finally:
        connection.abort()  # what runs on the board does not hang on it


@contextmanager
def over(address: Address) -> Iterator[None]:
    """What asyncssh raises in here becomes LinkLost or BoardError."""
    ssh = library()
    try:
        yield
    except (LinkLost, UserError):
        raise
    except (ssh.SFTPConnectionLost, ssh.SFTPNoConnection) as error:
        raise LinkLost(f"{address}: {_reason(error)}") from None
    except ssh.SFTPError as error:
        raise BoardError(f"{address}: {_reason(error)}") from None
    except (OSError, ssh.Error, asyncio.TimeoutError, TimeoutError) as error:
        raise LinkLost(f"{address}: {_reason(error)}") from None


def _unknown_host(address: Address, said: str) -> str:
    port = "" if address.port is None else f"-p {address.port} "
    user = "" if address.user is None else f"{address.user}@"
    return (
        f"{address}: its host key is not the one in known_hosts, or not there at all ({said}); "
        f"compare its fingerprint with the board's and enter it with `ssh {port}{user}"
        f"{address.host}`"
    )


def _denied(address: Address, password: str | None) -> str:
    if password is not None:
        return f"{address}: the password was refused, and so were your SSH keys"
    return (
        f"{address}: none of your SSH keys is accepted there: enter one with ssh-copy-id, or let "
        "--password ask for the password"
    )


def _reason(error: BaseException) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)) and not text:
        return f"no answer for {CONNECT_S:g} s"
    return text or type(error).__name__
