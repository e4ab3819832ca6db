"""Whether a reader's two-layer network computes what fastnn's does.

A small one is made and tried on random batches: parameters of the same values, predictions, loss,
gradients and accuracy. It also must do nothing beside computing: draw no random numbers, print
nothing, count nothing. Nothing is concluded from how it is written.
"""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..networks import TwoLayerNet
from .structure import held_parameters, parts, plain_values

#: Features, hidden units and classes of the network that is tried, and how many samples.
SIZES = 6, 4, 3
SAMPLES = 5

#: How far results may be apart, relative to the largest of them.
TOLERANCE = 1e-9

#: The book's methods: those that are compared, in the order in which a difference says most.
METHODS = "predict", "loss", "gradient", "accuracy", "numerical_gradient"

#: Without these the others say nothing.
_NEEDED = "predict", "loss"


@dataclass
class Findings:
    """What a probe has found.

    Attributes
    ----------
    activation : str
        Of its hidden layer; empty if the network computes something else.
    logits : bool
        Whether `predict` gives the logits, as in chapter 5, and not probabilities.
    same : dict of str to frozenset of str
        The methods that compute what fastnn's do, each with the kinds of targets for which:
        "rows" (one-hot or soft) and "labels".
    held : frozenset of str
        The parameters that its layers hold, too.
    parts : tuple of str
        Its attributes that hold such layers, or anything that is neither a number nor an array.
    reason : str
        Why it is not put on a backend, or which of its methods are left as they are.
    details : list of str
        What was compared, for ``--explain``.
    """

    activation: str = ""
    logits: bool = False
    same: dict[str, frozenset[str]] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    parts: tuple[str, ...] = ()
    reason: str = ""
    details: list[str] = field(default_factory=list)


class _OtherwiseError(Exception):
    """The network is something else; the message says what."""


def probe(cls: type) -> Findings:
    """Try a class of the book's kind, made as ``cls(input_size, hidden_size, output_size)``."""
    found = Findings()
    with _undisturbed() as printed:
        try:
            _try(cls, found, printed)
        except _OtherwiseError as otherwise:
            found.reason = str(otherwise)
            found.activation = ""
    return found


def _try(cls: type, found: Findings, printed: io.StringIO) -> None:
    made = " ".join(map(str, SIZES))
    net = _called(lambda: cls(*SIZES), f"{cls.__name__}({made.replace(' ', ', ')})")
    # What is known of a network is kept beside it, by which object it is.
    if any(getattr(cls, name) is not getattr(object, name) for name in ("__eq__", "__hash__")):
        raise _OtherwiseError("it has an equality of its own")
    params = _parameters(net)
    printed.seek(0)
    printed.truncate()
    rng = np.random.default_rng(2016)
    for scale in (0.3, 2.0):
        for values in params.values():  # in place: its layers may hold the same arrays
            values[...] = scale * rng.standard_normal(values.shape)
        x = rng.standard_normal((SAMPLES, SIZES[0])) * (rng.random((SAMPLES, SIZES[0])) < 0.7)
        labels = rng.integers(SIZES[2], size=SAMPLES)
        if not found.activation:
            _find_form(net, x, found)
        ours = TwoLayerNet(*SIZES, activation=found.activation)
        ours.params = params
        before = _state(net)
        for method in METHODS:
            _compare(net, ours, method, x, labels, found)
        if _state(net) != before:
            raise _OtherwiseError("its methods change more than they return")
        if printed.getvalue():
            raise _OtherwiseError("its methods print")
    found.held, found.parts = held_parameters(net), parts(net)


def _called(function: Callable[[], Any], what: str) -> Any:
    try:
        return function()
    except Exception as error:
        raise _OtherwiseError(f"{what} raises {type(error).__name__}: {error}") from error


def _parameters(net: Any) -> dict[str, np.ndarray]:
    params = getattr(net, "params", None)
    i, j, k = SIZES
    expected = {"W1": (i, j), "b1": (j,), "W2": (j, k), "b2": (k,)}
    if type(params) is not dict or {n: np.shape(p) for n, p in params.items()} != expected:
        raise _OtherwiseError("its params are not W1, b1, W2 and b2 of the book's shapes")
    for name, p in params.items():
        if type(p) is not np.ndarray or p.dtype != np.float64 or not p.flags.writeable:
            raise _OtherwiseError(f"its params[{name!r}] is no array of float64")
    return params


