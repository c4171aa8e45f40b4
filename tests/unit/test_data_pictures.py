# SPDX-License-Identifier: Apache-2.0
"""One picture's file to pixels: every kind that people have, and every kind that is refused."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from e2train.data.pictures import PictureError, decode, resized

COLOUR, GREY = (3, 8, 8), (1, 8, 8)
RED, GREEN = (250, 10, 10), (10, 250, 10)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def halves(mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Image.Image:
    """Red on the left, green on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (size[0] // 2, 0, *size))
    return image.convert(mode)


def near(pixels: np.ndarray, colour: tuple[int, ...], within: int = 12) -> bool:
    return bool((np.abs(pixels.astype(int) - np.array(colour)) <= within).all())


def test_colours_and_places() -> None:
    pixels = decode(encoded(halves()), COLOUR)
    assert pixels.shape == COLOUR and pixels.dtype == np.uint8
    assert near(pixels[:, 4, 1], RED, 0) and near(pixels[:, 4, 6], GREEN, 0)


def test_grey_is_luma() -> None:
    image = halves()
    grey = decode(encoded(image), GREY)
    assert (grey[0] == np.asarray(image.convert("L"))).all()
    assert (resized(decode(encoded(image), COLOUR)[None], GREY)[0] == grey).all()


def test_covers_and_crops_the_middle() -> None:
    wide = Image.new("RGB", (32, 8), RED)
    wide.paste(GREEN, (12, 0, 20, 8))
    assert near(decode(encoded(wide), COLOUR).transpose(1, 2, 0), GREEN, 30)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP"])
def test_formats(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    pixels = decode(encoded(halves(size=(64, 64)), kind, **options), COLOUR)
    assert near(pixels[:, 4, 1], RED) and near(pixels[:, 4, 6], GREEN)


def test_exif_turns_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    pixels = decode(encoded(halves(size=(32, 32)), "JPEG", exif=exif, quality=95), COLOUR)
    assert near(pixels[:, 1, 4], RED) and near(pixels[:, 6, 4], GREEN)


def test_cmyk_palette_and_one_bit() -> None:
    cmyk = decode(encoded(halves("CMYK", (32, 32)), "JPEG", quality=95), COLOUR)
    assert near(cmyk[:, 4, 1], RED, 30) and near(cmyk[:, 4, 6], GREEN, 30)
    palette = decode(encoded(halves().quantize(4)), COLOUR)
    assert near(palette[:, 4, 1], RED) and near(palette[:, 4, 6], GREEN)
    bits = Image.new("1", (8, 8), 1)
    assert (decode(encoded(bits), GREY) == 255).all()


def test_what_is_transparent_becomes_white() -> None:
    image = halves("RGBA")
    image.putalpha(Image.new("L", (8, 8), 0))
    assert (decode(encoded(image), COLOUR) == 255).all()
    palette = halves().quantize(4)
    pixels = decode(encoded(palette, transparency=palette.getpixel((1, 4))), COLOUR)
    assert near(pixels[:, 4, 1], (255, 255, 255), 0) and near(pixels[:, 4, 6], GREEN)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_keep_the_upper_eight(kind: str) -> None:
    values = np.full((8, 8), 0x1234, np.uint16)
    values[:, 4:] = 0xFFFF
    pixels = decode(encoded(Image.fromarray(values), kind), GREY)
    assert (pixels[0, :, :3] == 0x12).all() and (pixels[0, :, 5:] == 0xFF).all()


def test_of_an_animation_the_first_picture_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN)]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert near(decode(content, COLOUR).transpose(1, 2, 0), RED, 30), kind


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is huge, in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


FLOATS = encoded(Image.fromarray(np.full((8, 8), 0.5, np.float32)), "TIFF")
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
JPEG = encoded(Image.fromarray(NOISE), "JPEG")
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/tmp/x) (w) file\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (JPEG[: len(JPEG) // 2], "is damaged (image file is truncated"),
        (JPEG[:10], "is damaged"),
        (b"hello", "is none of JPEG, PNG"),
        (POSTSCRIPT, "is none of JPEG, PNG"),
        (bomb(10_000, 10_000), "has more than 89 million pixels, Pillow's limit"),
        (bomb(60_000, 60_000), "has more than 89 million pixels, Pillow's limit"),
        (bomb(100, 100), "is damaged"),
        (FLOATS, "has pixels of floating point"),
    ],
    ids=["empty", "cut", "stub", "text", "postscript", "bomb", "larger", "short", "float"],
)
def test_what_is_refused(content: bytes, told: str) -> None:
    with pytest.raises(PictureError) as caught:
        decode(content, COLOUR)
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_never_escapes(seed: int) -> None:
    """Whatever bytes are wrong: pixels of the right shape, or the one error with one line."""
    random = np.random.default_rng(seed)
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"):
        whole = encoded(halves(size=(32, 32)), kind)
        for _ in range(40):
            content = bytearray(whole)
            for place in random.integers(0, len(whole), 6):
                content[place] = random.integers(0, 256)
            try:
                assert decode(bytes(content), COLOUR).shape == COLOUR
            except PictureError as error:
                assert "\n" not in str(error)
