# SPDX-License-Identifier: Apache-2.0
"""Which board, by what name and word, and what is where on it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...errors import UserError

_ADDRESS = re.compile(
    r"(?:(?P<user>[^@\s:/]+)@)?(?P<host>\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^@\s:/\[\]]+)(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True)
class Address:
    """`user@host:port`; user and port may be left to the SSH configuration (None)."""

    user: str | None
    host: str
    port: int | None

    def __str__(self) -> str:
        user = "" if self.user is None else f"{self.user}@"
        return f"{user}{self.host}" + ("" if self.port is None else f":{self.port}")


@dataclass(frozen=True)
class Board:
    """A board and how its cells are trained there.

    `program` is the command that starts e2train there (it may hold several words), `folder` where
    the campaign's cells are, `data` where its data sets are, `overlay` the file of the FPGA's
    configuration; paths are the board's, relative ones begin at the user's home.
    """

    address: Address
    program: str
    folder: str
    device: str
    data: str | None = None
    overlay: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_address(text: str) -> Address:
    """Read `[user@]host[:port]`, an IPv6 address in brackets. Raises UserError."""
    found = _ADDRESS.fullmatch(text)
    if found is None or text.startswith("-"):
        raise UserError(f"--board {text}: expected user@host or user@host:port")
    port = found["port"]
    if port is not None and not 0 < int(port) < 65536:
        raise UserError(f"--board {text}: {port} is not a port (1 to 65535)")
    return Address(found["user"], found["host"].strip("[]"), None if port is None else int(port))