def _find_form(net: Any, x: np.ndarray, found: Findings) -> None:
    """What its hidden layer is, and whether it predicts logits or probabilities."""
    if missing := [name for name in _NEEDED if not callable(getattr(net, name, None))]:
        raise _OtherwiseError(f"it has no {missing[0]}")
    y = _called(lambda: net.predict(x.copy()), "its predict")
    least = np.inf
    for activation in ("sigmoid", "relu"):
        ours = TwoLayerNet(*SIZES, activation=activation)
        ours.params = net.params
        for of_logits in (False, True):
            expected = logits(ours, x) if of_logits else ours.predict(x)
            difference = relative_difference(y, expected)
            found.details.append(
                f"predict: {difference:.1e} from a {activation} network's "
                f"{'logits' if of_logits else 'probabilities'}"
            )
            least = min(least, difference)
            if difference <= TOLERANCE:
                found.activation, found.logits = activation, of_logits
                return
    raise _OtherwiseError(
        "its predictions are not those of a hidden layer of sigmoid or ReLU units "
        f"(they differ by {least:.1e})"
    )


def logits(network: TwoLayerNet, x: np.ndarray) -> Any:
    """The pre-activations of the output layer, an array of the network's backend."""
    entered, _ = network._enter(x)
    with network.backend.current():
        return network._logits(entered)


def _compare(
    net: Any,
    ours: TwoLayerNet,
    method: str,
    x: np.ndarray,
    labels: np.ndarray,
    found: Findings,
) -> None:
    """Note whether a method computes what ours does, for each kind of targets."""
    if not callable(getattr(net, method, None)):
        return
    same = set()
    for kind, t in (("rows", np.eye(SIZES[2])[labels]), ("labels", labels)):
        arguments = (x.copy(),) if method == "predict" else (x.copy(), t.copy())
        if method == "predict" and found.logits:
            expected: Any = logits(ours, x)
        else:
            expected = getattr(ours, method)(*arguments)
        try:
            difference = relative_difference(getattr(net, method)(*arguments), expected)
        except Exception as error:
            text = f"raises {type(error).__name__}"
        else:
            text = f"differs by {difference:.1e}"
            if difference <= TOLERANCE and _unchanged(arguments, x, t):
                same.add(kind)
        note = f"{method} with {kind}: {text}"
        found.details.append(note)
        if kind == "rows" and kind not in same:
            if method in _NEEDED:
                raise _OtherwiseError(f"its {method} {text}")
            found.reason = f"its {method} {text}"
    before = found.same.get(method, frozenset({"rows", "labels"}))
    found.same[method] = before & same


def _unchanged(arguments: tuple[np.ndarray, ...], *originals: np.ndarray) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(arguments, originals, strict=False))


def relative_difference(found: Any, expected: Any) -> float:
    """The largest difference relative to what is expected; infinite for another kind of result."""
    if isinstance(expected, dict):
        if type(found) is not dict or found.keys() != expected.keys():
            return np.inf
        return max(relative_difference(found[name], expected[name]) for name in expected)
    if not isinstance(found, np.ndarray | float | np.floating):
        return np.inf
    if np.shape(found) != np.shape(expected) or np.asarray(found).dtype != np.float64:
        return np.inf
    scale = max(float(np.max(np.abs(expected))), TOLERANCE)
    difference = float(np.max(np.abs(found - expected))) / scale
    return difference if difference == difference else np.inf


def _state(net: Any) -> Any:
    """What the methods must leave alone: its numbers, and where the random numbers come from."""
    state: Any = np.random.get_state(legacy=True)  # noqa: NPY002
    return plain_values(net), list(vars(net)), state[1].tobytes(), state[2:], random.getstate()


@contextmanager
def _undisturbed() -> Iterator[io.StringIO]:
    """The process as it was afterwards; gives what was printed meanwhile."""
    state, python_state, printed = np.random.get_state(), random.getstate(), io.StringIO()  # noqa: NPY002
    try:
        with (
            redirect_stdout(printed),
            redirect_stderr(printed),
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
        ):
            warnings.simplefilter("ignore")
            yield printed
    finally:
        np.random.set_state(state)  # noqa: NPY002
        random.setstate(python_state)
