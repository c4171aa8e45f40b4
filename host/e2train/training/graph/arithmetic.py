# SPDX-License-Identifier: Apache-2.0
"""What a training iteration on tensors asks of its arithmetic.

The counterpart of `network.arithmetic` for an iteration that never reads a value back: all samples
are always computed, and a mask says which of them count. A block's mask `ran` is bool [N], or None
where every sample runs the block. What did not run influences nothing: no batch statistic, peak,
exponent or running statistic, no weight gradient, no gradient of gamma or beta. Where no sample ran
at all, a block's exponents and running statistics stay as they are; its gradients are whatever they
are, finite, and the caller takes no step with them.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch

from ...network.spec import Block, Unit

Tensor = torch.Tensor
Value = Any  # a full tensor in the arithmetic's own form, N samples
Tensors = dict[str, Tensor]  # parameters, or their gradients averaged over the mini-batch, float32


class GraphArithmetic(Protocol):
    """Forward and backward of the parts of a network on the parameters that it was made with.

    Parameters are float32 tensors by name, as `network.parameters` names them, all on one device;
    running statistics are changed in place, at fixed addresses, as all state is.
    """

    def begin(self, training: bool) -> None:
        """Start an iteration, or an evaluation, which changes no state; forget the last one's."""

    def picture(self, images: Tensor) -> Value:
        """uint8 images [N,C,H,W], normalised as the arithmetic needs them."""

    def shortcut(self, block: Block, stream: Value) -> Value:
        """What the block's shortcut makes of the stream."""

    def block_input(self, block: Block, stream: Value, ran: Tensor | None) -> Value:
        """The operand of the block's first convolution."""

    def unit_forward(
        self,
        unit: Unit,
        x: Value,
        *,
        last: bool,
        residual: Value | None,
        scale: float,
        ran: Tensor | None,
    ) -> Value:
        """Convolution, batch norm (times `scale`), residual add, activation.

        `last`: the result is the stream. Of the samples that did not run, it is what the batch
        statistics of those that ran make of them.
        """

    def merge(self, base: Value, ran: Tensor, part: Value) -> Value:
        """`part` where the samples ran, else `base`."""

    def classify(self, stream: Value) -> Tensor:
        """Average pooling and the linear layer: logits float64 [N, classes]."""

    def classify_backward(self, g: Tensor) -> tuple[Value, Tensors]:
        """From the loss gradient float64 [N, classes] of each sample to the stream's gradient."""

    def output_mask(self, unit: Unit, g: Value) -> Value:
        """The gradient through the last unit's activation."""

    def unit_backward(
        self,
        unit: Unit,
        g: Value,
        *,
        previous: Unit | None,
        residual: Value | None,
        stem: bool,
        ran: Tensor | None,
    ) -> tuple[Value | None, Tensors]:
        """Backward of `unit_forward` from its batch norm's output gradient `g`.

        The result is the gradient at `previous`'s batch norm, or (`previous` None) the stream's
        gradient with `residual` added; with `stem` nothing, as the picture needs no gradient.
        """

    def shortcut_backward(self, block: Block, g: Value) -> Value:
        """The stream's gradient through the block's shortcut."""

    def gate_features(self, block: Block, stream: Value, points: int) -> Tensor:
        """Channel sums over a grid of positions of the block's input, float64 [N, C]."""

    def gate_products(self, block: Block, g: Value, after: Value, before: Value) -> Tensor:
        """Per-sample <g, after - before> in real units, float64 [N], of every sample."""

    def tallies(self) -> Tensors:
        """Weights of each layer whose signs were predicted in this iteration, int64 []."""

    def state(self) -> dict[str, Any]:
        """JSON-able state that a checkpoint needs besides the parameters (reads values back)."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint, in place."""

    def tensors(self) -> list[Tensor]:
        """Whatever `begin(training=True)` and what follows change, but for the parameters."""
