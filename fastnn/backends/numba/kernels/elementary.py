"""Elementary functions that LLVM can vectorise, for innermost loops.

Numba calls the C library for ``math.exp`` and ``math.tanh``, one number at a time, and a loop with
such a call in it is not vectorised. The functions here are a few multiplications and additions
without branches. All take and return float64 or float32, propagate NaN, and give no infinity:
beyond the range of normal numbers they stay at its end.

The exponential is the usual reduction (Muller, "Elementary Functions", 3rd ed., 2016, ch. 11): x =
k·ln 2 + r with integer k and |r| ≤ ln 2 / 2, then 2^k · (1 + (exp(r) − 1)) with the power series of
exp(r) − 1, cut off where the next term is below half a unit in the last place: after r¹³/13! in
float64 and r⁷/7! in float32. The bounds that the tests hold them to are 2 units in the last place
for `exp` and `expm1`, 4 for the others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from .jit import inlined, overloads

_LOG2_E = math.log2(math.e)
# ln 2 in two parts: k times the first is exact for every k that occurs.
_LN2_HIGH = float.fromhex("0x1.62e42feep-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_LN2_HIGH_32 = float.fromhex("0x1.62e4p-1")
_LN2_LOW_32 = math.log(2) - _LN2_HIGH_32
# Adding this rounds to an integer and leaves that integer in the lowest bits of the sum.
_ROUNDER = float.fromhex("0x1.8p52")
_ROUNDER_32 = float.fromhex("0x1.8p23")


@intrinsic
def bits(_context: Any, x: Any) -> Any:
    """The bits of a float as an integer of the same width."""
    integer = {types.float64: types.int64, types.float32: types.int32}[x]

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(integer))

    return integer(x), codegen


@intrinsic
def from_bits(_context: Any, x: Any) -> Any:
    """The float with these bits."""
    real = {types.int64: types.float64, types.int32: types.float32}[x]

    def codegen(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(real))

    return real(x), codegen


@inlined
def _power_and_expm1_64(x: float) -> tuple[float, float]:
    """2^k and exp(r) − 1 of the reduction x = k·ln 2 + r."""
    x = -708.0 if x < -708.0 else x
    x = 709.0 if x > 709.0 else x
    rounded = x * _LOG2_E + _ROUNDER
    k = rounded - _ROUNDER
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    s = 1 / 6227020800
    s = s * r + 1 / 479001600
    s = s * r + 1 / 39916800
    s = s * r + 1 / 3628800
    s = s * r + 1 / 362880
    s = s * r + 1 / 40320
    s = s * r + 1 / 5040
    s = s * r + 1 / 720
    s = s * r + 1 / 120
    s = s * r + 1 / 24
    s = s * r + 1 / 6
    s = s * r + 0.5
    return from_bits((bits(rounded) + 1023) << 52), s * (r * r) + r


@inlined
def _power_and_expm1_32(x: float) -> tuple[float, float]:
    """2^k and exp(r) − 1 of the reduction x = k·ln 2 + r, in float32 throughout."""
    x = np.float32(-87.0) if x < np.float32(-87.0) else x
    x = np.float32(88.0) if x > np.float32(88.0) else x
    rounded = x * np.float32(_LOG2_E) + np.float32(_ROUNDER_32)
    k = rounded - np.float32(_ROUNDER_32)
    r = (x - k * np.float32(_LN2_HIGH_32)) - k * np.float32(_LN2_LOW_32)
    s = np.float32(1 / 5040)
    s = s * r + np.float32(1 / 720)
    s = s * r + np.float32(1 / 120)
    s = s * r + np.float32(1 / 24)
    s = s * r + np.float32(1 / 6)
    s = s * r + np.float32(0.5)
    return from_bits(np.int32(np.int32(bits(rounded) + np.int32(127)) << np.int32(23))), s * (
        r * r
    ) + r


def _power_and_expm1(x: Any) -> Any:
    """2^k and exp(r) − 1 of the reduction x = k·ln 2 + r; for compiled code only."""
    raise NotImplementedError


@overloads(_power_and_expm1)
def _overload_power_and_expm1(x: Any) -> Any:
    def single(x: Any) -> Any:
        return _power_and_expm1_32(x)

    def double(x: Any) -> Any:
        return _power_and_expm1_64(x)

    return single if x == types.float32 else double


def like(x: Any, value: Any) -> Any:
    """`value` in the type of `x`; for compiled code only.

    A float64 constant would widen float32 arithmetic.
    """
    raise NotImplementedError


@overloads(like)
def _overload_like(x: Any, value: Any) -> Any:  # noqa: ARG001
    def single(x: Any, value: Any) -> Any:  # noqa: ARG001
        return np.float32(value)

    def double(x: Any, value: Any) -> Any:  # noqa: ARG001
        return np.float64(value)

    return single if x == types.float32 else double


def _lowest(x: Any) -> Any:
    """The smallest argument whose exponential is a normal number; for compiled code only."""
    raise NotImplementedError


@overloads(_lowest)
def _overload_lowest(x: Any) -> Any:
    def single(x: Any) -> Any:  # noqa: ARG001
        return np.float32(-87.0)

    def double(x: Any) -> Any:  # noqa: ARG001
        return -708.0

    return single if x == types.float32 else double


@inlined
def exp(x: float) -> float:
    """e^x; 0 where that is below the normal numbers, and their largest where it is above."""
    power, e = _power_and_expm1(x)
    return like(x, 0) if x < _lowest(x) else power + power * e


@inlined
def expm1(x: float) -> float:
    """e^x − 1, accurate relative to the result also where that is small."""
    power, e = _power_and_expm1(x)
    # For k = 0 this is e itself; otherwise 2^k − 1 is at least 1/2 in size and nothing cancels.
    return power * e + (power - like(x, 1))


@inlined
def sigmoid(x: float) -> float:
    """1 / (1 + e^−x), accurate relative to the result in both tails."""
    return like(x, 1) / (like(x, 1) + exp(-x))


@inlined
def tanh(x: float) -> float:
    """(e^2x − 1) / (e^2x + 1), without cancellation for small x."""
    e = expm1(like(x, 2) * x)
    return e / (e + like(x, 2))
