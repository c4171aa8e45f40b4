# SPDX-License-Identifier: Apache-2.0
"""The operations of an iteration, from a network's shape alone: the same as the engine's own.

The engine records what it executes; this works it out beforehand, for `e2train cost`, for the
baselines that savings are taken against, and for the docs. Tests hold the two equal, operation by
operation. Counts, seconds and joules all derive from these operations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from ..device.counter import Counter
from ..device.operations import (
    FLOAT_BITS,
    GATE_MACS,
    LOGITS,
    MERGE,
    PIXELS,
    TAKE,
    UNITS,
    WEIGHTS,
    Convolution,
    Operation,
    Processor,
    Vector,
)
from ..errors import UserError
from ..methods.slu import exploring_burst
from ..methods.slu_gates import GRID_POINTS, gate_macs
from ..network.arithmetic import grid_work, shortcut_work
from ..network.spec import Block, NetworkSpec, Unit

OFFERED = 3000  # iterations that `expected` counts: fractions of a batch become whole samples
Shares = float | Mapping[str, float]
Samples = Callable[[Block], int]


@dataclass(frozen=True)
class Scheme:
    """Operand and storage widths of one way to train.

    forward: activations and weights; input_gradient: the output gradient in the pass to the input
    (`g` for `NetworkSpec.invariant_readers`);
    weight_gradient: (activation, output gradient) in the pass to the weights; sums: a weight
    gradient's store; act, y, stream, g: stored tensors (between the units of a block, convolution
    outputs, the residual stream, gradients); predictor: PSG's (activation, gradient) slices.
    """

    name: str
    forward: int
    input_gradient: int
    weight_gradient: tuple[int, int]
    sums: int
    act: int
    y: int
    stream: int
    g: int
    predictor: tuple[int, int] | None = None

    @property
    def float32(self) -> bool:
        """Whether it is float32, which no kernel of the accelerator computes."""
        return self.forward == FLOAT_BITS


FLOAT32 = Scheme("sgd-fp32", 32, 32, (32, 32), 32, 32, 32, 32, 32)
FIXED8 = Scheme("fixed8", 8, 8, (8, 16), 48, 8, 16, 16, 16)
FULL_SIGN = Scheme("signsgd", 8, 16, (8, 16), 48, 8, 16, 16, 16)
PSG = replace(FULL_SIGN, name="psg", predictor=(4, 10))
NARROW_PSG = replace(PSG, name="psg-narrow", input_gradient=8)
"""PSG with `input_gradient_bits = 8`."""


def operations(
    spec: NetworkSpec,
    scheme: Scheme,
    batch: int,
    *,
    ran: Samples | None = None,
    explored: Samples | None = None,
    predicted: Shares = 0.0,
    gated: Collection[str] = (),
) -> list[Operation]:
    """One training iteration (forward, backward and update, no evaluation), in order.

    `ran(block)`: samples that a skippable block computes (default: all); `explored(block)`: those
    of the others that a gated block computes forwards to learn (default: none); `predicted`: share
    of the signs that PSG's predictor decides, in all layers or by layer name; `gated`: names of
    the blocks that learned gates choose for.
    """
    chosen = {
        block.name: ran(block) if ran is not None and block.skippable else batch
        for block in spec.blocks
    }
    looked = {
        block.name: explored(block)
        for block in spec.blocks
        if explored is not None and block.name in gated and 0 < chosen[block.name] < batch
    }
    work = _Iteration(spec, scheme, batch, predicted, gated, looked)
    work.add(Processor(PIXELS, batch * next(spec.units()).geometry.input_size))
    for block in spec.blocks:
        work.forward(block, chosen[block.name])
    work.classifier(spec)
    for block in reversed(spec.blocks):
        work.backward(block, chosen[block.name])
    if gated:
        macs = sum(gate_macs(block) for block in spec.blocks if block.name in gated)
        work.add(Processor(GATE_MACS, 2 * batch * macs))
    updated = [unit for b in spec.blocks if chosen[b.name] for unit in b.units]
    weights = sum(unit.geometry.weights for unit in updated) + spec.classifier.weights
    work.add(Processor(WEIGHTS, weights))
    return work.done


def count(work: Iterable[Operation]) -> Counter:
    """Exact counts of operations."""
    counter = Counter()
    for operation in work:
        operation.count(counter)
    return counter


def iteration(
    spec: NetworkSpec,
    scheme: Scheme,
    batch: int,
    *,
    ran: Samples | None = None,
    explored: Samples | None = None,
    predicted: Shares = 0.0,
    gated: Collection[str] = (),
) -> Counter:
    """Exact counts of `operations`."""
    return count(
        operations(
            spec, scheme, batch, ran=ran, explored=explored, predicted=predicted, gated=gated
        )
    )


class _Iteration:
    """One iteration in the making; each part is recorded as the engine executes it."""

    def __init__(
        self,
        spec: NetworkSpec,
        scheme: Scheme,
        batch: int,
        predicted: Shares,
        gated: Collection[str],
        explored: Mapping[str, int],
    ) -> None:
        self.done: list[Operation] = []
        self.add = self.done.append
        self.invariant_readers = spec.invariant_readers
        self.scheme, self.batch, self.predicted = scheme, batch, predicted
        self.gated, self.explored = gated, explored

    # ---- a block --------------------------------------------------------------------------------

    def forward(self, block: Block, samples: int) -> None:
        """`samples` of the mini-batch run the block."""
        s, batch = self.scheme, self.batch
        last = block.units[-1].geometry
        part = 0 < samples < batch
        if block.name in self.gated:
            self.add(grid_work(block, batch, GRID_POINTS, s.stream))
            self.add(Processor(GATE_MACS, batch * gate_macs(block)))
        if block.shortcut == "pad":
            self.add(shortcut_work(block, batch, last.output_size, s.stream))
        if samples == 0:
            return
        if part:
            self._take_input(block, samples)
        self._units(block, samples, learns=True)
        if looked := self.explored.get(block.name, 0):
            self._take_input(block, looked)
            self._units(block, looked, learns=False)
        if part:
            self._merge(last.output_size, samples)

    def _take_input(self, block: Block, samples: int) -> None:
        """The block's input, and its shortcut where that is another tensor."""
        self._take(block.units[0].geometry.input_size, samples)
        if block.shortcut != "identity":
            self._take(block.units[-1].geometry.output_size, samples)

    def _units(self, block: Block, samples: int, *, learns: bool) -> None:
        s, first = self.scheme, block.units[0].geometry
        if block.name != "stem" and not s.float32:
            size, channels = first.input_size, first.channels
            self.add(Vector("narrow", block.name, samples, size, channels, s.stream, s.act))
        for unit in block.units:
            ends = unit is block.units[-1]
            self._unit(unit, samples, last=ends, residual=ends and block.skippable)
            if learns:
                self.add(Processor(UNITS, 1))

    def _unit(self, unit: Unit, samples: int, *, last: bool, residual: bool) -> None:
        s = self.scheme
        bits = (s.forward, s.forward)
        self.add(Convolution("forward", unit.name, unit.geometry, samples, bits, s.y))
        read = s.y + (s.stream if residual else 0)
        self._vector("normalise", unit, samples, read, s.stream if last else s.act)

    def backward(self, block: Block, samples: int) -> None:
        """Of the samples that ran."""
        s, size = self.scheme, block.units[0].geometry.input_size
        part = 0 < samples < self.batch
        if samples == 0:
            self._pad_backward(block, self.batch)
            return
        if part:
            self._take(block.units[-1].geometry.output_size, samples)
        if block.name in self.gated:
            self._products(block, samples)
            if looked := self.explored.get(block.name, 0):
                self._take(block.units[-1].geometry.output_size, looked)
                self._products(block, looked)
        if block.units[-1].activation != "none":  # elsewhere the convolution's store masks
            self._vector("mask", block.units[-1], samples, s.g + s.stream, s.g)
        self._pad_backward(block, samples)
        for index in reversed(range(len(block.units))):
            self._unit_backward(block, index, samples)
        if part:  # the shortcut of the whole stream, and what ran put into it
            self._pad_backward(block, self.batch)
            self._merge(size, samples)

    def _products(self, block: Block, samples: int) -> None:
        s = self.scheme
        self._vector("gate_products", block.units[-1], samples, s.g + 2 * s.stream, 0)

    def _pad_backward(self, block: Block, samples: int) -> None:
        if block.shortcut == "pad":
            size = block.units[0].geometry.input_size
            self.add(shortcut_work(block, samples, size, self.scheme.g))

    def _unit_backward(self, block: Block, index: int, samples: int) -> None:
        s, unit = self.scheme, block.units[index]
        self._vector("normalise_backward", unit, samples, 2 * (s.g + s.y), s.g)  # sums first
        self._weights(unit, samples)
        if index == 0 and block.name == "stem":
            return  # nobody needs the picture's gradient
        masked = index > 0 and block.units[index - 1].activation != "none"
        residual = index == 0 and block.skippable
        fused = (*((s.act,) if masked else ()), *((s.g,) if residual else ()))
        self._to_input(unit, samples, fused)

    # ---- pieces ---------------------------------------------------------------------------------

    def _vector(self, kind: str, unit: Unit, samples: int, read: int, written: int) -> None:
        geometry = unit.geometry
        size, channels = geometry.output_size, geometry.filters
        self.add(Vector(kind, unit.name, samples, size, channels, read, written))

    def _take(self, size: int, samples: int) -> None:
        bits = self.scheme.stream
        self.add(Vector(TAKE, TAKE, samples, size, 0, bits, bits, self.batch))

    def _merge(self, size: int, samples: int) -> None:
        bits = self.scheme.stream
        self.add(Vector(MERGE, MERGE, self.batch, size, 0, bits, bits, samples))

    def _to_input(self, unit: Unit, samples: int, fused: tuple[int, ...] = ()) -> None:
        s = self.scheme
        bits = (s.g if unit.name in self.invariant_readers else s.input_gradient, s.forward)
        geometry = unit.geometry
        self.add(Convolution("backward_input", unit.name, geometry, samples, bits, s.g, fused))

    def _weights(self, unit: Unit, samples: int) -> None:
        s, weights = self.scheme, unit.geometry.weights
        unsure = 0
        predictor = None if unit.name == "classifier" else s.predictor  # signs: convolutions only
        if predictor is not None:
            by_layer = self.predicted
            share = by_layer if isinstance(by_layer, float) else by_layer[unit.name]
            unsure = int((1.0 - share) * weights + 0.5)
        self.add(
            Convolution(
                "backward_weight",
                unit.name,
                unit.geometry,
                samples,
                s.weight_gradient,
                s.sums,
                predictor=predictor,
                unsure=unsure,
            )
        )

    def classifier(self, spec: NetworkSpec) -> None:
        """Average pooling and the linear layer, forward and back."""
        s, batch, unit = self.scheme, self.batch, Unit("classifier", spec.classifier, "none")
        pooled = spec.blocks[-1].units[-1].geometry
        size, channels = pooled.output_size, pooled.filters
        self.add(Vector("pool", "pool", batch, size, channels, s.stream, 0))
        bits, geometry = (s.forward, s.forward), unit.geometry
        self.add(Convolution("forward", unit.name, geometry, batch, bits, s.y, exact=True))
        self.add(Processor(LOGITS, batch * geometry.filters))
        self._weights(unit, batch)
        self._to_input(unit, batch)
        if not s.float32:
            self.add(Vector("spread", "spread", batch, size, channels, 0, s.g))


