# SPDX-License-Identifier: Apache-2.0
"""Bring a model: another program's weights into an experiment's network, ready to train on.

Floats need no more than the weights. The integer network also has exponents and its own batch
statistics, which no other program knows: a few forward passes over training pictures set them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checked import is_number
from ..data.batches import batch_indices
from ..data.dataset import Dataset
from ..device.counter import Counter
from ..errors import UserError
from ..network.float32 import FloatArithmetic
from ..network.float_backend import float_backend
from ..network.integer import FixedArithmetic
from ..network.network import Network
from ..weights.files import PICTURE_UNIT, Weights, read_weights
from ..weights.fit import Normalisation, fit, renormalise
from .assembly import Parts
from .evaluate import BATCH
from .experiment import ARITHMETICS, Experiment, FinetuneSettings

SETTLING = 16  # mini-batches until the peaks that exponents start from are forgotten
AVERAGED = 16  # mini-batches that the statistics are taken over


@dataclass(frozen=True)
class Brought:
    """What became of the weights.

    layout: whose names they had; replaced: the classes of their own classifier, if a new one took
    its place; assumed: whether nothing told their normalisation; float_top1, integer_top1: percent
    of the test pictures (integers: None in float32 training); alike: percent of the test pictures
    with the same answer in both.
    """

    path: str
    layout: str
    replaced: int | None
    classes: int
    assumed: bool
    float_top1: float
    integer_top1: float | None
    alike: float | None

    def facts(self) -> dict[str, Any]:
        """For the record of the run."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        found = [f"starts from {self.path} ({self.layout})"]
        if self.replaced is not None:
            found.append(
                f"its classifier of {self.replaced} classes is replaced by a new one of "
                f"{self.classes}, so the accuracies that follow are those of guessing"
            )
        if self.assumed:
            found.append(
                "nothing says how its pictures were normalised: taken to be as here "
                "(else set finetune.mean and finetune.std)"
            )
        line = f"before training: top-1 {self.float_top1:.2f} % in float32"
        if self.integer_top1 is not None:
            line += (
                f", {self.integer_top1:.2f} % in integers; the same answer to {self.alike:.2f} % "
                "of the test pictures"
            )
        return [*found, line]


def as_the_weights(chosen: FinetuneSettings, dataset: Dataset) -> Dataset:
    """The pictures with the mean (to whole pixels) and the deviation of the weights' training.

    Left as they are where nothing tells those. UserError for a file that is no weights file.
    """
    theirs = _normalisation(chosen, read_weights(Path(str(chosen.weights))), dataset)
    if theirs is None:
        return dataset
    return replace(dataset, mean=tuple(round(m) for m in theirs.mean), std=theirs.deviation)


def bring(experiment: Experiment, dataset: Dataset, parts: Parts) -> Brought:
    """Take over `finetune.weights`. UserError where they do not fit; nothing is changed then."""
    chosen, network = experiment.finetune, parts.network
    weights = read_weights(Path(str(chosen.weights)))
    fitted = fit(weights, parts.spec, network.parameters, chosen.new_classifier)
    ours = input_of(dataset, parts.fixed is not None)
    theirs = _normalisation(chosen, weights, dataset)
    stem = parts.spec.blocks[0].units[0].name
    assumed = theirs is None
    renormalise(network.parameters, stem, theirs or input_of(dataset, False), ours)
    real = _float_network(parts, dataset, ours)
    float_answers = answers(real, dataset.test_images)
    found = Brought(
        str(weights.path),
        fitted.layout,
        fitted.classes,
        dataset.classes,
        assumed,
        _percent(float_answers == dataset.test_labels),
        None,
        None,
    )
    if parts.fixed is None:
        return found
    whole = Network(parts.spec, parts.fixed, network.parameters)
    counter, parts.fixed.counter = parts.fixed.counter, Counter()
    try:
        calibrate(whole, parts.fixed, _training_pictures(experiment, dataset))
        integer_answers = answers(whole, dataset.test_images)
    finally:
        parts.fixed.counter = counter
    return replace(
        found,
        integer_top1=_percent(integer_answers == dataset.test_labels),
        alike=_percent(integer_answers == float_answers),
    )


def input_of(dataset: Dataset, fixed: bool) -> Normalisation:
    """What the arithmetic makes of this data set's pixels."""
    deviation = (PICTURE_UNIT,) * len(dataset.mean) if fixed else dataset.std
    return Normalisation(tuple(map(float, dataset.mean)), tuple(map(float, deviation)))


def _normalisation(
    chosen: FinetuneSettings, weights: Weights, dataset: Dataset
) -> Normalisation | None:
    """As the experiment says, or the file, or (None) nobody."""
    channels = len(dataset.mean)
    if chosen.mean is not None and chosen.std is not None:
        for key, values in (("mean", chosen.mean), ("std", chosen.std)):
            if len(values) != channels:
                raise UserError(
                    f"finetune.{key} = {list(values)}: expected {channels} numbers, one a channel"
                )
        return Normalisation(*(tuple(255.0 * v for v in t) for t in (chosen.mean, chosen.std)))
    told = weights.facts.get("normalisation")
    if not isinstance(told, dict):
        known = weights.facts.get("trained_in") in ARITHMETICS  # a checkpoint of earlier versions
        return input_of(dataset, weights.facts["trained_in"] == "fixed") if known else None
    mean, deviation = (_channel_values(told.get(key), channels) for key in ("mean", "deviation"))
    if mean is None or deviation is None:
        raise UserError(
            f"{weights.path}: its normalisation is not a mean and a deviation of {channels} "
            "channels, from 0 to 255"
        )
    return Normalisation(mean, deviation)


def _channel_values(values: object, channels: int) -> tuple[float, ...] | None:
    """Numbers of a pixel's range, one a channel; None for anything else."""
    if not isinstance(values, list) or len(values) != channels:
        return None
    if not all(is_number(value) and 0 <= value <= 255 for value in values):
        return None
    return tuple(map(float, values))


def _float_network(parts: Parts, dataset: Dataset, ours: Normalisation) -> Network:
    """The same parameters, with all blocks, in float32."""
    arithmetic = FloatArithmetic(float_backend(), Counter(), dataset.mean, ours.deviation)
    return Network(parts.spec, arithmetic, parts.network.parameters)


def _training_pictures(experiment: Experiment, dataset: Dataset) -> Iterator[np.ndarray]:
    """Mini-batches as training has them, but not augmented; endless.

    Where training pictures have yet to come, the test pictures stand in (never their labels).
    """
    images = dataset.train_images if len(dataset.train_images) else dataset.test_images
    size, iteration = min(experiment.train.batch, len(images)), 0
    while True:
        yield images[batch_indices(len(images), size, iteration, experiment.train.seed)]
        iteration += 1


def calibrate(
    network: Network, arithmetic: FixedArithmetic, pictures: Iterator[np.ndarray]
) -> None:
    """Set exponents and running statistics from forward passes; weights stay as they are."""
    for iteration in range(SETTLING):
        network.logits(next(pictures), iteration, training=True)
    arithmetic.running.restart()
    try:
        for iteration in range(AVERAGED):
            network.logits(next(pictures), iteration, training=True)
    finally:
        arithmetic.running.resume()


def answers(network: Network, images: np.ndarray) -> np.ndarray:
    """The class of the largest logit of each picture, int64 [N]."""
    parts = [
        network.logits(images[start : start + BATCH], start // BATCH, training=False).argmax(axis=1)
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts)


def _percent(holds: np.ndarray) -> float:
    return 100.0 * float(holds.mean())
