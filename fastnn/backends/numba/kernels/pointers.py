"""Compiled functions that kernels call by their address.

Such a function is compiled by itself: once for all kernels that call it with the same types, and by
one process while another compiles the kernel. Beside what such a call is for, it takes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numba import typeof
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.core.types import unliteral
from numba.core.typing.templates import signature
from numba.extending import intrinsic

#: A function, and arguments of the types that it is called with.
Stage = tuple[Any, Sequence[Any]]


def none_of(functions: Sequence[Any]) -> np.ndarray:
    """The pointers that a kernel is compiled with, and not called."""
    return np.zeros((len(functions), 2), np.int64)


def pointers_to(functions: Sequence[Stage | None]) -> np.ndarray:
    """To what functions are compiled to, for the types of such arguments.

    A row for each: its address, and a digest of those types; zeros for None, which is not called.
    As an array they are handed to a kernel in less time than as anything else.
    """
    rows = none_of(functions)
    for row, stage in zip(rows, functions, strict=True):
        if stage is None:
            continue
        function, arguments = stage
        wanted = tuple(map(typeof, arguments))
        found = function.overloads[wanted]
        row[:] = found.library.get_pointer_to_function(found.fndesc.llvm_func_name), _digest(wanted)
    return rows


def _digest(arguments: Iterable[Any]) -> int:
    """The same in each process."""
    of = hashlib.blake2b(repr([str(each) for each in arguments]).encode(), digest_size=8)
    return int.from_bytes(of.digest(), "little", signed=True)


@intrinsic
def call(_context: Any, pointer: Any, arguments: Any) -> Any:
    """Call a function that returns nothing, by its row of the pointers, with a tuple of arguments.

    They must be of the very types that it is compiled for; a ValueError is raised otherwise.
    """
    if not isinstance(arguments, types.Tuple | types.UniTuple):
        raise TypingError("the arguments are not a tuple")
    given = tuple(unliteral(each) for each in arguments.types)

    def compiled(context: Any, builder: Any, typed: Any, values: Any) -> Any:
        convention, kind = context.call_conv, typed.args[0]
        row = context.make_array(kind)(context, builder, values[0]).data
        address, of = (builder.load(cgutils.gep(builder, row, i)) for i in range(2))
        expected = context.get_constant(types.int64, _digest(given))
        with cgutils.if_unlikely(builder, builder.icmp_unsigned("!=", of, expected)):
            convention.return_user_exc(
                builder, ValueError, ("a function for arguments of other types",)
            )
        as_function = convention.get_function_type(types.none, given).as_pointer()
        callee = builder.inttoptr(address, as_function)
        unpacked = cgutils.unpack_tuple(builder, values[1])
        status, _ = convention.call_function(builder, callee, types.none, given, unpacked)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return signature(types.none, pointer, arguments), compiled
