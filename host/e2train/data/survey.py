# SPDX-License-Identifier: Apache-2.0
"""What one's own pictures look like before anything is trained: counts, sizes, faults, a sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from e2train.data.batches import augment
from e2train.data.collection import Collection, check_classes
from e2train.data.dataset import Dataset
from e2train.data.folder import printable, read_entry, scan
from e2train.data.own import collect, divide, duplicates, own_dataset
from e2train.data.pictures import PictureError, header, load_pillow
from e2train.data.settings import DataSettings
from e2train.files import write_atomically

MOST_SIZES = 6
IMBALANCED = 3.0  # times as many pictures in the largest class as in the smallest
SHEET_ROWS, SHEET_COLUMNS = 12, 8
TILE = 64  # least height of a picture on the sheet, in pixels
MARGIN, LETTERS = 4, 18


def survey(path: Path, settings: DataSettings) -> tuple[list[str], Dataset]:
    """Lines that describe the pictures at `path`, and the data set that training would see.

    Raises UserError as `load_own` does: what cannot be trained on is no data set.
    """
    collection, notes = collect(path, settings.shape)
    check_classes(path, collection)
    test = divide(collection, settings)
    lines = [
        f"{path}: {len(collection.labels):,} pictures in {len(collection.class_names)} classes",
        _division(collection, test, settings),
        *_sizes(path, settings),
        *_classes(collection, test),
        *_twins(collection, test),
        *(f"not used: {one}" for one in collection.refused),
        *_others(path),
        *notes,
    ]
    return lines, own_dataset(path, settings, collection, test, notes)


def _division(collection: Collection, test: np.ndarray, settings: DataSettings) -> str:
    counted = f"{int((~test).sum()):,} to train on, {int(test.sum()):,} to test on"
    if collection.of("whole").any():
        return f"{counted}: divided by data.split_seed = {settings.split_seed}"
    return f"{counted}: divided already"


def _sizes(path: Path, settings: DataSettings) -> Iterator[str]:
    size = f"{settings.size}x{settings.size} {'in colour' if settings.colour else 'in grey'}"
    if not path.is_dir():
        yield f"sizes: all become {size}"
        return
    sizes, animated = Counter[tuple[int, int]](), 0
    for entry in scan(path).entries:
        try:
            width, height, frames = header(read_entry(path, entry))
        except PictureError:
            continue  # named among what is not used, with the reason
        sizes[width, height] += 1
        animated += frames > 1
    common = [f"{w}x{h} ({count:,})" for (w, h), count in sizes.most_common(MOST_SIZES)]
    more = f" and {len(sizes) - MOST_SIZES} others" if len(sizes) > MOST_SIZES else ""
    yield f"sizes: {', '.join(common)}{more}; all become {size}"
    small = sum(count for (w, h), count in sizes.items() if min(w, h) < settings.size)
    if small:
        yield f"smaller than that, so enlarged: {small:,} pictures"
    if animated:
        yield f"of several pictures the first is taken: {animated:,} files"


def _classes(collection: Collection, test: np.ndarray) -> Iterator[str]:
    names, labels = collection.class_names, collection.labels
    counts = [np.bincount(labels[part], minlength=len(names)) for part in (~test, test)]
    width = max(5, *(len(name) for name in names))
    yield f"{'class':{width}}  to train on  to test on"
    for name, first, second in zip(names, *counts, strict=True):
        yield f"{name:{width}}  {first:11,}  {second:10,}"
    largest, smallest = int(counts[0].max()), int(counts[0].min())
    if largest >= IMBALANCED * smallest:
        yield (
            f"imbalance: class {names[int(counts[0].argmax())]!r} has {largest / smallest:.1f} "
            f"times the training pictures of class {names[int(counts[0].argmin())]!r}"
        )
    for name, count in zip(names, counts[1], strict=True):
        if not count:
            yield f"class {name!r} has no pictures to test on"


def _twins(collection: Collection, test: np.ndarray) -> Iterator[str]:
    for one, twin in duplicates(collection, test):
        if collection.names:
            files = [printable(collection.names[place]) for place in (one, twin)]
            yield f"in both parts: {files[0]} to test on is {files[1]} to train on"
        else:
            yield f"in both parts: picture {one} to test on is picture {twin} to train on"


def _others(path: Path) -> Iterator[str]:
    others = scan(path).others if path.is_dir() else ()
    if others:
        shown = ", ".join(printable(name) for name in others[:3])
        more = ", ..." if len(others) > 3 else ""
        yield f"no pictures by their names: {len(others):,} files ({shown}{more})"


def write_sheet(file: Path, dataset: Dataset, seed: int = 0) -> None:
    """A PNG with augmented training pictures, as the network sees them: a row a class.

    Raises UserError where Pillow is missing, OSError where the file cannot be written.
    """
    pillow = load_pillow()
    import PIL.ImageDraw

    height, width = dataset.train_images.shape[2:]
    scale = max(1, -(-TILE // height))
    rows = min(dataset.classes, SHEET_ROWS)
    step = (height * scale + MARGIN, width * scale + MARGIN)
    left = 7 * LETTERS
    size = (left + SHEET_COLUMNS * step[1], rows * step[0] + MARGIN)
    sheet = pillow.Image.new("RGB", size, "white")
    draw = PIL.ImageDraw.Draw(sheet)
    for row in range(rows):
        places = np.flatnonzero(dataset.train_labels == row)
        # A class of few pictures shows each several times, augmented anew.
        images = dataset.train_images[np.resize(places, SHEET_COLUMNS)]
        made = augment(images, row, seed, dataset.mirror, dataset.shift, dataset.mean)
        name = dataset.names[row]
        draw.text((MARGIN, row * step[0] + step[0] // 2), name[:LETTERS], fill="black")
        for column, pixels in enumerate(made):
            tile = np.kron(pixels, np.ones((1, scale, scale), np.uint8)).transpose(1, 2, 0)
            tile = tile if tile.shape[2] == 3 else np.repeat(tile, 3, axis=2)
            at = (left + column * step[1], MARGIN + row * step[0])
            sheet.paste(pillow.Image.fromarray(np.ascontiguousarray(tile)), at)

    def write(stream: BinaryIO) -> None:
        sheet.save(stream, "PNG")

    write_atomically(file, write)
