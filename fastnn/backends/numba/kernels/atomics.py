"""Counters that several threads share, for compiled code.

With them the threads that call one compiled function, each with its number, divide its work: each
takes the parts that nobody has, its own first, and where all must be done before something else, it
waits until as many are finished::

    part = take_part(counters, own_part(thread, threads, parts), parts)
    while part < parts:
        ...
        increase(counters, FINISHED)
        part = take_part(counters, part + 1, parts)
    wait_for(counters, FINISHED, parts)

What a thread writes in one of its own parts is then in the cache of its processor, the next time.
"""

from __future__ import annotations

import platform
import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import inner

#: How many times a thread looks whether what it waits for is there before it leaves its processor
#: to others, and for how many microseconds. It looks for half a millisecond, several times as long
#: as a step takes: what is not there then is not being worked on, as another process has the
#: processor of that thread.
LOOKS, SLEEP = 10_000, 20

#: The number of the thread that wants the work done: for it alone a call returns when all of it is.
CALLER = 0

#: How many parts are finished, and from where on how many threads wanted each of them.
FINISHED, TAKEN = 0, 1


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    index = context.cast(builder, arguments[1], signature.args[1], types.intp)
    return cgutils.get_item_pointer(
        context, builder, signature.args[0], array, [index], wraparound=False
    )


@intrinsic
def increase(_context: Any, counters: Any, index: Any) -> Any:
    """Add one to an element of an int64 array; what it was before, which no two threads get."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw(
            "add", _place(context, builder, signature, arguments), ir.IntType(64)(1), "seq_cst"
        )

    return types.int64(counters, index), codegen


@intrinsic
def current(_context: Any, counters: Any, index: Any) -> Any:
    """An element of an int64 array as it is now.

    What was written before it was increased to that can then be read, too.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, arguments), "seq_cst", 8)

    return types.int64(counters, index), codegen


@intrinsic
def put(_context: Any, counters: Any, index: Any, value: Any) -> Any:
    """Set an element of an int64 array; who sees it can also read what was written before."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = context.cast(builder, arguments[2], signature.args[2], types.int64)
        builder.store_atomic(number, _place(context, builder, signature, arguments), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(counters, index, value), codegen


@intrinsic
def change(_context: Any, counters: Any, index: Any, before: Any, after: Any) -> Any:
    """Set an element of an int64 array if it is `before`, and say whether it was."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments)
        numbers = (
            context.cast(builder, value, kind, types.int64)
            for value, kind in zip(arguments[2:], signature.args[2:], strict=True)
        )
        return builder.extract_value(builder.cmpxchg(place, *numbers, "seq_cst", "seq_cst"), 1)

    return types.boolean(counters, index, before, after), codegen


#: What processors have to wait some nanoseconds: an intrinsic of LLVM's, and its arguments. On ARM
#: that is a barrier, as its own hint that a thread waits takes no time on most of them.
_PAUSES = {
    **dict.fromkeys(("x86_64", "AMD64"), ("llvm.x86.sse2.pause", ())),
    **dict.fromkeys(("aarch64", "arm64", "ARM64"), ("llvm.aarch64.isb", (15,))),
}


def call_pause(builder: Any, machine: str) -> None:
    """Wait some nanoseconds on such a machine; on others not at all."""
    name, numbers = _PAUSES.get(machine, ("", ()))
    if name:
        integer = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [integer] * len(numbers))
        builder.call(
            builder.module.declare_intrinsic(name, [], kind), [integer(n) for n in numbers]
        )


@intrinsic
def pause(_context: Any) -> Any:
    """Look less often: each look takes the memory from the thread that writes to it."""

    def codegen(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        call_pause(builder, platform.machine())
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _let_others_run(_context: Any) -> Any:
    """Leave the processor to other threads: one may be the one that this thread is waiting for.

    For some microseconds, and not to whoever is ready: a process that does nothing but compute
    would keep it for milliseconds, and training beside it would take nearly twice as long.
    """

    def codegen(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        name, time = ("Sleep", 0) if sys.platform == "win32" else ("usleep", SLEEP)
        number = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(number, [number]), name
        )
        builder.call(function, [number(time)])
        return context.get_dummy_value()

    return types.void(), codegen


@inner
def own_part(thread: int, threads: int, parts: int) -> int:
    """The first of the parts of a thread, if each has about as many."""
    return thread * parts // threads


@inner
def take_part(counters: Any, first: int, parts: int) -> int:
    """A part that nobody has, from `first` on and around; `parts` if there is none."""
    for k in range(parts):
        part = (first + k) % parts
        if increase(counters, TAKEN + part) == 0:
            return part
    return parts


@inner
def wait_for(counters: Any, index: int, value: int) -> None:
    """Return when an element has reached `value`."""
    for _ in range(LOOKS):
        if current(counters, index) >= value:
            return
        pause()
    while current(counters, index) < value:
        _let_others_run()
