"""Compiled functions that kernels call by their address.

Such a function is compiled by itself: once for all kernels that call it with the same types, and by
one process while another compiles the kernel. For a call that is long, that costs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from numba import typeof
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.core.types import unliteral
from numba.core.typing import signature
from numba.extending import intrinsic


class Pointer(NamedTuple):
    """To a compiled function."""

    address: int
    arguments: int  # a digest of their types


#: Where a kernel is compiled, and not called.
NOWHERE = Pointer(0, 0)


def pointer_to(function: Any, arguments: Sequence[Any]) -> Pointer:
    """To what a function is compiled to, for the types of such arguments."""
    wanted = tuple(map(typeof, arguments))
    found = function.overloads[wanted]
    address = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
    return Pointer(address, _digest(wanted))


def _digest(arguments: Iterable[Any]) -> int:
    """The same in each process."""
    of = hashlib.blake2b(repr([str(each) for each in arguments]).encode(), digest_size=8)
    return int.from_bytes(of.digest(), "little", signed=True)


@intrinsic
def call(_context: Any, pointer: Any, arguments: Any) -> Any:
    """Call a function that returns nothing with a tuple of arguments.

    They must be of the very types that it is compiled for; a ValueError is raised otherwise.
    """
    if not isinstance(arguments, types.BaseTuple):
        raise TypingError("the arguments are not a tuple")
    given = tuple(map(unliteral, arguments))

    def compiled(context: Any, builder: Any, typed: Any, values: Any) -> Any:
        convention, kind = context.call_conv, typed.args[0]
        (address, of), packed = cgutils.unpack_tuple(builder, values[0]), values[1]
        expected = context.get_constant(kind.types[1], _digest(given))
        with cgutils.if_unlikely(builder, builder.icmp_unsigned("!=", of, expected)):
            convention.return_user_exc(
                builder, ValueError, ("a function for arguments of other types",)
            )
        as_function = convention.get_function_type(types.none, given).as_pointer()
        callee, each = builder.inttoptr(address, as_function), cgutils.unpack_tuple(builder, packed)
        status, _ = convention.call_function(builder, callee, types.none, given, each)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return signature(types.none, pointer, arguments), compiled
