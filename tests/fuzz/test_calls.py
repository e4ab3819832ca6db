"""The fuzzers find what they are to find."""

import warnings

import numpy as np
import pytest

import fastnn

from . import calls


class PlainError(fastnn.InputError):
    """Shows its message as it is, which the package's own errors do not."""

    def __str__(self):
        return self.args[0]


def refusing(message):
    def refuse(x):
        raise PlainError(message)

    return refuse


def warning(x):
    warnings.warn("of nothing that is documented", RuntimeWarning, stacklevel=1)


def wrong(x):
    return x[5]


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda x: x.fill(1), "an input changed"),
        (lambda x: x.base.fill(1), "an input changed"),
        (refusing("two\nlines"), "a message of 2 lines"),
        (refusing(""), "a message of 0 lines"),
        (refusing("x" * 301), "301 characters"),
        (warning, "of nothing that is documented"),
        (wrong, "IndexError"),
        (np.array, "is of float64"),
    ],
)
def test_a_fault_is_found(monkeypatch, function, found):
    monkeypatch.setattr(calls, "RECORD", None)
    base = np.zeros(4)
    with pytest.raises(AssertionError, match=found):
        calls.check("call", function, base[::2], result=calls.array_like((2,), np.float32))


def test_what_is_right_is_no_fault():
    x = np.zeros(3)
    found = calls.check(
        "sigmoid", fastnn.functions.sigmoid, x, result=calls.array_like((3,), x.dtype)
    )
    assert found.tolist() == [0.5] * 3
    assert isinstance(calls.check("loss", refusing("in one line"), x), fastnn.InputError)


def test_a_changed_parameter_is_found(monkeypatch):
    monkeypatch.setattr(calls, "RECORD", None)
    network = fastnn.TwoLayerNet(2, 3, 2)

    def careless(x):
        network.params["b1"] += 1

    with pytest.raises(AssertionError, match="parameters changed"):
        calls.check("loss", careless, np.zeros(2), network=network)
