# SPDX-License-Identifier: Apache-2.0
"""Mini-batches and augmentation against slow, obvious versions of themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2train.data import augment, batch_indices, to_float32, to_int8
from e2train.data.dataset import stratified_choice

SEEDS = st.integers(0, 2**64 - 1)


@given(st.integers(1, 200), st.data())
def test_an_epoch_uses_no_sample_twice(count, data):
    batch = data.draw(st.integers(1, count))
    seed, epoch = data.draw(SEEDS), data.draw(st.integers(0, 1000))
    steps = count // batch
    drawn = [batch_indices(count, batch, epoch * steps + step, seed) for step in range(steps)]
    assert all(part.shape == (batch,) for part in drawn)
    together = np.concatenate(drawn)
    assert len(set(together.tolist())) == steps * batch
    assert together.min() >= 0
    assert together.max() < count


def test_epochs_and_seeds_differ_and_any_order_of_asking_gives_the_same():
    forward = [batch_indices(100, 10, iteration, 1).tolist() for iteration in range(30)]
    backward = [batch_indices(100, 10, iteration, 1).tolist() for iteration in range(29, -1, -1)]
    assert forward == backward[::-1]
    assert len({tuple(part) for part in forward}) == 30
    assert forward[0] != batch_indices(100, 10, 0, 2).tolist()


@pytest.mark.parametrize(
    ("n", "batch", "iteration", "message"),
    [(10, 11, 0, "batch must be in"), (10, 0, 0, "batch must be in"), (10, 5, -1, "iteration")],
)
def test_impossible_batches_are_refused(n, batch, iteration, message):
    with pytest.raises(ValueError, match=message):
        batch_indices(n, batch, iteration, 0)


def all_versions(image, mirror, shift, pad_value):
    """Every image that augmentation may make of one, as bytes."""
    channels, height, width = image.shape
    found = set()
    for down in range(-shift, shift + 1):
        for right in range(-shift, shift + 1):
            moved = np.empty_like(image)
            for c, y, x in np.ndindex(channels, height, width):
                inside = 0 <= y + down < height and 0 <= x + right < width
                moved[c, y, x] = image[c, y + down, x + right] if inside else pad_value[c]
            found.add(moved.tobytes())
            if mirror:
                found.add(moved[:, :, ::-1].tobytes())
    return found


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(0, 2**40), st.booleans(), st.integers(0, 2), st.integers(1, 3))
def test_augmented_images_are_moved_mirrored_originals(seed, iteration, mirror, shift, channels):
    source = np.random.default_rng(seed).integers(0, 256, (4, channels, 5, 4), np.uint8)
    pad_value = (7, 8, 9)[:channels]
    result = augment(source, iteration, seed, mirror, shift, pad_value)
    assert result.shape == source.shape
    assert result.dtype == np.uint8
    for before, after in zip(source, result, strict=True):
        assert after.tobytes() in all_versions(before, mirror, shift, pad_value)
    assert np.array_equal(result, augment(source, iteration, seed, mirror, shift, pad_value))


def test_every_version_of_an_image_is_about_equally_frequent():
    image = np.arange(1, 26, dtype=np.uint8).reshape(1, 1, 5, 5)
    source = np.repeat(image, 9000, axis=0)
    result = augment(source, 0, 0, True, 1, (0,))
    versions, counts = np.unique(result.reshape(9000, -1), axis=0, return_counts=True)
    assert len(versions) == 18
    # 500 expected of each; 5 standard deviations of the binomial are 109.
    assert counts.min() > 390
    assert counts.max() < 610


def test_augmentation_leaves_its_input_alone():
    source = np.arange(48, dtype=np.uint8).reshape(1, 3, 4, 4)
    kept = source.copy()
    assert not np.shares_memory(source, augment(source, 0, 0, True, 0, (0, 0, 0)))
    assert np.array_equal(source, kept)


def test_a_pad_value_is_needed_for_each_channel():
    with pytest.raises(ValueError, match="pad_value must have 3 values, got 1"):
        augment(np.zeros((1, 3, 4, 4), np.uint8), 0, 0, True, 1, (0,))


@given(st.integers(0, 255), st.integers(0, 255))
def test_int8_input_saturates_and_padding_is_zero(pixel, mean):
    images = np.array([[[[pixel, mean]]]], np.uint8)
    result = to_int8(images, (mean,))
    assert result.dtype == np.int8
    assert result.ravel().tolist() == [min(max(pixel - mean, -128), 127), 0]


def test_float_input_is_normalised_by_channel():
    images = np.array([[[[10]], [[20]]]], np.uint8)
    result = to_float32(images, (6, 25), (2.0, 10.0))
    assert result.dtype == np.float32
    assert result.ravel().tolist() == [2.0, -0.5]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=150), SEEDS, st.data())
def test_a_stratified_choice_is_exact_in_number_and_even_by_class(labels, seed, data):
    labels = np.array(labels, np.int64)
    count = data.draw(st.integers(0, len(labels)))
    chosen = stratified_choice(labels, count, seed, "test")
    assert chosen.sum() == count
    for label, size in enumerate(np.bincount(labels)):
        got = np.count_nonzero(labels[chosen] == label)
        assert abs(got - size * count / len(labels)) < 1
