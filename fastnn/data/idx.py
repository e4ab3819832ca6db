"""IDX, the format of MNIST and its relatives: a type, a shape, and the values, gzipped or not."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataFileError

# What reads files is imported where files are read: `import fastnn` shall not take much longer
# than `import numpy`.
if TYPE_CHECKING:
    from pathlib import Path

#: IDX type byte → dtype; multi-byte values are big-endian.
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def load_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file, the format of MNIST and its relatives, gzipped or not.

    Parameters
    ----------
    path : path
        Whether it is gzipped is told by its first bytes, not by its name.

    Returns
    -------
    numpy.ndarray
        Of the shape that the file gives, and its dtype (uint8, int8, int16, int32, float32 or
        float64) in native byte order.

    Raises
    ------
    DataFileError
        If the file is missing, truncated, longer than its header says, or not an IDX file.
    """
    from pathlib import Path

    path = Path(path)
    return parse(read(path), path)


def read(path: Path) -> bytes:
    """The content of a file, unpacked if it is gzipped."""
    import gzip
    import zlib

    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataFileError(f"{path} is truncated or damaged ({error}); fetch it again") from error
    except OSError as error:
        raise DataFileError(f"{path} cannot be read: {error.strerror or error}") from error


def parse(raw: bytes, path: Path) -> np.ndarray:
    """The array in the content of an IDX file; `path` is what an error calls it."""
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in DTYPES:
        start = raw[:4].hex(" ") or "(none)"
        raise DataFileError(f"{path} is not an IDX file: it starts with the bytes {start}")
    dtype, ndim = np.dtype(DTYPES[raw[2]]), raw[3]
    header = 4 + 4 * ndim
    if len(raw) < header:
        sizes = f"its header alone has {header} bytes, and the file {len(raw)}"
        raise DataFileError(f"{path} is truncated: {sizes}")
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", ndim, offset=4))
    expected = header + math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        fault = "truncated" if len(raw) < expected else "too long"
        sizes = f"shape {shape} of {dtype.name} takes {expected} bytes, and the file has {len(raw)}"
        raise DataFileError(f"{path} is {fault}: {sizes}")
    values = np.frombuffer(raw, dtype, offset=header)
    try:
        return values.reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as error:
        raise DataFileError(f"{path} has dimensions that no array can have: {error}") from error
