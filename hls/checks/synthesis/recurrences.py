# SPDX-License-Identifier: Apache-2.0
"""The longest way around a pipelined loop: how long after one iteration the next can begin.

Between a loop's variables (and its memories) runs a graph of operators; the slowest cycle of it,
its delay divided by the iterations it spans, bounds the initiation interval. The branch that ends
the loop bounds it too: the next iteration waits for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import networkx as nx
import numpy as np

from synthesis import delays
from synthesis.debugtypes import DebugTypes
from synthesis.memory import Access, Accesses, port_of
from synthesis.module import Instruction
from synthesis.pragmas import Pragma, Scope
from synthesis.structure import Loop
from synthesis.values import Widths, constant

NEVER = -np.inf


@dataclass
class Recurrence:
    """A pipelined loop's bound. `path`: operators on the slowest way, with their lines."""

    file: str
    line: int
    label: str
    interval: int
    nanoseconds: float
    exit: float
    path: list[str] = field(default_factory=list)
    exit_path: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def worst(self) -> float:
        return max(self.nanoseconds, self.exit)

    @property
    def reached(self) -> int:
        """The interval that the recurrence allows."""
        return max(1, int(np.ceil(round(self.worst / delays.BUDGET, 6))))

    @property
    def breaks(self) -> bool:
        return self.worst > self.interval * delays.BUDGET + 1e-9 or bool(self.remarks)


