# SPDX-License-Identifier: Apache-2.0
"""Ask a trained network about picture files: classes, what was skipped, modelled energy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cost.board import BoardModel, board_model
from ..cost.energy import EnergyModel
from ..data.folder import printable
from ..data.pictures import PictureError, decode
from ..errors import UserError
from ..network.spec import NetworkSpec
from ..numerics.portable import softmax
from ..training.evaluate import BATCH
from .trained import Trained

MODELLED = "modelled"


@dataclass(frozen=True)
class Guess:
    """A class (name, and number from 0) and its softmax probability."""

    name: str
    number: int
    probability: float


@dataclass(frozen=True)
class Prediction:
    """Of one file: the likeliest classes first, or why there are none (`error`).

    skip: percent of the residual blocks' multiply-accumulates that this picture skipped; None where
    nothing can be skipped.
    """

    file: str
    guesses: tuple[Guess, ...] = ()
    skip: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Predictions:
    """Of all files. joules: modelled, at the board's input, a picture; None without a picture.

    board_model: whose energy that is; together: pictures a mini-batch, which share its cost.
    """

    pictures: tuple[Prediction, ...]
    joules: float | None
    board_model: str
    together: int

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "pictures": [_picture(one) for one in self.pictures],
            "energy": {
                "joules_a_picture": self.joules,
                "provenance": MODELLED,
                "board_model": self.board_model,
                "pictures_at_once": self.together,
            },
        }

    def lines(self) -> list[str]:
        """For people; files that are no pictures are left out."""
        found = []
        for one in self.pictures:
            if one.error is None:
                words = ", ".join(f"{g.name} {100 * g.probability:.1f} %" for g in one.guesses)
                skipped = "" if one.skip is None else f" (skipped {one.skip:.0f} % of the blocks)"
                found.append(f"{one.file}: {words}{skipped}")
        if self.joules is not None:
            found.append(
                f"{1e3 * self.joules:.3g} mJ a picture, {MODELLED} ({self.board_model}), "
                f"{self.together} at once"
            )
        return found


def _picture(one: Prediction) -> dict[str, Any]:
    if one.error is not None:
        return {"file": one.file, "error": one.error}
    guesses = [
        {"class": g.name, "number": g.number, "probability": g.probability} for g in one.guesses
    ]
    return {"file": one.file, "top": guesses, "skip_percent": one.skip}


def predict(trained: Trained, files: Sequence[Path], top: int) -> Predictions:
    """The `top` likeliest classes of each picture file.

    UserError where Pillow is missing or `top` is impossible; a file that is no picture has its
    reason in its prediction.
    """
    classes = len(trained.class_names)
    if not 1 <= top <= classes:
        raise UserError(f"--top {top}: expected 1 to {classes}, the number of classes")
    found: list[Prediction | None] = []
    images: list[np.ndarray] = []
    for file in files:
        try:
            images.append(decode(file.read_bytes(), trained.shape))
            found.append(None)
        except PictureError as error:
            found.append(Prediction(printable(str(file)), error=str(error)))
        except OSError as error:
            found.append(Prediction(printable(str(file)), error=error.strerror or str(error)))
    made, joules = _answers(trained, images, top)
    answers = iter(made)
    named = tuple(
        one if one is not None else _named(next(answers), file)
        for one, file in zip(found, files, strict=True)
    )
    model = board_model(trained.parts.float32)
    return Predictions(named, joules, model, min(len(images), BATCH))


def _named(made: Prediction, file: Path) -> Prediction:
    return Prediction(printable(str(file)), made.guesses, made.skip)


def _answers(
    trained: Trained, images: Sequence[np.ndarray], top: int
) -> tuple[list[Prediction], float | None]:
    """Predictions without names, and modelled joules a picture."""
    parts, found = trained.parts, []
    parts.counter.take_operations()  # what loading did is nobody's prediction
    before, work = parts.counter.copy(), []
    for number, start in enumerate(range(0, len(images), BATCH)):
        batch = np.stack(images[start : start + BATCH])
        logits = parts.network.logits(batch, number, training=False)
        found += _guesses(trained, logits, top)
        work += parts.counter.take_operations()
    if not found:
        return [], None
    model = BoardModel(EnergyModel.load(), parts.float32)
    segments = model.segments(work, parts.counter.minus(before))
    return found, math.fsum(seconds * watts for seconds, watts in segments) / len(found)


def _guesses(trained: Trained, logits: np.ndarray, top: int) -> list[Prediction]:
    policy, found = trained.parts.policy, []
    skips = None if policy is None else _skipped(trained.parts.spec, policy.ran)
    for row, p in enumerate(softmax(logits)):
        best = np.argsort(-p, kind="stable")[:top]
        guesses = tuple(Guess(trained.class_names[k], int(k), float(p[k])) for k in best)
        found.append(Prediction("", guesses, None if skips is None else float(skips[row])))
    return found


def _skipped(spec: NetworkSpec, ran: np.ndarray) -> np.ndarray:
    """Percent of the skippable blocks' work that each sample skipped, float64 [N]."""
    return 100.0 * (spec.block_shares() @ ~ran)
