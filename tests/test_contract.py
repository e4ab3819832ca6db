"""Every backend keeps to the contract's signatures. Needs no hardware and imports no CuPy."""

import inspect

import pytest

from fastnn.backends import _BUILTIN, _backend_class
from fastnn.backends.base import OPERATIONS, Backend


def overrides():
    """(backend's name, method's name) for every public method that a registered backend defines itself."""
    for backend in _BUILTIN:
        for ancestor in inspect.getmro(_backend_class(backend)):
            if ancestor is Backend:
                break
            yield from ((backend, name) for name in vars(ancestor) if not name.startswith("_"))


def parameters(cls, name):
    """Name, kind and default of each parameter, without the annotations."""
    function = inspect.getattr_static(cls, name)
    function = getattr(function, "__func__", function)  # the function in a class method or static method
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_in_the_reference(name):
    assert inspect.isfunction(inspect.getattr_static(Backend, name))
    assert inspect.getdoc(getattr(Backend, name))


def test_operations_are_named_once():
    assert len(set(OPERATIONS)) == len(OPERATIONS)


@pytest.mark.parametrize(("backend", "name"), sorted(set(overrides())))
def test_an_override_has_the_signature_of_the_reference(backend, name):
    if name in Backend.__annotations__:  # name, xp, array_type
        return
    assert hasattr(Backend, name), f"{name} is not in the contract: give it a leading underscore, or put it there"
    cls = _backend_class(backend)
    expected, found = inspect.getattr_static(Backend, name), inspect.getattr_static(cls, name)
    assert type(found) is type(expected)
    if callable(getattr(Backend, name)):
        assert parameters(cls, name) == parameters(Backend, name)


@pytest.mark.parametrize("backend", _BUILTIN)
def test_a_backend_goes_by_the_name_that_it_is_registered_under(backend):
    assert _backend_class(backend).name == backend


def test_the_comparison_sees_each_kind_of_difference():
    def dense(self, x, W, b, activation="identity", *, out=None): ...

    assert parameters(type("Same", (), {"dense": dense}), "dense") == parameters(Backend, "dense")

    def positional(self, x, W, b, activation="identity", out=None): ...
    def renamed(self, x, weights, b, activation="identity", *, out=None): ...
    def other_default(self, x, W, b, activation="sigmoid", *, out=None): ...

    for function in (positional, renamed, other_default):
        assert parameters(type("Other", (), {"dense": function}), "dense") != parameters(Backend, "dense")


def test_the_classes_load_no_library(python):
    body = "import sys; from fastnn.backends import _BUILTIN, _backend_class; [_backend_class(n) for n in _BUILTIN]; "
    done = python("-c", body + "print('numba' in sys.modules, 'cupy' in sys.modules)")
    assert done.out == "False False\n", done.err
