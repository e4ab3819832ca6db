"""What a training loop repeats, as data.

A network states it, and a backend may run many such steps in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ..errors import InputError
from ..validation import Array, numpy_dtype
from .datasets import Dataset

#: Makes a step with each of the batches `rows`, shape (steps, batch), in turn, at the learning rate
#: of each, `rates`, float64 of NumPy of shape (steps,), and writes its loss to `losses`, shape
#: (steps,). The memory of the optimizer is that after these steps then, as the parameters are.
#: It may have a method ``prepare(rates)``, which gets ready for steps at these rates, and makes
#: none.
Runner = Callable[[Array, Array, np.ndarray], None]


@runtime_checkable
class KeepingRunner(Protocol):
    """A runner that works on copies of the parameters, and can keep them from call to call.

    Attributes
    ----------
    smaller : bool
        Whether it also makes steps with batches that are smaller than the stated ones.
    """

    smaller: bool

    def __call__(self, rows: Array, losses: Array, rates: np.ndarray) -> None: ...

    def keeping(self) -> AbstractContextManager[None]:
        """A context in which parameters and memory are behind what has been made of them.

        Nobody else may change them meanwhile. They are brought up to date at its end, and by
        :meth:`bring`.
        """

    def bring(self) -> None:
        """Write the parameters and the memory of the optimizer as they are after all steps."""


class Update(Protocol):
    """How a step moves the parameters: a rule of :mod:`fastnn.functions.updates`, and its memory.

    The optimizers of :mod:`fastnn.optimizers` are such. What they say may change from call to call
    of a runner, which asks at each.
    """

    name: ClassVar[str]
    weight_decay: float

    def numbers(self) -> tuple[float, ...]:
        """What the rule's formula takes."""

    def rates(self, rates: np.ndarray) -> np.ndarray:
        """What it takes for its rate in the next steps, from their learning rates."""

    def state(self, params: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
        """What it remembers, by name and parameter: arrays of the backend, to be kept up to date.

        They are made at the first call.
        """

    def count(self, updates: int) -> None:
        """Take note that so many steps have been made."""


class PlainDescent:
    """The update w ← w − rate·g, which remembers nothing."""

    name: ClassVar[str] = "sgd"
    weight_decay = 0.0

    def numbers(self) -> tuple[float, ...]:
        return ()

    def rates(self, rates: np.ndarray) -> np.ndarray:
        return rates

    def state(self, params: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
        return {}

    def count(self, updates: int) -> None:
        pass


@dataclass(frozen=True)
class TrainingStep:
    """A step of training: parameters, formulas, update and data.

    Attributes
    ----------
    network : {"two_layer", "simple"}
        Whose formulas they are: :class:`fastnn.TwoLayerNet` or :class:`fastnn.SimpleNet`.
    params : dict of str to array
        Of the network, by the names that it has for them; the step changes them in place.
    activation, loss : str
        Names in the tables of :mod:`fastnn.functions`; of the activation None where there is none.
    gradient : {"backprop", "numerical"}
    h : float or "auto"
        The step of the numerical gradient.
    update : Update
    data : Dataset
        Of the backend; a batch is some of its rows, by number.
    batch_size : int
    operations : callable
        The same step over the operations of the backend: row numbers, shape (batch,), and the
        learning rate, to the loss, which stays with the backend.
    alpha : float, optional
        Of the objective of :mod:`fastnn.functions.objectives` that belongs to `loss`, where that is
        what is minimised, in place of the loss itself.
    """

    network: str
    params: dict[str, Array]
    activation: str | None
    loss: str
    gradient: str
    h: float | str
    update: Update
    data: Dataset
    batch_size: int
    operations: Callable[[Array, float], Array]
    alpha: float | None = None

    def check_batches(self, rows: Array, *, smaller: bool = False) -> None:
        """Raise InputError unless batches have the stated size, or a smaller one: memory is so."""
        size = rows.shape[1]
        if size > self.batch_size or (size < self.batch_size and not smaller):
            raise InputError(f"batches of {size} rows for steps of {self.batch_size}")

    @property
    def choices(self) -> dict[str, Any]:
        """What there are several ways to do, as support tables list it.

        A field that is new here stands in none of them yet.
        """
        arrays = {"params", "data", "batch_size", "operations", "h", "alpha"}
        values = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in arrays
        }
        return values | {
            "update": self.update.name,
            # What there may be, and most do without, is only asked for where it is.
            "weight_decay": bool(self.update.weight_decay) or None,
            "objective": self.alpha is not None or None,
            "sample_weights": self.data.weights is not None or None,
            "dtype": numpy_dtype(next(iter(self.params.values()))).name,
        }
