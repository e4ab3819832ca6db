"""Folders of images, one subfolder a class; or two such folders, of training and test images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import DataFileError
from .images import SIDE, SUFFIXES, sample_of
from .paths import shown
from .preprocessing import IMAGE_WAYS
from .sources import Options, Part, Source

#: How folders of training and of test images are called.
TRAINING, TESTS = ("train", "training"), ("test", "testing", "valid", "validation", "val")


def classes_in(folder: Path) -> list[Path]:
    """The subfolders with images in them, in the order of their names."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and next(_images_in(path), None)
    ]


def files_in(folder: Path) -> Iterator[Path]:
    """The images that :func:`read` reads in such a folder."""
    for one in filter(None, (*_parts(folder), folder)):
        for path in classes_in(one):
            yield from _images_in(path)


def _parts(folder: Path) -> list[Path | None]:
    """The folders of training and of test images in it, if they are there."""
    return [
        next((folder / name for name in names if (folder / name).is_dir()), None)
        for names in (TRAINING, TESTS)
    ]


def read(folder: Path, options: Options) -> Source | None:
    """The images in such a folder as samples, named by their subfolders; None if there are none."""
    training, tests = _parts(folder)
    if training is not None and classes_in(training):
        source = read(training, options)
        assert source is not None
        if tests is not None and (found := read(tests, options)):
            source.test = found.train
        source.name = folder.name
        return source
    classes = classes_in(folder)
    if not classes:
        return None
    if options.transpose:
        raise DataFileError(f"{shown(folder)} holds image files, which are not transposed")
    size = SIDE if options.image_size is None else options.image_size
    shape = options.image_shape or (size, size)
    way = options.image_way or IMAGE_WAYS[0]
    samples, labels = [], []
    for path in classes:
        for image in _images_in(path):
            samples.append(sample_of(image, shape, way).reshape(-1))
            labels.append(path.name)
    numbers = all(name.isdecimal() and str(int(name)) == name for name in labels)
    return Source(
        Part(np.array(samples), np.array(labels).astype(np.int64 if numbers else np.str_)),
        image_shape=shape,
        image_way=way,
        name=folder.name,
    )


def _images_in(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path
