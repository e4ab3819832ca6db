"""Rows of arrays on the device that are not gathered yet: kernels do that themselves."""

from __future__ import annotations

from ...validation import Array
from ..datasets import Dataset


class Rows:
    """Some rows of an array, by number and not yet gathered.

    Parameters
    ----------
    whole : array, shape (samples,) or (samples, columns)
    numbers : array of intp, shape (rows,)
    """

    def __init__(self, whole: Array, numbers: Array) -> None:
        self.whole = whole
        self.numbers = numbers
        self.dtype = whole.dtype
        self.ndim = whole.ndim
        self.shape = (len(numbers), *whole.shape[1:])
        self._gathered: Array | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, some: slice) -> Rows:
        return Rows(self.whole, self.numbers[some])

    def gathered(self) -> Array:
        """The rows as an array of their own, which nobody may change.

        It is kept: the way back through a large layer reads what the way forward read.
        """
        if self._gathered is None:
            self._gathered = self.whole[self.numbers]
        return self._gathered


class RowsDataset(Dataset):
    """Samples and targets on the device; a batch is row numbers, and the kernels gather."""

    def buffer(self, size: int) -> None:
        return None

    def batch(self, rows: Array, *, out: Array | None = None) -> tuple[Rows, Rows]:
        return Rows(self.x, rows), Rows(self.t, rows)
