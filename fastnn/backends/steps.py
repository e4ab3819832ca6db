"""What a training loop repeats, as data.

A network states it, and a backend may run many such steps in its own way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from ..validation import Array, numpy_dtype
from .datasets import Dataset

#: Makes a step with each of the batches `rows`, shape (steps, batch), in turn, and writes its loss
#: to `losses`, shape (steps,).
Runner = Callable[[Array, Array], None]


@dataclass(frozen=True)
class GradientDescent:
    """The update w ← w − learning_rate · gradient."""

    learning_rate: float
    name: ClassVar[str] = "sgd"


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
    update : GradientDescent
    data : Dataset
        Of the backend; a batch is some of its rows, by number.
    batch_size : int
    operations : callable
        The same step over the operations of the backend: row numbers, shape (batch,), to the loss,
        which stays with the backend.
    """

    network: str
    params: dict[str, Array]
    activation: str | None
    loss: str
    gradient: str
    h: float | str
    update: GradientDescent
    data: Dataset
    batch_size: int
    operations: Callable[[Array], Array]

    @property
    def choices(self) -> dict[str, Any]:
        """What there are several ways to do, as support tables list it.

        A field that is new here stands in none of them yet.
        """
        arrays = {"params", "data", "batch_size", "operations", "h"}
        values = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in arrays
        }
        return values | {
            "update": self.update.name,
            "dtype": numpy_dtype(next(iter(self.params.values()))).name,
        }
