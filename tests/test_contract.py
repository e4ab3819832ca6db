"""The contract itself, and that our classes keep to it: needs no hardware and imports no CuPy."""

import inspect

import pytest

from fastnn.backends import _BUILTIN, _backend_class
from fastnn.backends.base import OPERATIONS, Backend
from fastnn.backends.completeness import METHODS, lacks, parameters


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_reference_says_what_it_does(name):
    assert inspect.getdoc(getattr(Backend, name))


def test_every_operation_is_in_the_reference():
    assert len(set(OPERATIONS)) == len(OPERATIONS)
    assert set(OPERATIONS) < set(METHODS)


@pytest.mark.parametrize("backend", _BUILTIN)
def test_our_backends_are_complete(backend):
    """Their instances are compared further in fastnn.backends.conformance.test_signatures."""
    assert lacks(backend, _backend_class(backend)) == []


def test_the_comparison_sees_each_kind_of_difference():
    def dense(self, x, W, b, activation="identity", *, out=None): ...

    assert parameters(type("Same", (), {"dense": dense}), "dense") == parameters(Backend, "dense")

    def positional(self, x, W, b, activation="identity", out=None): ...
    def renamed(self, x, weights, b, activation="identity", *, out=None): ...
    def other_default(self, x, W, b, activation="sigmoid", *, out=None): ...

    fix = "let it take (self, x, W, b, activation='identity', *, out=None)"
    other_kinds = (staticmethod(dense), "make it a method"), (None, "make it a method"), (len, fix)
    for function, said in ((positional, fix), (renamed, fix), (other_default, fix), *other_kinds):
        other = type("Other", (Backend,), {"name": "other", "xp": None, "dense": function})
        [found] = lacks("other", other)
        assert found.startswith("dense ")
        assert found.endswith(said)


def test_the_classes_load_no_library(python):
    body = (
        "import sys; from fastnn.backends import _BUILTIN, _backend_class; "
        "[_backend_class(n) for n in _BUILTIN]; "
    )
    done = python("-c", body + "print('numba' in sys.modules, 'cupy' in sys.modules)")
    assert done.out == "False False\n", done.err
