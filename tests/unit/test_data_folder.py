# SPDX-License-Identifier: Apache-2.0
"""A folder of one's own pictures: how it is read, divided, kept and refused."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e2train.data import Dataset, DataSettings, cache, collection, load_data
from e2train.device import open_device
from e2train.errors import UserError
from e2train.training.experiment import Experiment, MethodSettings, TrainSettings
from e2train.training.trainer import Trainer
from picture_folders import NAMES, break_files, digit_pictures, small_folder, write_folder

SETTINGS = DataSettings("folder", size=16, colour=False)


def load(path: Path, **changes: object) -> Dataset:
    return load_data(replace(SETTINGS, **changes), path)


def same(one: Dataset, other: Dataset) -> bool:
    arrays = ("train_images", "train_labels", "test_images", "test_labels")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)


# ---- dividing -----------------------------------------------------------------------------------


def test_one_tree_is_divided_by_the_seed(tmp_path: Path) -> None:
    images, labels = digit_pictures(10, 3)
    root = write_folder(tmp_path / "own", images, labels)
    found = load(root)
    assert found.class_names == tuple(sorted(NAMES[:3])) and found.classes == 3
    assert np.bincount(found.test_labels).tolist() == [2, 2, 2]
    assert np.bincount(found.train_labels).tolist() == [8, 8, 8]
    assert len(found.test_names) == 6 and found.test_names[0].startswith("one/")
    pixels = np.array(Image.open(root / found.test_names[0]))
    assert np.array_equal(found.test_images[0, 0], pixels)
    assert same(found, load(root)) and not same(found, load(root, split_seed=1))
    assert len(load(root, test_share=0.5).test_labels) == 15
    assert found.mean == (round(float(found.train_images.mean())),)
    assert found.std[0] == pytest.approx(float(found.train_images.std()), abs=0.06)


@pytest.mark.parametrize("second", ["test", "val"])
def test_folders_that_are_divided_stay_so(tmp_path: Path, second: str) -> None:
    images, labels = digit_pictures(6, 3)
    write_folder(tmp_path / "train", images[1::2], labels[1::2])
    write_folder(tmp_path / second, images[::6], labels[::6])
    found = load(tmp_path)
    assert len(found.test_labels) == 3 and len(found.train_labels) == 9
    assert found.notes == () and found.class_names == tuple(sorted(NAMES[:3]))


def test_colour_and_size_are_the_experiments(tmp_path: Path) -> None:
    root = small_folder(tmp_path)
    for size in (8, 64, 96):
        shape = load(root, size=size, colour=True).train_images.shape
        assert shape[1:] == (3, size, size)


def test_classes_in_sub_folders_and_other_files(tmp_path: Path) -> None:
    root = small_folder(tmp_path, 4)
    (root / "one/deeper").mkdir()
    shutil.copy(root / "one/0004.png", root / "one/deeper/copy.PNG")
    (root / "one/notes.txt").write_text("no picture")
    (root / "one/.hidden.png").write_text("no picture")
    (root / ".git").mkdir()
    found = load(root)
    assert len(found.train_labels) + len(found.test_labels) == 9
    assert found.class_names == ("one", "zero")


# ---- .npz ---------------------------------------------------------------------------------------


def test_arrays_in_every_layout(tmp_path: Path) -> None:
    images, labels = digit_pictures(5, 2)
    colour = np.repeat(images[..., None], 3, axis=3)
    path = tmp_path / "own.npz"
    found = []
    for shaped in (
        images,
        images[..., None],
        images[:, None],
        colour,
        colour.transpose(0, 3, 1, 2),
    ):
        np.savez(path, images=shaped, labels=labels[:, None], class_names=["zero", "one"])
        found.append(load(path))
    assert all(same(found[0], other) for other in found[1:])
    assert found[0].class_names == ("zero", "one")
    np.savez(path, x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    divided = load(path)
    assert len(divided.train_labels) == 10 and divided.names == ("0", "1")
    assert divided.notes == (
        "no pictures to test on: 1",
        "2 of 2 test pictures are among the training pictures, too: accuracy comes out too high",
    )
    assert load(path, size=24, colour=True).test_images.shape == (2, 3, 24, 24)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"images": np.zeros((4, 8, 8)), "labels": [0, 0, 1, 1]}, "images is float64, expected"),
        ({"images": np.zeros((4, 8), np.uint8), "labels": [0, 0, 1, 1]}, "has shape (4, 8)"),
        ({"images": np.zeros((4, 8, 8), np.uint8)}, "key 'labels' is missing"),
        ({"labels": [0, 1]}, "key 'train_images' is missing"),
        ({"images": np.zeros((4, 8, 8), np.uint8), "labels": [0, 1]}, "expected 4 whole numbers"),
        ({"images": np.zeros((4, 8, 8), np.uint8), "labels": [0, 0, 1, -1]}, "has -1 to 1"),
        ({"images": np.zeros((4, 8, 8), np.uint8), "labels": [0, 0, 2, 2]}, "class '1' has no"),
        ({"images": np.array([{}, {}], object), "labels": [0, 1]}, "not an .npz file of arrays"),
    ],
)
def test_arrays_that_are_refused(tmp_path: Path, arrays: dict[str, object], told: str) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    refused(path, told)


def refused(path: Path, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load(path)
    assert told in str(caught.value) and "\n" not in str(caught.value)


# ---- the cache ----------------------------------------------------------------------------------


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each picture that is decoded."""
    done: list[int] = []
    real = collection.decode

    def counted(content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
        done.append(len(content))
        return real(content, shape)

    monkeypatch.setattr(collection, "decode", counted)
    return done


def test_pictures_are_decoded_once(tmp_path: Path, decodings: list[int]) -> None:
    root = small_folder(tmp_path / "own")
    first = load(root)
    assert len(decodings) == 10
    assert same(first, load(root)) and len(decodings) == 10
    for path in root.glob("*/*.png"):  # a copy has the same contents at other times
        os.utime(path, ns=(1, 1))
    moved = tmp_path / "moved"
    shutil.move(root, moved)
    assert same(first, load(moved)) and len(decodings) == 10
    load(moved, size=8)
    assert len(decodings) == 20
    shutil.copy(moved / ".e2train/16x16-grey.npz", tmp_path / "alone.npz")
    assert same(first, load(tmp_path / "alone.npz"))


def test_a_changed_file_is_decoded_anew(tmp_path: Path, decodings: list[int]) -> None:
    root = small_folder(tmp_path)
    load(root)
    path = root / "one/0007.png"
    content = bytearray(path.read_bytes())
    before = path.stat()
    Image.new("L", (16, 16), 77).save(path)
    assert path.read_bytes() != content
    found = load(root)
    assert len(decodings) == 20
    assert any((one == 77).all() for one in (*found.train_images, *found.test_images))
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    load(root)
    assert len(decodings) == 30
    path.unlink()
    load(root)
    assert len(decodings) == 39


@pytest.mark.parametrize("damage", ["flipped", "cut", "text"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, decodings: list[int], damage: str) -> None:
    root = small_folder(tmp_path)
    first = load(root)
    path = root / ".e2train/16x16-grey.npz"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        with np.load(path) as archive:
            arrays = dict(archive)
        arrays["images"][0, 0, 0, 0] ^= 1
        np.savez(path, **arrays)
        with pytest.raises(UserError, match="checksum"):
            cache.load_npz(path)
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"text")
    assert same(first, load(root)) and len(decodings) == 20
    assert not list(root.glob(".e2train/*.part"))


def test_a_board_reads_the_cache_without_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small_folder(tmp_path)
    first = load(root)
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert same(first, load(root))
    with pytest.raises(UserError, match=r"pip install 'e2train\[images\]'"):
        load(root, size=8)


def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small_folder(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_arrays", full)
    found = load(root)
    assert "decoded pictures are not kept" in found.notes[0] and "No space left" in found.notes[0]
    (root / "one/file").write_text("")
    shutil.rmtree(root / ".e2train")
    (root / ".e2train").write_text("in the way")
    assert "decoded pictures are not kept" in load(root).notes[0]


# ---- faults -------------------------------------------------------------------------------------


def test_broken_files_are_named_and_left_out(tmp_path: Path) -> None:
    root = small_folder(tmp_path, 10)
    broken = [root / f"{name}/{index:04}.png" for name, index in (("zero", 1), ("one", 12))]
    break_files(broken)
    for _ in range(2):  # from the files, then from the cache
        found = load(root)
        assert len(found.train_labels) + len(found.test_labels) == 18
        assert [line.split()[2] for line in found.notes] == ["one/0012.png", "zero/0001.png"]
        assert "is empty" in found.notes[1]


def test_links_lead_nowhere_else(tmp_path: Path) -> None:
    root = small_folder(tmp_path / "own")
    outside = small_folder(tmp_path / "outside") / "one/0005.png"
    (root / "one/out.png").symlink_to(outside)
    (root / "one/gone.png").symlink_to(root / "nothing.png")
    (root / "one/inside.png").symlink_to(root / "zero/0000.png")
    (root / "one/tree").symlink_to(outside.parent)
    os.mkfifo(root / "one/pipe.png")
    found = load(root)
    assert len(found.train_labels) + len(found.test_labels) == 11
    assert sorted(found.notes) == [
        "not used: one/gone.png is a symbolic link to nothing",
        "not used: one/out.png is a symbolic link out of the folder",
        "not used: one/pipe.png is no regular file",
        "not used: one/tree is a symbolic link to a folder, which is not followed",
    ]
    (root / "more").symlink_to(outside.parent)
    refused(root, "a class must be a folder of its own, not a symbolic link")


def test_names_of_any_bytes(tmp_path: Path) -> None:
    root = small_folder(tmp_path)
    odd = os.fsencode(root / "one") + b"/caf\xe9\n.png"
    os.rename(root / "one/0005.png", odd)
    for _ in range(2):
        assert len(load(root).train_labels) == 8
    with open(odd, "wb"):
        pass
    assert load(root).notes == ("not used: one/caf\\xe9\\n.png is empty",)
    os.rename(root / "one", os.fsencode(root) + b"/\xe9t\xe9")
    refused(root, "\\xe9t\\xe9: the name of a class must be UTF-8; rename the folder")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda root: shutil.rmtree(root / "zero"), "one class, 'one'"),
        (lambda root: shutil.rmtree(root), "expected a folder of pictures"),
        (lambda root: [shutil.rmtree(one) for one in root.iterdir()], "no pictures (.jpg"),
        (
            lambda root: [path.unlink() for path in list((root / "one").iterdir())[1:]],
            "class 'one' has 1 picture, 2 are needed",
        ),
        (
            lambda root: [path.write_bytes(b"") for path in (root / "one").iterdir()],
            "class 'one' has no picture that can be read",
        ),
        (lambda root: os.rename(root / "one", root / "train"), "has a folder train, but none"),
    ],
    ids=["one class", "nothing", "empty", "single", "all broken", "no test"],
)
def test_folders_that_are_refused(tmp_path: Path, make: object, told: str) -> None:
    root = small_folder(tmp_path / "own")
    make(root)  # type: ignore[operator]
    refused(root, told)


