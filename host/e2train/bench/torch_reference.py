# SPDX-License-Identifier: Apache-2.0
"""The same networks as ordinary float32 torch modules: what the emulator is compared with.

Tuned as a practitioner would: channels-last memory, in-place activations, autograd, torch's own
SGD with momentum and weight decay.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..network.spec import Block, NetworkSpec, Unit


class _Unit(nn.Module):
    """Convolution and batch norm."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        g = unit.geometry
        self.convolution = nn.Conv2d(
            g.channels, g.filters, g.kernel, g.stride, g.padding, groups=g.groups, bias=False
        )
        self.norm = nn.BatchNorm2d(g.filters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.convolution(x))


def _activate(x: torch.Tensor, activation: str) -> torch.Tensor:
    if activation == "relu6":
        return F.relu6(x, inplace=True)
    return F.relu(x, inplace=True) if activation == "relu" else x


class _Block(nn.Module):
    """Units in a row, with the shortcut added before the last activation."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block
        self.units = nn.ModuleList(_Unit(unit) for unit in block.units)

    def _shortcut(self, x: torch.Tensor) -> torch.Tensor:
        if self.block.shortcut == "identity":
            return x
        first, last = self.block.units[0].geometry, self.block.units[-1].geometry
        kept = x[:, :, :: first.stride, :: first.stride]
        before = (last.filters - first.channels) // 2
        return F.pad(kept, (0, 0, 0, 0, before, last.filters - first.channels - before))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x
        for module, unit in zip(self.units, self.block.units, strict=True):
            h = module(h)
            if unit is self.block.units[-1] and self.block.shortcut != "none":
                h = h + self._shortcut(x)
            h = _activate(h, unit.activation)
        return h


class FloatNetwork(nn.Module):
    """Float32 network of a specification; pictures [N,C,H,W] to logits [N, classes]."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(block) for block in spec.blocks))
        self.classifier = nn.Linear(spec.classifier.channels, spec.classifier.filters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.blocks(x).mean((2, 3)))


class FloatTraining:
    """Training iterations of a float32 network on one fixed mini-batch."""

    def __init__(
        self, spec: NetworkSpec, images: np.ndarray, labels: np.ndarray, *, compiled: bool = False
    ) -> None:
        """images uint8 [N,C,H,W], labels int64 [N]; `compiled`: through torch.compile."""
        self.network = FloatNetwork(spec)
        for weight in self.network.parameters():
            if weight.dim() == 4:
                weight.data = weight.data.to(memory_format=torch.channels_last)
        pictures = torch.from_numpy(images).to(torch.float32) / 128.0 - 1.0
        self._pictures = pictures.to(memory_format=torch.channels_last)
        self._labels = torch.from_numpy(labels)
        self._optimiser = torch.optim.SGD(
            self.network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4
        )
        if compiled:
            self.network.compile()

    def step(self) -> None:
        """Forward, backward and update."""
        self._optimiser.zero_grad()
        F.cross_entropy(self.network(self._pictures), self._labels).backward()
        self._optimiser.step()


def compiled_training(
    spec: NetworkSpec, images: np.ndarray, labels: np.ndarray
) -> tuple[FloatTraining | None, str]:
    """Training through torch.compile, compiled by a first step; or None and why there is none."""
    training = FloatTraining(spec, images, labels, compiled=True)
    try:
        training.step()
    except Exception as error:  # torch.compile has no common class of what can fail in it
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return None, lines[0]
    return training, ""
