"""Recording what a step of training does, so that a backend can do it again without Python in between."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Call(NamedTuple):
    """One operation of a backend: its name, its arguments (positional, then by name) and its result."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    result: Any


class TwoLayerStep(NamedTuple):
    """A step of training a two-layer network by backpropagation: what it works on, and where it leaves what it finds on the way."""

    x: Any
    t: Any
    W1: Any
    b1: Any
    W2: Any
    b2: Any
    activation: str
    loss: str
    learning_rate: float
    z1: Any
    delta1: Any
    delta2: Any


def two_layer_step(calls: list[Call]) -> TwoLayerStep | None:
    """The step that these operations are, if they are one."""
    if [call.name for call in calls] != _BACKPROPAGATION:
        return None
    hidden, output, loss, backward, first, second = calls
    (x, W1, b1, activation), (z1, W2, b2), (logits, t, name) = hidden.arguments, output.arguments, loss.arguments
    delta1, delta2, rate = backward.result, loss.result[1], first.arguments[-1]
    known = (
        z1 is hidden.result
        and logits is output.result
        and _same(backward.arguments, (delta2, W2, z1, activation))
        and _same(first.arguments, (W1, b1, x, delta1, rate))
        and _same(second.arguments, (W2, b2, z1, delta2, rate))
    )
    return TwoLayerStep(x, t, W1, b1, W2, b2, activation, name, rate, z1, delta1, delta2) if known else None


_BACKPROPAGATION = ["dense", "dense", "loss_gradient", "dense_backward", "dense_descent", "dense_descent"]


def _same(found: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    """Whether two tuples hold the same objects, or equal texts and numbers."""
    return len(found) == len(expected) and all(
        a is b or (isinstance(a, str | float) and a == b) for a, b in zip(found, expected, strict=True)
    )


class Recorder:
    """Wraps the operations of one backend while a step is recorded; a call from within another operation is part of that.

    Parameters
    ----------
    backend : Backend
    operations : iterable of str
    """

    def __init__(self, backend: Any, operations: Iterable[str]) -> None:
        self._backend = backend
        self._operations = tuple(operations)
        self._start_over()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start_over)

    def _start_over(self) -> None:
        self._busy = threading.Lock()
        self._owner: int | None = None

    def record(self, function: Callable[[], Any]) -> tuple[Any, list[Call] | None]:
        """The result of `function`, and the operations that this thread called in it; None within a recording.

        Other threads that want to record wait: what is recorded must not depend on who comes first.
        """
        owner = threading.get_ident()
        if self._owner == owner:
            return function(), None
        calls: list[Call] = []
        self._busy.acquire()
        try:
            self._owner = owner
            inside = threading.local()
            for name in self._operations:
                setattr(self._backend, name, self._recorded(name, getattr(self._backend, name), calls, owner, inside))
            return function(), calls
        finally:
            for name in self._operations:
                self._backend.__dict__.pop(name, None)
            self._owner = None
            self._busy.release()

    @staticmethod
    def _recorded(name: str, operation: Callable[..., Any], calls: list[Call], owner: int, inside: Any) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            if threading.get_ident() != owner or getattr(inside, "operation", False):
                return operation(*arguments, **options)
            inside.operation = True
            try:
                result = operation(*arguments, **options)
            finally:
                inside.operation = False
            calls.append(Call(name, arguments, options, result))
            return result

        return wrapper
