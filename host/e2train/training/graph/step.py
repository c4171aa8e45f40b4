# SPDX-License-Identifier: Apache-2.0
"""One training iteration as tensor operations: mini-batch, gradients, optimiser, averaged weights.

Nothing here reads a value back, so the whole can be one CUDA graph. The optimiser's step is that of
`methods.sgd`, operation by operation in float32, so that it rounds alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...methods.sgd import Sgd
from ...network.parameters import Parameters, is_convolution_weight, trainable
from ...network.spec import NetworkSpec
from .arithmetic import Tensor, Tensors
from .flat import Layout, load, store
from .network import GraphNetwork
from .pictures import Pictures


@dataclass(frozen=True)
class StepSettings:
    """signs: SignSGD's; averaging: whether some iterations average the weights (SWA)."""

    signs: bool
    averaging: bool


class Weights:
    """Parameters, velocities and averaged weights on one torch device, at fixed addresses.

    `parameters` holds all parameters by name, running statistics too.
    """

    def __init__(self, parameters: Parameters, where: torch.device) -> None:
        trained = {name: value for name, value in parameters.items() if trainable(name)}
        running = {name: value for name, value in parameters.items() if not trainable(name)}
        self.layout, self.running_layout = Layout.of(trained), Layout.of(running)
        self.values, self.velocity = self.layout.zeros(where), self.layout.zeros(where)
        self.average = self.layout.zeros(where, torch.float64)
        self.running = self.running_layout.zeros(where)
        self.parameters = {
            **self.layout.views(self.values),
            **self.running_layout.views(self.running),
        }

    def push(self, parameters: Parameters, velocity: Parameters, average: Parameters) -> None:
        """Take over the host's arrays; `average` is empty before anything was averaged."""
        load(self.parameters, parameters)
        load(self.layout.views(self.velocity), velocity)
        if average:
            load(self.layout.views(self.average), average)

    def pull(self, parameters: Parameters, velocity: Parameters, average: Parameters) -> None:
        """Give the host's arrays their values, in place; `average` unless it is empty."""
        store(self.layout, self.values, parameters)
        store(self.running_layout, self.running, parameters)
        store(self.layout, self.velocity, velocity)
        if average:
            store(self.layout, self.average, average)

    def tensors(self) -> list[Tensor]:
        """Whatever an iteration changes."""
        return [self.values, self.velocity, self.average, self.running]


def descent(
    values: Tensor,
    velocity: Tensor,
    gradient: Tensor,
    rate: Tensor,
    momentum: float,
    weight_decay: Tensor,
) -> tuple[Tensor, Tensor]:
    """`methods.sgd`'s step, float32: (values, velocity) after it."""
    moved = velocity * momentum
    moved = moved + gradient
    moved = moved + weight_decay * values
    return values - moved * rate, moved


class TrainingStep:
    """A network's whole iteration; calling it with a row of the table runs it."""

    def __init__(
        self,
        network: GraphNetwork,
        weights: Weights,
        pictures: Pictures,
        optimiser: Sgd,
        settings: StepSettings,
    ) -> None:
        self.network, self.weights, self.pictures = network, weights, pictures
        self.settings = settings
        self._momentum = float(optimiser.momentum)
        self._decay = weights.layout.zeros(weights.values.device)
        for name, view in weights.layout.views(self._decay).items():
            view.fill_(float(optimiser.decay[name]))
        self._signed = torch.zeros_like(self._decay, dtype=torch.bool)
        for name, view in weights.layout.views(self._signed).items():
            view.fill_(is_convolution_weight(name))
        self.predicting: list[str] = []  # layers, in the order of the readings
        self._owner = self._owners(network.spec)

    def _owners(self, spec: NetworkSpec) -> Tensor:
        """For each element of the weights the skippable block that it belongs to, or one more."""
        blocks = spec.skippable_blocks
        groups = [(f"{u.name}.", index) for index, block in enumerate(blocks) for u in block.units]
        owner = self.weights.layout.owners(groups, rest=len(blocks))
        return torch.from_numpy(owner).to(self.weights.values.device)

    def tensors(self) -> list[Tensor]:
        """Whatever an iteration changes, all of it at fixed addresses."""
        policy = self.network.policy
        own = self.weights.tensors() + self.network.arithmetic.tensors()
        return own if policy is None else own + policy.tensors()

    def __call__(self, row: Tensors) -> Tensors:
        """One iteration; `row` holds what the host drew for it.

        order: int64 [4, N] (`Pictures.batch`); rate, sign_rate: float32 []; count: float64 [], of
        the weights averaged with this iteration's, 0 for none of them; and what the policy draws.
        Returns readings: picked float64 [N], each sample's probability of its label; ran int64
        [skippable blocks], samples; predicted int64 [layers of `predicting`]; and the policy's own.
        """
        images, labels = self.pictures.batch(row["order"])
        passed = self.network.forward_backward(images, labels, row)
        readings = {"picked": passed.picked}
        tallies = self.network.arithmetic.tallies()
        self.predicting = list(tallies)
        if tallies:
            readings["predicted"] = torch.stack(list(tallies.values()))
        rates = torch.where(self._signed, row["sign_rate"], row["rate"])
        self._descend(passed.gradients, self.network.ran, rates)
        policy = self.network.policy
        if policy is not None:
            readings["ran"] = self.network.ran_counts(labels.shape[0])
            readings.update(policy.learn())
        if self.settings.averaging:
            self._average(row["count"])
        return readings

    def _descend(self, gradients: Tensors, ran: Sequence[Tensor | None], rates: Tensor) -> None:
        """`methods.sgd`'s step; a block that no sample ran has no gradients, so takes none."""
        if self.settings.signs:
            gradients = {
                name: torch.sign(gradient) if is_convolution_weight(name) else gradient
                for name, gradient in gradients.items()
            }
        values, velocity = self.weights.values, self.weights.velocity
        flat = self.weights.layout.gather(gradients)
        stepped, moved = descent(values, velocity, flat, rates, self._momentum, self._decay)
        if any(one is not None for one in ran):
            active = self._active(ran)
            moved = torch.where(active, moved, velocity)
            stepped = torch.where(active, stepped, values)
        velocity.copy_(moved)
        values.copy_(stepped)

    def _active(self, ran: Sequence[Tensor | None]) -> Tensor:
        """bool, of each element of the weights: whether any sample ran its block."""
        always = torch.ones((), dtype=torch.bool, device=self._owner.device)
        flags = [always if one is None else one.any() for one in ran]
        return torch.stack([*flags, always]).index_select(0, self._owner)

    def _average(self, count: Tensor) -> None:
        """`methods.swa`'s running mean, where `count` is not 0."""
        mean, values = self.weights.average, self.weights.values.to(torch.float64)
        moved = mean + (values - mean) / count.clamp(min=1.0)
        moved = torch.where(count == 1.0, values, moved)
        mean.copy_(torch.where(count > 0.0, moved, mean))
