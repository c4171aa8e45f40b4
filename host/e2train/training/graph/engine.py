# SPDX-License-Identifier: Apache-2.0
"""Runs iterations one after the other without waiting: on CUDA each is the replay of one graph.

The host draws for many iterations at once (a table with a row an iteration), the iterations find
their row by a counter on the device and leave their readings in the same row of another table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ...errors import UserError
from .arithmetic import Tensor, Tensors
from .policy import Table

WARM_UP = 2  # runs before a capture: libraries choose and load their kernels
Program = Callable[[], None]

_capturing = threading.Lock()  # one capture at a time, whatever the other threads run


def start_cuda() -> None:
    """Have torch ready for CUDA in all threads; UserError where there is no such device."""
    if not torch.cuda.is_available():
        raise UserError("backend 'cuda': torch finds no CUDA device here")
    torch.cuda.init()


@contextmanager
def own_stream() -> Iterator[None]:
    """What this thread does on CUDA meanwhile runs beside what other threads do."""
    start_cuda()
    with torch.cuda.stream(torch.cuda.Stream()):
        yield


class Pending:
    """Readings of iterations that may still be running."""

    def __init__(self, readings: Tensors, rows: int) -> None:
        self._done: torch.cuda.Event | None = None
        self._host = {
            name: _to_host(tensor.narrow(0, 0, rows)) for name, tensor in readings.items()
        }
        if any(tensor.is_cuda for tensor in readings.values()):
            self._done = torch.cuda.Event(blocking=True)
            self._done.record()

    def wait(self) -> Table:
        """The readings, once the iterations are done: arrays by name with a row an iteration."""
        if self._done is not None:
            self._done.synchronize()
        return {name: tensor.numpy() for name, tensor in self._host.items()}


def _to_host(tensor: Tensor) -> Tensor:
    if not tensor.is_cuda:
        return tensor.clone()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


class Engine:
    """Runs `step` on rows of tables of up to `capacity` iterations.

    `changed` lists all tensors that a step changes; `example` is a table that it can be tried with.
    """

    def __init__(
        self,
        step: Callable[[Tensors], Tensors],
        changed: list[Tensor],
        example: Table,
        capacity: int,
        where: torch.device,
    ) -> None:
        self._step, self._changed, self._where = step, changed, where
        self.capacity = max(capacity, WARM_UP)  # the warm-up takes rows too
        self._position = torch.zeros(1, dtype=torch.int64, device=where)
        self._table = {
            name: _room(values[0], self.capacity, where) for name, values in example.items()
        }
        self._readings: Tensors = {}
        self._fill(example)
        self._program = recorded(self._iteration, [*changed, self._position], where)

    def _iteration(self) -> None:
        row = {
            name: tensor.index_select(0, self._position)[0] for name, tensor in self._table.items()
        }
        for name, value in self._step(row).items():
            if name not in self._readings:  # first in the warm-up, outside of any capture
                shape = (self.capacity, *value.shape)
                self._readings[name] = torch.zeros(shape, dtype=value.dtype, device=self._where)
            self._readings[name].index_copy_(0, self._position, value[None])
        self._position.add_(1)

    def _fill(self, table: Table) -> None:
        for name, values in table.items():
            host = torch.from_numpy(np.ascontiguousarray(values))
            room = self._table[name][: len(values)]
            # from pinned memory: else the host would wait here for all iterations before
            room.copy_(host.pin_memory() if room.is_cuda else host, non_blocking=True)
        self._position.zero_()

    def launch(self, table: Table) -> Pending:
        """Start one iteration for each row of the table, at least one, and come back at once."""
        rows = len(next(iter(table.values())))
        self._fill(table)
        for _ in range(rows):
            self._program()
        return Pending(self._readings, rows)


def _room(row: np.ndarray, capacity: int, where: torch.device) -> Tensor:
    like = torch.from_numpy(np.ascontiguousarray(row))
    return torch.zeros((capacity, *np.shape(row)), dtype=like.dtype, device=where)


class Evaluator:
    """Answers of `program` to many pictures at once; it changes nothing."""

    def __init__(
        self,
        program: Callable[[Tensor, Tensors], Tensors],
        shape: tuple[int, ...],
        where: torch.device,
    ) -> None:
        """`shape`: of the pictures of a batch, [N,C,H,W]."""
        self._images = torch.zeros(shape, dtype=torch.uint8, device=where)
        self._where, self._asked = where, program
        self._drawn: Tensors = {}
        self._found: Tensors = {}
        self._program: Program | None = None

    def _run(self) -> None:
        for name, value in self._asked(self._images, self._drawn).items():
            if name not in self._found:  # first in the warm-up, outside of any capture
                self._found[name] = torch.zeros_like(value)
            self._found[name].copy_(value)

    def __call__(self, images: np.ndarray, drawn: Table) -> Table:
        """Of uint8 images [up to N,C,H,W] and what was drawn for them, [..., as many].

        A smaller batch is filled up with its own pictures, which leaves its peaks as they are.
        """
        size = self._images.shape[0]
        places = np.arange(size) % len(images)
        self._images.copy_(torch.from_numpy(np.ascontiguousarray(images[places])))
        for name, values in drawn.items():
            filled = torch.from_numpy(np.ascontiguousarray(values[..., places]))
            if name not in self._drawn:
                self._drawn[name] = torch.zeros_like(filled, device=self._where)
            self._drawn[name].copy_(filled)
        if self._program is None:
            self._program = recorded(self._run, [], self._where)
        self._program()
        return {name: tensor.cpu().numpy() for name, tensor in self._found.items()}


def recorded(program: Program, changed: list[Tensor], where: torch.device) -> Program:
    """The program as a CUDA graph, having changed nothing; on a CPU the program itself.

    The warm-up really runs it, so what it changes is saved before and put back.
    """
    if where.type != "cuda":
        return program
    with _capturing:
        return _captured(program, changed, where)


def _captured(program: Program, changed: list[Tensor], where: torch.device) -> Program:
    saved = [tensor.clone() for tensor in changed]
    own, side = torch.cuda.current_stream(where), torch.cuda.Stream(where)
    side.wait_stream(own)
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            program()
    own.wait_stream(side)
    for tensor, before in zip(changed, saved, strict=True):
        tensor.copy_(before)
    own.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
        program()
    return graph.replay
