"""Data: the MNIST that comes with the package, and any IDX file."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import numpy as np

from .errors import DataFileError, DtypeError

# What reads files is imported where files are read: `import fastnn` shall not take much longer than `import numpy`.
if TYPE_CHECKING:
    from pathlib import Path

_MNIST = os.path.join(os.path.dirname(__file__), "data", "mnist")  # noqa: PTH118, PTH120

#: The four files, and the SHA-256 of their raw bytes as the makers of MNIST published them.
_MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

#: IDX type byte → dtype; multi-byte values are big-endian.
_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

Pair = tuple[np.ndarray, np.ndarray]


def load_mnist(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    directory: str | os.PathLike[str] | None = None,
) -> tuple[Pair, Pair]:
    """MNIST, 60,000 training and 10,000 test images of handwritten digits (LeCun, Cortes and Burges; CC BY-SA 3.0).

    The files are part of the package: nothing is downloaded.

    Parameters
    ----------
    normalize : bool
        Pixels as float32 in [0, 1]; otherwise as uint8 in [0, 255].
    flatten : bool
        Images of shape (784,); otherwise (1, 28, 28).
    one_hot_label : bool
        Labels as one-hot rows, shape (samples, 10), of float32; otherwise as uint8, shape (samples,).
    directory : path, optional
        Read four IDX files of the same names from here instead, gzipped (``.gz``) or not; of any size, and not checked
        by SHA-256.

    Returns
    -------
    (x_train, t_train), (x_test, t_test)

    Raises
    ------
    DataFileError
        If a file is missing, truncated, or not what the package was shipped with.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_mnist()
    >>> x_train.shape, x_train.dtype, t_test.shape
    ((60000, 784), dtype('float32'), (10000,))
    """
    import hashlib
    from pathlib import Path

    arrays = []
    for name, sha256 in _MNIST_SHA256.items():
        path = _find(Path(directory if directory is not None else _MNIST), name)
        raw = _read(path)
        if directory is None and hashlib.sha256(raw).hexdigest() != sha256:
            raise DataFileError(f"{path} has been altered since fastnn was packaged (SHA-256 differs); reinstall fastnn")
        arrays.append(_parse_idx(raw, path))
    folder = path.parent
    if arrays[0].shape[1:] != arrays[2].shape[1:]:
        raise DataFileError(
            f"in {folder}, the training images are of shape {arrays[0].shape[1:]} and the test images of {arrays[2].shape[1:]}"
        )
    classes = max((int(labels.max()) + 1 for labels in arrays[1::2] if labels.size and labels.dtype.kind in "iu"), default=0)
    pairs = []
    for name, images, labels in zip(("train", "t10k"), arrays[::2], arrays[1::2], strict=True):
        if images.ndim < 2 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
            raise DataFileError(
                f"in {folder}, the {name} images have shape {images.shape} and the labels {labels.shape}; there must be some, "
                "and as many labels as images"
            )
        pairs.append((_prepare_images(images, normalize, flatten), _prepare_labels(labels, one_hot_label, max(10, classes))))
    return pairs[0], pairs[1]


def load_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file, the format of MNIST and its relatives, gzipped or not.

    Parameters
    ----------
    path : path
        Whether it is gzipped is told by its first bytes, not by its name.

    Returns
    -------
    numpy.ndarray
        Of the shape that the file gives, and its dtype (uint8, int8, int16, int32, float32 or float64) in native byte
        order.

    Raises
    ------
    DataFileError
        If the file is missing, truncated, longer than its header says, or not an IDX file.
    """
    from pathlib import Path

    path = Path(path)
    return _parse_idx(_read(path), path)


def _find(directory: Path, name: str) -> Path:
    for candidate in (directory / f"{name}.gz", directory / name, directory / name.replace("-idx", ".idx")):
        if candidate.is_file():
            return candidate
    raise DataFileError(f"{directory / name} is missing, with or without .gz; the directory must hold {', '.join(_MNIST_SHA256)}")


def _read(path: Path) -> bytes:
    import gzip
    import zlib

    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataFileError(f"{path} is truncated or damaged ({error}); fetch it again") from error
    except OSError as error:
        raise DataFileError(f"{path} cannot be read: {error.strerror or error}") from error


def _parse_idx(raw: bytes, path: Path) -> np.ndarray:
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_DTYPES:
        raise DataFileError(f"{path} is not an IDX file: it starts with the bytes {raw[:4].hex(' ') or '(none)'}")
    dtype, ndim = np.dtype(_IDX_DTYPES[raw[2]]), raw[3]
    start = 4 + 4 * ndim
    if len(raw) < start:
        raise DataFileError(f"{path} is truncated: its header alone has {start} bytes, and the file {len(raw)}")
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", ndim, offset=4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        fault = "truncated" if len(raw) < expected else "too long"
        raise DataFileError(f"{path} is {fault}: shape {shape} of {dtype.name} takes {expected} bytes, and the file has {len(raw)}")
    values = np.frombuffer(raw, dtype, offset=start)
    try:
        return values.reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as error:
        raise DataFileError(f"{path} has dimensions that no array can have: {error}") from error


def _prepare_images(images: np.ndarray, normalize: bool, flatten: bool) -> np.ndarray:
    if normalize:
        if images.dtype != np.uint8:
            raise DtypeError(f"images of dtype {images.dtype} have no known range; pass normalize=False and scale them yourself")
        images = images.astype(np.float32) / np.float32(255)
    return images.reshape(len(images), -1) if flatten else images[:, np.newaxis]


def _prepare_labels(labels: np.ndarray, one_hot: bool, classes: int) -> np.ndarray:
    if not one_hot:
        return labels
    if labels.dtype.kind not in "iu" or (labels.size and labels.min() < 0):
        raise DataFileError(f"labels of dtype {labels.dtype} cannot be made one-hot; they must be integers from 0")
    return (labels[:, np.newaxis] == np.arange(classes)).astype(np.float32)
