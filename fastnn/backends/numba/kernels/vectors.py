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
where the registers are narrower; what is no power of two is several of its vectors. Vectors are
added, subtracted and multiplied with vectors of their kind and with numbers of their dtype. Arrays
are C-contiguous; no index is checked.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

from .jit import named, overloads

#: The width in bytes of the widest registers there are, those of AVX-512.
WIDE = 64

_triple, _, _features = cpu_target.target_context.codegen().magic_tuple()

#: Whether what is compiled for has an instruction for `store_nonzero`.
COMPRESSES = "+avx512vl" in _features


def _registers() -> int:
    """The bytes of all its vector registers together."""
    if not _triple.startswith("x86_64"):
        return 32 * 16
    return 32 * 64 if "+avx512f" in _features else 16 * (32 if "+avx" in _features else 16)


#: How many sums of WIDE bytes a loop is to have at most: half of the registers, as what is added to
#: them needs some, too. Of more some are in memory, which takes several times as long.
SUMS = _registers() // (2 * WIDE)


class Vector(types.Type):
    """The Numba type of `count` numbers of one dtype."""

    def __init__(self, dtype: types.Float, count: int) -> None:
        self.dtype, self.count = dtype, count
        super().__init__(f"Vector({dtype}, {count})")

    @property
    def pieces(self) -> list[int]:
        """How many numbers each of LLVM's vectors has: of other counts it would compute more."""
        whole, rest = divmod(self.count, PIECE)
        powers = [1 << k for k in reversed(range(PIECE.bit_length())) if rest >> k & 1]
        return [PIECE] * whole + powers


#: The most numbers in one of LLVM's vectors, whatever their dtype: those of the narrowest in WIDE.
PIECE = 16


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        number = manager[vector.dtype].get_value_type()
        kinds = [ir.VectorType(number, count) for count in vector.pieces]
        super().__init__(manager, vector, kinds[0] if len(kinds) == 1 else _together(kinds))


def _together(kinds: Any) -> Any:
    return ir.LiteralStructType(kinds)


def _pieces(builder: Any, value: Any) -> list[Any]:
    """LLVM's vectors of the value of a vector."""
    if isinstance(value.type, ir.VectorType):
        return [value]
    return [builder.extract_value(value, i) for i in range(len(value.type.elements))]


def _joined(builder: Any, pieces: list[Any]) -> Any:
    """And the value that they are."""
    if len(pieces) == 1:
        return pieces[0]
    value = ir.Constant(_together([piece.type for piece in pieces]), ir.Undefined)
    for i, piece in enumerate(pieces):
        value = builder.insert_value(value, piece, i)
    return value


def _places(builder: Any, pointer: Any, kinds: list[Any]) -> list[Any]:
    """Where they are in memory, from a pointer to the first of their numbers on."""
    places, first = [], 0
    for kind in kinds:
        place = builder.gep(pointer, [ir.Constant(ir.IntType(64), first)]) if first else pointer
        places.append(builder.bitcast(place, kind.as_pointer()))
        first += kind.count
    return places


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
    vector = _of_width(a, width)
    return vector(a, index, width), _loading(a, vector)


