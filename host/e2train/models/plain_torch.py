# SPDX-License-Identifier: Apache-2.0
"""The networks as plain torch modules; this file needs torch alone and can be copied elsewhere.

State dicts have the names of the widely copied `pytorch_resnet_cifar10` (ResNets for CIFAR, He et
al. 2016, section 4.2, shortcuts of option A) and of torchvision (MobileNetV2, Sandler et al. 2018,
here with strides of 1 in the stem and the second stage, for small pictures). Their input is
normalised: (pixel - mean) / deviation a channel, as the exported file says.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

# expansion, output channels, repeats, stride of the first repeat
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the shortcut subsamples and pads channels with zeros (option A)."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.stride, self.more = stride, filters - channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = self.more // 2
        kept = x[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(kept, (0, 0, 0, 0, before, self.more - before))
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + shortcut)


class ResNet(nn.Module):
    """ResNet of `depth` = 6n+2 layers for pictures [N, channels, H, W]."""

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential

    def __init__(self, depth: int, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        repeats, width = (depth - 2) // 6, 16
        for stage, filters in enumerate((16, 32, 64), start=1):
            strides = [2 if stage > 1 else 1] + [1] * (repeats - 1)
            blocks = []
            for stride in strides:
                blocks.append(BasicBlock(width, filters, stride))
                width = filters
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        h = self.layer3(self.layer2(self.layer1(h)))
        return self.linear(h.mean((2, 3)))


def _normalised(channels: int, filters: int, kernel: int, stride: int, groups: int) -> nn.Module:
    convolution = nn.Conv2d(
        channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(filters), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Expand (but where the expansion is 1), depthwise, project; added to its input if it fits."""

    def __init__(self, channels: int, filters: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        layers = [] if expansion == 1 else [_normalised(channels, hidden, 1, 1, 1)]
        layers.append(_normalised(hidden, hidden, 3, stride, hidden))
        layers += [nn.Conv2d(hidden, filters, 1, bias=False), nn.BatchNorm2d(filters)]
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and channels == filters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 of width 1.0 for small pictures [N, channels, H, W]."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        features: list[nn.Module] = [_normalised(channels, 32, 3, 1, 1)]
        width = 32
        for expansion, filters, repeats, first in STAGES:
            for index in range(repeats):
                stride = first if index == 0 else 1
                features.append(InvertedResidual(width, filters, stride, expansion))
                width = filters
        features.append(_normalised(width, 1280, 1, 1, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Identity(), nn.Linear(1280, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def plain_network(name: str, channels: int, classes: int) -> nn.Module:
    """`resnet-DEPTH` or `mobilenet-v2`; load its state dict and call `eval()` before use."""
    if name == "mobilenet-v2":
        return MobileNetV2(channels, classes)
    return ResNet(int(name.removeprefix("resnet-")), channels, classes)
