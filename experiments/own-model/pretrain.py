# SPDX-License-Identifier: Apache-2.0
"""Train a ResNet-20 in ordinary torch on CIFAR-10's animals, and save its state dict.

    python experiments/own-model/pretrain.py DATA animals.pt --iterations 600

A stand-in for a model that somebody already has: torch's own modules, autograd and optimiser, the
normalisation that torchvision's recipes use, and names of the common CIFAR ResNet. Some minutes on
one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from classes import ANIMALS, chosen_classes
from torch.nn import functional as F

from e2train.data.batches import augment, batch_indices
from e2train.data.load import load_dataset
from e2train.models.plain_torch import ResNet

MEAN = (0.4914, 0.4822, 0.4465)  # what most CIFAR-10 recipes normalise with, pixels 0 to 1
STD = (0.2470, 0.2435, 0.2616)
BATCH, RATE, SEED = 128, 0.1, 0


def pictures(images: np.ndarray) -> torch.Tensor:
    """uint8 [N, 3, H, W] as torchvision's ToTensor and Normalize make them."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (torch.from_numpy(images).float() / 255 - mean) / std


def top1(network: ResNet, images: np.ndarray, labels: np.ndarray) -> float:
    """Percent of pictures whose largest logit is their class."""
    network.eval()
    with torch.no_grad():
        parts = [
            network(pictures(images[i : i + 250])).argmax(1) for i in range(0, len(images), 250)
        ]
    return 100.0 * float((torch.cat(parts).numpy() == labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--iterations", type=int, default=600)
    options = parser.parse_args()
    data = chosen_classes(load_dataset("cifar10", options.data), ANIMALS)
    torch.manual_seed(SEED)
    network = ResNet(20, 3, data.classes)
    optimiser = torch.optim.SGD(
        network.parameters(), RATE, momentum=0.9, weight_decay=1e-4, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, options.iterations)
    started = time.process_time()
    for iteration in range(options.iterations):
        chosen = batch_indices(len(data.train_labels), BATCH, iteration, SEED)
        images = augment(data.train_images[chosen], iteration, SEED, True, 4, data.mean)
        loss = F.cross_entropy(
            network(pictures(images)), torch.from_numpy(data.train_labels[chosen])
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if iteration % 50 == 0:
            print(f"{iteration}: loss {loss.item():.3f}", flush=True)
    print(f"top-1 {top1(network, data.test_images, data.test_labels):.2f} % of the test pictures,")
    print(f"{time.process_time() - started:.0f} s of one core")
    torch.save(network.state_dict(), options.out)


if __name__ == "__main__":
    main()
