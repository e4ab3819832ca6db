"""MNIST, the digits that come with the package, and other images in files of the same names."""

from __future__ import annotations

import math
import numbers
import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataFileError, DtypeError
from . import idx
from .paths import checked_path, shown

if TYPE_CHECKING:
    from pathlib import Path

#: Where the package keeps its four files.
FOLDER = os.path.join(os.path.dirname(__file__), "mnist")  # noqa: PTH118, PTH120

#: The four files, and the SHA-256 of their raw bytes as the makers of MNIST published them.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

#: Values that a table of one-hot rows may have, 4 GiB: a damaged label asks for terabytes.
MOST_VALUES = 2**30

Pair = tuple[np.ndarray, np.ndarray]


def load_mnist(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    directory: str | os.PathLike[str] | None = None,
) -> tuple[Pair, Pair]:
    """MNIST, 60,000 training and 10,000 test images of handwritten digits.

    By LeCun, Cortes and Burges, CC BY-SA 3.0. The files are part of the package: nothing is
    downloaded.

    Parameters
    ----------
    normalize : bool
        Pixels as float32 in [0, 1]; otherwise as uint8 in [0, 255].
    flatten : bool
        Images of shape (784,); otherwise (1, 28, 28).
    one_hot_label : bool
        Labels as one-hot rows, shape (samples, 10), of float32; otherwise as uint8, shape
        (samples,).
    directory : path, optional
        Read four IDX files of the same names from here instead, gzipped (``.gz``) or not; of any
        size, and not checked by SHA-256.

    Returns
    -------
    (x_train, t_train), (x_test, t_test)

    Raises
    ------
    DataFileError
        If a file is missing, truncated, or not what the package was shipped with; or if a label is
        so large that one-hot rows would take more than 4 GiB.
    DtypeError
        If `directory` is no path, or images that are to be normalized are not of uint8.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_mnist()
    >>> x_train.shape, x_train.dtype, t_test.shape
    ((60000, 784), dtype('float32'), (10000,))
    """
    import hashlib

    normalize = _flag(normalize, "normalize")
    flatten = _flag(flatten, "flatten")
    one_hot_label = _flag(one_hot_label, "one_hot_label")
    folder = checked_path(directory if directory is not None else FOLDER, "directory")
    arrays = []
    for name, sha256 in SHA256.items():
        digest = hashlib.sha256() if directory is None else None
        with _found(folder, name, packaged=directory is None) as path:
            arrays.append(idx.read(path, digest))
        if digest is not None and digest.hexdigest() != sha256:
            fault = "has been altered since fastnn was packaged (SHA-256 differs)"
            raise DataFileError(f"{shown(path)} {fault}; reinstall fastnn")
    check_shapes(arrays, folder)
    classes = _classes(arrays[1::2])
    x_train, x_test = (_prepare_images(images, normalize, flatten) for images in arrays[::2])
    t_train, t_test = (_prepare_labels(labels, one_hot_label, classes) for labels in arrays[1::2])
    return (x_train, t_train), (x_test, t_test)


def _flag(value: Any, name: str) -> bool:
    """`value` as a bool: what has no truth value of its own, or any, is refused."""
    if not isinstance(value, numbers.Integral | np.bool_):
        raise DtypeError(f"{name} is a {type(value).__name__}; give True or False")
    return bool(value)


def _found(folder: Path, name: str, *, packaged: bool) -> AbstractContextManager[Path]:
    """Where the file is; of a package in a zip a copy, for as long as the context lasts."""
    if packaged and not folder.is_dir():
        from importlib.resources import as_file, files

        return as_file(files(__package__) / "mnist" / f"{name}.gz")
    return nullcontext(_find(folder, name))


def _find(directory: Path, name: str) -> Path:
    for found in (f"{name}.gz", name, name.replace("-idx", ".idx")):
        try:
            if (directory / found).is_file():
                return directory / found
        except OSError as error:  # a name that is too long, a directory that may not be searched
            reason = error.strerror or error
            raise DataFileError(f"{shown(directory)} cannot be read: {reason}") from error
    needed = f"the directory must hold {', '.join(SHA256)}"
    raise DataFileError(f"{shown(directory / name)} is missing, with or without .gz; {needed}")


def check_shapes(arrays: list[np.ndarray], folder: Path) -> None:
    """Raise DataFileError unless the four arrays fit each other."""
    train, test = (idx.shape_text(images.shape[1:]) for images in arrays[::2])
    if arrays[0].shape[1:] != arrays[2].shape[1:]:
        fault = f"the training images are of {train} and the test images of {test}"
        raise DataFileError(f"in {shown(folder)}, {fault}")
    for name, images, labels in zip(("train", "t10k"), arrays[::2], arrays[1::2], strict=True):
        fits = images.ndim >= 2 and labels.ndim == 1 and len(images) == len(labels)
        if not fits or not images.size:
            have = (
                f"have {idx.shape_text(images.shape)} and the labels {idx.shape_text(labels.shape)}"
            )
            needed = "there must be some, and as many labels as images"
            raise DataFileError(f"in {shown(folder)}, the {name} images {have}; {needed}")


def _classes(labels: list[np.ndarray]) -> int:
    """How many classes there are: ten, or more if a label says so."""
    return max(10, *(int(t.max()) + 1 if t.dtype.kind in "iu" else 0 for t in labels))


def _prepare_images(images: np.ndarray, normalize: bool, flatten: bool) -> np.ndarray:
    if normalize:
        if images.dtype != np.uint8:
            fault = f"images of dtype {images.dtype} have no known range"
            raise DtypeError(f"{fault}; pass normalize=False and scale them yourself")
        images = np.divide(images, np.float32(255), dtype=np.float32)  # converted on the way
    if flatten:
        return images.reshape(len(images), math.prod(images.shape[1:]))
    return images[:, np.newaxis]


def _prepare_labels(labels: np.ndarray, one_hot: bool, classes: int) -> np.ndarray:
    if not one_hot:
        return labels
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        fault = f"labels of dtype {labels.dtype} cannot be made one-hot"
        raise DataFileError(f"{fault}; they must be integers from 0")
    if len(labels) * classes > MOST_VALUES:
        fault = f"the label {labels.max()} makes one-hot rows of {classes} values"
        raise DataFileError(f"{fault}, too many for {len(labels)} samples; keep labels as they are")
    rows = np.zeros((len(labels), classes), np.float32)
    rows[np.arange(len(labels)), labels] = 1
    return rows
