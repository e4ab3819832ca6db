"""Threads that help with a kernel, asked by compiled code and without the interpreter.

A helper is a thread in :func:`serve`. Its work is in its seat, a row of int64. Who calls a kernel
of :func:`shared` gives it the seats of those that may help. The kernel leaves on its stack what it
is called with, and in each seat whose helper waits where that is; then it does the work, too, as
thread 0. When that returns all is done (:mod:`.atomics`). A helper that has not begun by then is
not needed any more, and one that has begun is waited for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import typeof, types
from numba.core import cgutils
from numba.core.types import unliteral
from numba.extending import intrinsic

from .atomics import change, current, pause, put, wait_for
from .jit import inner, kernel

#: What is in a seat: what its helper does, and whether it is awake; the machine code of its work,
#: the arguments of that and the number of the thread; the lock that it sleeps by, and the functions
#: of the interpreter that take a lock and let it go. They are its portable ones, and need nothing
#: else of it.
STATE, AWAKE, CODE, ARGUMENTS, NUMBER, LOCK, TAKE, LET_GO = range(8)

#: The length of a seat: what is in it, and as much again, so that no two share a line of the cache.
SEAT = 16

#: What a helper does: it waits; its seat is being written; it is asked to work; it works; it has
#: worked. And what it is told at last.
WAITS, RESERVED, ASKED, WORKS, WORKED, LEAVES = range(6)

#: How many times a helper looks whether it is asked before it sleeps. That takes a quarter of a
#: millisecond, as long as Python may take between two calls; to wake a thread takes 15 µs.
LOOKS = 8_000

#: The seats of no helpers.
NOBODY = np.zeros((0, SEAT), np.int64)

_address, _lock = ir.IntType(64), ir.IntType(8).as_pointer()


@intrinsic
def _take(_context: Any, function: Any, lock: Any) -> Any:
    """Wait for a lock, and take it."""

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        number = ir.IntType(32)
        kind = ir.FunctionType(number, [_lock, number]).as_pointer()
        lock = builder.inttoptr(arguments[1], _lock)
        builder.call(builder.inttoptr(arguments[0], kind), [lock, number(1)])
        return context.get_dummy_value()

    return types.void(function, lock), codegen


@intrinsic
def _let_go(_context: Any, function: Any, lock: Any) -> Any:
    """Let go of a lock."""

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_lock]).as_pointer()
        lock = builder.inttoptr(arguments[1], _lock)
        builder.call(builder.inttoptr(arguments[0], kind), [lock])
        return context.get_dummy_value()

    return types.void(function, lock), codegen


#: The types of what a helper calls: where the arguments are, and the number of the thread.
_OF_WORK = types.int64, types.int64


@intrinsic
def _work(_context: Any, code: Any, arguments: Any, number: Any) -> Any:
    """Do what is left by `_work_with`."""

    def codegen(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        convention = context.call_conv
        kind = convention.get_function_type(types.none, _OF_WORK).as_pointer()
        callee = builder.inttoptr(values[0], kind)
        convention.call_function(builder, callee, types.none, _OF_WORK, values[1:])
        return context.get_dummy_value()

    return types.void(code, arguments, number), codegen


@intrinsic
def _work_with(typing_context: Any, body: Any, arguments: Any) -> Any:
    """The addresses of code that calls `body`, and of these arguments, until this one returns."""
    given = types.int64, *map(unliteral, arguments.types)
    called = body.get_call_type(typing_context, given, {})

    def codegen(context: Any, builder: Any, typed: Any, values: Any) -> Any:
        convention, module = context.call_conv, builder.module
        kept = cgutils.alloca_once_value(builder, values[1])
        kind = convention.get_function_type(types.none, _OF_WORK)
        code = ir.Function(module, kind, module.get_unique_name("work"))
        code.linkage = "internal"
        inside = ir.IRBuilder(code.append_basic_block())
        where, number = convention.get_arguments(code)
        read = cgutils.unpack_tuple(inside, inside.load(inside.inttoptr(where, kept.type)))
        context.get_function(typed.args[0], called)(inside, [number, *read])
        convention.return_value(inside, context.get_dummy_value())
        both = [builder.ptrtoint(each, _address) for each in (code, kept)]
        return context.make_tuple(builder, typed.return_type, both)

    return types.UniTuple(types.int64, 2)(body, arguments), codegen


@inner
def _ask(seats: Any, code: int, arguments: int) -> None:
    """Ask those to work that wait."""
    number = 0
    for n in range(seats.shape[0]):
        seat = seats[n]
        if change(seat, STATE, WAITS, RESERVED):
            number += 1
            seat[CODE], seat[NUMBER] = code, number
            put(seat, ARGUMENTS, arguments)
            put(seat, STATE, ASKED)
            if current(seat, AWAKE) == 0:
                _let_go(seat[LET_GO], seat[LOCK])


@inner
def _dismiss(seats: Any, arguments: int) -> None:
    """Let those wait again that were asked with these arguments; who has begun ends first.

    Other callers' are elsewhere as long as these are on the stack, and are taken from a seat before
    the next one may write there.
    """
    for n in range(seats.shape[0]):
        seat = seats[n]
        if current(seat, ARGUMENTS) == arguments:
            if not change(seat, STATE, ASKED, RESERVED):
                wait_for(seat, STATE, WORKED)
            put(seat, ARGUMENTS, 0)
            put(seat, STATE, WAITS)


def shared(body: Any) -> Any:
    """Compile what Python calls with seats and a tuple of arguments, and several threads execute.

    Each of them calls the function with its number and these arguments. The call of thread 0
    returns when all is done. None may raise anything: the others would wait for its part for ever.
    """
    body, place = inner(body), body.__code__

    def on_threads(seats: Any, arguments: Any) -> None:
        code, where = _work_with(body, arguments)
        _ask(seats, code, where)
        body(0, *arguments)
        _dismiss(seats, where)

    # On disk it is found with the function, and gone when that one's file is changed.
    on_threads.__module__ = body.py_func.__module__
    on_threads.__code__ = on_threads.__code__.replace(
        co_filename=place.co_filename, co_firstlineno=place.co_firstlineno
    )
    return kernel(on_threads)


@inner
def _listen(seat: Any) -> None:
    """Do what there is to do, until there has been nothing for a while."""
    looks = 0
    while looks < LOOKS:
        looks += 1
        # Who has asked may have done it all by now.
        if current(seat, STATE) == ASKED and change(seat, STATE, ASKED, WORKS):
            _work(seat[CODE], seat[ARGUMENTS], seat[NUMBER])
            put(seat, STATE, WORKED)
            looks = 0
        pause()


@kernel
def serve(seat: Any) -> None:
    """Do the work of whoever asks for it, until it is time to leave."""
    while current(seat, STATE) != LEAVES:
        put(seat, AWAKE, 1)
        _listen(seat)
        put(seat, AWAKE, 0)
        # Who has asked before it could see that this one sleeps has not let go of the lock. One who
        # has let go of it in vain costs a look around more, the next time.
        if current(seat, STATE) != ASKED:
            _take(seat[TAKE], seat[LOCK])


def ready() -> Any:
    """`serve`, compiled: or the first helper would be busy with that."""
    serve.compile((typeof(np.zeros(SEAT, np.int64)),))
    return serve
