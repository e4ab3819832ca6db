"""The doors of a network: what it is handed, and what it is made of, as arrays of its backend.

Behind the doors nothing is converted or copied between devices any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Self

import numpy as np

from .backends import Backend, get_backend
from .errors import DtypeError, InputError
from .functions import LOSSES, Targets
from .streams import Stream, check_stream, slices, streamed
from .validation import (
    WITH_WAYS_OF_THEIR_OWN,
    Array,
    check_finite,
    check_probabilities,
    check_samples,
    check_separate,
    check_size,
    check_sums,
    check_targets,
    float_dtype,
    is_sparse,
    kind,
    refuse_gradient,
    room_for,
    shown,
    sums_are_one,
)

#: How many samples a step is taken to have where a backend is chosen by the size of the work: as
#: many as in the book.
USUAL_BATCH = 100

#: What samples enter for: a call, a dataset, or to be an array, whatever is faster.
Use = Literal["call", "dataset", "array"]

#: By which method a backend may give them a form of its own.
FORMS: dict[Use, str] = {"call": "samples", "dataset": "kept_samples"}


class Doors:
    """A backend, a dtype, named parameters of known shapes, and the checks of what enters.

    Attributes
    ----------
    params : dict of str to array
        The parameters, arrays of the backend. Assigning a new array to an entry takes effect at
        once, and so does assigning another dict; what only reads like one, as an open file of
        arrays does, is refused.
    backend : fastnn.backends.base.Backend
    dtype : numpy.dtype
        float32 or float64; data is converted to it on the way in.
    """

    def __init__(
        self, shapes: dict[str, tuple[int, ...]], backend: str | Backend, dtype: Any
    ) -> None:
        self.dtype = float_dtype(dtype)
        self._shapes = shapes
        for name, shape in shapes.items():
            check_size(shape, self.dtype, f"params[{name!r}]")
        self.backend = get_backend(backend, multiplications=USUAL_BATCH * self.size)
        self.backend.check_dtype(self.dtype)

    @property
    def params(self) -> dict[str, Array]:
        """The parameters by name; assigned is what training changes, so only a dict will do."""
        return self._params

    @params.setter
    def params(self, value: dict[str, Array]) -> None:
        # A dict whose items are made when they are asked for would lose every step.
        if not isinstance(value, dict) or type(value).__getitem__ is not dict.__getitem__:
            raise DtypeError(
                f"params is a {kind(value)}, and training would not reach the arrays in it; "
                "assign a dict of arrays: network.params = dict(...)"
            )
        self._params = value

    @property
    def size(self) -> int:
        """The number of parameters, and so of the multiplications that one sample takes."""
        return sum(math.prod(shape) for shape in self._shapes.values())

    @property
    def _features(self) -> int:
        return next(iter(self._shapes.values()))[0]

    @property
    def _outputs(self) -> int:
        return next(reversed(self._shapes.values()))[-1]

    # -- copies ------------------------------------------------------------------------------------

    def to(self, backend: str | Backend) -> Self:
        """A copy of the network on another backend, with copies of its parameters."""
        target = get_backend(backend, multiplications=USUAL_BATCH * self.size)
        target.check_dtype(self.dtype)
        self._check_params()
        moved = object.__new__(type(self))
        moved.__setstate__(self.__getstate__() | {"backend": target})
        return moved

    def __getstate__(self) -> dict[str, Any]:
        """Names, and the parameters on the host: another process can take them on any hardware."""
        host = {name: self.backend.to_numpy(p).copy() for name, p in self.params.items()}
        state = {name: value for name, value in vars(self).items() if name != "_params"}
        return state | {"params": host}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update((name, value) for name, value in state.items() if name != "params")
        self.params = {name: self._parameter(p) for name, p in state["params"].items()}

    # -- what enters -------------------------------------------------------------------------------

    def _enter(self, x: Any, name: str = "x", *, use: Use = "call") -> tuple[Array, bool]:
        """Samples as a checked 2-D array of the backend and dtype, and whether it was just one.

        For a call, or for a dataset, they may be what the backend's operations take in place of an
        array.
        """
        with self.backend.current():
            return self._enter_samples(x, name, use)

    def _enter_samples(self, x: Any, name: str, use: Use) -> tuple[Array, bool]:
        """The same inside ``current()``."""
        self._check_params()
        if is_sparse(x):
            return self._enter_sparse(x, name)
        if isinstance(x, Stream):
            raise InputError(
                f"{name} is streamed from a file, as train and accuracy take it; "
                f"give some of it, as an array: {name}[:1000]"
            )
        x = self.backend.asarray(x, name=name)
        checked = check_samples(x, self._features, name, xp=self.backend.xp)
        form = getattr(self.backend, FORMS[use]) if use in FORMS else None
        samples = None if form is None else form(checked, self.dtype)
        return self._convert(checked, name) if samples is None else samples, x.ndim == 1

    def _enter_sparse(self, x: Any, name: str) -> tuple[Any, bool]:
        entered = self.backend.sparse_samples(x, self.dtype, name=name)
        if entered.shape[1] != self._features:
            raise InputError(
                f"{name} has {entered.shape[1]} features, but the network takes {self._features}"
            )
        return entered, len(x.shape) == 1

    def _convert(self, a: Array, name: str) -> Array:
        """An array of the backend in the network's dtype, if its numbers are finite there."""
        converted = a
        if self.backend.dtype_of(a) != self.dtype:
            with np.errstate(over="ignore"):
                converted = self.backend.asarray(a, self.dtype)
        if not self.backend.all_finite(converted):
            check_finite(a, name, self.backend.xp)
            raise InputError(
                f"{name} holds values beyond the range of {self.dtype}; "
                "scale them, or use a network of dtype 'float64'"
            )
        return converted

    def _enter_pair(
        self, x: Any, t: Any, name: str = "", *, use: Use = "call"
    ) -> tuple[Array, Array]:
        with self.backend.current():
            return self._enter_samples_and_targets(x, t, name, use)

    def _enter_samples_and_targets(
        self, x: Any, t: Any, name: str = "", use: Use = "call"
    ) -> tuple[Array, Array]:
        """The same inside ``current()``."""
        x_name, t_name = (f"x_{name}", f"t_{name}") if name else ("x", "t")
        x, single = self._enter_samples(x, x_name, use)
        return x, self._enter_targets(t, x.shape[0], t_name, single=single and use == "call")

    def _enter_targets(self, given: Any, samples: int, name: str, *, single: bool) -> Array:
        """Targets of so many samples: checked labels, or rows of the dtype."""
        xp = self.backend.xp
        t = check_targets(
            self.backend.asarray(given, name=name),
            samples,
            self._outputs,
            name,
            single=single,
            values=self._targets != "distribution",
            xp=xp,
        )
        if t.ndim == 1:
            return t
        distribution = self._targets == "distribution"
        if distribution and self.backend.dtype_of(t) == self.dtype and sums_are_one(t):
            return t  # and so they are finite
        rows = self._convert(t, name)
        if distribution:
            check_sums(rows, given, name, xp=xp)
        elif self._targets == "probabilities":
            check_probabilities(rows, name, xp=xp)
        return rows

    def _each_piece(self, function: Callable[[Any], Any], x: Any, t: Any) -> list[Any]:
        """`function` of what gives :meth:`_enter_pair`, of pieces if many samples are better so."""
        if (stream := streamed(x)) is not None:
            t = self._enter_stream(stream, t)
            parts = stream.slices(self.backend.rows_at_a_time)
            entering = [partial(self._enter_streamed_piece, stream, t, piece) for piece in parts]
            return self.backend.each(function, entering, stream)
        if not self._in_pieces(x):
            return [function(partial(self._enter_pair, x, t))]
        whole, pieces = self._pieces(x)
        with self.backend.current():
            t = self._enter_targets(t, len(whole), "t", single=False)
        entering = [partial(self._enter_pair_of_piece, whole, t, piece) for piece in pieces]
        return self.backend.each(function, entering, whole)

    def _each_piece_of_samples(self, function: Callable[[Any], Any], x: np.ndarray) -> list[Any]:
        """The same of pieces of samples alone, which the backend has better so."""
        whole, pieces = self._pieces(x)
        entering = [partial(self._enter_piece, whole, piece) for piece in pieces]
        return self.backend.each(function, entering, whole)

    def _in_pieces(self, x: Any) -> bool:
        """Whether the backend has samples in memory better in pieces."""
        size = self.backend.rows_at_a_time
        return size is not None and type(x) is np.ndarray and x.ndim == 2 and len(x) > size

    def _pieces(self, x: np.ndarray) -> tuple[Array, list[slice]]:
        """Checked samples, and what are their pieces."""
        self._check_params()
        with self.backend.current():
            given = self.backend.asarray(x, name="x")
            whole = check_samples(given, self._features, "x", xp=self.backend.xp)
        return whole, slices(len(whole), self.backend.rows_at_a_time or len(whole))

    def _enter_stream(self, x: Stream, t: Any, name: str = "") -> Array:
        """The targets of samples that come in pieces; both are checked."""
        x_name, t_name = (f"x_{name}", f"t_{name}") if name else ("x", "t")
        self._check_params()
        with self.backend.current():
            t = self._enter_targets(t, len(x), t_name, single=False)
        check_stream(x, self._features, self.dtype, x_name)
        return t

    def _enter_streamed_piece(self, x: Stream, t: Array, piece: slice) -> tuple[Array, Array]:
        with self.backend.current():
            given, targets = self.backend.asarray(x[piece]), t[piece, ...]
            samples = self.backend.samples(given, self.dtype)
            whole = self.backend.asarray(given, self.dtype) if samples is None else samples
            return whole, targets

    def _enter_piece(self, whole: Array, piece: slice) -> Array:
        with self.backend.current():
            samples = self.backend.samples(whole[piece], self.dtype)
            if samples is not None:
                return samples
            try:
                return self._convert(whole[piece], "x")
            except InputError:
                self._convert(whole, "x")  # the message shall say which of all samples it is
                raise

    def _enter_pair_of_piece(self, whole: Array, t: Array, piece: slice) -> tuple[Array, Array]:
        return self._enter_piece(whole, piece), t[piece]

    @property
    def _targets(self) -> Targets:
        """What the targets of a sample are."""
        loss = LOSSES.get(getattr(self, "loss_name", ""))
        return "values" if loss is None else loss.targets

    def _initial(self, values: Callable[[str, tuple[int, ...]], np.ndarray]) -> dict[str, Array]:
        """A parameter of each name and shape, from a function that makes its values."""
        with room_for(f"parameters of the shapes {shown(list(self._shapes.values()))}"):
            # All values first: nothing is allocated on a device if the host has no room for them.
            host = {name: values(name, shape) for name, shape in self._shapes.items()}
            return {name: self._parameter(value) for name, value in host.items()}

    def _parameter(self, values: np.ndarray) -> Array:
        """A new array of the backend with these values."""
        values = self.backend.asarray(values, self.dtype)
        with self.backend.current():
            parameter = self.backend.empty(values.shape, self.dtype)
            parameter[...] = values
        return parameter

    def _check_params(self) -> None:
        """Raise unless every parameter is an array of this backend, dtype and network.

        A user may have assigned it.
        """
        params = self._params
        if len(params) == len(self._shapes) and self._are_plain(params):
            return
        if params.keys() != self._shapes.keys():
            raise InputError(
                f"params has the entries {shown(list(params))}; "
                f"a {type(self).__name__} has {list(self._shapes)}"
            )
        self.backend.check_arrays(**{f"params[{name!r}]": p for name, p in params.items()})
        for name, shape in self._shapes.items():
            parameter = params[name]
            if isinstance(parameter, WITH_WAYS_OF_THEIR_OWN):
                raise DtypeError(
                    f"params[{name!r}] is a {kind(parameter)}, which computes in ways of its own; "
                    "assign an array: np.array(...)"
                )
            refuse_gradient(parameter, f"params[{name!r}]")
            if (found := self.backend.dtype_of(parameter)) != self.dtype:
                fix = f"assign an array of {self.dtype}: a.astype({self.dtype.name!r})"
                raise DtypeError(f"params[{name!r}] is of dtype {found}; {fix}")
            if tuple(parameter.shape) != shape:
                raise InputError(
                    f"params[{name!r}] has shape {tuple(parameter.shape)}; "
                    f"in this network it is {shape}"
                )
            if not getattr(getattr(parameter, "flags", None), "writeable", True):
                raise InputError(
                    f"params[{name!r}] is read-only; assign a copy: params[{name!r}].copy()"
                )

    def _are_plain(self, params: dict[str, Array]) -> bool:
        """Whether these are arrays of NumPy, just as they have to be; others are looked at closely.

        Every call of a network begins with this.
        """
        plain, dtype = np.ndarray, self.dtype
        if self.backend.array_type is not plain:
            return False
        for name, shape in self._shapes.items():
            p = params.get(name)
            if type(p) is not plain or p.shape != shape or p.dtype != dtype:
                return False
            if not p.flags.writeable:
                return False
        return True

    def check_trainable(self) -> None:
        """Raise InputError or DtypeError unless a step can be made on these parameters."""
        self._check_params()
        self._check_separate()

    def _check_separate(self) -> None:
        """Raise InputError if a step on one parameter would change another."""
        check_separate(self.params)
