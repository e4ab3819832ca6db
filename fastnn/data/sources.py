"""What a reader of files gives: samples and labels as they stand there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataFileError
from ..streams import Stream
from .labels import Labels
from .paths import shown
from .scaling import Samples

#: Pixels a side that rows of bytes must have at least to be taken for images.
SMALLEST_SIDE = 8


@dataclass
class Part:
    """Samples, shape (samples, features), and their labels, shape (samples,), if there are any."""

    x: Samples
    t: np.ndarray | None

    @property
    def labels(self) -> np.ndarray:
        """Those that there have to be."""
        assert self.t is not None
        return self.t

    def rows(self, numbers: np.ndarray) -> Part:
        """The samples of these numbers, and their labels; what is streamed stays in its file."""
        x = self.x.select(numbers) if isinstance(self.x, Stream) else self.x[numbers]
        return Part(x, self.labels[numbers])


@dataclass
class Source:
    """What stands in a file or a folder.

    Attributes
    ----------
    train : Part
    test : Part or None
        A part that is for tests by its name.
    features : list of str or None
        The names of columns.
    target : str or None
        The name of the column with the labels.
    image_shape : (int, int) or None
        Of samples that are images.
    labels : Labels or None
        The classes, if what they are does not follow from the labels that occur.
    """

    train: Part
    test: Part | None = None
    features: list[str] | None = None
    target: str | None = None
    image_shape: tuple[int, int] | None = None
    image_way: str | None = None
    labels: Labels | None = None
    name: str = "the data"

    @property
    def pixels(self) -> bool:
        """Whether samples are shades of 8 bits: bytes that are no columns of a table."""
        return self.features is None and self.train.x.dtype == np.uint8


@dataclass(frozen=True)
class Options:
    """How to read what could be read in several ways: see :func:`fastnn.load_data`."""

    target: Any = None
    needs_target: bool = True
    drop: tuple[Any, ...] = ()
    header: bool | None = None
    transpose: bool = False
    first_label: int | None = None
    mapped: bool | None = None
    image_way: str | None = None
    image_size: int | None = None
    image_shape: tuple[int, int] | None = None
    features: list[str] | None = None
    #: How many features the samples must have; whoever asks for that many can leave none out.
    count: int | None = None


def flattened(x: np.ndarray, path: Any) -> np.ndarray:
    """Samples as rows; refused if there are none."""
    if x.ndim < 1 or not x.size:
        raise DataFileError(f"{shown(path)} holds no samples: its shape is {x.shape}")
    if x.dtype.kind not in "fiub":
        raise DataFileError(f"{shown(path)} holds samples of dtype {x.dtype}, and no numbers")
    return x.reshape(len(x), -1)


def image_shape_of(x: np.ndarray) -> tuple[int, int] | None:
    """Height and width of samples that are grey images by their shape.

    Rows of bytes are taken for square images, if they can be, as MNIST's often come.
    """
    shape = x.shape[1:]
    if len(shape) == 3 and 1 in (shape[0], shape[2]):
        shape = tuple(np.delete(shape, 0 if shape[0] == 1 else 2))
    if len(shape) == 1 and x.dtype == np.uint8:
        side = math.isqrt(shape[0])
        return (side, side) if side >= SMALLEST_SIDE and side**2 == shape[0] else None
    return (int(shape[0]), int(shape[1])) if len(shape) == 2 else None


def check_lengths(part: Part, path: Any) -> Part:
    """The part, if it has as many labels as samples."""
    if part.t is not None and len(part.t) != len(part.x):
        raise DataFileError(
            f"{shown(path)} has {len(part.x)} samples and {len(part.t)} labels; "
            "there must be a label for each sample"
        )
    return part
