"""Functions that kernels call by their address: with the very types that they are compiled for."""

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

import fastnn
from fastnn.backends.numba import compilers
from fastnn.backends.numba.kernels import jit, pointers
from fastnn.backends.numba.kernels.pointers import call
from fastnn.backends.numba.linking import kinds


@njit
def add(a, x, out):
    out[0] += a[0] * x
    out[1] += a[1][0]


@njit
def refuse(x):
    if x < 0:
        raise ArithmeticError("it is negative")


@njit
def calls(stages, pair, x, out):
    call(stages[0], (pair, x, out))


@njit
def calls_second(stages, x):
    call(stages[1], (x,))


def compiled(*functions):
    for function, arguments in functions:
        function.compile(tuple(map(pointers.typeof, arguments)))
    return pointers.pointers_to(functions)


def test_a_function_is_called_with_what_it_is_given():
    pair, out = (2.0, np.array([5.0])), np.zeros(2)
    stages = compiled((add, (pair, 1.0, out)), (refuse, (1,)))
    calls(stages, pair, 1.5, out)
    calls(stages, pair, 2.0, out)
    assert out.tolist() == [7, 10]


def test_what_it_raises_is_raised():
    stages = compiled((refuse, (1,)), (refuse, (1,)))
    calls_second(stages, 1)
    with pytest.raises(ArithmeticError, match="it is negative"):
        calls_second(stages, -1)


@pytest.mark.parametrize("x", [np.float32(1), 1])
def test_other_types_are_refused_and_nothing_is_called(x):
    pair, out = (2.0, np.array([5.0])), np.zeros(2)
    stages = compiled((add, (pair, 1.0, out)))
    with pytest.raises(ValueError, match="a function for arguments of other types"):
        calls(stages, pair, x, out)
    strided = np.zeros(4)[::2]
    with pytest.raises(ValueError, match="a function for arguments of other types"):
        calls(stages, pair, 1.0, strided)
    assert not out.any()
    assert not strided.any()


def test_a_kernel_that_was_only_compiled_calls_nothing():
    out = np.zeros(2)
    with pytest.raises(ValueError, match="a function for arguments of other types"):
        calls(pointers.none_of([add]), (2.0, out), 1.0, out)


def test_arguments_are_a_tuple():
    @njit
    def wrong(stages, x):
        call(stages[0], x)

    with pytest.raises(TypingError, match="the arguments are not a tuple"):
        wrong(pointers.none_of([add]), 1.0)


def test_what_is_called_has_no_entry_point_for_python():
    """To compile one takes longer than many a function."""
    separate = njit(**jit._COMMON, **jit._FOR_COMPILED_CODE)(add.py_func)
    arguments = (2.0, np.array([5.0])), 1.0, np.zeros(2)
    ((_, digest),) = compiled((separate, arguments))
    assert digest == compiled((add, arguments))[0, 1]
    (found,) = separate.overloads.values()
    code = found.library.get_llvm_str()
    assert found.fndesc.llvm_func_name in code
    assert found.fndesc.llvm_cpython_wrapper_name not in code


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_they_are_asked_for_once(monkeypatch, gradient):
    """By a training, and by those after it on data of the same kinds."""
    rng = np.random.default_rng(0)
    x, t = rng.random((40, 30)) * (rng.random((40, 30)) < 0.2), np.arange(40) % 3

    def train(**options):
        net = fastnn.TwoLayerNet(30, 20, 3, backend="numba", rng=0)
        return fastnn.train(net, x, t, gradient=gradient, iterations=3, batch_size=10, **options)

    train()
    asked = []
    together = compilers.compile_together
    monkeypatch.setattr(
        compilers, "compile_together", lambda *wanted: asked.append(1) or together(*wanted)
    )
    train()
    assert asked == []
    train(optimizer=fastnn.Adam(0.01))
    asked.clear()  # it asks, unless an earlier test has trained so
    train(optimizer=fastnn.Adam(0.02))
    assert asked == []


@pytest.mark.parametrize(
    "other",
    [
        (np.zeros(3, np.float32), ()),
        (np.zeros((3, 1)), ()),
        (np.zeros(6)[::2], ()),
        (np.zeros(3), (1,)),
        (np.zeros(3), 1),
        (np.zeros(3),),
    ],
)
def test_kinds_tell_types_apart(other):
    assert kinds((np.zeros(3), ())) == kinds((np.ones(5), ()))
    assert kinds((np.zeros(3), ())) != kinds(other)


def test_kinds_tell_what_cannot_be_written():
    a, b = np.zeros(3), np.zeros(3)
    b.flags.writeable = False
    assert kinds((a,)) != kinds((b,))
