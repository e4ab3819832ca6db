"""Labels as people write them, and the numbers from 0 that a network has for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..validation import shown

#: What a network may have of outputs: labels that are measurements would make millions.
MOST_CLASSES = 100_000


class Labels:
    """The names of classes, in the order of a network's outputs.

    Attributes
    ----------
    names : list of str

    Examples
    --------
    >>> labels = Labels.of(np.array(["dog", "cat", "dog"]))
    >>> labels.names, labels.numbers(np.array(["dog"])).tolist()
    (['cat', 'dog'], [1])
    """

    def __init__(self, values: np.ndarray) -> None:
        self._values = values  # sorted
        self.names = [str(value) for value in values.tolist()]

    @classmethod
    def of(cls, *parts: np.ndarray) -> Labels:
        """The labels that occur, in ascending order: whole numbers, truth values or text.

        Raises
        ------
        InputError
            If they are measurements, or too many.
        """
        found = np.unique(np.concatenate([whole_numbers(part) for part in parts]))
        if len(found) > MOST_CLASSES:
            raise InputError(
                f"the target has {len(found)} different values, too many for labels; "
                "name the column that holds the classes"
            )
        return cls(found)

    @classmethod
    def up_to(cls, largest: int, first: int = 0) -> Labels:
        """The labels from `first` to `largest`, whether they occur or not."""
        return cls(np.arange(first, largest + 1))

    @classmethod
    def named(cls, names: list[str]) -> Labels:
        """The labels of a network that has these names for its outputs, in its own order."""
        made = cls(np.array(names, dtype=object))
        made.names = list(names)
        return made

    def numbers(self, values: np.ndarray, what: str = "the target") -> np.ndarray:
        """Which output each of these labels is: int64.

        Raises
        ------
        InputError
            If a label is not among them; the message names it, and its row.
        """
        values = whole_numbers(values)
        if self._values.dtype == object or values.dtype.kind != self._values.dtype.kind:
            order = {name: number for number, name in enumerate(self.names)}
            found = np.array([order.get(str(value), -1) for value in values.tolist()], np.int64)
        else:
            at = np.searchsorted(self._values, values).clip(max=len(self._values) - 1)
            found = np.where(self._values[at] == values, at, -1).astype(np.int64)
        if (found < 0).any():
            row = int((found < 0).argmax())
            few = ", ".join(self.names[:5]) + (", …" if len(self.names) > 5 else "")
            label = shown(values[row].item())
            raise InputError(
                f"{what} has the label {label} in row {row + 1}, and the classes are {few}; "
                "give samples of these classes only"
            )
        return found


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Labels as integers or text; InputError for measurements."""
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.rint(values))
        if not whole.all():
            row = int(whole.argmin())
            raise InputError(
                f"the target is {shown(values[row].item())} in row {row + 1}, a measurement; "
                "labels are whole numbers or names: name the column that holds the classes"
            )
        return values.astype(np.int64)
    if values.dtype.kind == "b":
        return np.where(values, "true", "false")
    if values.dtype.kind in "iuUO":
        return values
    raise InputError(f"the target is of dtype {values.dtype}; give whole numbers or names")


def targets_of(values: Any) -> np.ndarray:
    """Targets from a file of arrays: one-hot rows, or a column, as labels of shape (samples,)."""
    t = np.asarray(values)
    if t.ndim == 2 and t.shape[1] == 1:
        return t[:, 0]
    if t.ndim == 2 and t.dtype.kind in "fiub":
        if ((t == 0) | (t == 1)).all() and (t.sum(axis=1) == 1).all():
            return t.argmax(axis=1)
        raise InputError(
            f"the targets have shape {t.shape} and are not one-hot; give labels, one a sample"
        )
    if t.ndim != 1:
        raise InputError(f"the targets have shape {t.shape}; give labels of shape (samples,)")
    return t
