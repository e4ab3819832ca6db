"""Which reader a source is for: by what is in a folder, and by the name of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataFileError, DtypeError, InputError
from . import csv_files, idx, idx_folders, image_folders, images, numpy_files, tables
from .paths import checked_path, shown
from .sources import Options, Part, Source, flattened, image_shape_of

#: The readers of files, by the ends of their names.
READERS: dict[str, Callable[[Path, Options], Source]] = {
    ".npz": numpy_files.read_npz,
    ".npy": numpy_files.read_npy,
    ".csv": csv_files.read,
    ".tsv": csv_files.read,
    ".txt": csv_files.read,
    ".parquet": tables.read_parquet,
    ".pq": tables.read_parquet,
}


def read(given: Any, options: Options) -> Source:
    """Samples and labels of a path or a frame; None is the MNIST of the package.

    Raises
    ------
    DataFileError
        If a file is missing, damaged, or of no format that fastnn reads.
    InputError, DtypeError
        If it could be read in several ways, or what is asked of it is not there.
    """
    if given is None:
        return idx_folders.packaged(options)
    if tables.is_frame(given):
        return tables.read_frame(given, options)
    if hasattr(type(given), "collect"):
        raise DtypeError("the frame is still to be computed; give what its .collect() returns")
    path = checked_path(given, "path")
    try:
        return _folder(path, options) if path.is_dir() else _file(path, options)
    except (DataFileError, InputError):
        raise
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        reason = getattr(error, "strerror", None) or error
        raise DataFileError(f"{shown(path)} cannot be read: {reason}") from error


def _folder(folder: Path, options: Options) -> Source:
    if sets := idx_folders.sets_in(folder):
        return idx_folders.read(folder, sets, options)
    for reader in (numpy_files.read_folder, image_folders.read):
        if (source := reader(folder, options)) is not None:
            return source
    raise DataFileError(
        f"{shown(folder)} holds no data that fastnn knows: four IDX files named as MNIST's, "
        "x_train.npy and y_train.npy, or a subfolder of images for each class"
    )


def _file(path: Path, options: Options) -> Source:
    suffix = path.suffix.lower()
    if path.exists():
        if suffix in READERS:
            return READERS[suffix](path, options)
        raise DataFileError(
            f"{shown(path)} is of no format that fastnn knows by its name; "
            f"end it with one of {', '.join(READERS)}, or give a folder"
        )
    if path.parent.is_dir():
        sets = idx_folders.sets_in(path.parent)
        if path.name in sets:
            return idx_folders.read(path.parent, sets, options, path.name)
    raise DataFileError(f"{shown(path)} cannot be read: there is no such file or folder")


def files_of(given: Any, target: Any = None) -> Iterator[Path]:
    """The files that :func:`read` opens for a path, as far as they are there."""
    if given is None:
        return
    path = Path(given)
    try:
        if path.is_dir():
            for finder in (idx_folders.files_in, numpy_files.files_in, image_folders.files_in):
                if files := list(finder(path)):
                    yield from files
                    return
        elif path.exists():
            yield path
            if path.suffix.lower() == ".npy":
                beside = numpy_files.targets_beside(path) if target is None else Path(target)
                yield from filter(None, [beside])
        elif path.parent.is_dir():
            yield from idx_folders.files_in(path.parent, path.name)
    except (OSError, ValueError):  # which reading them will say
        return


def read_samples(path: Path, options: Options) -> Source:
    """Samples alone: of one image, or of a file of many, which may hold labels, too.

    Raises
    ------
    DataFileError, InputError
    """
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            raise DataFileError(f"{shown(path)} is a folder; give the files in it")
        with path.open("rb") as file:
            start = file.read(16)
        if images.is_image(start) or suffix in images.SUFFIXES:
            return image(path, None, options)
        if start.startswith((b"\0\0\x08", b"\0\0\x09", b"\0\0\x0b", b"\0\0\x0c", b"\0\0\x0d")) or (
            start.startswith(b"\x1f\x8b") and "idx" in path.name
        ):
            values = idx.read(path)
            if options.transpose and values.ndim == 3:
                values = values.swapaxes(1, 2)
            shape = image_shape_of(values)
            return Source(Part(flattened(values, path), None), image_shape=shape)
    except (DataFileError, InputError):
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataFileError(f"{shown(path)} cannot be read: {reason}") from error
    return _file(path, options)


def image(given: Path | bytes, name: str | None, options: Options) -> Source:
    """One image as one sample, in the shape and way that the options say."""
    shape = options.image_shape
    if shape is None:
        where = name or (shown(given) if isinstance(given, Path) else "the image")
        raise InputError(
            f"{where} is an image, and the network was not trained on images, or does not say so; "
            "give a file of samples"
        )
    sample = images.sample_of(given, shape, options.image_way or "digits", name)
    return Source(Part(sample.reshape(1, -1), None), image_shape=shape)


def source_of_arrays(values: np.ndarray, name: str) -> Source:
    """Samples that are an array already."""
    return Source(Part(flattened(values, Path(name)), None), image_shape=image_shape_of(values))
