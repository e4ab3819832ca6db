"""What a request may hold, and how it becomes samples.

A body is JSON or one image file. JSON holds ``samples``, a list of lists of numbers, or ``sample``,
one of them; or ``images``, a list of image files in base64, or ``image``, one. What is wrong with
it is one line, with the status code that goes with it.
"""

from __future__ import annotations

import base64
import io
import json
import threading
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from ..console import one_line
from ..data.images import is_image, pillow
from ..errors import DataFileError, FastnnError
from ..validation import shown
from .model import Served

#: The most bytes of a body, samples and images in it, and pixels of all its images together.
MOST_BYTES, MOST_SAMPLES, MOST_IMAGES, MOST_PIXELS = 2**23, 10_000, 100, 50_000_000

#: From how many pixels on a request has to wait for others of that size.
LARGE = 2**22

_LARGE = threading.Lock()

#: What JSON may hold, and no other names.
_NAMES = ("sample", "samples", "image", "images")

_TAKEN = 'give JSON such as {"samples": [[0.5, …], …]}, or an image file'


class RefusedError(Exception):
    """A request that is not answered: the status code, and why, in one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(one_line(message))
        self.status = status


class Question(NamedTuple):
    """Samples of shape (samples, features), and whether they were images."""

    x: Any
    images: bool


def question(body: bytes, served: Served) -> Question:
    """What a body asks.

    Raises
    ------
    RefusedError
        With a status code from 400 to 499.
    """
    if not body.strip():
        raise RefusedError(400, f"the body is empty; {_TAKEN}")
    try:
        if is_image(body[:16]):
            return _of_images([body], served)
        return _of_json(body, served)
    except FastnnError as error:
        raise RefusedError(400, str(error)) from error


def _of_json(body: bytes, served: Served) -> Question:
    try:
        given = json.loads(body.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise RefusedError(415, f"the body is neither text in UTF-8 nor an image; {_TAKEN}") from (
            error
        )
    except RecursionError as error:
        raise RefusedError(400, f"the body is nested too deep; {_TAKEN}") from error
    except ValueError as error:
        raise RefusedError(400, f"the body is no JSON: {error}; {_TAKEN}") from error
    if not isinstance(given, dict) or len(given) != 1 or next(iter(given)) not in _NAMES:
        found = f"an object with {shown(list(given))}" if isinstance(given, dict) else shown(given)
        raise RefusedError(
            400, f"the body is {found}; give an object with one of {', '.join(_NAMES)}"
        )
    [(name, value)] = given.items()
    if not name.endswith("s"):
        value = [value]
    if not isinstance(value, list) or not value:
        raise RefusedError(400, f"{name} is {shown(value)}; give a list with something in it")
    if name.startswith("image"):
        return _of_images([_decoded(entry) for entry in _at_most(MOST_IMAGES, value)], served)
    return Question(_rows(_at_most(MOST_SAMPLES, value), served.features), images=False)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _at_most(most: int, values: list[Any]) -> list[Any]:
    if len(values) > most:
        raise RefusedError(413, f"{len(values)} are too many; give {most} at most in a request")
    return values


def _rows(values: list[Any], features: int) -> np.ndarray:
    """Samples as an array; each has to be a list of so many numbers."""
    for i, row in enumerate(values):
        if not isinstance(row, list) or len(row) != features:
            found = f"{len(row)} values" if isinstance(row, list) else shown(row)
            raise RefusedError(
                400, f"samples[{i}] has {found}; the network takes a list of {features} numbers"
            )
        for value in row:
            if type(value) not in (int, float):
                raise RefusedError(400, f"samples[{i}] holds {shown(value)}; give numbers")
    try:
        return np.array(values, np.float64)
    except OverflowError as error:
        raise RefusedError(400, "a number in samples is too large; give smaller ones") from error


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise RefusedError(400, f"an image is {shown(value)}; give the file in base64, as a text")
    try:
        content = base64.b64decode(value, validate=True)
    except ValueError as error:
        raise RefusedError(400, f"an image is no base64: {error}") from error
    if not is_image(content[:16]):
        raise RefusedError(
            415, "an image is of no known kind; give a PNG, JPEG, GIF, BMP, TIFF or WebP file"
        )
    return content


def _of_images(contents: list[bytes], served: Served) -> Question:
    if served.image_shape is None:
        raise RefusedError(
            415, f"the network was trained on no images; give samples of {served.features} numbers"
        )
    pixels = sum(_pixels(content) for content in contents)
    if pixels > MOST_PIXELS:
        raise RefusedError(
            413, f"the images have {pixels} pixels together; give {MOST_PIXELS} at most"
        )
    # Ten bytes a pixel while it is read: one request at a time, where that is much.
    with _LARGE if pixels > LARGE else nullcontext():
        if len(contents) == 1:
            rows = [served.image(contents[0], "the image")]
        else:
            rows = [served.image(c, f"image {i}") for i, c in enumerate(contents, 1)]
    return Question(np.stack(rows), images=True)


def _pixels(content: bytes) -> int:
    """How many pixels an image has, by its header alone."""
    try:
        with pillow().open(io.BytesIO(content)) as image:
            return int(image.size[0] * image.size[1])
    except Exception as error:  # a damaged file may raise anything
        raise DataFileError(f"the image is damaged: {error}") from error
