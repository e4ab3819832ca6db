"""Scaling of features: ``none``, ``unit`` or ``standard``, fitted once and applied ever after.

Mean and variance are added up by pieces with the formula of Chan, Golub and LeVeque (1979), so
that samples in a file need no more memory than a piece, and give the bits of those in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from ..errors import InputError
from ..streams import PIECE, Stream
from ..validation import choice, float_dtype, shown

Samples = np.ndarray | Stream

#: What may be done to features.
METHODS = ("none", "unit", "standard")

#: The largest pixel of 8 bits.
LARGEST_PIXEL = 255.0


@dataclass(frozen=True)
class Scaling:
    """(x − offset) / divisor, feature by feature.

    Attributes
    ----------
    method : {"none", "unit", "standard"}
        "unit" maps the training samples to [0, 1]: pixels by 255, other features each by its own
        minimum and maximum. "standard" gives each feature the mean 0 and the standard deviation 1
        there; one that is constant is only shifted.
    offset, divisor : float, or array, shape (features,)
    dtype : numpy.dtype
        In which it is computed, and of what comes out.

    Examples
    --------
    >>> scaling = Scaling.fitted("unit", np.array([[0.0, 5], [4, 9]]))
    >>> scaling(np.array([[1.0, 6], [8, 5]])).tolist()
    [[0.25, 0.25], [2.0, 0.0]]
    """

    method: str
    offset: Any
    divisor: Any
    dtype: np.dtype

    @classmethod
    def fitted(cls, method: str, x: Samples, *, pixels: bool = False) -> Scaling:
        """The scaling that samples, shape (samples, features), give; `pixels` are of 8 bits.

        Raises
        ------
        InputError
            If there is no such method, a value is not finite, or the range of a feature is none of
            this dtype.
        """
        return fit(method, x, pixels=pixels)[0]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Samples, shape (samples, features), scaled."""
        if self.method == "none":
            return x.astype(self.dtype, copy=False)
        scaled = x.astype(self.dtype)
        if self.offset is not None and np.any(self.offset):
            scaled -= np.asarray(self.offset, self.dtype)
        scaled /= np.asarray(self.divisor, self.dtype)
        return scaled

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds, for the file of a model."""
        return {
            "method": self.method,
            "offset": np.asarray(self.offset).tolist(),
            "divisor": np.asarray(self.divisor).tolist(),
            "dtype": self.dtype.name,
        }

    @classmethod
    def from_dict(cls, given: Any, features: int) -> Scaling:
        """What :meth:`to_dict` gave, for so many features.

        Raises
        ------
        InputError
            If it is none.
        """
        try:
            method = choice(given["method"], "scaling", METHODS)
            dtype = float_dtype(given["dtype"])
            offset, divisor = (_numbers(given[name], features) for name in ("offset", "divisor"))
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(f"{shown(given)} is no scaling of samples: {error}") from error
        if not np.all(divisor):
            raise InputError("the scaling divides by 0; make another model file")
        return cls(method, offset, divisor, dtype)


def _numbers(value: Any, features: int) -> Any:
    found = np.array(value, np.float64)
    if found.shape not in ((), (features,)) or not np.isfinite(found).all():
        raise ValueError(f"give a number, or one for each of {features} features")
    return found if found.ndim else float(found)


def fit(method: str, x: Samples, *, pixels: bool = False) -> tuple[Scaling, float, float]:
    """A scaling as :meth:`Scaling.fitted` has it, and the extremes of the samples that it gives.

    What is in a file is read once.
    """
    choice(method, "scaling", METHODS)
    short = pixels or x.dtype in (np.float16, np.float32)
    dtype = np.dtype(np.float32 if short else np.float64)
    if pixels and method != "standard":
        largest = LARGEST_PIXEL if method == "unit" else 1.0
        return Scaling(method, 0.0, largest, dtype), 0.0, LARGEST_PIXEL / largest
    found = _summary(x, moments=method == "standard")
    if not (np.isfinite(found.low).all() and np.isfinite(found.high).all()):
        _refuse(x)
    offset: Any = 0.0
    divisor: Any = 1.0
    if method != "none":
        spread = found.high - found.low if method == "unit" else found.deviation()
        offset = (found.low if method == "unit" else found.mean).astype(dtype)
        divisor = np.where(spread == 0, 1, spread).astype(dtype)
        if not (np.isfinite(offset).all() and np.isfinite(divisor).all() and divisor.all()):
            raise InputError(
                f"scaling={method!r} finds a feature beyond the range of {dtype}; "
                "scale it yourself, and give scaling='none'"
            )
    scaling = Scaling(method, offset, divisor, dtype)
    ends = scaling(np.stack((found.low, found.high)))
    if isinstance(x, Stream):
        x.finite_as.add(dtype.name)
    return scaling, float(ends[0].min()), float(ends[1].max())


@dataclass
class _Summary:
    """What is known of each feature."""

    count: int
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    squares: np.ndarray

    def deviation(self) -> np.ndarray:
        """The standard deviation; what rounding leaves of a constant is none."""
        found = np.sqrt(self.squares / self.count)
        found[found <= 8 * np.finfo(np.float64).eps * np.abs(self.mean)] = 0
        return found


def _summary(x: Samples, *, moments: bool) -> _Summary:
    features = x.shape[1]
    low, high = np.full(features, np.inf), np.full(features, -np.inf)
    count, mean, squares = 0, np.zeros(features), np.zeros(features)
    with np.errstate(over="ignore", invalid="ignore"):
        for piece in _pieces(x):
            np.minimum(low, piece.min(axis=0), out=low)
            np.maximum(high, piece.max(axis=0), out=high)
            if not moments:
                continue
            some = piece.astype(np.float64)
            own = some.mean(axis=0)
            some -= own
            delta, total = own - mean, count + len(some)
            squares += (some**2).sum(axis=0) + delta**2 * (count * len(some) / total)
            mean += delta * (len(some) / total)
            count = total
    return _Summary(count, low, high, mean, squares)


def _pieces(x: Samples) -> Iterator[np.ndarray]:
    """Some rows at a time, as many of an array as of a stream of its dtype."""
    if isinstance(x, Stream):
        yield from x.pieces()
        return
    rows = max(PIECE // (x.shape[1] * x.itemsize), 1)
    for start in range(0, len(x), rows):
        yield x[start : start + rows]


def check_finite(x: Samples) -> None:
    """Raise InputError for the first value that is not finite, with its row and column."""
    if x.dtype.kind == "f" and not all(np.isfinite(piece).all() for piece in _pieces(x)):
        _refuse(x)


def _refuse(x: Samples) -> NoReturn:
    first = 0
    for piece in _pieces(x):
        if not (finite := np.isfinite(piece)).all():
            row, column = (int(i[0]) for i in np.nonzero(~finite))
            value = piece[row, column]
            raise InputError(
                f"row {first + row + 1}, column {column + 1} is {value}; "
                "put a number there, or drop the row"
            )
        first += len(piece)
    raise InputError("the samples have changed while they were read; load them again")
