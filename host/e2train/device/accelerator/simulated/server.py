# SPDX-License-Identifier: Apache-2.0
"""Runs inside the simulator (cocotb): carries out the host's requests, one after the other."""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Any

import cocotb
from cocotb.triggers import First, RisingEdge, Timer, ValueChange

from e2train.device.accelerator.simulated.protocol import (
    BODY,
    COUNTERS,
    MEMORY,
    NEVER,
    REPLY,
    REQUEST,
    SIGNALS,
    SOCKET,
    Request,
)

PERIOD_NS = 10
RESET_CYCLES = 4


class Server:
    """The board's signals, and the C++ behind its memory."""

    def __init__(self, dut: Any) -> None:
        self._dut = dut
        self._body = ctypes.CDLL(os.environ[BODY])
        path, base, size = os.environ[MEMORY].rsplit(":", 2)
        mapped = self._body.board_map(
            path.encode(), ctypes.c_uint64(int(base)), ctypes.c_uint64(int(size))
        )
        assert mapped == 0, f"{path} cannot be mapped"

    async def reset(self) -> None:
        self._dut.rst_n.value = 0
        await Timer(RESET_CYCLES * PERIOD_NS, "ns")
        self._dut.rst_n.value = 1
        await Timer(RESET_CYCLES * PERIOD_NS, "ns")

    async def answer(self, what: Request, first: int, second: int) -> int:
        """Carry out one request; returns what it replies."""
        dut = self._dut
        if what in (Request.READ, Request.WRITE):
            return await self._access(what == Request.WRITE, first, second)
        if what == Request.RUN:
            if not int(dut.interrupt.value):
                await First(RisingEdge(dut.interrupt), Timer(second * PERIOD_NS, "ns"))
            return int(dut.interrupt.value)
        if what == Request.SET:
            getattr(dut, SIGNALS[first]).value = second
            await Timer(PERIOD_NS, "ns")
        elif what == Request.UPSET:
            port, write, response = first & 0xFF, first >> 8 & 1, first >> 16 & 0xFF
            self._body.board_upset(
                port, write, -1 if response == NEVER else response, ctypes.c_uint64(second)
            )
        elif what == Request.COUNTER:
            counters = (ctypes.c_uint64 * COUNTERS)()
            self._body.board_statistics(counters)
            return counters[first]
        elif what == Request.CYCLES:
            return int(dut.cycles.value)
        elif what == Request.LINE:
            return int(dut.interrupt.value)
        elif what == Request.RESET:
            await self.reset()
        return 0

    async def _access(self, write: bool, address: int, value: int) -> int:
        dut = self._dut
        dut.is_write.value = int(write)
        dut.address.value = address
        dut.data.value = value
        dut.request.value = 1 - int(dut.request.value)
        await ValueChange(dut.answered)
        return int(dut.result.value)


def _received(link: socket.socket) -> bytes:
    """The next request; empty where the host has hung up."""
    data = b""
    while len(data) < REQUEST.size:
        part = link.recv(REQUEST.size - len(data))
        if not part:
            return b""
        data += part
    return data


@cocotb.test()
async def serve(dut: Any) -> None:
    """Until the host hangs up."""
    with socket.socket(fileno=int(os.environ[SOCKET])) as link:
        server = Server(dut)
        await server.reset()
        while data := _received(link):
            what, first, second = REQUEST.unpack(data)
            link.sendall(REPLY.pack(await server.answer(Request(what), first, second)))
