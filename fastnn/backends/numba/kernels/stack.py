"""A few integers for the time of a call: quicker than asking for memory, which needs references."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


@intrinsic(prefer_literal=True)
def integers(_context: Any, count: Any) -> Any:
    """So many of intp, a constant, with any values; gone when the function returns that asks."""
    array = types.Array(types.intp, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, _arguments: Any) -> Any:
        number = context.get_value_type(types.intp)
        size, itemsize = signature.args[0].literal_value, context.get_abi_sizeof(number)
        made = make_array(array)(context, builder)
        populate_array(
            made,
            data=cgutils.alloca_once(builder, number, size=size),
            shape=[number(size)],
            strides=[number(itemsize)],
            itemsize=number(itemsize),
            meminfo=None,
        )
        return made._getvalue()

    return array(count), codegen