class Timing:
    """Arrival times in one iteration, from every variable of the loop at once."""

    def __init__(
        self, loop: Loop, types: DebugTypes, pragmas: list[Pragma], everything: bool = False
    ) -> None:
        """`everything`: times from the iteration's start, whatever a value depends on."""
        self.loop = loop
        self.types = types
        self.widths = Widths(loop.function)
        self.accesses = Accesses(loop, types, pragmas)
        self.states: list[str] = [phi.name for phi in loop.phis]
        self.slots: dict[tuple[str, int, int], int] = {}
        for access in self.accesses.found.values():
            if access.key not in self.slots:
                self.slots[access.key] = len(self.states)
                self.states.append(access.name)
        self.arrival: dict[str, np.ndarray] = {}
        self.done: dict[Instruction, np.ndarray] = {}
        self.guard: dict[str, np.ndarray] = {}
        self.uses = Counter(operand for one in loop.instructions for operand in one.operands)
        if everything:
            self.states = ["iteration"]
            self.slots = dict.fromkeys(self.slots, 0)
        self._never = np.full(len(self.states), 0 if everything else NEVER, dtype=np.float32)
        self._everything = everything
        self._run()

    def _from(self, place: int) -> np.ndarray:
        start = self._never.copy()
        start[place] = 0
        return start

    def _run(self) -> None:
        for place, phi in enumerate(self.loop.phis):
            self.arrival[phi.name] = self._from(0 if self._everything else place)
        for block in self.loop.blocks:
            self.guard[block.name] = self._guard(block.name)
            for one in block.instructions:
                if one.name in self.arrival:
                    continue
                made = self._made(one)
                self.done[one] = made
                if one.name:
                    self.arrival[one.name] = made

    def _guard(self, block: str) -> np.ndarray:
        """When it is known whether a block runs."""
        found = self._never
        for decider in self.loop.deciders[block]:
            if decider not in self.guard:
                continue
            branch = self.loop.function.blocks[decider].terminator
            one = self.of(branch.operands[0]) if branch.operands else self._never
            outer = self.guard[decider]
            if np.isfinite(outer).any():
                one = np.maximum(one, outer) + delays.logic()
            found = np.maximum(found, one)
        return found

    def of(self, operand: str) -> np.ndarray:
        return self.arrival.get(operand, self._never)

    def _inputs(self, one: Instruction) -> np.ndarray:
        found = self._never
        for operand in one.operands:
            found = np.maximum(found, self.of(operand))
        return found

    def _made(self, one: Instruction) -> np.ndarray:
        block = one.block.name
        if one.opcode == "phi":
            return self._merged(one)
        access = self.accesses.found.get(one)
        if access is not None:
            return self._accessed(one, access)
        if one.opcode == "call" and one.detail.startswith("e2_fifo"):
            return np.maximum(self._inputs(one), self.guard[block]) + delays.fifo()
        if port_of(self.types, self.loop.function, one):
            found = np.maximum(self._inputs(one), self.guard[block])
            return found + (delays.port() if one.opcode == "load" else 0)
        if one.opcode == "add":
            return self._sum(one)
        return self._inputs(one) + self.delay(one)

    def _sum(self, one: Instruction) -> np.ndarray:
        """A chain of additions, balanced as tools balance it: what comes late is added last."""
        terms: list[str] = []
        front = list(one.operands)
        while front:
            operand = front.pop()
            made = self.loop.defined.get(operand)
            if (
                made is not None
                and made.opcode == "add"
                and made.type == one.type
                and self.uses[operand] == 1
                and made not in self.loop.phis
            ):
                front.extend(made.operands)
            else:
                terms.append(operand)
        arrivals = np.stack([self.of(operand) for operand in terms])
        late = np.isfinite(arrivals).sum(axis=0)
        levels = np.ceil(np.log2(np.maximum(late + (late < len(terms)), 2)))
        return np.asarray(arrivals.max(axis=0) + levels * self.delay(one), dtype=np.float32)

    def _merged(self, phi: Instruction) -> np.ndarray:
        """Values of branches that join: a multiplexer, set by the branches' conditions."""
        values = self._inputs(phi)
        chosen = self._never
        for source in phi.targets:
            if source in self.guard:
                chosen = np.maximum(chosen, self.guard[source])
                branch = self.loop.function.blocks[source].terminator
                if len(branch.targets) > 1 and branch.operands:
                    chosen = np.maximum(chosen, self.of(branch.operands[0]))
        return np.maximum(values, chosen) + delays.select(len(phi.operands))

    def _accessed(self, one: Instruction, access: Access) -> np.ndarray:
        found = np.maximum(self._inputs(one), self.guard[one.block.name])
        if access.stores:
            return found
        if access.register:
            found = np.maximum(found, self._from(self.slots[access.key]))
            return found + (delays.select(access.ways) if access.ways > 1 else 0)
        return np.maximum(found, self._from(self.slots[access.key])) + delays.memory(access.lookup)

    def delay(self, one: Instruction) -> float:
        """Of an operator alone."""
        code = one.opcode
        if code in delays.FREE or (code == "getelementptr" and self._constant_step(one)):
            return 0.0
        bits = self.widths.operator(one)
        if code in ("add", "sub", "getelementptr"):
            return delays.add(min(bits, 32) if code == "getelementptr" else bits)
        if code == "icmp":
            return delays.compare(bits)
        if code in ("and", "or", "xor"):
            wires = self._constant_operand(one) or " disjoint " in one.text
            return 0.0 if wires else delays.logic()
        if code == "select":
            return delays.select()
        if code == "mul":
            return self._product(one)
        if code in ("shl", "lshr", "ashr"):
            return 0.0 if constant(one.operands[1]) is not None else delays.shift(bits)
        if code in ("sdiv", "udiv", "srem", "urem"):
            return self._quotient(one, bits)
        return self._called(one, bits) if code == "call" else delays.logic()

    def _product(self, one: Instruction) -> float:
        if any(constant(operand) is not None for operand in one.operands):
            return delays.add(self.widths.operator(one))
        return delays.multiply(*self.widths.factors(one))

    def _quotient(self, one: Instruction, bits: int) -> float:
        number = constant(one.operands[1])
        if number is not None and number > 0 and number & (number - 1) == 0:
            return delays.add(bits) if one.opcode in ("sdiv", "srem") else 0.0
        return delays.divide(bits)

    def _called(self, one: Instruction, bits: int) -> float:
        if not one.detail.startswith("llvm."):
            return 0.0
        for part in ("smax", "smin", "umax", "umin", "abs"):
            if one.detail.startswith(f"llvm.{part}"):
                return delays.compare(bits) + delays.select()
        if one.detail.startswith(("llvm.uadd", "llvm.usub", "llvm.sadd", "llvm.ssub")):
            return delays.add(bits) + delays.select()
        return 0.0

    def _constant_operand(self, one: Instruction) -> bool:
        """A mask is wires."""
        return any(constant(operand) is not None for operand in one.operands)

    def _constant_step(self, one: Instruction) -> bool:
        return all(constant(operand) is not None for operand in one.operands[1:])

    def edges(self, free: set[str]) -> dict[tuple[int, int], tuple[float, int]]:
        """From variable to variable: delay, and iterations it takes."""
        found: dict[tuple[int, int], tuple[float, int]] = {}

        def add(to: int, arrival: np.ndarray, distance: int) -> None:
            for place in np.flatnonzero(np.isfinite(arrival)):
                edge = (int(place), to)
                old = found.get(edge)
                if old is None or arrival[place] / distance > old[0] / old[1]:
                    found[edge] = (float(arrival[place]), distance)

        for place, phi in enumerate(self.loop.phis):
            for value in self.loop.carried(phi):
                add(place, self.of(value), 1)
        listed = list(self.accesses.found.values())
        for store in listed:
            for load in listed:
                if store.stores and not load.stores:
                    distance = self.accesses.distance(store, load, free)
                    if distance is not None:
                        add(self.slots[store.key], self.done[store.instruction], distance)
        return found

    def exit(self) -> tuple[float, Instruction | None]:
        """When it is known whether the loop goes on, and the branch that decides last."""
        worst, which = 0.0, None
        for branch in self.loop.exits:
            arrival = self._inputs(branch)
            arrival = np.maximum(arrival, self.guard[branch.block.name])
            finite = arrival[np.isfinite(arrival)]
            if finite.size and float(finite.max()) > worst:
                worst, which = float(finite.max()), branch
        return worst, which

    def trace(self, place: int, end: Instruction | str) -> list[str]:
        """Operators on the slowest way from a variable to a value."""
        path: list[str] = []
        at = self.loop.defined.get(end) if isinstance(end, str) else end
        seen: set[Instruction] = set()
        while at is not None and at not in seen and at not in self.loop.phis:
            seen.add(at)
            before = self._slowest(at, place)
            took = float(self.done[at][place]) - (before[1] if before else 0.0)
            if took > 0:
                where = self.loop.function.module.location(at.debug)
                line = f" (line {where[1]})" if where and where[1] else ""
                path.append(f"{_called(at)} {took:.2f}{line}")
            at = before[0] if before else None
        return path[::-1]

    def _slowest(self, one: Instruction, place: int) -> tuple[Instruction, float] | None:
        inputs = list(one.operands)
        blocks = one.targets if one.opcode == "phi" else [one.block.name]
        for block in blocks:
            if block in self.loop.names:
                source = self.loop.function.blocks[block].terminator
                if one.opcode == "phi":
                    inputs += source.operands
                for decider in self.loop.deciders.get(block, ()):
                    inputs += self.loop.function.blocks[decider].terminator.operands
        ready = [
            (float(self.arrival[operand][place]), operand)
            for operand in inputs
            if operand in self.arrival and np.isfinite(self.arrival[operand][place])
        ]
        if not ready:
            return None
        late, operand = max(ready)
        made = self.loop.defined.get(operand)
        return None if made is None else (made, late)


