# SPDX-License-Identifier: Apache-2.0
"""CIFAR's binary layout, written here byte by byte, and what is said of damaged files."""

from dataclasses import replace

import numpy as np
import pytest

from e2train.data import cifar, load_dataset
from e2train.errors import UserError

RECORDS = 20


def write_records(path, labels, label_bytes, rng):
    """Write a file as the layout's description has it; return its images."""
    images = rng.integers(0, 256, (len(labels), 3, 32, 32), np.uint8)
    with open(path, "wb") as stream:
        for image, label in zip(images, labels, strict=True):
            coarse = [255] * (label_bytes - 1)
            stream.write(bytes([*coarse, label]))
            for plane in image:
                for row in plane:
                    stream.write(row.tobytes())
    return images


@pytest.fixture(params=["cifar10", "cifar100"])
def small(request, tmp_path, monkeypatch):
    """A layout with few records, its folder, and the images of every file."""
    layout = replace(cifar.LAYOUTS[request.param], train_records=RECORDS, test_records=RECORDS)
    monkeypatch.setitem(cifar.LAYOUTS, layout.name, layout)
    folder = tmp_path / layout.folder
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = {
        name: write_records(
            folder / name, np.arange(RECORDS) % layout.classes, layout.label_bytes, rng
        )
        for name in layout.files
    }
    return layout, folder, images


def test_reads_what_was_written_from_the_folder_or_its_parent(small):
    layout, folder, images = small
    for place in (folder, folder.parent):
        dataset = load_dataset(layout.name, place)
        train = np.concatenate([images[name] for name in layout.train_files])
        assert np.array_equal(dataset.train_images, train)
        assert np.array_equal(dataset.test_images, images[layout.test_file])
        expected = np.tile(np.arange(RECORDS) % layout.classes, len(layout.train_files))
        assert np.array_equal(dataset.train_labels, expected), "the fine label, not the coarse"
        assert dataset.train_labels.dtype == np.int64
        assert dataset.classes == layout.classes


def test_the_environment_names_the_default_folder(small, monkeypatch):
    layout, folder, _ = small
    monkeypatch.setenv("E2TRAIN_DATA", str(folder.parent))
    assert load_dataset(layout.name).name == layout.name


def test_label_says_unverified_unless_a_file_names_the_variant(small):
    layout, folder, _ = small
    assert load_dataset(layout.name, folder).label == f"{layout.title} (unverified)"
    (folder / "LABEL.txt").write_text("CIFAR-10 (JPEG)\nmore\n")
    assert load_dataset(layout.name, folder).label == "CIFAR-10 (JPEG)"
    (folder / "LABEL.txt").write_text("")
    assert load_dataset(layout.name, folder).label == f"{layout.title} (unverified)"


def refused(layout, folder, *told):
    with pytest.raises(UserError) as caught:
        load_dataset(layout.name, folder)
    line = str(caught.value)
    assert "\n" not in line and all(one in line for one in told), line


@pytest.mark.parametrize("change", [-1, 1, -3073])
def test_a_wrong_size_names_the_file_and_both_sizes(small, change):
    layout, folder, _ = small
    path = folder / layout.test_file
    expected = path.stat().st_size
    with open(path, "r+b") as stream:
        stream.truncate(expected + change)
    refused(layout, folder, str(path), f"{expected + change:,} bytes", f"{expected:,}")


def test_a_missing_file_names_the_command_that_gets_it(small):
    layout, folder, _ = small
    (folder / layout.train_files[-1]).unlink()
    missing = str(folder / layout.train_files[-1])
    refused(layout, folder, missing, f"e2train data fetch {layout.name} --out {folder.parent}")


def test_a_label_out_of_range_names_the_file_and_the_record(small):
    layout, folder, _ = small
    path = folder / layout.train_files[0]
    with open(path, "r+b") as stream:
        stream.seek(7 * layout.record_bytes + layout.label_bytes - 1)
        stream.write(bytes([layout.classes]))
    refused(layout, folder, f"{path}: record 7 ", str(layout.classes), f"0 to {layout.classes - 1}")


def test_official_sizes():
    """File sizes as the official archives have them."""
    ten, hundred = cifar.LAYOUTS["cifar10"], cifar.LAYOUTS["cifar100"]
    assert {n * ten.record_bytes for n in ten.files.values()} == {30_730_000}
    assert hundred.files["train.bin"] * hundred.record_bytes == 153_700_000
    assert hundred.files["test.bin"] * hundred.record_bytes == 30_740_000
