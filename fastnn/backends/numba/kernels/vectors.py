"""Vectors as values in compiled code: what the hottest loops are written in.

Left to itself LLVM vectorises an innermost loop over an array, but reads and writes the array again
in each turn of the loop around it, asks each time whether the arrays overlap, and does the last few
elements one by one. Code in these vectors keeps its sums and coefficients in registers while the
other loop runs::

    for j in range(0, a.shape[1], lanes(a, 64)):  # where that is a whole number of vectors
        s = load(total, j, 64)
        for i in range(a.shape[0]):
            s = s + load(a, (i, j), 64) * factor[i]
        store(total, j, s)

A vector is so many bytes, a constant, of the dtype of the array it is loaded from. LLVM splits it
where the registers are narrower. Vectors are added, subtracted and multiplied with vectors of their
kind and with numbers of their dtype. Arrays are C-contiguous; no index is checked.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, register_model

from .jit import overloads

#: The width in bytes of the widest registers there are, those of AVX-512.
WIDE = 64


class Vector(types.Type):
    """The Numba type of `count` numbers of one dtype."""

    def __init__(self, dtype: types.Float, count: int) -> None:
        self.dtype, self.count = dtype, count
        super().__init__(f"Vector({dtype}, {count})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(
            manager, vector, ir.VectorType(manager[vector.dtype].get_value_type(), vector.count)
        )


def lanes(a: Any, width: int) -> int:
    """How many elements of the array are in a vector of `width` bytes; for compiled code only."""
    raise NotImplementedError


@overloads(lanes)
def _overload_lanes(a: Any, width: Any) -> Any:  # noqa: ARG001
    size = a.dtype.bitwidth // 8

    def quotient(a: Any, width: Any) -> Any:  # noqa: ARG001
        return width // size

    return quotient


def _pointer(context: Any, builder: Any, array: Any, index: Any, types_: Any) -> Any:
    """Where a[index] is: an integer for a vector, a tuple of them for a matrix."""
    kind, index_type = types_
    value = context.make_array(kind)(context, builder, array)
    indices = (
        [index] if isinstance(index_type, types.Integer) else cgutils.unpack_tuple(builder, index)
    )
    numbers = [index_type] if isinstance(index_type, types.Integer) else list(index_type)
    indices = [
        context.cast(builder, i, number, types.intp)
        for i, number in zip(indices, numbers, strict=True)
    ]
    return cgutils.get_item_pointer(context, builder, kind, value, indices, wraparound=False)


def _check_contiguous(a: Any) -> None:
    if a.layout != "C":
        raise TypingError(
            f"{a} is not C-contiguous: the elements of a vector are not side by side in it"
        )


@intrinsic(prefer_literal=True)
def load(_context: Any, a: Any, index: Any, width: Any) -> Any:
    """The vector of `width` bytes that starts with a[index]."""
    _check_contiguous(a)
    vector = Vector(a.dtype, width.literal_value * 8 // a.dtype.bitwidth)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, *arguments[:2], signature.args[:2])
        place = builder.bitcast(pointer, context.get_value_type(vector).as_pointer())
        return builder.load(place, align=a.dtype.bitwidth // 8)

    return vector(a, index, width), codegen


@intrinsic
def store(_context: Any, a: Any, index: Any, vector: Any) -> Any:
    """Write a vector to a[index], a[index + 1] and so on."""
    if not isinstance(vector, Vector) or a.dtype != vector.dtype:
        return None
    _check_contiguous(a)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, value = arguments
        pointer = _pointer(context, builder, array, index, signature.args[:2])
        builder.store(
            value, builder.bitcast(pointer, value.type.as_pointer()), align=a.dtype.bitwidth // 8
        )
        return context.get_dummy_value()

    return types.void(a, index, vector), codegen


@intrinsic
def convert(_context: Any, vector: Any, number: Any) -> Any:
    """The same numbers in the dtype of `number`."""
    result = Vector(number, vector.count)

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(result)
        if number.bitwidth == vector.dtype.bitwidth:
            return arguments[0]
        return (builder.fpext if number.bitwidth > vector.dtype.bitwidth else builder.fptrunc)(
            arguments[0], kind
        )

    return result(vector, number), codegen


@intrinsic
def nonzero(_context: Any, vector: Any) -> Any:
    """A number whose bit k says whether element k of the vector is not zero; NaN is not."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        differs = builder.fcmp_unordered("!=", arguments[0], ir.Constant(arguments[0].type, None))
        return builder.zext(builder.bitcast(differs, ir.IntType(vector.count)), ir.IntType(64))

    return types.uint64(vector), codegen


@intrinsic
def lowest_bit(_context: Any, bits: Any) -> Any:
    """The position of the lowest bit that is set in a number that is not zero."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.uint64(bits), codegen


def _arithmetic(function: Any, instruction: str) -> None:
    @intrinsic
    def of_vectors(_context: Any, a: Any, b: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments)

        return a(a, b), codegen

    @intrinsic
    def repeated(_context: Any, number: Any, vector: Any) -> Any:
        def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            kind, position = context.get_value_type(vector), ir.IntType(32)
            first = builder.insert_element(
                ir.Constant(kind, ir.Undefined), arguments[0], position(0)
            )
            zeros = ir.Constant(ir.VectorType(position, vector.count), [position(0)] * vector.count)
            return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

        return vector(number, vector), codegen

    @overloads(function)
    def implement(a, b):  # type: ignore[no-untyped-def]  # to Numba the lambdas have the same: none
        if isinstance(a, Vector) and a == b:
            return lambda a, b: of_vectors(a, b)
        if isinstance(a, Vector) and a.dtype == b:
            return lambda a, b: of_vectors(a, repeated(b, a))
        if isinstance(b, Vector) and b.dtype == a:
            return lambda a, b: of_vectors(repeated(a, b), b)
        return None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
