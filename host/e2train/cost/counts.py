# SPDX-License-Identifier: Apache-2.0
"""What an iteration costs, from a network's shape alone: the same counts as the engine's own.

The engine counts what it executes; this foretells it, for `e2train cost`, for the baseline that
savings are taken against, and for docs/cost.md. Tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from ..device.counter import Counter
from ..methods.slu_gates import gate_macs
from ..network.spec import Block, NetworkSpec, Unit

OFFERED = 3000  # iterations that `expected` counts: fractions of a batch become whole samples


@dataclass(frozen=True)
class Scheme:
    """Operand and storage widths of one way to train.

    forward: activations and weights; input_gradient: the output gradient in the pass to the input;
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


FLOAT32 = Scheme("sgd-fp32", 32, 32, (32, 32), 32, 32, 32, 32, 32)
FIXED8 = Scheme("fixed8", 8, 8, (8, 16), 48, 8, 16, 16, 16)
FULL_SIGN = Scheme("signsgd", 8, 16, (8, 16), 48, 8, 16, 16, 16)
PSG = replace(FULL_SIGN, name="psg", predictor=(4, 10))


def iteration(
    spec: NetworkSpec,
    scheme: Scheme,
    batch: int,
    *,
    ran: Callable[[Block], int] | None = None,
    predicted: float | Mapping[str, float] = 0.0,
    gated: bool = False,
) -> Counter:
    """Count one training iteration (forward and backward, no evaluation).

    `ran(block)`: samples that a skippable block computes (default: all); `predicted`: share of
    the signs that PSG's predictor decides, in all layers or by layer name; `gated`: whether
    learned gates choose.
    """
    work = _Iteration(scheme, predicted)
    for index, block in enumerate(spec.blocks):
        samples = ran(block) if ran is not None and block.skippable else batch
        if block.shortcut == "pad":
            work.pad(block, samples, batch)
        if samples:
            work.block(block, samples, first=index == 0)
        if gated and block.skippable:
            work.counter.mac("gate", 32, 32, 3 * batch * gate_macs(block))  # and both gradients
            work.products(block, samples)
    work.classifier(spec, batch)
    return work.counter


class _Iteration:
    """One iteration in the making; each part counts as the engine executes it."""

    def __init__(self, scheme: Scheme, predicted: float | Mapping[str, float]) -> None:
        self.counter = Counter()
        self.scheme = scheme
        self.predicted = predicted

    def block(self, block: Block, samples: int, *, first: bool) -> None:
        """Forward and backward of a block; the first block's picture needs no gradient."""
        for index, unit in enumerate(block.units):
            last = unit is block.units[-1]
            self._forward(unit, samples, last=last, residual=last and block.skippable)
            self._backward(unit, samples, last=last, to_input=index > 0 or not first)
            self._fused(block, index, samples)

    def _fused(self, block: Block, index: int, samples: int) -> None:
        """What the input gradient's store reads: the mask of the unit before, or the residual."""
        s, size = self.scheme, samples * block.units[index].geometry.input_size
        if index > 0 and block.units[index - 1].activation != "none":
            self.counter.elementwise(size * s.act, 0)
        if index == 0 and block.skippable:
            self.counter.elementwise(size * s.g, 0)

    def products(self, block: Block, samples: int) -> None:
        """The gates' <g, F(x) - x>: the stream's gradient and the stream after and before."""
        s = self.scheme
        size = samples * block.units[-1].geometry.output_size
        self.counter.elementwise(size * (s.g + 2 * s.stream), 0)

    def _forward(self, unit: Unit, samples: int, *, last: bool, residual: bool) -> None:
        s, size = self.scheme, samples * unit.geometry.output_size
        self.counter.convolution("forward", unit.geometry, samples, s.forward, s.forward, s.y)
        read = s.y + (s.stream if residual else 0)
        self.counter.elementwise(size * read, size * (s.stream if last else s.act))

    def _backward(self, unit: Unit, samples: int, *, last: bool, to_input: bool) -> None:
        s, size = self.scheme, samples * unit.geometry.output_size
        if last and unit.activation != "none":  # elsewhere the convolution's store masks
            self.counter.elementwise(size * (s.g + s.stream), size * s.g)
        self.counter.elementwise(size * 2 * (s.g + s.y), size * s.g)  # sums first, then the result
        self._weights(unit, samples)
        if to_input:
            self.counter.convolution(
                "backward_input", unit.geometry, samples, s.input_gradient, s.forward, s.g
            )

    def _weights(self, unit: Unit, samples: int) -> None:
        s, share = self.scheme, 1.0
        if s.predictor is not None:
            self.counter.convolution("predictor", unit.geometry, samples, *s.predictor, s.sums)
            by_layer = self.predicted
            share = 1.0 - (by_layer if isinstance(by_layer, float) else by_layer[unit.name])
        self.counter.convolution(
            "backward_weight", unit.geometry, samples, *s.weight_gradient, s.sums, share
        )

    def pad(self, block: Block, samples: int, batch: int) -> None:
        """The parameter-free shortcut of a block that changes shape, forward and backward.

        Backward, a block that part of the batch skipped has it twice: behind the mask of what ran
        (`samples`), and for the whole stream.
        """
        s = self.scheme
        backward = batch if samples in (0, batch) else samples + batch
        out = s.stream * batch * block.units[-1].geometry.output_size
        back = s.g * backward * block.units[0].geometry.input_size
        self.counter.elementwise(out, out)
        self.counter.elementwise(back, back)

    def classifier(self, spec: NetworkSpec, batch: int) -> None:
        """Average pooling and the linear layer."""
        s, unit = self.scheme, Unit("classifier", spec.classifier, "none")
        pooled = spec.blocks[-1].units[-1].geometry.output_size
        self.counter.elementwise(s.stream * batch * pooled, 0)
        self.counter.convolution("forward", unit.geometry, batch, s.forward, s.forward, s.y)
        self._weights(unit, batch)
        self.counter.convolution(
            "backward_input", unit.geometry, batch, s.input_gradient, s.forward, s.g
        )


def expected(
    spec: NetworkSpec,
    scheme: Scheme,
    batch: int,
    *,
    kept: Fraction = Fraction(1),
    skip: Fraction = Fraction(0),
    predicted: float = 0.0,
    gated: bool = False,
) -> Counter:
    """Expected cost of OFFERED iterations: `kept` of the mini-batches, `skip` of each block.

    Every skippable block skips the same share of the samples. Where that is no whole number of
    samples, iterations with the next lower and the next higher number are mixed.
    """
    executed = kept * OFFERED
    computed = batch * (1 - skip)
    low = int(computed)
    rounds = round(executed)
    higher = round(rounds * (computed - low))
    total = Counter()
    for samples, times in ((low, rounds - higher), (low + 1, higher)):
        if times:
            one = iteration(
                spec,
                scheme,
                batch,
                ran=lambda _, samples=samples: samples,  # type: ignore[misc]
                predicted=predicted,
                gated=gated,
            )
            total = total.plus(one.times(times))
    return total
