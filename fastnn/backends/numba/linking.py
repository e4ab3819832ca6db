"""The functions that a kernel calls by their address, found again by the kinds of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np


class Pointers:
    """Pointers to the stages of a kernel (:mod:`.kernels.pointers`), for any arguments.

    Parameters
    ----------
    kernel : numba.core.dispatcher.Dispatcher
        One that threads share; pointers to its stages are the last of its arguments.
    stages_of : callable
        Functions with arguments of the types that they get in the kernel, in the order of their
        numbers there.
    processes : int
        How many may compile them.
    """

    def __init__(self, kernel: Any, stages_of: Callable[..., Any], processes: int) -> None:
        self._kernel, self._stages_of, self._processes = kernel, stages_of, processes
        self._known: dict[Hashable, np.ndarray] = {}

    def __call__(
        self,
        kind: Hashable,
        arguments: Sequence[Any],
        of_stages: Sequence[Any],
        others: Callable[[], Sequence[tuple[Any, Sequence[Any]]]] = tuple,
    ) -> np.ndarray:
        """Those for such arguments of the kernel, and of `stages_of`.

        Whatever their types may be, those of one `kind` have the same. `others` are functions, and
        arguments, that will be wanted soon after: several processes compile them together in less
        time than one does by and by.
        """
        if kind not in self._known:
            from .compilers import compile_together  # with the compiler
            from .kernels.helpers import NOBODY
            from .kernels.pointers import none_of, pointers_to

            stages = self._stages_of(*of_stages)
            kernel = self._kernel, (NOBODY, (*arguments, none_of(stages)))
            compile_together([kernel, *filter(None, stages), *others()], self._processes)
            self._known[kind] = pointers_to(stages)
        return self._known[kind]


#: Those of a kernel, the same for all that call it: to find them out takes a millisecond.
pointers_of = cache(Pointers)


def kinds(values: Iterable[Any]) -> Hashable:
    """What the types of arrays, of tuples of them, and of numbers depend on."""
    found: list[Any] = [type(values)]
    for value in values:
        if isinstance(value, np.ndarray):
            found += value.dtype.num, value.ndim, value.flags.num
        else:
            found.append(kinds(value) if isinstance(value, tuple) else type(value))
    return tuple(found)
