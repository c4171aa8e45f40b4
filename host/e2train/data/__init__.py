# SPDX-License-Identifier: Apache-2.0
"""Data sets, and mini-batches as a function of the seed and the iteration."""

from e2train.data.batches import augment, batch_indices, to_float32, to_int8
from e2train.data.dataset import Dataset
from e2train.data.load import load_data, load_dataset
from e2train.data.settings import DATASETS, DataSettings

__all__ = [
    "DATASETS",
    "DataSettings",
    "Dataset",
    "augment",
    "batch_indices",
    "load_data",
    "load_dataset",
    "to_float32",
    "to_int8",
]
