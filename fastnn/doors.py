"""The doors of a network: what it is handed, and what it is made of, as arrays of its backend.

Behind the doors nothing is converted or copied between devices any more.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from .backends import Backend, get_backend
from .errors import DtypeError, InputError
from .validation import Array, all_finite, check_samples, check_targets, float_dtype

#: How many samples a step is taken to have where a backend is chosen by the size of the work: as
#: many as in the book.
USUAL_BATCH = 100


class Doors:
    """A backend, a dtype, named parameters of known shapes, and the checks of what enters.

    Attributes
    ----------
    params : dict of str to array
        The parameters, arrays of the backend. Assigning a new array to an entry takes effect at
        once.
    backend : fastnn.backends.base.Backend
    dtype : numpy.dtype
        float32 or float64; data is converted to it on the way in.
    """

    params: dict[str, Array]

    def __init__(
        self, shapes: dict[str, tuple[int, ...]], backend: str | Backend, dtype: Any
    ) -> None:
        self.dtype = float_dtype(dtype)
        self._shapes = shapes
        self.backend = get_backend(backend, multiplications=USUAL_BATCH * self.size)
        self.backend.check_dtype(self.dtype)

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
        return self.__dict__ | {"params": host}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.params = {name: self._parameter(p) for name, p in state["params"].items()}

    # -- what enters -------------------------------------------------------------------------------

    def _enter(self, x: Any, name: str = "x") -> tuple[Array, bool]:
        """Samples as a checked 2-D array of the backend and dtype, and whether it was just one."""
        self._check_params()
        with self.backend.current():
            x = self.backend.asarray(x, name=name)
            checked = check_samples(x, self._features, name, xp=self.backend.xp)
            return self._convert(checked, name), x.ndim == 1

    def _convert(self, a: Array, name: str) -> Array:
        """Checked numbers in the network's dtype, unless that cannot hold them."""
        if self.backend.dtype_of(a) == self.dtype:
            return self.backend.asarray(a)
        with np.errstate(over="ignore"):
            converted = self.backend.asarray(a, self.dtype)
        if not all_finite(converted, self.backend.xp):
            raise InputError(
                f"{name} holds values beyond the range of {self.dtype}; "
                "scale them, or use a network of dtype 'float64'"
            )
        return converted

    def _enter_pair(
        self, x: Any, t: Any, name: str = "", *, allow_single: bool = True
    ) -> tuple[Array, Array]:
        x_name, t_name = (f"x_{name}", f"t_{name}") if name else ("x", "t")
        x, single = self._enter(x, x_name)
        with self.backend.current():
            t = self.backend.asarray(t, name=t_name)
            single = single and allow_single
            t = check_targets(
                t, x.shape[0], self._outputs, t_name, single=single, xp=self.backend.xp
            )
            return x, t if t.ndim == 1 else self._convert(t, t_name)

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
        self.backend.check_arrays(**{f"params[{name!r}]": p for name, p in self.params.items()})
        if self.params.keys() != self._shapes.keys():
            raise InputError(
                f"params has the entries {list(self.params)}; "
                f"a {type(self).__name__} has {list(self._shapes)}"
            )
        for name, shape in self._shapes.items():
            parameter = self.params[name]
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
