# SPDX-License-Identifier: Apache-2.0
"""Data sets, and mini-batches as a function of the seed and the iteration."""

from e2train.data.batches import augment, batch_indices, to_float32, to_int8
from e2train.data.dataset import Dataset
from e2train.data.load import DATASETS, load_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "augment",
    "batch_indices",
    "load_dataset",
    "to_float32",
    "to_int8",
]
