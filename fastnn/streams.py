"""Samples that are read as they are needed, from a file or from smaller ones in memory.

A :class:`Stream` looks like an array of samples to :func:`fastnn.train` and to a network's
`accuracy`, and is read a piece, or a batch, at a time. A file, which may be larger than the memory,
is mapped into it, and what has been read of it is given back to the system again and again, so that
not more than :data:`RESIDENT` of it counts as this process's memory. What is in memory, as the
bytes of pixels, enters a training piece by piece.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from .errors import DtypeError, InputError
from .validation import check_finite

#: From how many bytes on a mapped array is streamed, and not converted as a whole.
STREAMED_FROM = 2**28

#: How many bytes of a mapped file may be in memory before they are given back, and how many of
#: them a row that is read alone brings in: the system maps its neighbours, too.
RESIDENT, NEIGHBOURHOOD = 2**26, 2**16

#: Bytes of a piece of many samples, and of one that is to stay in the cache while it enters.
PIECE, SMALL_PIECE = 2**24, 2**20


class Transform(Protocol):
    """What is done to samples on their way, row by row."""

    @property
    def dtype(self) -> np.dtype:
        """Of what comes out."""

    def __call__(self, values: np.ndarray, /) -> np.ndarray:
        """New samples of `dtype`, from those in the file."""


class Stream:
    """Rows of a mapped file, or of an array, transformed as they are read.

    Parameters
    ----------
    values : numpy.memmap or numpy.ndarray, shape (samples, ...)
        Real numbers in C order, as ``numpy.load(path, mmap_mode="r")`` gives them.
    rows : array of int, optional
        Which of them, and in which order; by default all.
    transform : callable, optional
        What is done to them, with the `dtype` of what comes out.

    Attributes
    ----------
    shape : (int, int)
        Samples and features: what a sample has is flattened.
    dtype : numpy.dtype

    Raises
    ------
    InputError, DtypeError
        If a row does not lie in one piece, or holds no real numbers.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "x.npy")
    ...     np.save(path, np.arange(12.0).reshape(4, 3))
    ...     x = Stream(np.load(path, mmap_mode="r"))
    ...     print(x.shape, x[[3, 0]][:, 0])
    ...     del x  # Windows removes no file that is mapped
    (4, 3) [9. 0.]
    """

    ndim = 2

    def __init__(
        self, values: Any, rows: np.ndarray | None = None, transform: Transform | None = None
    ) -> None:
        if values.ndim < 1 or not values.size:
            raise InputError(f"the samples have shape {values.shape}; there must be some")
        if values.dtype.kind not in "fiub":
            raise DtypeError(f"the samples are of dtype {values.dtype}; give real numbers")
        if not values.flags.c_contiguous:
            raise InputError(
                "the rows of the mapped array are scattered over the file; "
                "save it in C order: np.save(path, np.ascontiguousarray(x))"
            )
        self._given = values
        self._values = np.asarray(values).reshape(len(values), -1)
        self._rows = rows
        self._transform = transform
        self._resident = 0
        self.dtype = values.dtype.newbyteorder("=") if transform is None else transform.dtype
        #: The dtypes for which all values have been found finite.
        self.finite_as: set[str] = set()

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""
        return len(self), self._values.shape[1]

    @property
    def in_memory(self) -> bool:
        """Whether they are in memory, and not in a file."""
        return not isinstance(self._given, np.memmap)

    @property
    def integral(self) -> bool:
        """Whether there are only integers in the file, which are finite in any floating dtype."""
        return self._values.dtype.kind in "iub"

    def __len__(self) -> int:
        return len(self._values) if self._rows is None else len(self._rows)

    def __getitem__(self, some: Any) -> np.ndarray:
        """Samples as an array in memory: a slice of them, or those of these numbers."""
        return self._read(self._chosen(some))

    def take(self, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        """The same, of row numbers, written to an array of any floating dtype."""
        out[...] = self._read(self._chosen(rows))
        return out

    def select(self, rows: np.ndarray) -> Stream:
        """These rows of it, which stay in the file, too."""
        chosen = rows if self._rows is None else self._rows[rows]
        some = Stream(self._given, chosen, self._transform)
        some.finite_as |= self.finite_as
        return some

    def transformed(self, transform: Transform) -> Stream:
        """The same rows as they are in the file, transformed."""
        return Stream(self._given, self._rows, transform)

    def slices(self, size: int | None = None) -> list[slice]:
        """All rows in order: about :data:`PIECE` bytes at a time, and at most `size` of them."""
        most = PIECE // (self.shape[1] * max(self._values.itemsize, self.dtype.itemsize))
        return slices(len(self), most if size is None else min(size, most))

    def pieces(self) -> Iterator[np.ndarray]:
        """All samples in order, about :data:`PIECE` bytes at a time."""
        for some in self.slices():
            yield self[some]

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        if self.in_memory:
            return self[:]
        raise DtypeError("it is streamed from a file; take some of it: x[:1000] is an array")

    def __repr__(self) -> str:
        samples, features = self.shape
        where = "in memory" if self.in_memory else "streamed from a file"
        return f"<{samples:,} samples of {features:,} features, {self.dtype}, {where}>"

    def _chosen(self, some: Any) -> slice | np.ndarray:
        if isinstance(some, slice):
            return some if self._rows is None else self._rows[some]
        rows = np.asarray(some, np.int64)
        return rows if self._rows is None else self._rows[rows]

    def _read(self, chosen: slice | np.ndarray) -> np.ndarray:
        native = self._values.dtype.newbyteorder("=")
        if isinstance(chosen, slice):
            found = self._values[chosen].astype(native)
            self._count(found.nbytes)
        else:
            width = self._values.shape[1]
            found = np.empty((len(chosen), width), native)
            row = width * native.itemsize + NEIGHBOURHOOD
            some = max(RESIDENT // (2 * row), 1)
            for start in range(0, len(chosen), some):
                numbers = chosen[start : start + some]
                found[start : start + some] = self._values[numbers]
                self._count(len(numbers) * row)
        return found if self._transform is None else self._transform(found)

    def _count(self, touched: int) -> None:
        """Give back what has been read of the file, if it is too much by now."""
        self._resident += touched
        if self._resident < RESIDENT:
            return
        self._resident = 0
        mapped = getattr(self._given, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows, which trims
            with suppress(OSError, ValueError):
                mapped.madvise(mmap.MADV_DONTNEED)


def slices(rows: int, size: int) -> list[slice]:
    """So many rows in order, `size` at a time, and at least one."""
    size = max(size, 1)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def small_slices(x: Stream | np.ndarray) -> list[slice]:
    """The rows of samples in order, about :data:`SMALL_PIECE` bytes at a time."""
    return slices(len(x), SMALL_PIECE // (x.shape[1] * 8))


def streamed(x: Any) -> Stream | None:
    """What is to be streamed: a stream, or a mapped array that is too large to be converted."""
    if isinstance(x, Stream):
        return x
    large = isinstance(x, np.memmap) and x.ndim == 2 and x.nbytes > STREAMED_FROM
    return Stream(x) if large and x.flags.c_contiguous and x.dtype.kind in "fiub" else None


def check_stream(x: Stream, features: int, dtype: np.dtype, name: str) -> None:
    """Raise InputError unless a network of this dtype can take the samples.

    What is not known to be finite is read once, a piece at a time.
    """
    if x.shape[1] != features:
        raise InputError(f"{name} has {x.shape[1]} features, but the network takes {features}")
    if x.integral or dtype.name in x.finite_as:
        return
    first = 0
    for piece in x.pieces():
        with np.errstate(over="ignore"):
            finite = np.isfinite(piece.astype(dtype, copy=False)).all(axis=1)
        if not finite.all():
            row = int(finite.argmin())
            check_finite(piece[row], f"{name}[{first + row}]")
            raise InputError(
                f"{name}[{first + row}] holds values beyond the range of {dtype}; "
                "scale them, or use a network of dtype 'float64'"
            )
        first += len(piece)
    x.finite_as.add(dtype.name)
