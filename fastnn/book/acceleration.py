"""A reader's network on a backend: the methods that compute what fastnn's do, computed by fastnn.

The class stays the reader's, and so does everything that it holds: the backend reads the very
arrays in ``params``. Before each call it is looked at whether the network still is what was probed,
and the first call of each method is made both ways and compared. What fastnn does not take, such
as samples that are no arrays, goes to the reader's own method.

A network of layers remembers in them what it computed last. Here they are left alone, until the
script looks at them: then the last call is made again by the reader's own method, and the network
runs as it is from there on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..backends import Backend
from ..errors import FastnnError
from ..networks import TwoLayerNet
from .probe import METHODS, TOLERANCE, Findings, logits, relative_difference
from .structure import holders, plain_values

#: How many samples the first results are compared for at most.
COMPARED = 1000

#: What says something to the reader, in one line.
Tell = Callable[[str], None]


def accelerate(cls: type, found: Findings, backend: Backend, tell: Tell) -> None:
    """Let the methods of a class that was probed run on a backend.

    Where the arrays of the backend are not NumPy's that is the numerical gradient alone: for
    anything else, moving the parameters there and back takes longer.
    """
    shared = backend.array_type is np.ndarray
    methods = [name for name in METHODS if found.same.get(name)]
    if not shared:
        methods = [name for name in methods if name == "numerical_gradient"]
    networks = Networks(cls, found, backend, tell)
    for name in methods:
        setattr(cls, name, networks.method(name))
    if "__init__" in vars(cls):
        cls.__init__ = networks.constructor(cls.__init__)  # type: ignore[misc]
    for name in found.parts:
        setattr(cls, name, networks.guard(name))
    networks.methods = {name: getattr(cls, name, None) for name in METHODS}


class _State:
    """What is known of one network.

    Attributes
    ----------
    inside : int
        How many of its own methods are running: what they call is theirs.
    own : bool
        Whether it runs as it is from now on.
    network : TwoLayerNet or None
        fastnn's, of the same parameters.
    last : (method, arguments, parameters) or None
        The last call that its layers know nothing of.
    """

    def __init__(self) -> None:
        self.inside = 0
        self.own = False
        self.network: TwoLayerNet | None = None
        self.holders: list[tuple[dict[str, Any], str, str]] = []
        self.held: frozenset[str] = frozenset()
        self.values: Any = None
        self.compared: set[str] = set()
        self.last: tuple[str, tuple[Any, ...], list[np.ndarray]] | None = None


class Networks:
    """The networks of one class, and what each of their methods does."""

    def __init__(self, cls: type, found: Findings, backend: Backend, tell: Tell) -> None:
        self.found = found
        self.backend = backend
        self.shared = backend.array_type is np.ndarray
        self.tell = tell
        self.originals = {name: getattr(cls, name) for name in METHODS if hasattr(cls, name)}
        self.methods: dict[str, Any] = {}
        self._states: WeakKeyDictionary[Any, _State] = WeakKeyDictionary()

    def _state(self, net: Any) -> _State:
        state = self._states.get(net)
        if state is None:
            state = self._states[net] = _State()
        return state

    # -- what takes the place of the class's own ---------------------------------------------------

    def method(self, name: str) -> Callable:
        """The method of this name, by fastnn where that is the same."""
        original = self.originals[name]

        @wraps(original)
        def method(net: Any, *arguments: Any, **options: Any) -> Any:
            state = self._state(net)
            if state.inside or state.own or options or not self._takes(net, name, arguments):
                return self._as_it_is(net, state, name, arguments, options)
            if not self._ready(net, state):
                return self._as_it_is(net, state, name, arguments, options)
            # It is for the reader's own method to say what is wrong, and in its own words alone.
            result = None
            with suppress(FastnnError):
                result = self._computed(net, state, name, *arguments)
            if result is None:
                return self._as_it_is(net, state, name, arguments, options)
            if name not in state.compared:
                return self._first(net, state, name, arguments, result)
            self._note(net, state, name, arguments, result)
            return result

        return method

    def constructor(self, original: Callable) -> Callable:
        """Whatever a network does with its layers while it is made is its own affair."""

        @wraps(original)
        def constructor(net: Any, *arguments: Any, **options: Any) -> None:
            state = self._state(net)
            state.inside += 1
            try:
                original(net, *arguments, **options)
            finally:
                state.inside -= 1

        return constructor

    def guard(self, name: str) -> property:
        """An attribute that holds layers: they are brought up to date when somebody looks."""

        def get(net: Any) -> Any:
            self._looked_at(net, name)
            try:
                return vars(net)[name]
            except KeyError:
                message = f"{type(net).__name__!r} object has no attribute {name!r}"
                raise AttributeError(message, name=name, obj=net) from None

        def put(net: Any, value: Any) -> None:
            self._looked_at(net, name)
            vars(net)[name] = value

        def remove(net: Any) -> None:
            get(net)
            del vars(net)[name]

        return property(get, put, remove)

    # -- whether it is the same --------------------------------------------------------------------

    def _takes(self, net: Any, name: str, arguments: tuple[Any, ...]) -> bool:
        """Whether fastnn takes these arguments as the reader's method does."""
        if len(arguments) != (1 if name == "predict" else 2):
            return False
        x = arguments[0]
        if type(x) is not np.ndarray or x.ndim != 2 or x.dtype not in (np.float64, np.float32):
            return False
        if name == "predict":
            return True
        t = arguments[1]
        if type(t) is not np.ndarray or t.dtype.kind not in "fiub":
            return False
        if t.ndim == 1:
            return t.dtype.kind in "iu" and "labels" in self.found.same[name]
        return t.ndim == 2 and "rows" in self.found.same[name]

    def _ready(self, net: Any, state: _State) -> bool:
        """Whether the network still is what was probed; its parameters are fastnn's, too, then."""
        kind, own = type(net), vars(net)
        for name, method in self.methods.items():  # loops: this stands before every call
            if getattr(kind, name, None) is not method:
                return False
        params = own.get("params")
        if type(params) is not dict or not own.keys().isdisjoint(METHODS):
            return False
        try:
            if state.network is None:
                (i, j), k = params["W1"].shape, params["b2"].size
                state.network = TwoLayerNet(
                    i, j, k, activation=self.found.activation, backend=self.backend
                )
                state.holders = holders(net)
                state.held = frozenset(name for _, _, name in state.holders)
            for content, at, name in state.holders:
                if content.get(at) is not params[name]:
                    return False
            if state.held != self.found.held:
                return False
            self._share(state.network, params)
        except (FastnnError, KeyError, AttributeError, TypeError, ValueError):
            return False
        if (values := plain_values(net)) != state.values:
            state.values, state.compared = values, set()
        return True

    def _share(self, network: TwoLayerNet, params: dict[str, Any]) -> None:
        if not self.shared:
            network.params = {name: self.backend.asarray(p) for name, p in params.items()}
        elif network.params is not params:
            network.params = params

    def _first(
        self, net: Any, state: _State, name: str, arguments: tuple[Any, ...], result: Any
    ) -> Any:
        """Compare the first result of a method with the reader's; of very many samples, some.

        Of the numerical gradient, which is what the loss makes it, that is compared.
        """
        judged = "loss" if name == "numerical_gradient" else name
        whole = judged == name and len(arguments[0]) <= COMPARED
        some = arguments if whole else tuple(a[:COMPARED] for a in arguments)
        ours = result if whole else self._computed(net, state, judged, *some)
        theirs = self._as_it_is(net, state, judged, some, {})
        if (difference := relative_difference(theirs, ours)) > TOLERANCE:
            state.own = True
            self.tell(
                f"a {type(net).__name__} runs as it is: its {judged} differs from that of the "
                f"network that was probed by {difference:.1e}"
            )
            return theirs if whole else self._as_it_is(net, state, name, arguments, {})
        state.compared.add(name)
        if whole:
            return theirs
        self._note(net, state, name, arguments, result)
        return result

    # -- computing ---------------------------------------------------------------------------------

    def _computed(self, net: Any, state: _State, name: str, *arguments: Any) -> Any:
        network, backend = state.network, self.backend
        assert network is not None
        if name == "predict" and self.found.logits:
            return backend.to_numpy(logits(network, *arguments))
        result = getattr(network, name)(*arguments)
        if isinstance(result, dict):
            return {key: backend.to_numpy(result[key]) for key in vars(net)["params"]}
        return backend.to_numpy(result) if name == "predict" else np.float64(result)

    def _as_it_is(
        self,
        net: Any,
        state: _State,
        name: str,
        arguments: tuple[Any, ...],
        options: dict[str, Any],
    ) -> Any:
        state.inside += 1
        state.last = None
        try:
            return self.originals[name](net, *arguments, **options)
        finally:
            state.inside -= 1

    # -- layers ------------------------------------------------------------------------------------

    def _note(
        self, net: Any, state: _State, name: str, arguments: tuple[Any, ...], result: Any
    ) -> None:
        """Give the layers their gradients, and remember the call for when they are looked at."""
        if not self.found.parts:
            return
        if name == "gradient":
            for content, at, parameter in state.holders:
                if f"d{at}" in content:
                    content[f"d{at}"] = result[parameter]
        replayed = "loss" if name == "numerical_gradient" else name
        params = vars(net)["params"]
        state.last = replayed, arguments, [params[n].copy() for n in ("b1", "W2", "b2")]

    def _looked_at(self, net: Any, attribute: str) -> None:
        state = self._states.get(net)
        if state is None or state.inside or state.own:
            return
        state.own = True
        if state.last is None:
            return
        name, arguments, then = state.last
        params = vars(net)["params"]
        same = all(
            np.array_equal(params[n], p) for n, p in zip(("b1", "W2", "b2"), then, strict=True)
        )
        gradients = [(content, f"d{at}", content.get(f"d{at}")) for content, at, _ in state.holders]
        self._as_it_is(net, state, name, arguments, {})
        if not same:  # the gradients, at least, are those of the parameters before
            for content, at, value in gradients:
                if at in content:
                    content[at] = value
        self.tell(
            f"a {type(net).__name__} runs as it is from here on: the script uses its "
            f"{attribute}"
            + ("" if same else ", which hold what the parameters of now make of the last batch")
        )
