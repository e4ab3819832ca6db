"""A gradient that is wrong in one place is found by `gradient_check` with its default method.

The place is in the backward pass that all backends share, in the reference, or in what a backend
has of its own; it is changed in the source, and nowhere else.
"""

import inspect
import itertools
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import ReferenceBackend, StrictBackend

import fastnn
from fastnn import networks
from fastnn.backends import base
from fastnn.backends import numpy as of_numpy
from fastnn.backends.cupy.kernels import Kernels
from fastnn.backends.cupy.sources import MODULES, OPTIONS
from fastnn.backends.numba.backend import NumbaBackend
from fastnn.backends.numba.kernels import jit


def check(backend, *, sparse=False):
    """Whether the gradient of a network passes, none of whose parameters is zero."""
    rng = np.random.default_rng(0)
    samples, features = (60, 200) if sparse else (6, 7)
    x = rng.uniform(0, 1, (samples, features))
    x *= rng.random(x.shape) < (0.1 if sparse else 1)
    net = fastnn.TwoLayerNet(features, 5, 3, 0.5, backend=backend, rng=1)
    for name in ("b1", "b2"):
        net.params[name] = backend.asarray(rng.normal(size=net.params[name].shape))
    report = fastnn.gradient_check(net, x, rng.integers(3, size=samples))
    assert report.method == "incremental"
    return report.passed


def replaced(source, old, new):
    assert source.count(old) == 1
    return source.replace(old, new)


def changed_function(function, old, new):
    """A function with one place of its source changed."""
    source = replaced(textwrap.dedent(inspect.getsource(function)), old, new)
    names = dict(function.__globals__)
    exec(compile(source, function.__code__.co_filename, "exec"), names)
    return names[function.__name__]


_numbers = itertools.count()


def changed_module(module, old="", new=""):
    """A module once more, with one place of its source changed, beside the one that is imported.

    Under a name of its own: of two compiled functions of one name the linker may take either.
    """
    copy = ModuleType(f"{module.__name__}_{next(_numbers)}")
    copy.__file__, copy.__package__ = module.__file__, module.__package__
    source = Path(module.__file__).read_text("utf-8")
    source = replaced(source, old, new) if old else source
    exec(compile(source, module.__file__, "exec"), vars(copy))
    return copy


@pytest.mark.parametrize("sparse", [False, True])
def test_what_is_right_passes(backend, sparse):
    assert check(backend, sparse=sparse)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dense(x, W1, b1, self.activation", "dense(x, W1, 2 * b1, self.activation"),
        ("dense(x, W1, b1, self.activation", "dense(x, W1, b1, 'tanh'"),
        ("dense(z1, W2, b2", "dense(z1, W2, -b2"),
        ("_loss_gradient(logits", "_loss_gradient(logits * 1.001"),
        ("dense_backward(delta2, W2, z1, self.activation", "dense_backward(delta2, W2, z1, 'tanh'"),
        ("dense_backward(delta2, W2", "dense_backward(delta2, -W2"),
        ("dense_backward(delta2, W2", "dense_backward(delta2 * 1.0001, W2"),
        ('("W1", "b1", x, delta1)', '("W1", "b1", x, delta1 * z1)'),
        ('("W2", "b2", z1, delta2)', '("W2", "b2", z1 * z1, delta2)'),
        ('("W2", "b2", z1, delta2)', '("W2", "b2", z1, -delta2)'),
    ],
)
def test_in_the_backward_pass(monkeypatch, backend, old, new):
    wrong = changed_function(networks.TwoLayerNet._backward, old, new)
    monkeypatch.setattr(networks.TwoLayerNet, "_backward", wrong)
    assert not check(backend)
    assert not check(backend, sparse=True)


@pytest.mark.parametrize("made", [ReferenceBackend, StrictBackend])
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("dense", "a += b", "a -= b"),
        ("dense", "ACTIVATIONS[activation]", "ACTIVATIONS['tanh']"),
        ("loss_gradient", "gradient(self.xp, y, t)", "gradient(self.xp, y, t) / 2"),
        ("loss_gradient", "gradient(self.xp, y, t)", "gradient(self.xp, t, y)"),
        ("loss_gradient", "gradient(self.xp, y, t)", "gradient(self.xp, y * y, t)"),
        ("dense_backward", "matmul(delta, W.T)", "matmul(delta, -W.T)"),
        ("dense_backward", "result *= ACTIVATIONS", "result += ACTIVATIONS"),
        ("dense_backward", 'if activation != "identity"', "if False"),
        ("dense_gradient", "matmul(x.T, delta)", "matmul(x.T, delta * delta)"),
        ("dense_gradient", "self.xp.sum(delta, axis=0)", "self.xp.max(delta, axis=0)"),
    ],
)
def test_in_the_reference(monkeypatch, made, name, old, new):
    wrong = changed_function(getattr(base.Backend, name), old, new)
    monkeypatch.setattr(base.Backend, name, wrong)
    assert not check(made())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    a += 1\n", "    a += 1.001\n"),
        ("y /= np.add.reduce(y, axis=1, keepdims=True)", "y /= 3"),
        ("derivative = 1 - z", "derivative = 1 + z"),
        ("derivative *= z", "derivative *= derivative"),
        ("        a += b\n", "        a -= b\n"),
        ("y[own] = p - 1", "y[own] = 1 - p"),
        ("y /= len(y)", "y /= len(y) + 1"),
        ("self._product(delta, W.T", "self._product(delta, -W.T"),
        ("product(x.T, delta, out=out)", "product(x.T, delta * delta, out=out)"),
        ("ones(len(delta), delta.dtype) @ delta", "ones(len(delta), delta.dtype) @ abs(delta)"),
    ],
)
def test_in_numpy(old, new):
    assert not check(changed_module(of_numpy, old, new).NumpyBackend())


