"""Images from files as samples: grey, and, if they show a digit, as MNIST's were made.

The makers of MNIST fitted each digit into a box of 20 × 20 pixels, keeping its proportions, and
put it with its centre of mass at the middle of 28 × 28 (LeCun, Bottou, Bengio, Haffner 1998). What
comes from a camera has a grey background with a shade in it, dark ink, and specks: see
:mod:`fastnn.data.ink` for how the ink is found. Pillow reads the files; it comes with
``pip install 'fastnn[data]'``.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataFileError, InputError
from ..validation import choice, positive_int
from .ink import ink_of
from .paths import checked_path, shown
from .preprocessing import IMAGE_WAYS
from .tables import DataDependencyError

#: Pixels a side of MNIST's images, and of the box that a digit is fitted into.
SIDE, BOX = 28, 20

#: Where the centre of mass of MNIST's digits is, in pixels from the middle of the first one.
CENTRE = 14.0

#: Pixels a side to which a large picture is reduced first, and the most that one may have.
LARGE, MOST_PIXELS = 400, 2**26

#: The ends of the names of image files.
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"}
)

#: How files begin that Pillow reads.
_STARTS = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\0", b"MM\0*"),
    *(b"P1\n", b"P2\n", b"P4\n", b"P5\n", b"P6\n", b"P1 ", b"P5 ", b"P6 "),
)


def is_image(start: bytes) -> bool:
    """Whether a file that begins like this is an image."""
    return start.startswith(_STARTS) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def pillow() -> Any:
    """Pillow's module Image, or an error that names the extra."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataDependencyError(
            f"images need Pillow ({error}): pip install 'fastnn[data]'"
        ) from error
    return Image


def read_image(source: str | os.PathLike[str] | bytes, name: str | None = None) -> np.ndarray:
    """An image file, or its content, in grey: uint8, shape (height, width), 0 for black.

    It is turned as the camera says it was held, and what is transparent becomes white.

    Raises
    ------
    DataFileError
        If it cannot be read, is no image, or has more than 2**26 pixels.
    """
    Image = pillow()
    from PIL import ImageOps

    path = None if isinstance(source, bytes) else checked_path(source, "image")
    where = name or ("the image" if path is None else shown(path))
    try:
        opened = Image.open(io.BytesIO(source) if isinstance(source, bytes) else path)
        with opened as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise DataFileError(f"{where} has {width} × {height} pixels; make it smaller")
            image.load()
            return _grey(Image, ImageOps.exif_transpose(image))
    except DataFileError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataFileError(f"{where} has too many pixels; make it smaller") from error
    except MemoryError as error:
        raise DataFileError(f"{where} is too large for the memory") from error
    except OSError as error:
        reason = error.strerror or ("it is no image that Pillow knows, or damaged")
        raise DataFileError(f"{where} cannot be read: {reason}") from error
    except Exception as error:  # a damaged file may raise anything in a decoder
        raise DataFileError(f"{where} is a damaged image: {error}") from error


def _grey(Image: Any, image: Any) -> np.ndarray:
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        values = np.asarray(image, np.float64)
        most = 65535 if image.mode.startswith("I") else max(float(values.max()), 1.0)
        return np.rint(values.clip(0, most) * (255 / most)).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return np.array(image.convert("L"))


def as_sample(grey: np.ndarray, shape: tuple[int, int] = (SIDE, SIDE), way: str = "digits") -> Any:
    """A grey image as a sample of images of this shape: uint8, shape (height, width).

    Parameters
    ----------
    grey : array of uint8, shape (height, width)
    shape : (int, int)
    way : {"digits", "resize"}
        "digits" finds the ink, whether dark on light or light on dark, and makes of it what MNIST
        has: light on black, in a box of 20/28 of the shorter side, the centre of mass in the
        middle. "resize" only resizes.

    Raises
    ------
    InputError
        If there is no ink, or no such way.

    Examples
    --------
    >>> paper = np.full((100, 60), 180, np.uint8)
    >>> paper[20:70, 15:20] = 30  # a one, off the middle
    >>> sample = as_sample(paper)
    >>> sample.shape, int(sample.max()), sample.sum(axis=1).nonzero()[0][[0, -1]].tolist()
    ((28, 28), 255, [4, 23])
    """
    height, width = (positive_int(n, "shape") for n in shape)
    if choice(way, "way", IMAGE_WAYS) == "resize":
        return _rounded(_resized(grey.astype(np.float32), height, width))
    grey = _reduced(grey)
    ink = ink_of(grey)
    if ink is None:
        raise InputError("the image shows no ink: it is of one shade, or of noise alone")
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = max(round(BOX * min(height, width) / SIDE), 1)
    scale = box / max(cropped.shape)
    size = [max(round(n * scale), 1) for n in cropped.shape]
    if tuple(size) != cropped.shape:
        cropped = _resized(cropped, *size).clip(0, 255)
    return _rounded(_centred(cropped, height, width))


def _centred(digit: np.ndarray, height: int, width: int) -> np.ndarray:
    """The digit on black, its centre of mass in the middle as near as whole pixels allow."""
    placed = np.zeros((height, width), np.float32)
    total, at = float(digit.sum()), []
    for axis, size in enumerate((height, width)):
        mass = digit.sum(axis=1 - axis)
        centre = float(mass @ np.arange(len(mass))) / total
        corner = round(CENTRE * size / SIDE - centre)
        at.append(min(max(corner, 0), size - digit.shape[axis]))
    placed[at[0] : at[0] + digit.shape[0], at[1] : at[1] + digit.shape[1]] = digit
    return placed


def _reduced(grey: np.ndarray) -> np.ndarray:
    longest = max(grey.shape)
    if longest <= LARGE:
        return grey.astype(np.float32)
    size = [max(round(n * LARGE / longest), 1) for n in grey.shape]
    return _resized(grey.astype(np.float32), *size)


def _resized(values: np.ndarray, height: int, width: int) -> np.ndarray:
    Image = pillow()
    image = Image.fromarray(np.ascontiguousarray(values, np.float32), "F")
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.rint(values.clip(0, 255)).astype(np.uint8)


def sample_of(
    source: str | os.PathLike[str] | bytes,
    shape: tuple[int, int] = (SIDE, SIDE),
    way: str = "digits",
    name: str | None = None,
) -> np.ndarray:
    """:func:`read_image` and :func:`as_sample`; messages name the file."""
    grey = read_image(source, name)
    try:
        sample: np.ndarray = as_sample(grey, shape, way)
    except InputError as error:
        where = name or ("the image" if isinstance(source, bytes) else shown(Path(source)))
        raise InputError(f"{where}: {error}") from error
    return sample
