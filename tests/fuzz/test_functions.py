"""The functions of :mod:`fastnn.functions` that check what they are given."""

import inspect

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastnn import functions

from .calls import RANGE, array_like, check, examples
from .values import anything, arrays, mostly, odd

ELEMENTWISE = ["identity_function", "step_function", "relu"]
FLOATING = ["sigmoid", "sigmoid_grad", "tanh", "relu_grad", "softmax"]
LOSSES = [
    "cross_entropy_error",
    "binary_cross_entropy_error",
    "mean_squared_error",
    "sum_squared_error",
]
WITH_OUT = ["sigmoid", "tanh", "relu", "softmax"]

#: Takes what has been checked.
UNCHECKED = {"one_hot"}


def test_every_function_is_among_them():
    public = {name for name in functions.__all__ if inspect.isfunction(getattr(functions, name))}
    assert {*ELEMENTWISE, *FLOATING, *LOSSES, "maxout"} == public - UNCHECKED


def floating(dtype):
    dtype = dtype.newbyteorder("=")
    return dtype if dtype.kind == "f" else np.dtype(float)


def result_of(name, x):
    """What the function returns for an array."""
    if type(x) is not np.ndarray:
        return array_like()
    if name in FLOATING:
        return array_like(x.shape, floating(x.dtype))
    dtype = np.dtype(np.int64) if name == "relu" and x.dtype.kind == "b" else x.dtype
    return lambda y: (
        array_like(x.shape)(y)
        or (None if y.dtype.newbyteorder("=") == dtype.newbyteorder("=") else f"is of {y.dtype}")
    )


@examples(400)
@given(st.sampled_from(ELEMENTWISE + FLOATING), anything())
def test_activations(name, x):
    check(name, getattr(functions, name), x, documented=RANGE, result=result_of(name, x))


@examples(150)
@given(st.data(), st.sampled_from(WITH_OUT), arrays())
def test_activations_into_an_array(data, name, x):
    out = data.draw(mostly(arrays(x.shape)))
    if out is not None:
        check(
            name,
            getattr(functions, name),
            x,
            out=out,
            documented=RANGE,
            result=lambda y: y is not out or None,
        )


@examples(100)
@given(anything(), mostly([None, 1, 2, 3, 5]))
def test_maxout(x, pieces):
    check("maxout", functions.maxout, x, pieces, result=array_like())


@examples(250)
@given(
    st.sampled_from(LOSSES),
    mostly(st.one_of(arrays((3, 2)), arrays((3,))), anything()),
    st.one_of(arrays((3, 2)), arrays((3,)), arrays((3,), ["i8", "u1"]), anything(), odd),
)
def test_losses(name, y, t):
    known = type(y) is np.ndarray and y.dtype.isnative
    dtype = floating(y.dtype) if known else None
    check(name, getattr(functions, name), y, t, result=array_like((), dtype), documented=RANGE)
