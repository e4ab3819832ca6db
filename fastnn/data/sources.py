"""What a reader of files gives: samples and labels as they stand there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataFileError
from .labels import Labels
from .paths import shown
from .scaling import Samples


@dataclass
class Part:
    """Samples, shape (samples, features), and their labels, shape (samples,), if there are any."""

    x: Samples
    t: np.ndarray | None


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
    image_shape : (int, int) or None
        Of samples that are images.
    labels : Labels or None
        The classes, if what they are does not follow from the labels that occur.
    """

    train: Part
    test: Part | None = None
    features: list[str] | None = None
    image_shape: tuple[int, int] | None = None
    image_way: str | None = None
    labels: Labels | None = None
    name: str = "the data"

    @property
    def pixels(self) -> bool:
        """Whether samples are images of 8 bits."""
        return self.image_shape is not None and self.train.x.dtype == np.uint8


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


def flattened(x: np.ndarray, path: Any) -> np.ndarray:
    """Samples as rows; refused if there are none."""
    if x.ndim < 1 or not x.size:
        raise DataFileError(f"{shown(path)} holds no samples: its shape is {x.shape}")
    if x.dtype.kind not in "fiub":
        raise DataFileError(f"{shown(path)} holds samples of dtype {x.dtype}, and no numbers")
    return x.reshape(len(x), -1)


def image_shape_of(x: np.ndarray) -> tuple[int, int] | None:
    """Height and width of samples that are grey images by their shape."""
    shape = x.shape[1:]
    if len(shape) == 3 and 1 in (shape[0], shape[2]):
        shape = tuple(np.delete(shape, 0 if shape[0] == 1 else 2))
    return (int(shape[0]), int(shape[1])) if len(shape) == 2 else None


def check_lengths(part: Part, path: Any) -> Part:
    """The part, if it has as many labels as samples."""
    if part.t is not None and len(part.t) != len(part.x):
        raise DataFileError(
            f"{shown(path)} has {len(part.x)} samples and {len(part.t)} labels; "
            "there must be a label for each sample"
        )
    return part