#: By modules of compiled code: the place, and whether it is for samples that are mostly zeros.
IN_NUMBA = [
    ("activations", "z[j] = sigmoid(z[j])", "z[j] = sigmoid(z[j] * like(z[j], 1.001))", False),
    ("activations", "d[j] *= z[j] * (like(z[j], 1) - z[j])", "d[j] *= z[j]", False),
    ("softmax", "y[n, k] *= factor", "y[n, k] *= factor * factor", False),
    ("softmax", "y[target] -= like(share, 1)", "y[target] -= like(share, 1.01)", False),
    ("layers", "row[j] += b[j]", "row[j] -= b[j]", False),
    ("layers", "True, W, b, out)", "True, W, W[0], out)", True),
    ("layers", "fresh, rate, delta", "fresh, rate + rate, delta", True),
    ("layers", "b[j] -= rate * d[j]", "b[j] -= rate * d[j] * d[j]", True),
    ("layers", "W.shape[0] * (part + 1) // parts", "W.shape[0] * (part + 1) // parts - 1", True),
    (
        "sparse_products",
        "moved = load(right, w, last_width) - d * v",
        "moved = load(right, w, last_width) - d * (v + v)",
        True,
    ),
]


def numba_with(monkeypatch, name, *change):
    """The backend, with a module of its kernels changed, and those anew that are made of it."""
    backend = NumbaBackend(1)
    monkeypatch.setattr(jit, "_kept", lambda function: function)  # nothing of this on disk
    for each in dict.fromkeys((name, "softmax", "layers")):
        full = f"fastnn.backends.numba.kernels.{each}"
        copy = changed_module(sys.modules[full], *(change if each == name else ()))
        monkeypatch.setitem(sys.modules, full, copy)
        monkeypatch.setattr(backend.kernels, each, copy, raising=False)
    return backend


@pytest.mark.parametrize(("name", "old", "new", "sparse"), IN_NUMBA)
def test_in_the_kernels_of_numba(monkeypatch, name, old, new, sparse):
    """The kernels of the numerical gradient are the right ones."""
    assert not check(numba_with(monkeypatch, name, old, new), sparse=sparse)


#: By kernels of CUDA.
IN_CUDA = [
    ("dense", "activate<A>(sum + A(b[j]), activation)", "activate<A>(sum, activation)"),
    ("dense_backward", "sum * derivative(z[place], activation)", "sum"),
    ("dense_backward", "sum += d[j] * w[j]", "sum -= d[j] * w[j]"),
    ("dense_backward", "W + place % inputs * units", "W + (place + 1) % inputs * units"),
    ("dense_gradient", "T(learning_rate) * sum : sum", "T(learning_rate) * sum : sum / 2"),
    ("dense_gradient", "+ i] : T(i == features)", "+ i] : T(0)"),
    ("dense_gradient", "gradient[f] += v * (CUBES", "gradient[f] = v * (CUBES"),
    ("loss_gradient", "y[k] = (p - t) / T(samples)", "y[k] = p - t"),
    ("loss_gradient", "const T p = y[k] / total", "const T p = y[k]"),
    ("loss_gradient", "total += T(of_sample[lane])", "total = T(of_sample[lane])"),
]


def cuda_with(cupy, kernel, old="", new=""):
    """The backend, with a kernel that is compiled from a changed source."""

    class Changed(Kernels):
        def _function(self, name, constants=()):
            if name.partition("<")[0] != kernel:
                return super()._function(name, constants)
            code = MODULES["kernels"].source()
            code = replaced(code, old, new) if old else code
            module = self.xp.RawModule(code=code, options=OPTIONS, name_expressions=[name])
            return module.get_function(name)

    backend = type(cupy)()
    backend.kernels = Changed(backend.xp)
    return backend


@pytest.mark.parametrize(("kernel", "old", "new"), IN_CUDA)
def test_in_the_kernels_of_cuda(cupy, kernel, old, new):
    assert not check(cuda_with(cupy, kernel, old, new))


# -- what is copied, and not changed, passes -------------------------------------------------------


def test_of_numpy_unchanged():
    assert check(changed_module(of_numpy).NumpyBackend())


@pytest.mark.parametrize("name", sorted({name for name, *_ in IN_NUMBA}))
def test_of_numba_unchanged(monkeypatch, name):
    backend = numba_with(monkeypatch, name)
    assert check(backend)
    assert check(backend, sparse=True)


@pytest.mark.parametrize("kernel", sorted({kernel for kernel, *_ in IN_CUDA}))
def test_of_cuda_unchanged(cupy, kernel):
    assert check(cuda_with(cupy, kernel))
