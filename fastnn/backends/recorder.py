"""What a step of training asks of its backend, found out without doing it, so that the backend can do it in another way."""

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
    """A step of gradient descent on a two-layer network by backpropagation, and where it leaves what it finds on the way.

    Attributes
    ----------
    x, t : array
        A batch, as the operations get it. What was taken from a larger array for this step is in `taken`.
    taken : dict of int to (array, array)
        By the ``id`` of an array, of which array it holds the rows of which numbers.
    """

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
    taken: dict[int, tuple[Any, Any]]


class NumericalStep(NamedTuple):
    """A step of gradient descent on a two-layer network by its numerical gradient; attributes as of :class:`TwoLayerStep`."""

    x: Any
    t: Any
    W1: Any
    b1: Any
    W2: Any
    b2: Any
    activation: str
    loss: str
    h: float
    learning_rate: float
    taken: dict[int, tuple[Any, Any]]


def numerical_step(calls: list[Call]) -> NumericalStep | None:
    """The step that these operations are, if they are one."""
    taken, calls = _apart(calls)
    if [call.name for call in calls] != ["numerical_gradient", *["descent"] * 4]:
        return None
    gradient, *descents = calls
    x, t, W1, b1, W2, b2, activation, loss, h = gradient.arguments
    rate = descents[0].arguments[-1]
    known = all(
        _same(descent.arguments, (parameter, found, rate))
        for descent, parameter, found in zip(descents, (W1, b1, W2, b2), gradient.result[1], strict=True)
    )
    return NumericalStep(x, t, W1, b1, W2, b2, activation, loss, h, rate, taken) if known else None


def two_layer_step(calls: list[Call]) -> TwoLayerStep | None:
    """The step that these operations are, if they are one."""
    taken, calls = _apart(calls)
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
    return TwoLayerStep(x, t, W1, b1, W2, b2, activation, name, rate, z1, delta1, delta2, taken) if known else None


_BACKPROPAGATION = ["dense", "dense", "loss_gradient", "dense_backward", "dense_descent", "dense_descent"]


def _apart(calls: list[Call]) -> tuple[dict[int, tuple[Any, Any]], list[Call]]:
    """What was taken from larger arrays, as in :class:`TwoLayerStep`, and the other operations."""
    taken = {id(call.result): call.arguments for call in calls if call.name == "take"}
    return taken, [call for call in calls if call.name != "take"]


def _same(found: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    """Whether two tuples hold the same objects, or equal texts and numbers."""
    return len(found) == len(expected) and all(
        a is b or (isinstance(a, str | float) and a == b) for a, b in zip(found, expected, strict=True)
    )


class _ResultUnknownError(Exception):
    """An operation that has to be carried out for its result to be known."""


class Recorder:
    """Takes the place of the operations of one backend while a step is recorded.

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

    def record(self, function: Callable[[], Any]) -> list[Call] | None:
        """The operations that this thread calls in `function`; None if there is one whose result is not known beforehand.

        Nothing is computed but rows that are taken: of an operation that writes its result to an array, that array is the result,
        and the numerical gradient is some objects that nothing but a descent can use.
        Other threads that want to record wait: what is recorded must not depend on who comes first.
        """
        owner, calls = threading.get_ident(), list[Call]()
        with self._busy:
            try:
                for name in self._operations:
                    setattr(self._backend, name, _recorded(name, getattr(self._backend, name), calls, owner))
                function()
            except _ResultUnknownError:
                return None
            finally:
                for name in self._operations:
                    self._backend.__dict__.pop(name, None)
        return calls


def _recorded(name: str, operation: Callable[..., Any], calls: list[Call], owner: int) -> Callable[..., Any]:
    def wrapper(*arguments: Any, **options: Any) -> Any:
        if threading.get_ident() != owner:
            return operation(*arguments, **options)
        out = options.get("out")
        if name == "take":
            result = operation(*arguments, **options)
        elif name in ("dense_descent", "descent"):
            result = None
        elif name == "numerical_gradient":
            result = object(), (object(), object(), object(), object())
        elif out is None:
            raise _ResultUnknownError(name)
        else:
            result = (None, out) if name == "loss_gradient" else out
        calls.append(Call(name, arguments, options, result))
        return result

    return wrapper