Mix = list[tuple[list[Operation], int]]  # iterations of different work, and how many of each


def expected(
    spec: NetworkSpec,
    scheme: Scheme,
    batch: int,
    *,
    kept: Fraction = Fraction(1),
    skip: Fraction = Fraction(0),
    predicted: float = 0.0,
    gated: Collection[str] = (),
    explore: Fraction = Fraction(0),
) -> Mix:
    """Expected work of OFFERED iterations: `kept` of the mini-batches, `skip` of the blocks.

    `skip` is counted over all skippable blocks' multiply-accumulates. The gated blocks, or all
    skippable ones where none is, skip the same share of the samples, of which `explore` are
    computed forwards, in bursts. Where that is no whole number of samples, iterations with the next
    lower and the next higher number are mixed.
    """
    executed = kept * OFFERED
    skipping = tuple(b for b in spec.skippable_blocks if not gated or b.name in gated)
    among = sum(b.macs for b in skipping), sum(b.macs for b in spec.skippable_blocks)
    each = skip * Fraction(among[1], among[0]) if skip else Fraction(0)
    if each > 1:
        raise UserError(
            f"{spec.name}: skips of {float(skip):.0%} asked for, its gated blocks have "
            f"{among[0] / among[1]:.0%} of the residual blocks' work"
        )
    computed = batch * (1 - each)
    low = int(computed)
    rounds = round(executed)
    higher = round(rounds * (computed - low))
    burst = Fraction(exploring_burst(float(explore))) if explore else Fraction(1)
    mix: Mix = []
    for samples, parts in ((low, rounds - higher), (low + 1, higher)):
        looking = round(parts / burst) if explore and samples < batch else 0
        for times, share in ((parts - looking, Fraction(0)), (looking, explore * burst)):
            if not times:
                continue
            one = operations(
                spec,
                scheme,
                batch,
                ran=lambda block, samples=samples: (  # type: ignore[misc]
                    samples if block in skipping else batch
                ),
                explored=lambda _, samples=samples, share=share: (  # type: ignore[misc]
                    round((batch - samples) * share)
                ),
                predicted=predicted,
                gated=gated,
            )
            mix.append((one, times))
    return mix


def count_mix(mix: Mix) -> Counter:
    """Exact counts of a mix."""
    total = Counter()
    for work, times in mix:
        total = total.plus(count(work).times(times))
    return total
