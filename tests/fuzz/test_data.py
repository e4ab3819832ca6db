"""Data files with bytes changed, cut off and put in, and paths that lead nowhere."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from idx import NAMES, TYPES, idx, write_mnist

import fastnn

from .calls import array_like, check, examples
from .values import mostly, odd

SIZES = [0, 1, 2, 3, 2**16, 2**31, 2**32 - 1]


@st.composite
def contents(draw):
    """An IDX file that is damaged in a few places, before it was packed or after."""
    if draw(st.booleans()):
        sizes = draw(st.lists(st.sampled_from(SIZES), max_size=4))
        code = draw(st.sampled_from([*TYPES.values(), 0, 0x0A]))
        raw = struct.pack(f">HBB{len(sizes)}I", 0, code, len(sizes), *sizes)
        raw += bytes(draw(st.integers(0, 30)))
    else:
        raw = idx(np.arange(6, dtype=draw(st.sampled_from(list(TYPES)))).reshape(2, 3))
    if draw(st.booleans()):
        raw = draw(damaged(raw))
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        raw = gzip.compress(raw, 1, mtime=0)
        if draw(st.booleans()):
            raw = draw(damaged(raw))
    return raw


@st.composite
def damaged(draw, raw):
    at = draw(st.integers(0, len(raw)))
    some = draw(st.binary(max_size=8))
    return draw(st.sampled_from([raw[:at], raw[:at] + some + raw[at:], raw + raw, raw + some])) or (
        raw[:at] + some + raw[at + len(some) :]
    )


def read_back(raw):
    """A check of what was read: it is, written again, what stood in the file."""

    def wrong(value):
        content = raw
        while content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        return None if idx(value) == content else "is not what the file holds"

    return wrong


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@examples(400)
@given(raw=contents())
def test_load_idx(folder, raw):
    path = folder / "file"

    def load(raw):  # so that the bytes are shown, and not the path
        path.write_bytes(raw)
        return fastnn.load_idx(path)

    check("load_idx", load, raw, result=read_back(raw))


@examples(100)
@given(mostly(st.text(max_size=300), odd, 3))
def test_load_idx_of_a_path(path):
    check("load_idx of a path", fastnn.load_idx, path, result=array_like())


@examples(150)
@given(
    raw=contents(),
    which=st.sampled_from(NAMES),
    flags=st.tuples(*[mostly([True, False])] * 3),
)
def test_load_mnist(folder, raw, which, flags):
    def load(raw, *flags):
        (folder / which).write_bytes(raw)
        return fastnn.load_mnist(*flags, directory=folder)

    def wrong(value):
        (x, t), (x_test, t_test) = value
        fits = len(x) == len(t) and len(x_test) == len(t_test) and x.shape[1:] == x_test.shape[1:]
        right = not flags[0] or x.dtype == np.float32
        return None if fits and right else f"is of shapes {x.shape} and {t.shape}"

    write_mnist(folder)
    check("load_mnist", load, raw, *flags, result=wrong)


@examples(60)
@given(mostly(st.text(min_size=1, max_size=300), odd.filter(lambda value: value is not None), 3))
def test_load_mnist_of_a_directory(directory):
    check("load_mnist of a directory", fastnn.load_mnist, directory=directory)