def test_a_class_to_test_on_alone(tmp_path: Path) -> None:
    small_folder(tmp_path / "train", classes=2)
    small_folder(tmp_path / "test", classes=3)
    refused(tmp_path, "class 'two' has pictures to test on, none to train on")


@pytest.mark.parametrize("change", ["added", "removed", "rewritten", "touched"])
def test_a_folder_that_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    root = small_folder(tmp_path)
    real, done = collection.decode, []

    def changing(content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
        done.append(1)
        if len(done) == 5:
            last = root / "zero/0004.png"
            if change == "added":
                shutil.copy(last, root / "zero/0999.png")
            elif change == "removed":
                last.unlink()
            else:
                last.write_bytes(last.read_bytes() + (b"more" if change == "rewritten" else b""))
                os.utime(last, ns=(5, 5))
        return real(content, shape)

    monkeypatch.setattr(collection, "decode", changing)
    refused(root, "changed while it was read")
    assert not list(root.glob(".e2train/*.npz*"))
    monkeypatch.setattr(collection, "decode", real)
    load(root)


def test_nothing_is_named_beyond_measure(tmp_path: Path) -> None:
    root = small_folder(tmp_path, 40)
    break_files(sorted((root / "one").iterdir())[:30])
    notes = load(root).notes
    assert len(notes) == 21 and notes[-1].startswith("not used: 10 more files; ")


def test_no_folder_given() -> None:
    with pytest.raises(UserError, match="needs data"):
        load_data(SETTINGS)


@pytest.mark.parametrize("size", [64, 96])
def test_larger_pictures_in_integers(tmp_path: Path, size: int) -> None:
    """As in floats, whether or not the positions of the last average are a power of two."""
    root = small_folder(tmp_path / "own", 3)
    train = TrainSettings(iterations=1, batch=2, checkpoint_every=1)
    data = DataSettings("folder", size=size)
    outcomes = []
    for method in ("float32", "fixed"):
        experiment = Experiment("large", "resnet-8", data, train, MethodSettings(method))
        out = tmp_path / method
        out.mkdir()
        with (
            open_device("emulator") as device,
            Trainer(experiment, load_data(data, root), out, device=device) as trainer,
        ):
            images, labels = trainer._pictures(0)
            found, gradients = trainer.network.forward_backward(images, labels, 0)
            outcomes.append((found, gradients))
            assert trainer.run()["cell"]["evaluation_macs"] > 3 * 16 * 9 * size * size
    (real, exact), (whole, rounded) = outcomes
    assert whole.logits == pytest.approx(real.logits, abs=0.05 * np.abs(real.logits).max())
    for name in ("classifier.weight", "classifier.bias", "stage3.block1.conv2.weight"):
        ours, theirs = (np.float64(table[name]).ravel() for table in (rounded, exact))
        length = np.linalg.norm(ours) / np.linalg.norm(theirs)
        assert length == pytest.approx(1.0, abs=0.1), name
        cosine = ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs))
        assert cosine > (0.97 if name.startswith("classifier") else 0.8), name
