"""What every operation on a GPU has in common: its device, its arrays, its errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from .faults import reporting
from .rows import Rows


def on_device(method: Callable[..., Any]) -> Callable[..., Any]:
    """Run a method on the backend's device, with CuPy's errors turned into those of fastnn."""

    @wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        with reporting(self, method.__name__), self.current():
            return method(self, *args, **kwargs)

    return run


def operation(method: Callable[..., Any]) -> Callable[..., Any]:
    """An operation on the device, with its arrays checked."""
    names = list(inspect.signature(method).parameters)[1:]

    @wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip(names, args, strict=False)) | kwargs
        self.check_arrays(**{n: a for n, a in given.items() if n in _ARRAYS and a is not None})
        return method(self, *args, **kwargs)

    return on_device(run)


def of_gathered(method: Callable[..., Any]) -> Callable[..., Any]:
    """An operation of the reference, which takes arrays alone."""

    @wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, *map(gathered, args), **kwargs)

    return operation(run)


#: What arguments of the operations are arrays.
_ARRAYS = frozenset(
    "a rows x t W b y z logits delta W1 b1 W2 b2 parameter gradient out".split()  # noqa: SIM905
)


def gathered(a: Any) -> Any:
    """Rows as an array of their own; anything else as it is."""
    return a.gathered() if isinstance(a, Rows) else a