@intrinsic
def element(_context: Any, a: Any, index: Any) -> Any:
    """a[index] itself, where no number is negative: to ask takes time, as slices do."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, *arguments, signature.args))

    return a.dtype(a, index), codegen


@intrinsic
def prefetch(_context: Any, a: Any, index: Any) -> Any:
    """Ask for the memory around a[index] to be brought near; nothing is read."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, number = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch",
            [pointer],
            ir.FunctionType(ir.VoidType(), [pointer, number, number, number]),
        )
        place = builder.bitcast(_pointer(context, builder, *arguments, signature.args), pointer)
        # To read, to be kept from the second level on, of data: the first level is full.
        builder.call(function, [place, number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(a, index), codegen


@intrinsic
def store(_context: Any, a: Any, index: Any, vector: Any) -> Any:
    """Write a vector to a[index], a[index + 1] and so on."""
    if not isinstance(vector, Vector) or a.dtype != vector.dtype:
        return None
    return types.void(a, index, vector), _storing(a)


def _reading(masked: bool) -> Any:
    """What reads a vector from a[index] on, by bytes or like another, and what writes one there.

    The last argument of each is how many of its numbers are meant if it is masked: the others are
    zeros, and not written. They may be of another row, or of no array at all.
    """

    @intrinsic(prefer_literal=True)
    def read(_context: Any, a: Any, index: Any, width: Any, count: Any) -> Any:
        vector = _of_width(a, width)
        return vector(a, index, width, count), _loading(a, vector, masked)

    @intrinsic
    def read_like(_context: Any, a: Any, index: Any, vector: Any, count: Any) -> Any:
        result = Vector(a.dtype, vector.count)
        return result(a, index, vector, count), _loading(a, result, masked)

    @intrinsic
    def write(_context: Any, a: Any, index: Any, vector: Any, count: Any) -> Any:
        if not isinstance(vector, Vector) or a.dtype != vector.dtype:
            return None
        return types.void(a, index, vector, count), _storing(a, masked)

    for function in (read, read_like, write):
        named(function, "first" if masked else "whole")
    return read, read_like, write


def _of_width(a: Any, width: Any) -> Vector:
    _check_contiguous(a)
    return Vector(a.dtype, width.literal_value * 8 // a.dtype.bitwidth)


def _loading(a: Any, vector: Vector, masked: bool = False) -> Any:
    """The code that loads a vector from a[index], masked if the fourth argument is a count."""
    _check_contiguous(a)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = context.get_value_type(vector.dtype)
        kinds = [ir.VectorType(number, count) for count in vector.pieces]
        pointer = _pointer(context, builder, *arguments[:2], signature.args[:2])
        places = _places(builder, pointer, kinds)
        if not masked:
            align = a.dtype.bitwidth // 8
            return _joined(builder, [builder.load(place, align=align) for place in places])
        (kind,), (place,) = kinds, places
        mask = _mask(context, builder, kind.count, arguments[3], signature.args[3])
        values = [place, _alignment(a), mask, ir.Constant(kind, None)]
        return _call_masked(builder, "load", kind, values, kind)

    return codegen


def _storing(a: Any, masked: bool = False) -> Any:
    """And the code that stores one there."""
    _check_contiguous(a)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pieces = _pieces(builder, arguments[2])
        pointer = _pointer(context, builder, *arguments[:2], signature.args[:2])
        places = _places(builder, pointer, [piece.type for piece in pieces])
        if masked:
            (value,), (place,) = pieces, places
            mask = _mask(context, builder, value.type.count, arguments[3], signature.args[3])
            values = [value, place, _alignment(a), mask]
            _call_masked(builder, "store", value.type, values, ir.VoidType())
        else:
            for piece, place in zip(pieces, places, strict=True):
                builder.store(piece, place, align=a.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return codegen


def _mask(context: Any, builder: Any, lanes: int, count: Any, kind: Any) -> Any:
    """The bits of a vector of which the first `count` are set."""
    numbers = ir.VectorType(ir.IntType(64), lanes)
    limit = context.cast(builder, count, kind, types.int64)
    return builder.icmp_unsigned("<", _counted(numbers), _repeated(builder, limit, numbers))


def _alignment(a: Any) -> Any:
    return ir.Constant(ir.IntType(32), a.dtype.bitwidth // 8)


def _call_masked(builder: Any, what: str, kind: Any, values: list[Any], result: Any) -> Any:
    """Call what LLVM has to load or store vectors of this kind by a mask."""
    element = {"float": "f32", "double": "f64"}[str(kind.element)]
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(result, [value.type for value in values]),
        f"llvm.masked.{what}.v{kind.count}{element}.p0",
    )
    return builder.call(function, values)


#: Of whole vectors, and of their first numbers.
READING = {"whole": _reading(masked=False), "first": _reading(masked=True)}


@intrinsic
def convert(_context: Any, vector: Any, number: Any) -> Any:
    """The same numbers in the dtype of `number`."""
    result = Vector(number, vector.count)

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        if number.bitwidth == vector.dtype.bitwidth:
            return arguments[0]
        cast = builder.fpext if number.bitwidth > vector.dtype.bitwidth else builder.fptrunc
        element, pieces = context.get_value_type(number), _pieces(builder, arguments[0])
        return _joined(
            builder, [cast(piece, ir.VectorType(element, piece.type.count)) for piece in pieces]
        )

    return result(vector, number), codegen


@intrinsic
def store_nonzero(
    _context: Any, vector: Any, first: Any, values: Any, indices: Any, start: Any
) -> Any:
    """Write the elements that are not zero, NaN among them, side by side from values[start] on.

    If the vector is of elements number `first` and so on, their numbers are written likewise, in
    32 bits, from indices[start] on. How many they are is the result. There has to be room for a
    whole vector; no branch depends on what is zero.
    """
    if not isinstance(vector, Vector) or values.dtype != vector.dtype:
        return None
    if not isinstance(indices.dtype, types.Integer) or indices.dtype.bitwidth != 32:
        return None
    _check_contiguous(values)
    _check_contiguous(indices)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, first = arguments[:2]
        numbers = ir.VectorType(ir.IntType(32), vector.count)
        mask = builder.fcmp_unordered("!=", value, ir.Constant(value.type, None))

        def write(kept: Any, array: int) -> None:
            # One instruction on AVX-512; of others LLVM makes many, which take longer than a loop
            # over the elements.
            element = {"float": "f32", "double": "f64"}.get(str(kept.type.element), "i32")
            compress = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(kept.type, [kept.type, mask.type, kept.type]),
                f"llvm.experimental.vector.compress.v{vector.count}{element}",
            )
            kept = builder.call(compress, [kept, mask, ir.Constant(kept.type, ir.Undefined)])
            kind = signature.args[array]
            pointer = _pointer(
                context, builder, arguments[array], arguments[4], (kind, signature.args[4])
            )
            place = builder.bitcast(pointer, kept.type.as_pointer())
            builder.store(kept, place, align=kind.dtype.bitwidth // 8)

        write(value, 2)
        offset = context.cast(builder, first, signature.args[1], types.uint32)
        write(builder.add(_repeated(builder, offset, numbers), _counted(numbers)), 3)
        bits = builder.zext(builder.bitcast(mask, ir.IntType(vector.count)), ir.IntType(64))
        return builder.ctpop(bits)

    return types.intp(vector, first, values, indices, start), codegen


def _counted(kind: Any) -> Any:
    """The vector 0, 1, 2, ..."""
    return ir.Constant(kind, list(range(kind.count)))


def _repeated(builder: Any, number: Any, kind: Any) -> Any:
    """The vector of which every element is `number`."""
    position = ir.IntType(32)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, position(0))
    zeros = ir.Constant(ir.VectorType(position, kind.count), [position(0)] * kind.count)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)


def _arithmetic(function: Any, instruction: str) -> None:
    @intrinsic
    def of_vectors(_context: Any, a: Any, b: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            pairs = zip(*(_pieces(builder, value) for value in arguments), strict=True)
            return _joined(builder, [getattr(builder, instruction)(*pair) for pair in pairs])

        return a(a, b), codegen

    @intrinsic
    def repeated(_context: Any, number: Any, vector: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            kinds = [ir.VectorType(arguments[0].type, count) for count in vector.pieces]
            return _joined(builder, [_repeated(builder, arguments[0], kind) for kind in kinds])

        return vector(number, vector), codegen

    @overloads(function)
    def implement(a, b):  # type: ignore[no-untyped-def]  # to Numba the lambdas have the same: none
        if isinstance(a, Vector) and a == b:
            return named(lambda a, b: of_vectors(a, b), instruction)
        if isinstance(a, Vector) and a.dtype == b:
            return named(lambda a, b: of_vectors(a, repeated(b, a)), instruction)
        if isinstance(b, Vector) and b.dtype == a:
            return named(lambda a, b: of_vectors(repeated(a, b), b), instruction)
        return None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
