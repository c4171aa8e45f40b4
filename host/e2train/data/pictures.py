# SPDX-License-Identifier: Apache-2.0
"""One picture's file to pixels, with Pillow (extra `images`).

What a file may do to this program is kept small: only the formats below are tried (no PostScript,
which would start another program), Pillow's limit against decompression bombs is an error, and
sizes are checked before anything is decoded.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from e2train.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

T = TypeVar("T")
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".tif", ".tiff", ".webp",
)  # fmt: skip
LARGEST_FILE = 256 << 20  # bytes
# How much larger than needed a JPEG is decoded at least, before it is resized.
OVERSAMPLED = 2


class PictureError(UserError):
    """A file that is no picture which can be used; its text is the reason, in a few words."""


def load_pillow() -> Any:
    """Import Pillow, or raise UserError saying how to install it."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise UserError("decoding pictures needs Pillow: pip install 'e2train[images]'") from None
    return PIL


def decode(content: bytes, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Pixels of a picture file, uint8 [C, H, W] of the given shape (1 or 3 channels).

    The picture is turned as its EXIF data says, resized so that it just covers H x W (bicubic) and
    cropped around its centre. Of animations and files of several pages the first picture counts.
    Transparent parts become white, CMYK becomes RGB, of 16 bits the upper 8 are kept.

    Raises:
        PictureError: empty, damaged, too large, of an unknown format or of unsupported pixels.
        UserError: Pillow is not installed.
    """
    return _opened(content, lambda pillow, image: _pixels(pillow, image, shape))


def header(content: bytes) -> tuple[int, int, int]:
    """Width, height and number of pictures of a file, without decoding it; raises as `decode`."""
    return _opened(content, lambda _, image: (*image.size, getattr(image, "n_frames", 1)))


def _opened(content: bytes, use: Callable[[Any, PillowImage], T]) -> T:
    """What `use` makes of Pillow and the opened picture; whatever goes wrong is a PictureError."""
    pillow = load_pillow()
    if not content:
        raise PictureError("is empty")
    if len(content) > LARGEST_FILE:
        raise PictureError(f"has {len(content) >> 20} MiB, {LARGEST_FILE >> 20} MiB are the limit")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of EXIF data that is not quite right
            warnings.simplefilter("error", pillow.Image.DecompressionBombWarning)
            with pillow.Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return use(pillow, image)
    except PictureError:
        raise
    except (pillow.Image.DecompressionBombError, pillow.Image.DecompressionBombWarning):
        limit = pillow.Image.MAX_IMAGE_PIXELS / 1e6
        raise PictureError(f"has more than {limit:.0f} million pixels, Pillow's limit") from None
    except pillow.UnidentifiedImageError:
        raise PictureError(f"is none of {', '.join(FORMATS)}") from None
    except MemoryError:
        raise PictureError("needs more memory than there is") from None
    except Exception as error:  # damaged bytes make Pillow's decoders raise all sorts
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"is damaged ({reason})") from error


def _pixels(pillow: Any, image: PillowImage, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    channels, height, width = shape
    # A JPEG can be decoded at a half, a quarter or an eighth, in as much less time.
    image.draft(None, (OVERSAMPLED * width, OVERSAMPLED * height))
    image.load()
    turned = pillow.ImageOps.exif_transpose(image)
    plain = _plain(pillow, turned, "L" if channels == 1 else "RGB")
    fitted = pillow.ImageOps.fit(plain, (width, height), pillow.Image.Resampling.BICUBIC)
    return np.asarray(fitted, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)


def _plain(pillow: Any, image: Any, mode: str) -> Any:
    """The picture in 8-bit grey ("L") or colour ("RGB")."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(pillow, image)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = pillow.Image.new("RGBA", clear.size, "white")
        image.alpha_composite(clear)
    return image.convert(mode)


def _eight_bits(pillow: Any, image: Any) -> Any:
    """A grey picture of 16 bits by its upper 8."""
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 0xFFFF:
        raise PictureError("has pixels of floating point or of more than 16 bits")
    return pillow.Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def resized(images: npt.NDArray[np.uint8], shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Pixels uint8 [N, C, H, W] in the given shape, by the rules of `decode`.

    Channels alone change without Pillow: grey is repeated, colour becomes ITU-R 601 luma.
    """
    channels, height, width = shape
    if images.shape[2:] != (height, width):
        images = _fitted(images, height, width)
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=1)
    # In integers, as Pillow computes it.
    weights = np.array([19595, 38470, 7471], np.uint32)[:, None, None]
    luma = (images.astype(np.uint32) * weights).sum(axis=1, keepdims=True) + 0x8000
    return (luma >> 16).astype(np.uint8)


def _fitted(images: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    pillow = load_pillow()
    planes = images.reshape(-1, *images.shape[2:])
    made = [
        pillow.ImageOps.fit(
            pillow.Image.fromarray(plane), (width, height), pillow.Image.Resampling.BICUBIC
        )
        for plane in planes
    ]
    return np.stack([np.asarray(one) for one in made]).reshape(*images.shape[:2], height, width)
