"""What is handed in: arrays of every kind, and things that are none."""

import array
import decimal
import fractions
import math

import numpy as np
from hypothesis import strategies as st

# Of what each array is made follows from a few small numbers: drawing every element would take
# longer than the call, and shrink no better.
FLOATS = ["f8", "f4"]
NUMBERS = [*FLOATS, "f2", "g", ">f8", ">f4", "i1", "i2", "i4", "i8", "u1", "u8", ">i4", "?"]
OTHERS = ["c8", "c16", "O", "U3", "S3", "M8[s]", "m8[s]", [("a", "f8")], "V4"]

SPECIAL = {
    "zeros": [0.0],
    "ones": [1.0],
    "nan": [math.nan, 1.0],
    "infinite": [math.inf, -math.inf, 0.0],
    "huge": [1e308, -1e308, 3e38],
    "tiny": [5e-324, 1e-40, -1e-310],
    "labels": [0.0, 1.0, 2.0],
    "negative": [-1.0, -3.0],
    "large": [300.0, 1e9, -7e4],
    "fractions": [0.25, 0.5, -1.5],
}


def built(dtype, shape, content, layout, seed):
    """An array; `layout` is how it lies in memory."""
    rng = np.random.default_rng(seed)
    size = math.prod(shape)
    values = (
        rng.standard_normal(size) if content == "normal" else rng.choice(SPECIAL[content], size)
    )
    with np.errstate(all="ignore"):
        a = of_dtype(values, dtype).reshape(shape)
    return LAYOUTS[layout](a)


def of_dtype(values, dtype):
    kind = np.dtype(dtype).kind
    if kind in "iu":
        info = np.iinfo(dtype)
        return np.array([clipped(v, info) for v in values], dtype)
    if kind == "O":
        return np.array([None if v < 0 else float(v) for v in values], object)
    if kind in "USMmV":
        return np.zeros(len(values), dtype)
    return values.astype(dtype)


def clipped(value, info):
    return 0 if math.isnan(value) else int(min(max(value, float(info.min)), info.max // 2))


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def strided(a):
    return np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a


def reversed_(a):
    return a[::-1] if a.ndim else a


LAYOUTS = {
    "C": lambda a: a,
    "F": np.asfortranarray,
    "strided": strided,
    "reversed": reversed_,
    "read-only": read_only,
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim and a.size else a,
    "transposed": lambda a: a.T,
    "masked": lambda a: np.ma.masked_invalid(a) if a.dtype.kind in "fiub" else a,
}


class Hostile:
    """Refuses all that a number or an array can be asked."""

    def __repr__(self):
        return "Hostile\n" * 100

    def __float__(self):
        raise ValueError("no float\nat all")

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no array\nat all")


def matrix(values):
    # PendingDeprecationWarning is NumPy's own; and what np.matrix is, is its class.
    return np.asarray(values).view(np.matrix)


ODD = [
    *(None, True, False, 0, -1, 1, 7, 2**62, -(2**70), 10**400),
    *(0.0, -0.5, 1e-4, 1e308, math.nan, math.inf, -math.inf, 1j),
    *("", "auto", "text", "two\nlines", "x" * 1000, "\0", "\ud800", b"bytes", "float32"),
    *([], [[]], [1, 2, 3], [[1.0, 2], [3, 4]], [[1], [2, 3]], [None], ["a"], [10**400]),
    *((), (1.0, 2.0), {}, {"a": 1}, {1, 2}, range(3), object(), len, Hostile(), Hostile),
    *(fractions.Fraction(1, 3), decimal.Decimal("0.1"), decimal.Decimal("NaN"), slice(3)),
    *(
        np.float32(0.5),
        np.int8(3),
        np.bool_(True),
        np.datetime64("NaT", "s"),
        np.str_("a"),
        np.float64,
    ),
    *(array.array("d", [1, 2]), memoryview(b"abc"), bytearray(3), NotImplemented, ...),
]

odd = st.sampled_from(range(len(ODD))).map(lambda i: ODD[i])

#: What cannot be called.
inert = odd.filter(lambda value: not callable(value))


@st.composite
def arrays(draw, shape=None, dtypes=None):
    """An array; of `shape`, if given, nine times out of ten."""
    if dtypes is None:
        dtypes = draw(st.sampled_from([FLOATS, NUMBERS, NUMBERS, OTHERS]))
    if shape is None or not draw(st.integers(0, 9)):
        shape = tuple(draw(st.lists(st.sampled_from([0, 1, 2, 3, 5]), max_size=3)))
    return built(
        draw(st.sampled_from(dtypes)),
        shape,
        draw(st.sampled_from(["normal", "normal", *SPECIAL])),
        draw(st.sampled_from(["C", "C", *LAYOUTS])),
        draw(st.integers(0, 9)),
    )


def anything(shape=None):
    """Arrays mostly, and everything else."""
    a = arrays(shape)
    some = st.one_of(a.map(lambda a: a.tolist()), odd, a.filter(lambda a: a.ndim == 2).map(matrix))
    return st.one_of(a, a, some)


def mostly(good, bad=odd, odds=6):
    """One of the good, and now and then one of the others."""
    good = st.sampled_from(good) if isinstance(good, list) else good
    return st.integers(0, odds).flatmap(lambda i: good if i else bad)


@st.composite
def keywords(draw, **strategies):
    """Some of these arguments."""
    return {name: draw(s) for name, s in strategies.items() if draw(st.booleans())}
