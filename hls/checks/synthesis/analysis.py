# SPDX-License-Identifier: Apache-2.0
"""All that `make hls-report` knows of a design, from one reading of its IR."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from synthesis import delays, verilog
from synthesis.debugtypes import DebugTypes
from synthesis.emit import emit
from synthesis.memories import Memory, fifos, memories
from synthesis.module import Function, Module, read
from synthesis.operators import Operator, operators, short_name
from synthesis.ports import PortAccess, port_accesses
from synthesis.pragmas import Scope, Source
from synthesis.processes import Region, regions
from synthesis.recurrences import Recurrence, recurrence
from synthesis.resources import Estimate, Resources
from synthesis.structure import Loop, loops_of

ESTIMATED = "estimate from operators"


@dataclass
class Analysis:
    """Findings by topic; `parts`: name, resources and how they are known."""

    recurrences: list[Recurrence] = field(default_factory=list)
    ports: list[PortAccess] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    parts: list[tuple[str, Resources, str]] = field(default_factory=list)
    core: Resources | None = None

    @property
    def total(self) -> Resources:
        total = Resources()
        for _, one, _ in self.parts:
            total.add(one)
        return total


@dataclass
class Reader:
    """The sources' scopes and the IR, matched by file and line."""

    hls: Path
    module: Module
    sources: list[Source]

    def __post_init__(self) -> None:
        self.types = DebugTypes(self.module)
        for source in self.sources:
            source.path = source.path.relative_to(self.hls)
        scopes = [scope for source in self.sources for scope in source.scopes]
        for scope in scopes:
            scope.file = scope.file.relative_to(self.hls)
        self.pragmas = [pragma for scope in scopes for pragma in scope.pragmas]
        self.loops = {(str(one.file), one.line): one for one in scopes if one.loop}
        self.labels = {place: one.label for place, one in self.loops.items()}
        self.seen: set[tuple[str, int]] = set()

    def pipelined(self, loops: list[Loop]) -> list[tuple[Loop, Scope]]:
        """Loops that a pragma pipelines."""
        found = []
        for loop in loops:
            scope = self.loops.get((loop.file, loop.line))
            if scope is not None and scope.interval() is not None:
                self.seen.add((loop.file, loop.line))
                found.append((loop, scope))
        return found

    def vanished(self) -> list[Recurrence]:
        """Pipelined loops that the IR does not have: nothing can be said of them."""
        return [
            Recurrence(*place, scope.label, scope.interval() or 0, 0.0, 0.0,
                       remarks=["not found in the IR"])
            for place, scope in self.loops.items()
            if scope.interval() is not None and place not in self.seen
        ]  # fmt: skip


def _worst(found: list[Recurrence]) -> list[Recurrence]:
    """One entry a loop of the source, where it was inlined several times."""
    kept: dict[tuple[str, int], Recurrence] = {}
    for one in found:
        old = kept.get((one.file, one.line))
        if old is None or one.worst > old.worst:
            kept[one.file, one.line] = one
    return [kept[place] for place in sorted(kept)]


def _merged(found: list[PortAccess]) -> list[PortAccess]:
    """As above, for port accesses."""
    kept: dict[tuple[str, int, str, bool], PortAccess] = {}
    for one in found:
        key = (one.file, one.line, one.port, one.writes)
        if key not in kept or len(one.faults) > len(kept[key].faults):
            kept[key] = one
    return [kept[key] for key in sorted(kept)]


def _interfaces(reader: Reader) -> Resources:
    """What the tool adds around the design: adapters of ports and registers."""
    table = delays.TABLE["interface"]
    pragmas = [one for one in reader.pragmas if one.name == "INTERFACE"]
    ports = sum("m_axi" in one.words for one in pragmas)
    registers = sum("s_axilite" in one.words for one in pragmas)
    return Resources(
        ports * table["port_luts"] + registers * table["register_luts"],
        ports * table["port_ffs"] + registers * table["register_ffs"],
        0.0,
        ports * table["port_blocks"],
    )


def _function(reader: Reader, function: Function, found: Analysis, estimate: Estimate) -> None:
    loops = loops_of(function)
    pipelined = reader.pipelined(loops)
    for loop, scope in pipelined:
        found.recurrences.append(recurrence(loop, scope, reader.types, reader.pragmas))
    found.ports += port_accesses(function, loops, reader.types, reader.labels)
    named = [(loop, scope.label) for loop, scope in pipelined]
    found.operators += operators(function, named)
    name = short_name(function)
    if found.core is None or name != verilog.TOP:
        found.parts.append((name, estimate.of(function, pipelined), ESTIMATED))


def analyse(hls: Path, paths: list[Path] | None = None, core: bool = True) -> Analysis:
    """Everything, of all sources under `hls` or of `paths`. Raises Missing without a tool."""
    text, sources = emit(hls, paths)
    reader = Reader(hls, read(text), sources)
    found = Analysis(regions=regions(sources))
    found.core = verilog.core(hls) if core else None
    if found.core is not None:
        found.parts.append((verilog.TOP, found.core, "synthesised by Yosys"))
    estimate = Estimate(reader.types, sources)
    for function in reader.module.functions.values():
        _function(reader, function, found, estimate)
    found.recurrences = _worst(found.recurrences + reader.vanished())
    found.ports = _merged(found.ports)
    found.memories = memories(reader.module, reader.types, reader.pragmas, found.regions)
    found.memories += fifos(sources, reader.types, reader.module)
    on_chip = Resources(
        luts=sum(one.luts for one in found.memories),
        blocks=sum(one.blocks for one in found.memories),
    )
    found.parts.append(("memories and FIFOs", on_chip, "their shapes, as above"))
    found.parts.append(
        ("ports and registers", _interfaces(reader), "what the tool's adapters take")
    )
    return found
