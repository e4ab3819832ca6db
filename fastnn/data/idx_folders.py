"""Folders of four IDX files: MNIST, and what has come after it in files of such names.

Fashion-MNIST and Kuzushiji-MNIST have MNIST's own names; EMNIST has its name before them, and
"test" for "t10k"; its images are transposed, and the labels of its letters begin at 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import DataFileError, InputError
from . import idx
from .digits import FOLDER, check_shapes, load_mnist
from .labels import Labels, whole_numbers
from .paths import shown
from .preprocessing import IMAGE_WAYS
from .sources import Options, Part, Source, image_shape_of

#: A file of such a set: its name, which part of it, and what of that.
_NAME = re.compile(
    r"(?P<set>.*?)[-_.]?(?P<part>train|t10k|test)[-_.](?P<what>images|labels)[-_.]idx[13][-_.]"
    r"ubyte(\.gz)?",
    re.IGNORECASE,
)

#: The order in which the four files are read.
_FILES = [(part, what) for part in ("train", "test") for what in ("images", "labels")]

_Set = dict[tuple[str, str], Path]

#: Labels up to this one are there, whether they occur or not: digits.
LAST_DIGIT = 9


def packaged(options: Options) -> Source:
    """The MNIST of the package."""
    (x, t), (x_test, t_test) = load_mnist(normalize=False, flatten=False)
    arrays = [x[:, 0], t, x_test[:, 0], t_test]
    return _source(arrays, options, Path(FOLDER), "MNIST")


def sets_in(folder: Path) -> dict[str, _Set]:
    """The sets in a folder, by name, which is empty for MNIST's own."""
    found: dict[str, _Set] = {}
    for path in sorted(folder.iterdir()):
        if name := _NAME.fullmatch(path.name):
            part = "train" if name["part"].lower() == "train" else "test"
            key = part, name["what"].lower()
            found.setdefault(name["set"], {}).setdefault(key, path)
    return found


def files_in(folder: Path, name: str | None = None) -> Iterator[Path]:
    """The files of all sets in a folder, or of the one with this name."""
    for found, files in sets_in(folder).items():
        if name in (None, found):
            yield from files.values()


def read(folder: Path, sets: dict[str, _Set], options: Options, name: str | None = None) -> Source:
    """The set of this name, or the only one."""
    if name is None:
        if len(sets) > 1:
            names = ", ".join(sorted(sets)[:6])
            raise InputError(
                f"{shown(folder)} holds several sets: {names}; "
                f"give one of them, such as {shown(folder / min(n for n in sets if n))}"
            )
        name = next(iter(sets))
    files = sets[name]
    for part, what in _FILES:
        if (part, what) not in files:
            prefix, ndim = f"{name}-" if name else "", 3 if what == "images" else 1
            first = part if name or part == "train" else "t10k"
            raise DataFileError(
                f"{shown(folder / f'{prefix}{first}-{what}-idx{ndim}-ubyte')} is missing, "
                "with or without .gz; there must be images and labels to train and to test with"
            )
    return _source([idx.read(files[key]) for key in _FILES], options, folder, name or folder.name)


def _source(arrays: list[np.ndarray], options: Options, folder: Path, name: str) -> Source:
    check_shapes(arrays, folder)
    if arrays[0].dtype != arrays[2].dtype:
        raise DataFileError(
            f"in {shown(folder)}, the training images are of {arrays[0].dtype} and the test images "
            f"of {arrays[2].dtype}; they must be of the same dtype"
        )
    images = [a.swapaxes(1, 2) if options.transpose and a.ndim == 3 else a for a in arrays[::2]]
    shape = image_shape_of(images[0])
    x, x_test = (np.ascontiguousarray(a).reshape(len(a), -1) for a in images)
    t, t_test = arrays[1::2]
    return Source(
        Part(x, t),
        Part(x_test, t_test),
        image_shape=shape,
        image_way=(options.image_way or IMAGE_WAYS[0]) if shape else None,
        labels=_labels(t, options.first_label),
        name=name,
    )


def _labels(t: np.ndarray, first: int | None) -> Labels:
    largest = int(whole_numbers(t).max())
    if first is None:
        return Labels.up_to(max(largest, LAST_DIGIT))
    if largest < first:
        raise InputError(f"first_label={first}, but the largest label is {largest}")
    return Labels.up_to(largest, first)
