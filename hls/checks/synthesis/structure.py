# SPDX-License-Identifier: Apache-2.0
"""Natural loops of a function, who encloses whom, and what decides whether a block runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import networkx as nx

from synthesis.module import Block, Function, Instruction


@dataclass(eq=False)
class Loop:
    """A natural loop; `blocks` in an order in which definitions come before uses."""

    function: Function
    header: str
    latches: list[str]
    names: set[str]
    file: str = ""
    line: int = 0
    inner: list[Loop] = field(default_factory=list)

    @cached_property
    def blocks(self) -> list[Block]:
        graph = nx.DiGraph()
        graph.add_nodes_from(self.names)
        for name in self.names:
            for target in self.function.blocks[name].successors:
                if target in self.names and target != self.header and not self._back(name, target):
                    graph.add_edge(name, target)
        return [self.function.blocks[name] for name in nx.topological_sort(graph)]

    def _back(self, source: str, target: str) -> bool:
        return any(target == one.header and source in one.names for one in self.inner)

    @cached_property
    def instructions(self) -> list[Instruction]:
        return [one for block in self.blocks for one in block.instructions]

    @cached_property
    def defined(self) -> dict[str, Instruction]:
        return {one.name: one for one in self.instructions if one.name}

    @cached_property
    def phis(self) -> list[Instruction]:
        header = self.function.blocks[self.header]
        return [one for one in header.instructions if one.opcode == "phi"]

    @cached_property
    def exits(self) -> list[Instruction]:
        """Branches that may leave the loop."""
        return [
            block.terminator
            for block in self.blocks
            if any(target not in self.names for target in block.successors)
        ]

    def carried(self, phi: Instruction) -> list[str]:
        """What a header's phi takes from the iteration before."""
        return [
            value
            for value, source in zip(phi.operands, phi.targets, strict=True)
            if source in self.names
        ]

    @cached_property
    def always(self) -> set[str]:
        """Blocks that run in every iteration that does not leave the loop."""
        dominators = immediate_dominators(self.function)
        found: set[str] | None = None
        for latch in self.latches:
            chain = {latch}
            at = latch
            while at != self.header:
                at = dominators[at]
                chain.add(at)
            found = chain if found is None else found & chain
        return found or set()

    @cached_property
    def deciders(self) -> dict[str, set[str]]:
        """For each block the blocks whose branches decide, directly, whether it runs."""
        graph = nx.DiGraph()
        for block in self.blocks:
            for target in block.successors:
                inside = target in self.names and target != self.header
                graph.add_edge(target if inside else "<end>", block.name)
        after = nx.immediate_dominators(graph, "<end>")
        found: dict[str, set[str]] = {block.name: set() for block in self.blocks}
        for block in self.blocks:
            if len(set(block.successors)) < 2:
                continue
            for target in block.successors:
                at = target if target in self.names and target != self.header else "<end>"
                while at != "<end>" and at != after.get(block.name) and at in found:
                    found[at].add(block.name)
                    at = after[at]
        return found


_DOMINATORS: dict[Function, dict[str, str]] = {}


def immediate_dominators(function: Function) -> dict[str, str]:
    if function not in _DOMINATORS:
        graph = nx.DiGraph()
        entry = next(iter(function.blocks))
        graph.add_node(entry)
        for block in function.blocks.values():
            graph.add_edges_from((block.name, target) for target in block.successors)
        _DOMINATORS[function] = dict(nx.immediate_dominators(graph, entry))
    return _DOMINATORS[function]


def _dominates(dominators: dict[str, str], above: str, below: str) -> bool:
    while below in dominators:
        if below == above:
            return True
        if dominators[below] == below:
            return False
        below = dominators[below]
    return below == above


def loops_of(function: Function) -> list[Loop]:
    """Every natural loop of a function."""
    dominators = immediate_dominators(function)
    latches: dict[str, list[str]] = {}
    for block in function.blocks.values():
        for target in block.successors:
            if block.name in dominators and _dominates(dominators, target, block.name):
                latches.setdefault(target, []).append(block.name)
    found = []
    for header, sources in latches.items():
        names = {header}
        front = list(dict.fromkeys(sources))
        while front:
            name = front.pop()
            if name not in names:
                names.add(name)
                front.extend(function.predecessors[name])
        loop = Loop(function, header, list(dict.fromkeys(sources)), names)
        numbers = [function.blocks[name].loop for name in loop.latches]
        place = next((function.module.loop_location(one) for one in numbers if one), None)
        loop.file, loop.line = place or ("", 0)
        found.append(loop)
    for loop in found:
        loop.inner = [one for one in found if one is not loop and one.names < loop.names]
    return found
