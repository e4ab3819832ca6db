"""A function compiled by ``numba.njit``, called from a compiled loop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np

from ..validation import Array
from .values import Function, Values


def is_compiled(f: Function) -> bool:
    """Whether `f` was compiled by ``numba.njit``.

    While Numba is not loaded, nothing was: it is not imported for this.
    """
    if isinstance(f, FunctionType) or "numba" not in sys.modules:
        return False
    from numba.extending import is_jitted

    return is_jitted(f)


def note_compiled_dtype(f: Any, x: Array, values: Values) -> None:
    """Keep in mind what `f` returned for `x`: to Python all its floats are alike."""
    overloads = f.overloads
    if len(overloads) > 1:
        from numba import typeof

        arguments = (typeof(x),)  # type: ignore[no-untyped-call]
        overloads = {key: value for key, value in overloads.items() if key == arguments}
    for compiled in overloads.values():
        values.note(compiled.signature.return_type)


def evaluate_compiled(
    f: Function, x: np.ndarray, replacements: np.ndarray, start: int, values: Values
) -> np.ndarray:
    """The values of `f` with the elements of `x` from number `start` on replaced in turn.

    One copy of `x` does for all calls, unless `f` turns out to change it: then each gets its own.
    """
    found = np.empty(replacements.shape, values.wide)
    replacements = np.ascontiguousarray(replacements)
    for copies in (False, True):
        point = x.copy()
        loop = compiled_loop()
        if loop(f, point, point.reshape(-1), replacements, start, found, copies) and (
            copies or point.tobytes() == x.tobytes()
        ):
            break
    return found


@cache
def compiled_loop() -> Callable[..., bool]:
    """The loop; it says whether `f` left the elements alone that were replaced."""
    from numba import njit

    # Numba compiles this once for each f and dtype. It releases the GIL, so that Python's threads
    # run it in parallel: unlike Numba's own, they carry an exception of f to the caller, and any
    # number of callers may use them at a time.
    @njit(nogil=True)
    def loop(
        f: Any, x: Any, flat: Any, replacements: Any, start: int, values: Any, copies: bool
    ) -> bool:
        for i in range(replacements.shape[1]):
            original = flat[start + i]
            for k in range(replacements.shape[0]):
                written = replacements[k, i]
                flat[start + i] = written
                values[k, i] = f(x.copy() if copies else x)
                found = flat[start + i]
                if found != written and (found == found or written == written):  # not both NaN
                    return False
            flat[start + i] = original
        return True

    return loop