NAMES = {"phi": "choose", "icmp": "compare", "getelementptr": "address"}


def _called(one: Instruction) -> str:
    """An operator's name for readers."""
    if one.opcode == "call":
        return one.detail.replace("llvm.", "").replace("e2_", "").split(".")[0]
    return NAMES.get(one.opcode, one.opcode)


def cycle_ratio(edges: dict[tuple[int, int], tuple[float, int]]) -> tuple[float, list[int]]:
    """The largest delay over iterations of any cycle, and the variables on it."""
    graph = nx.DiGraph()
    best, around = 0.0, list[int]()
    for (a, b), (delay, distance) in edges.items():
        if a != b:
            graph.add_edge(a, b, delay=delay, distance=distance)
        elif delay / distance > best:
            best, around = delay / distance, [a]
    for part in nx.strongly_connected_components(graph):
        ratio, cycle = _component_ratio(graph.subgraph(part), best)
        if ratio > best:
            best, around = ratio, cycle
    return best, around


def _component_ratio(graph: nx.DiGraph, floor: float) -> tuple[float, list[int]]:
    """Raise a bound to the ratio of a cycle that exceeds it, until none does."""
    best, around = floor, []
    while graph.number_of_edges():
        cycle = _exceeding(graph, best + 1e-4)
        if cycle is None:
            return best, around
        steps = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        ratio = sum(graph.edges[edge]["delay"] for edge in steps) / sum(
            graph.edges[edge]["distance"] for edge in steps
        )
        if ratio <= best:
            return best, around
        best, around = ratio, cycle
    return best, around


