# SPDX-License-Identifier: Apache-2.0
"""The embedded digits are scikit-learn's, and their statistics are what the module says."""

import numpy as np
import pytest

from e2train.data import load_dataset
from e2train.errors import UserError


def rows(images):
    """Each image as bytes, so that sets of images can be compared regardless of order."""
    return [image.tobytes() for image in images]


def test_images_and_labels_are_scikit_learns():
    source = pytest.importorskip("sklearn.datasets").load_digits()
    dataset = load_dataset("digits")
    images = np.concatenate([dataset.train_images, dataset.test_images])
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    ours = sorted(zip(rows(images), labels, strict=True))
    pixels = (source.images * 8).astype(np.uint8)
    assert ours == sorted(zip(rows(pixels), source.target, strict=True))


def test_shapes_types_and_split():
    dataset = load_dataset("digits")
    assert dataset.train_images.shape == (1437, 1, 8, 8)
    assert dataset.test_images.shape == (360, 1, 8, 8)
    assert dataset.train_images.dtype == dataset.test_images.dtype == np.uint8
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.int64
    assert dataset.train_images.max() == 128
    share = np.bincount(dataset.test_labels) / np.bincount(dataset.train_labels)
    assert np.all(np.abs(share - 360 / 1437) < 0.01), "each class in proportion"
    assert (dataset.mirror, dataset.shift, dataset.classes) == (False, 1, 10)


def test_mean_and_deviation_are_the_training_sets():
    dataset = load_dataset("digits")
    assert dataset.mean == (round(float(dataset.train_images.mean())),)
    assert dataset.std == (round(float(dataset.train_images.std()), 1),)


def test_the_test_set_does_not_depend_on_the_seed():
    assert np.array_equal(
        load_dataset("digits", split_seed=1).test_images, load_dataset("digits").test_images
    )


def test_validation_comes_out_of_the_training_set():
    whole = load_dataset("digits")
    split = load_dataset("digits", validation=200, split_seed=5)
    assert len(split.test_labels) == 200
    assert sorted(rows(split.train_images) + rows(split.test_images)) == sorted(
        rows(whole.train_images)
    )
    assert np.all(np.abs(np.bincount(split.test_labels) - 20) <= 1)
    assert split.label == "UCI digits 8x8, 200 validation images"
    other = load_dataset("digits", validation=200, split_seed=6)
    assert rows(other.test_images) != rows(split.test_images)


def test_halves_are_disjoint_even_and_together_the_whole():
    whole = load_dataset("digits")
    first, second = (load_dataset("digits", half=half) for half in ("first", "second"))
    assert sorted(rows(first.train_images) + rows(second.train_images)) == sorted(
        rows(whole.train_images)
    )
    counts = np.bincount(first.train_labels), np.bincount(second.train_labels)
    assert np.all(np.abs(counts[0] - counts[1]) <= 1)
    assert rows(first.test_images) == rows(whole.test_images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": -1}, "validation = -1 images is impossible: .* has 1437"),
        ({"validation": 1430}, "validation = 1430 images is impossible"),
        ({"half": "third"}, "half = 'third' is not one of first, second"),
    ],
)
def test_impossible_splits_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        load_dataset("digits", **options)


def test_unknown_name_lists_the_known():
    with pytest.raises(UserError, match="unknown data set 'mnist': expected one of digits, cifar"):
        load_dataset("mnist")
