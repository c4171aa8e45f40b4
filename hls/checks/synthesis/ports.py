# SPDX-License-Identifier: Apache-2.0
"""Accesses of the memory ports: which join into bursts.

A tool makes a burst of the accesses in a loop when their address is the same affine function of the
iteration for all of them together: together they must take every beat of each step, in every
iteration. Of one loop, that is of the innermost around the access."""

from __future__ import annotations

from dataclasses import dataclass, field

from synthesis.debugtypes import DebugTypes
from synthesis.memory import pointer_of, port_of
from synthesis.module import Function, Instruction
from synthesis.structure import Loop
from synthesis.values import Affine, Linear

BEAT = 8


@dataclass
class PortAccess:
    """What one loop reads or writes on one port."""

    file: str
    line: int
    label: str
    port: str
    writes: bool
    count: int
    faults: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)  # of the accesses


def _gaps(linear: list[Linear]) -> str | None:
    """Why accesses of one iteration do not make one run; None where they do."""
    steps = {one.step for one in linear}
    if len(steps) > 1 or 0 in steps:
        return "stays at one address" if steps == {0} else "moves by several steps"
    step = steps.pop()
    for terms in {one.terms for one in linear}:
        places = sorted({one.constant for one in linear if one.terms == terms})
        whole = [places[0] + BEAT * place for place in range(abs(step) // BEAT)]
        if step < 0:
            return "runs backwards"
        if places != whole:
            return f"takes {len(places)} of {abs(step) // BEAT} beats of a step"
    return None


def _faults(accesses: list[Instruction], loop: Loop, affine: Affine) -> list[str]:
    found = []
    if any(one.block.name not in loop.always for one in accesses):
        found.append("conditional")
    linear = [affine.of(pointer_of(one) or "") for one in accesses]
    known = [one for one in linear if one is not None]
    if len(known) < len(linear):
        found.append("not affine")
    elif (why := _gaps(known)) is not None:
        found.append(why)
    return found


def port_accesses(
    function: Function, loops: list[Loop], types: DebugTypes, labels: dict[tuple[str, int], str]
) -> list[PortAccess]:
    """Every group of accesses of a function; single ones outside all loops are left out."""
    innermost: dict[str, Loop] = {}
    for loop in sorted(loops, key=lambda one: -len(one.names)):
        for name in loop.names:
            innermost[name] = loop
    groups: dict[tuple[Loop, str, bool], list[Instruction]] = {}
    chosen: dict[tuple[Loop, str, bool], bool] = {}
    for block in function.blocks.values():
        for one in block.instructions if block.name in innermost else []:
            ports = port_of(types, function, one)
            for port in ports:
                key = (innermost[block.name], port, one.opcode != "load")
                groups.setdefault(key, []).append(one)
                chosen[key] = chosen.get(key, False) or len(ports) > 1
    affine = {loop: Affine(loop) for loop, _, _ in groups}
    found = []
    for key, accesses in groups.items():
        loop, port, writes = key
        faults = _faults(accesses, loop, affine[loop])
        if chosen[key]:
            faults.append("chosen among ports")
        places = {function.module.location(one.debug) for one in accesses}
        label = labels.get((loop.file, loop.line), f"line {loop.line}")
        found.append(
            PortAccess(loop.file, loop.line, label, port[1:].split(".")[0], writes, len(accesses),
                       faults, sorted(place[1] for place in places if place))
        )  # fmt: skip
    return found
