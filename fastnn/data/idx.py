"""IDX, the format of MNIST and its relatives: a type, a shape, and the values, gzipped or not.

A file may come from anywhere. Its header is read first, and held against the size of the file
before memory is taken for the values; of what is packed, no more is unpacked than announced.
"""

from __future__ import annotations

import math
import os
import stat
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataFileError
from .paths import checked_path, shown

# What reads files is imported where files are read: `import fastnn` shall not take much longer
# than `import numpy`.
if TYPE_CHECKING:
    from gzip import GzipFile
    from io import BufferedReader
    from pathlib import Path

#: IDX type byte → dtype; multi-byte values are big-endian.
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

#: NumPy's arrays have 64 at most; half of that is more than data have, and leaves room for axes
#: that are added later.
MOST_DIMENSIONS = 32

#: A byte of deflate's output takes no less than 1/1032 of one (RFC 1951: 258 bytes from two bits).
MOST_PACKED = 1032

#: Bytes that are unpacked at a time.
CHUNK = 2**18


def load_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file, the format of MNIST and its relatives, gzipped or not.

    Parameters
    ----------
    path : path
        Of a regular file. Whether it is gzipped is told by its first bytes, not by its name.

    Returns
    -------
    numpy.ndarray
        Of the shape that the file gives, and its dtype (uint8, int8, int16, int32, float32 or
        float64) in native byte order.

    Raises
    ------
    DataFileError
        If the file is missing, truncated, longer than its header says, too large for the memory, or
        not an IDX file.
    DtypeError
        If `path` is no path.
    """
    return read(checked_path(path, "path"))


def read(path: Path, digest: Any = None) -> np.ndarray:
    """The array in an IDX file; the raw bytes, unpacked, go to a hash of hashlib, too."""
    import gzip
    import zlib

    try:
        # Opening a FIFO would wait for somebody who writes.
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise DataFileError(f"{shown(path)} is not a regular file; copy its content into one")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                return _parse(file, path, size, exactly=True, digest=digest)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _parse(unpacked, path, size * MOST_PACKED, exactly=False, digest=digest)
    except DataFileError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        fault = f"is truncated or damaged ({error}); fetch it again"
        raise DataFileError(f"{shown(path)} {fault}") from error
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        reason = getattr(error, "strerror", None) or error
        raise DataFileError(f"{shown(path)} cannot be read: {reason}") from error


def _parse(
    file: BufferedReader | GzipFile, path: Path, most: int, *, exactly: bool, digest: Any
) -> np.ndarray:
    """The array in a stream that yields `most` bytes, or, unless `exactly`, at most so many."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in DTYPES:
        found = start.hex(" ") or "(none)"
        raise DataFileError(f"{shown(path)} is not an IDX file: it starts with the bytes {found}")
    dtype, ndim = np.dtype(DTYPES[start[2]]), start[3]
    if ndim > MOST_DIMENSIONS:
        raise DataFileError(
            f"{shown(path)} has {ndim} dimensions; an array of at most {MOST_DIMENSIONS} is read"
        )
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        lengths = f"its header alone has {4 + 4 * ndim} bytes, and there are {4 + len(sizes)}"
        raise DataFileError(f"{shown(path)} is truncated: {lengths}")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    header = 4 + 4 * ndim
    expected = header + math.prod(shape) * dtype.itemsize
    total = expected if expected < 2**64 else "over 2**64"
    announced = f"{shape_text(shape)} of {dtype.name} takes {total} bytes"
    if expected > most:
        limit = "the file has" if exactly else "a gzip file of its size holds at most"
        raise DataFileError(f"{shown(path)} is truncated: {announced}, and {limit} {most}")
    values = _empty(shape, dtype, path, announced)
    buffer = values.reshape(-1).view(np.uint8).data
    read = _fill(file, buffer)
    if read < len(buffer):
        raise DataFileError(
            f"{shown(path)} is truncated: {announced}, and there are {header + read}"
        )
    if file.read(1):  # the end of a gzip file, with its checksum, is looked at by this
        raise DataFileError(f"{shown(path)} is too long: {announced}, and there are more")
    if digest is not None:
        for raw in (start, sizes, buffer):
            digest.update(raw)
    return values if dtype.isnative else values.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _empty(shape: tuple[int, ...], dtype: np.dtype, path: Path, announced: str) -> np.ndarray:
    try:
        return np.empty(shape, dtype)
    except MemoryError as error:
        raise DataFileError(f"{shown(path)} is too large: {announced} of memory") from error
    except ValueError as error:  # 0 times more than NumPy counts
        fault = f"dimensions that no array can have: {shape_text(shape)}"
        raise DataFileError(f"{shown(path)} has {fault}") from error


def _fill(file: BufferedReader | GzipFile, buffer: memoryview) -> int:
    """Read until the buffer is full or the file ends; how many bytes there were."""
    done = 0
    while done < len(buffer) and (count := file.readinto(buffer[done : done + CHUNK])):
        done += count
    return done


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape in a message, of which the first sizes are enough."""
    first = ", ".join(map(str, shape[:4]))
    return f"shape ({first}{',' if len(shape) == 1 else ', …' if len(shape) > 4 else ''})"
