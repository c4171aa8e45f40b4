# SPDX-License-Identifier: Apache-2.0
"""ResNet-(6n+2) and MobileNetV2 for CIFAR as ordinary torch modules, written from their papers.

The references of the network engine: float64, trained by autograd. `ran` (bool [blocks that can be
skipped, N]) leaves samples out of blocks, and `gate` multiplies each block's branch, so that its
gradient at 1 is <g, F(x) - x>. `peek` (zeros [blocks that can be skipped, N]) adds that share of
the branch to samples that skipped, computed with the batch statistics of those that ran: its
gradient at 0 is <g, F(x) - x> with g behind the skipped block.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class ConvBn(nn.Module):
    def __init__(self, c: int, k: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, k, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(k)
        self.repeats = False  # the batch statistics of the pass before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if self.repeats:
            return F.batch_norm(y, *self.seen, self.bn.weight, self.bn.bias, eps=self.bn.eps)
        self.seen = y.detach().mean((0, 2, 3)), y.detach().var((0, 2, 3), unbiased=False)
        return self.bn(y)


class BasicBlock(nn.Module):
    """He et al. 2016, figure 2, with the parameter-free shortcut (A) of section 4.2."""

    skippable = True

    def __init__(self, c: int, k: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = ConvBn(c, k, 3, stride), ConvBn(k, k, 3)
        self.stride, self.grow = stride, k - c

    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        half = self.grow // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.grow - half))

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv2(F.relu(self.conv1(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.branch(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """Sandler et al. 2018, figure 3: expand, depthwise, project; no activation at the end."""

    def __init__(self, c: int, k: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c * expansion
        if expansion > 1:
            self.expand = ConvBn(c, hidden, 1)
        self.depthwise = ConvBn(hidden, hidden, 3, stride, groups=hidden)
        self.project = ConvBn(hidden, k, 1)
        self.expands, self.skippable = expansion > 1, stride == 1 and c == k

    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu6(self.expand(x)) if self.expands else x
        h = self.project(F.relu6(self.depthwise(h)))
        return x + h if self.skippable else h


class Stem(nn.Module):
    skippable = False

    def __init__(self, c: int, k: int, kernel: int, top: float | None) -> None:
        super().__init__()
        self.conv, self.top = ConvBn(c, k, kernel), top

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).clamp(0.0, self.top)


class Reference(nn.Module):
    """Named blocks in a row, average pooling, a linear layer."""

    def __init__(self, blocks: dict[str, nn.Module], channels: int, classes: int) -> None:
        super().__init__()
        self.names, self.blocks = list(blocks), nn.ModuleList(blocks.values())
        self.classifier = nn.Linear(channels, classes)
        self.double()

    def forward(
        self,
        x: torch.Tensor,
        ran: np.ndarray | None = None,
        gate: torch.Tensor | None = None,
        scale: np.ndarray | None = None,
        peek: torch.Tensor | None = None,
    ) -> torch.Tensor:
        index = 0
        for block in self.blocks:
            if not block.skippable or (ran is None and scale is None):
                x = block(x)
            elif scale is not None:
                x = F.relu(block.branch(x) * float(scale[index]) + block.shortcut(x))
                index += 1
            else:
                carried = block.shortcut(x)
                chosen = torch.from_numpy(np.flatnonzero(ran[index]))
                if len(chosen):
                    after, kept = block(x[chosen]), carried[chosen]
                    if gate is not None:
                        factor = gate[index][chosen][:, None, None, None]
                        after = kept + factor * (after - kept)
                    if peek is not None:
                        carried = carried + peek[index][:, None, None, None] * (
                            self.repeated(block, x) - carried
                        )
                    carried = carried.index_copy(0, chosen, after)
                x = carried
                index += 1
        return self.classifier(x.mean((2, 3)))

    def repeated(self, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """The block with the batch statistics that it had the last time."""
        pairs = [module for module in block.modules() if isinstance(module, ConvBn)]
        for pair in pairs:
            pair.repeats = True
        found = block(x)
        for pair in pairs:
            pair.repeats = False
        return found

    def layers(self) -> dict[str, ConvBn]:
        """Convolution and batch-norm pairs by the engine's layer names."""
        found = {}
        for name, block in zip(self.names, self.blocks, strict=True):
            for part, module in block.named_children():
                found[f"{name}.{part}"] = module
        return found

    def named(self, gradients: bool) -> dict[str, np.ndarray]:
        """All values, or all gradients, by the engine's parameter names."""
        found: dict[str, np.ndarray] = {}
        for name, pair in self.layers().items():
            tensors = {
                "weight": pair.conv.weight,
                "gamma": pair.bn.weight,
                "beta": pair.bn.bias,
            }
            if not gradients:
                tensors["running_mean"] = pair.bn.running_mean
                tensors["running_variance"] = pair.bn.running_var
            for kind, tensor in tensors.items():
                value = tensor.grad if gradients else tensor
                if value is not None:
                    found[f"{name}.{kind}"] = value.detach().numpy()
        weight, bias = self.classifier.weight, self.classifier.bias
        if gradients:
            weight, bias = weight.grad, bias.grad
        found["classifier.weight"] = weight.detach().numpy()[:, :, None, None]
        found["classifier.bias"] = bias.detach().numpy()
        return found

    def load(self, parameters: dict[str, np.ndarray]) -> Reference:
        """Take the engine's parameters; every one must have its place here."""
        places = self.named(gradients=False)
        assert places.keys() == parameters.keys()
        for name, place in places.items():
            assert place.shape == parameters[name].shape, name
            place[...] = parameters[name]
        return self


def resnet(depth: int, channels: int, classes: int) -> Reference:
    n = (depth - 2) // 6
    blocks: dict[str, nn.Module] = {"stem": Stem(channels, 16, 3, None)}
    c = 16
    for stage, k in ((1, 16), (2, 32), (3, 64)):
        for i in range(1, n + 1):
            blocks[f"stage{stage}.block{i}"] = BasicBlock(c, k, 2 if stage > 1 and i == 1 else 1)
            c = k
    return Reference(blocks, 64, classes)


def mobilenet(channels: int, classes: int) -> Reference:
    blocks: dict[str, nn.Module] = {"stem": Stem(channels, 32, 3, 6.0)}
    c = 32
    stages = (
        (1, 16, 1, 1),
        (6, 24, 2, 1),  # 2 in the paper, for 224 x 224 pictures
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    for stage, (t, k, n, s) in enumerate(stages, start=1):
        for i in range(1, n + 1):
            blocks[f"stage{stage}.block{i}"] = Bottleneck(c, k, s if i == 1 else 1, t)
            c = k
    blocks["head"] = Stem(320, 1280, 1, 6.0)
    return Reference(blocks, 1280, classes)
