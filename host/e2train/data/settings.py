# SPDX-License-Identifier: Apache-2.0
"""The table [data] of an experiment: which pictures, in which form and in which order."""

from __future__ import annotations

from dataclasses import dataclass

from e2train.data.cifar import LAYOUTS
from e2train.data.dataset import HALVES
from e2train.errors import UserError

FOLDER = "folder"
STDIN = "-"
DATASETS = ("digits", *LAYOUTS, FOLDER)
SHUFFLED, STREAM = "shuffled", "stream"
ORDERS = (SHUFFLED, STREAM)
# Two strides of 2 leave one position of 4x4; the accelerator's registers count to 1023.
SMALLEST, LARGEST = 4, 1023


@dataclass(frozen=True)
class DataSettings:
    """[data]: name, augmentation, validation pictures taken from the training set, half, seed.

    The following are for `name = "folder"`, one's own pictures. path: a folder or an .npz file,
    `-` for a tar archive on standard input, else what `--data` gives; size: height and width;
    colour: whether pictures have three channels or one; test_share: the share of each class that
    becomes the test set where there is no folder `test`; mirror: whether augmentation mirrors
    (True where not given).

    order: `shuffled`, epoch after epoch, or `stream`: each picture once. Those of a folder arrive
    in `train` while training runs, until none has come for `wait` seconds.
    """

    name: str = "digits"
    augment: bool = True
    validation: int = 0
    half: str | None = None
    split_seed: int = 0
    path: str | None = None
    size: int = 32
    colour: bool = True
    test_share: float = 0.2
    mirror: bool | None = None
    order: str = SHUFFLED
    wait: float = 10.0

    @property
    def arrives(self) -> bool:
        """Whether training pictures come while training runs."""
        files = self.path is not None and self.path.endswith(".npz")
        return self.name == FOLDER and self.order == STREAM and not files

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a picture of one's own."""
        return (3 if self.colour else 1, self.size, self.size)


def check_data(data: DataSettings) -> None:
    """Refuse impossible values: UserError names key, value and what is possible."""

    def need(holds: bool, key: str, expected: str) -> None:
        if not holds:
            raise UserError(f"data.{key} = {getattr(data, key)!r}: expected {expected}")

    own = data.name == FOLDER
    need(data.name in DATASETS, "name", " or ".join(DATASETS))
    need(data.half in (None, *HALVES), "half", " or ".join(HALVES))
    need(data.validation >= 0, "validation", "0 or more")
    need(0 <= data.split_seed < 1 << 64, "split_seed", "0 to 2^64 - 1")
    need(own or data.path is None, "path", "none, but with data.name = 'folder'")
    sizes = f"{SMALLEST} (networks halve it twice or more) to {LARGEST} (the accelerator's limit)"
    need(SMALLEST <= data.size <= LARGEST, "size", sizes)
    need(0 < data.test_share < 1, "test_share", "above 0 to below 1")
    need(data.order in ORDERS, "order", " or ".join(ORDERS))
    need(data.path != STDIN or data.order == STREAM, "path", "data.order = 'stream' beside it")
    need(0 <= data.wait <= 1e6, "wait", "0 to 1e6 seconds")
    known = not data.arrives or not (data.validation or data.half)
    need(known, "order", "shuffled with data.validation or data.half")
