# SPDX-License-Identifier: Apache-2.0
"""Plain float32 arithmetic of an iteration on tensors: `network.float32` with masks for samples.

A Value is a float32 tensor [N,C,H,W]. Torch's own convolutions and, where every sample runs, its
own batch norm do the work, without autograd; results differ from the host's by rounding alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...device.geometry import Geometry
from ...network.arithmetic import RUNNING_MOMENTUM
from ...network.float_backend import EPSILON
from ...network.spec import Block, NetworkSpec, Unit
from .arithmetic import Tensor, Tensors


@dataclass
class _Memory:
    """What a unit's backward pass needs of its forward pass."""

    x: Tensor
    y: Tensor
    output: Tensor
    mean: Tensor
    inverse: Tensor  # 1 / deviation


class GraphFloat32:
    """float32 on torch tensors; `batch`: samples of a training mini-batch."""

    def __init__(
        self,
        spec: NetworkSpec,
        parameters: Tensors,
        mean: Sequence[int],
        deviation: Sequence[float],
        batch: int,
    ) -> None:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True  # a resumed run is the run left alone
        self.spec, self.parameters, self.batch = spec, parameters, batch
        where = parameters["classifier.bias"].device
        self._mean = torch.tensor(mean, dtype=torch.float32, device=where)[:, None, None]
        self._deviation = torch.tensor(deviation, dtype=torch.float32, device=where)[:, None, None]
        self._training = False
        self._memory: dict[str, _Memory] = {}

    def begin(self, training: bool) -> None:
        self._training = training
        self._memory.clear()

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        return

    def tensors(self) -> list[Tensor]:
        return []

    def tallies(self) -> Tensors:
        return {}

    # ---- forward --------------------------------------------------------------------------------

    def picture(self, images: Tensor) -> Tensor:
        pictures = (images.to(torch.float32) - self._mean) / self._deviation
        return pictures.contiguous(memory_format=torch.channels_last)

    def shortcut(self, block: Block, stream: Tensor) -> Tensor:
        if block.shortcut == "identity":
            return stream
        first, last = block.units[0].geometry, block.units[-1].geometry
        kept = stream[:, :, :: first.stride, :: first.stride]
        before = (last.filters - first.channels) // 2
        after = last.filters - first.channels - before
        return torch.nn.functional.pad(kept, (0, 0, 0, 0, before, after))

    def block_input(self, block: Block, stream: Tensor, ran: Tensor | None) -> Tensor:
        return stream

    def merge(self, base: Tensor, ran: Tensor, part: Tensor) -> Tensor:
        return torch.where(_rows(ran), part, base)

    def unit_forward(
        self,
        unit: Unit,
        x: Tensor,
        *,
        last: bool,
        residual: Tensor | None,
        scale: float,
        ran: Tensor | None,
    ) -> Tensor:
        y = _convolve(x, self.parameters[f"{unit.name}.weight"], unit.geometry)
        z, mean, inverse = self._normalise(unit, y, ran)
        if scale != 1.0:
            z = z * scale
        if residual is not None:
            z = z + residual
        if unit.activation != "none":
            z = z.clamp(0.0, 6.0 if unit.activation == "relu6" else None)
        if self._training:
            self._memory[unit.name] = _Memory(x, y, z, mean, inverse)
        return z

    def _normalise(
        self, unit: Unit, y: Tensor, ran: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Batch norm, with what its backward pass needs; the running statistics follow."""
        if ran is not None and self._training:
            return self._normalise_part(unit, y, ran)
        gamma, beta, running_mean, running_variance = self._batch_norm(unit)
        momentum = RUNNING_MOMENTUM if y.numel() > y.shape[1] else 0.0
        z, mean, inverse = torch.native_batch_norm(
            y, gamma, beta, running_mean, running_variance, self._training, momentum, EPSILON
        )
        return z, mean, inverse

    def _batch_norm(self, unit: Unit) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """gamma, beta, running mean and variance, [K] each."""
        own, name = self.parameters, unit.name
        statistics = own[f"{name}.running_mean"], own[f"{name}.running_variance"]
        return own[f"{name}.gamma"], own[f"{name}.beta"], *statistics

    def _normalise_part(self, unit: Unit, y: Tensor, ran: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Batch norm with the statistics of the samples that ran."""
        gamma, beta, running_mean, running_variance = self._batch_norm(unit)
        samples = ran.sum().to(torch.float32)
        count = samples * (y.shape[2] * y.shape[3])
        some = count.clamp(min=1.0)
        mean = _total(y, ran) / some
        centred = y - _channels(mean)
        variance = _total(centred * centred, ran) / some
        inverse = 1.0 / torch.sqrt(variance + EPSILON)
        share = torch.where(count > 1, samples * (RUNNING_MOMENTUM / self.batch), 0.0)
        unbiased = variance * (count / (count - 1).clamp(min=1.0))
        running_mean += share * (mean - running_mean)
        running_variance += share * (unbiased - running_variance)
        return centred * _channels(gamma * inverse) + _channels(beta), mean, inverse

    def classify(self, stream: Tensor) -> Tensor:
        self._spread = stream.shape[2:]
        self._features = stream.mean((2, 3))
        weight = self.parameters["classifier.weight"][:, :, 0, 0]
        logits = self._features @ weight.t()
        return logits.to(torch.float64) + self.parameters["classifier.bias"]

    def gate_features(self, block: Block, stream: Tensor, points: int) -> Tensor:
        height, width = (-(-size // points) for size in stream.shape[2:])
        return stream[:, :, ::height, ::width].sum((2, 3)).to(torch.float64)

    # ---- backward -------------------------------------------------------------------------------

    def classify_backward(self, g: Tensor) -> tuple[Tensor, Tensors]:
        single = g.to(torch.float32)
        weight = self.parameters["classifier.weight"]
        gradients = {
            "classifier.weight": (single.t() @ self._features).view_as(weight) / self.batch,
            "classifier.bias": (g.sum(0) / self.batch).to(torch.float32),
        }
        height, width = self._spread
        back = (single @ weight[:, :, 0, 0]) * (1.0 / (height * width))
        return back[:, :, None, None].expand(-1, -1, height, width), gradients

    def output_mask(self, unit: Unit, g: Tensor) -> Tensor:
        if unit.activation == "none":
            return g
        output = self._memory[unit.name].output
        open_ = output > 0
        if unit.activation == "relu6":
            open_ = open_ & (output < 6.0)
        return torch.where(open_, g, 0.0)

    def unit_backward(
        self,
        unit: Unit,
        g: Tensor,
        *,
        previous: Unit | None,
        residual: Tensor | None,
        stem: bool,
        ran: Tensor | None,
    ) -> tuple[Tensor | None, Tensors]:
        memory = self._memory.pop(unit.name)
        dy, g_gamma, g_beta = self._normalise_backward(unit, g, memory, ran)
        weight = self.parameters[f"{unit.name}.weight"]
        back, g_weight = _convolve_backward(dy, memory.x, weight, unit.geometry, not stem)
        gradients = {
            f"{unit.name}.weight": g_weight / self.batch,
            f"{unit.name}.gamma": g_gamma / self.batch,
            f"{unit.name}.beta": g_beta / self.batch,
        }
        if back is not None and previous is not None:
            back = self.output_mask(previous, back)
        if back is not None and residual is not None:
            back = back + residual
        return back, gradients

    def _normalise_backward(
        self, unit: Unit, g: Tensor, memory: _Memory, ran: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of y, gamma and beta; those of samples that did not run are 0."""
        gamma, mean, inverse = self.parameters[f"{unit.name}.gamma"], memory.mean, memory.inverse
        if ran is None:
            g = g.contiguous(memory_format=torch.channels_last)
            wanted = [True, True, True]
            dy, g_gamma, g_beta = torch.ops.aten.native_batch_norm_backward(
                g, memory.y, gamma, None, None, mean, inverse, True, EPSILON, wanted
            )
            return dy, g_gamma, g_beta
        y_hat = (memory.y - _channels(mean)) * _channels(inverse)
        count = (ran.sum() * (g.shape[2] * g.shape[3])).clamp(min=1).to(torch.float32)
        g_beta, g_gamma = _total(g, ran), _total(g * y_hat, ran)
        centred = g - _channels(g_beta / count) - y_hat * _channels(g_gamma / count)
        dy = centred * _channels(gamma * inverse)
        return torch.where(_rows(ran), dy, 0.0), g_gamma, g_beta

    def shortcut_backward(self, block: Block, g: Tensor) -> Tensor:
        if block.shortcut == "identity":
            return g
        first, last = block.units[0].geometry, block.units[-1].geometry
        before = (last.filters - first.channels) // 2
        back = g.new_zeros((g.shape[0], first.channels, first.height, first.width))
        back[:, :, :: first.stride, :: first.stride] = g[:, before : before + first.channels]
        return back

    def gate_products(self, block: Block, g: Tensor, after: Tensor, before: Tensor) -> Tensor:
        return (g * (after - before)).sum((1, 2, 3)).to(torch.float64)


def _rows(ran: Tensor) -> Tensor:
    return ran[:, None, None, None]


def _channels(values: Tensor) -> Tensor:
    return values[:, None, None]


def _total(values: Tensor, ran: Tensor) -> Tensor:
    """Sums [C] over the samples that ran."""
    return torch.where(_rows(ran), values, 0.0).sum((0, 2, 3))


def _convolve(x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    return torch.conv2d(x, w, None, geometry.stride, geometry.padding, groups=geometry.groups)


def _convolve_backward(
    dy: Tensor, x: Tensor, w: Tensor, geometry: Geometry, to_input: bool
) -> tuple[Tensor | None, Tensor]:
    """Gradients of x (where wanted) and of w."""
    strides, paddings = [geometry.stride] * 2, [geometry.padding] * 2
    wanted = [to_input, True, False]
    back, g_weight, _ = torch.ops.aten.convolution_backward(
        dy, x, w, None, strides, paddings, [1, 1], False, [0, 0], geometry.groups, wanted
    )
    return back, g_weight