def _exceeding(graph: nx.DiGraph, bound: float) -> list[int] | None:
    """A cycle whose delay exceeds `bound` times its iterations."""
    weighted = nx.DiGraph()
    for a, b, data in graph.edges(data=True):
        weighted.add_edge(a, b, weight=bound * data["distance"] - data["delay"])
    try:
        found: list[int] = nx.find_negative_cycle(weighted, next(iter(weighted)))
    except nx.NetworkXError:
        return None
    return found[:-1]


def recurrence(loop: Loop, scope: Scope, types: DebugTypes, pragmas: list[Pragma]) -> Recurrence:
    """The bound of one pipelined loop."""
    timing = Timing(loop, types, pragmas)
    free = {
        one.values.get("variable", "")
        for one in scope.pragmas
        if one.name == "DEPENDENCE" and "false" in (*one.words, *one.values.values())
    }
    edges = timing.edges(free)
    worst, around = cycle_ratio(edges)
    ends, branch = timing.exit()
    found = Recurrence(str(scope.file), scope.line, scope.label, scope.interval() or 0, worst, ends)
    if around:
        a, b = around[0], around[1 % len(around)]
        found.path = _explained(timing, a, b, [timing.states[place] for place in around])
    if branch is not None:
        arrival = timing.of(branch.operands[0])
        guard = timing.guard[branch.block.name]
        place = int(np.argmax(np.maximum(arrival, guard)))
        found.exit_path = timing.trace(place, branch.operands[0])
    if not found.interval:
        found.remarks.append("its claimed interval is no plain number")
    if loop.inner:
        found.remarks.append(
            "holds loops that are not unrolled: "
            + ", ".join(sorted({f"line {one.line}" for one in loop.inner}))
        )
    for one in loop.instructions:
        if one.opcode == "call" and not one.detail.startswith(("llvm.", "e2_fifo")):
            found.remarks.append(f"calls {one.detail}, which is not inlined")
    return found


def _explained(timing: Timing, a: int, b: int, names: list[str]) -> list[str]:
    head = "through " + ", ".join(name.lstrip("%") for name in names[:4])
    phis = timing.loop.phis
    if b < len(phis):
        return [head, *timing.trace(a, timing.loop.carried(phis[b])[0])]
    stores = [
        one for one in timing.accesses.found.values() if one.stores and timing.slots[one.key] == b
    ]
    late = max(stores, key=lambda one: float(timing.done[one.instruction][a]))
    return [head, *timing.trace(a, late.instruction)]
