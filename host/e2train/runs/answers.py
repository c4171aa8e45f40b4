# SPDX-License-Identifier: Apache-2.0
"""What a trained network answered to each test picture: `answers.npz` in the run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import Dataset, Images, Labels
from ..errors import UserError
from ..files import write_arrays

ANSWERS = "answers.npz"
WORST = 16
_NAMES = ("labels", "predicted", "own", "class_names", "worst", "worst_images", "worst_names")


@dataclass(frozen=True, eq=False)
class Answers:
    """The last evaluation of a run, picture by picture.

    Attributes:
        labels, predicted: int64 [N], true class and answer.
        own: float32 [N], probability that the network gave to the true class.
        class_names: one a class.
        worst: int64 [W], places of the wrongly answered pictures whose true class got the lowest
            probability, worst first.
        worst_images: uint8 [W, C, H, W]; a report needs no data set.
        worst_names: their files, or empty texts.
    """

    labels: Labels
    predicted: Labels
    own: np.ndarray
    class_names: tuple[str, ...]
    worst: Labels
    worst_images: Images
    worst_names: tuple[str, ...]

    @property
    def confusion(self) -> np.ndarray:
        """How many pictures of each class (row) got each answer (column): int64 [K, K]."""
        count = len(self.class_names)
        flat = np.bincount(self.labels * count + self.predicted, minlength=count * count)
        return flat.reshape(count, count)


def answers_of(dataset: Dataset, predicted: Labels, own: np.ndarray) -> Answers:
    """The answers to the test pictures of a data set."""
    wrong = np.flatnonzero(predicted != dataset.test_labels)
    worst = wrong[np.argsort(own[wrong], kind="stable")][:WORST]
    names = dataset.test_names
    return Answers(
        dataset.test_labels,
        predicted,
        own.astype(np.float32),
        dataset.names,
        worst,
        dataset.test_images[worst],
        tuple(names[place] for place in worst) if names else ("",) * len(worst),
    )


def write_answers(folder: Path, found: Answers) -> None:
    """Write answers.npz, whole or not at all."""
    arrays: dict[str, Any] = {name: getattr(found, name) for name in _NAMES}
    for name in ("class_names", "worst_names"):
        # file names may hold bytes that are no UTF-8, which no text array takes
        texts = [text.encode(errors="surrogateescape") for text in arrays[name]]
        arrays[name] = np.array(texts, np.bytes_)
    write_arrays(folder / ANSWERS, arrays, compressed=True)


def read_answers(folder: Path) -> Answers | None:
    """The answers of a run; None where it has none (yet). UserError for a damaged file."""
    path = folder / ANSWERS
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _NAMES}
        for name in ("class_names", "worst_names"):
            arrays[name] = tuple(t.decode(errors="backslashreplace") for t in arrays[name].tolist())
        found = Answers(**arrays)
        found.confusion  # noqa: B018: whether labels and answers fit the classes
    except Exception as error:  # damaged bytes make zipfile, zlib and NumPy raise all sorts
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not the answers of a run ({reason})") from error
    return found
