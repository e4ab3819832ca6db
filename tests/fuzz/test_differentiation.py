"""Numerical derivatives of functions that return what nobody would expect."""

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import fastnn

from .calls import ROUNDING, OwnError, array_like, check, examples
from .values import FLOATS, anything, arrays, inert, keywords, mostly


def total(p):
    return (p * p).sum()


def raising(p):
    raise OwnError("of the user\nin two lines")


def writing(p):
    p += 1
    return p.sum()


def last(p):
    return p[-1].sum() if p.ndim else p


#: Functions of an array, most of which have no gradient.
FUNCTIONS = {
    "total": total,
    "total of rows": lambda p: (p * p).reshape(len(p), -1).sum(axis=1),
    "float32": lambda p: np.float32(total(p)),
    "float": lambda p: float(total(p)),
    "one element": lambda p: np.array([[total(p)]]),
    "exp": lambda p: np.exp(p).sum(),
    "square": lambda p: p * p,
    "itself": lambda p: p,
    "list": lambda p: p.tolist(),
    "last": last,
    "constant": lambda _: 1,
    "nan": lambda _: np.nan,
    "infinite": lambda p: np.inf * total(p),
    "imaginary": lambda p: 1j * total(p),
    "huge": lambda _: 10**400,
    "flag": lambda p: total(p) > 1,
    "raises": raising,
    "writes": writing,
    "shape": lambda p: p.shape,
}


def quiet(f):
    """The function without its own warnings, which are the user's."""

    def quiet_f(p):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return f(p)
            except Exception as error:  # what NumPy has against `p` is the user's own, too
                raise OwnError(str(error)) from error

    return quiet_f


@st.composite
def functions(draw):
    """A function of the user's own; now and then what it returns is odd, or it is none."""
    which = draw(st.integers(0, 11))
    if which == 0:
        return draw(inert)
    value = draw(anything()) if which == 1 else None
    name = f"returns {value!r:.60}" if which == 1 else draw(st.sampled_from(sorted(FUNCTIONS)))
    f = quiet((lambda _: value) if which == 1 else FUNCTIONS[name])
    f.__qualname__ = name
    return f


points = mostly(st.one_of(arrays((3,), FLOATS), arrays((2, 3), FLOATS), arrays()), anything())
steps = mostly([1e-4, "auto", 1e-10, 1e300])
flags = st.booleans()


def like(x, error=False):
    """A check of a gradient, with its estimate of the error: like `x`."""
    known = type(x) is np.ndarray and x.dtype.kind == "f"
    right = array_like(x.shape, None) if known else array_like()

    def wrong(value):
        if not error:
            return right(value)
        if not (isinstance(value, tuple) and len(value) == 2):
            return "is no pair"
        return right(value[0]) or right(value[1])

    return wrong


@examples(250)
@given(functions(), points, keywords(h=steps, return_error=flags))
def test_numerical_diff(f, x, options):
    result = like(x, options.get("return_error"))
    expected = {"documented": ROUNDING, "result": result}
    check("numerical_diff", fastnn.numerical_diff, f, x, **options, **expected)


schemes = mostly(["central", "forward", "backward", "complex"])


@examples(400)
@given(
    functions(),
    points,
    keywords(
        h=steps,
        scheme=schemes,
        vectorized=flags,
        return_error=flags,
        workers=mostly([None, None, map, 0, -2], inert.filter(lambda w: type(w) is not int)),
    ),
)
def test_numerical_gradient(f, x, options):
    result = like(x, options.get("return_error"))
    expected = {"documented": ROUNDING, "result": result}
    check("numerical_gradient", fastnn.numerical_gradient, f, x, **options, **expected)


@examples(200)
@given(
    functions(),
    points,
    keywords(h=steps, scheme=schemes, vectorized=flags, return_error=flags),
)
def test_numerical_gradient_rows(f, x, options):
    result = like(x, options.get("return_error"))
    expected = {"documented": ROUNDING, "result": result}
    check("numerical_gradient_rows", fastnn.numerical_gradient_rows, f, x, **options, **expected)


@examples(200)
@given(
    functions(),
    points,
    keywords(lr=mostly([0, 0.1, 1e300]), step_num=mostly([0, 1, 5]), return_path=flags),
)
def test_gradient_descent(f, x, options):
    options.setdefault("step_num", 3)
    known = type(x) is np.ndarray and not options.get("return_path")
    expected = {"documented": ROUNDING, "result": array_like(x.shape) if known else None}
    check("gradient_descent", fastnn.gradient_descent, f, x, **options, **expected)
