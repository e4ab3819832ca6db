"""The functions that a kernel calls by their address, found again by the kinds of its arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ...validation import Array


class Pointers:
    """Pointers to the stages of a kernel (:mod:`.kernels.pointers`), for any arguments.

    Parameters
    ----------
    kernel : numba.core.dispatcher.Dispatcher
        Pointers to its stages are the last of its arguments.
    stages_of : callable
        Functions with arguments of the types that they get in the kernel, in the order of their
        numbers there.
    processes : int
        How many may compile them.
    """

    def __init__(self, kernel: Any, stages_of: Callable[..., Any], processes: int) -> None:
        self._kernel, self._stages_of, self._processes = kernel, stages_of, processes
        self._known: dict[Any, Any] = {}

    def __call__(
        self, arrays: Iterable[Array], arguments: Sequence[Any], of_stages: Sequence[Any]
    ) -> np.ndarray:
        """Those for such arguments of the kernel, and of `stages_of`.

        `arrays` are those of them whose dtype or layout may differ from call to call.
        """
        kinds = tuple([(a.dtype.num, a.flags.num) for a in arrays])
        if kinds not in self._known:
            from .compilers import compile_together  # with the compiler
            from .kernels.pointers import none_of, pointers_to

            stages = self._stages_of(*of_stages)
            kernel = self._kernel, (*arguments, none_of(stages))
            compile_together([kernel, *stages], self._processes)
            self._known[kinds] = pointers_to(stages)
        return self._known[kinds]
