"""A counter that several threads share, for compiled code.

With two of them the threads that run one compiled function divide its work: each takes the next part until there are none left, and
where all parts must be done before what comes next, it waits until as many are finished.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    index = context.cast(builder, arguments[1], signature.args[1], types.intp)
    return cgutils.get_item_pointer(context, builder, signature.args[0], array, [index], wraparound=False)


@intrinsic
def increase(_context: Any, counters: Any, index: Any) -> Any:
    """Add one to an element of an int64 array; what it was before. No two threads get the same number."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _place(context, builder, signature, arguments)
        return builder.atomic_rmw("add", pointer, ir.IntType(64)(1), "seq_cst")

    return types.int64(counters, index), codegen


@intrinsic
def current(_context: Any, counters: Any, index: Any) -> Any:
    """An element of an int64 array as it is now, and with it everything that was written before it was increased to that."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, arguments), "seq_cst", 8)

    return types.int64(counters, index), codegen
