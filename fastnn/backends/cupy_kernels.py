"""The CUDA kernels as Python functions: what is compiled, and with how many threads each kernel is launched.

Arrays are CuPy arrays of one dtype. Inputs may have any strides; what is written must be C-contiguous. Where a kernel takes
samples or targets, they may be :class:`Rows` of a data set, which are then gathered by the kernel itself.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np

from ..functions import LOG_GUARD
from ..validation import Array
from .incremental import SERIES_BOUND
from .recorder import TwoLayerStep

#: The activations as the kernels know them.
ACTIVATION_CODES = {"identity": 0, "sigmoid": 1, "tanh": 2, "relu": 3}

#: The C++ names of the dtypes.
_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}

#: Every kernel with its template arguments, where T stands for the network's type.
_TEMPLATES = (
    "begin",
    "coefficients<T>",
    "collect<T>",
    "dense<T, T>",
    "dense<T, double>",
    "dense_backward<T>",
    "dense_gradient<T, false>",
    "dense_gradient<T, true>",
    "descent<T>",
    "fetch",
    "hidden_differences<T>",
    "loss_gradient<T>",
    "network<T>",
    "output_differences<T>",
    "pass<T>",
    "sum<T>",
    "update<T>",
)

NAME_EXPRESSIONS = sorted({template.replace("T", name) for template in _TEMPLATES for name in _TYPES.values()})
OPTIONS = ("-std=c++17", f"-DLOG_GUARD={LOG_GUARD!r}", f"-DSERIES_BOUND={SERIES_BOUND!r}")

#: The largest hidden layer and the largest output layer that :meth:`Kernels.step` takes: MOST_UNITS and MOST_OUTPUTS.
LARGEST_FUSED = 1024, 64

#: How much memory the numerical gradient may use beside its results; of more samples than that allows, it takes some at a time.
WORKSPACE_BYTES = 1 << 28

_NULL = np.uint64(0)


def source() -> str:
    """The kernels, CUDA C++ for NVRTC, in ASCII: CuPy writes them to a file in the encoding of the locale."""
    text = files(__package__).joinpath("cupy_kernels.cu").read_text(encoding="utf-8")
    return text.encode("ascii", "ignore").decode("ascii")


class Rows:
    """Some rows of an array, by number and not yet gathered.

    Parameters
    ----------
    whole : array, shape (samples,) or (samples, columns)
    numbers : array of intp, shape (rows,)
    """

    def __init__(self, whole: Array, numbers: Array) -> None:
        self.whole = whole
        self.numbers = numbers
        self.dtype = whole.dtype
        self.ndim = whole.ndim
        self.shape = (len(numbers), *whole.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, some: slice) -> Rows:
        return Rows(self.whole, self.numbers[some])

    def gathered(self) -> Array:
        """The rows as an array of their own."""
        return self.whole[self.numbers]


def _power_of_two(size: int, most: int) -> int:
    """The smallest power of two that is at least `size`, but no more than `most`."""
    return min(1 << max(size - 1, 0).bit_length(), most)


def _blocks(size: int, of: int) -> int:
    return -(-size // of)


class Kernels:
    """The kernels, compiled when one of them is first called and cached by CuPy on disk.

    Parameters
    ----------
    xp : module
        CuPy.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._functions: dict[str, Any] = {}

    def dense(self, x: Any, W: Array, b: Array, activation: str, out: Array) -> None:
        samples, features = x.shape
        units = W.shape[1]
        width = _power_of_two(units, 64)
        parts = _power_of_two(_blocks(features, 4), 512 // width)
        name = f"dense<{_TYPES[W.dtype]}, {_TYPES[out.dtype]}>"
        arguments = (*self._samples(x), W, b, out, features, units, ACTIVATION_CODES[activation])
        self._launch(name, (samples, _blocks(units, width)), (width, parts), arguments)

    def dense_backward(self, delta: Array, W: Array, z: Array, activation: str, out: Array) -> None:
        arguments = (delta, W, z, out, *out.shape, delta.shape[1], ACTIVATION_CODES[activation])
        self._launch(f"dense_backward<{_TYPES[W.dtype]}>", *self._one_each(out.size), arguments)

    def dense_gradient(self, x: Any, delta: Array, dW: Array, db: Array) -> None:
        """Write the gradient of a layer's parameters to `dW` and `db`."""
        self._parameter_gradient("false", x, delta, dW, db, 0.0)

    def dense_descent(self, W: Array, b: Array, x: Any, delta: Array, learning_rate: float) -> None:
        self._parameter_gradient("true", x, delta, W, b, learning_rate)

    def _parameter_gradient(self, descent: str, x: Any, delta: Array, W: Array, b: Array, learning_rate: float) -> None:
        samples, units = delta.shape
        features = W.shape[0]
        block = self._tile(samples, units)
        arguments = (*self._samples(x), delta, W, b, samples, features, units, float(learning_rate))
        self._launch(f"dense_gradient<{_TYPES[W.dtype]}, {descent}>", (self._tiles(W, block),), block, arguments)

    @staticmethod
    def _tile(samples: int, units: int) -> tuple[int, int, int]:
        """A block for the gradients of the weights from some features into some units: units, features, parts of the samples."""
        width, height = _power_of_two(units, 64), 4
        return width, height, _power_of_two(_blocks(samples, 8), min(512 // (width * height), 16))

    @staticmethod
    def _tiles(W: Array, block: tuple[int, int, int]) -> int:
        """How many of these blocks there are for a layer."""
        features, units = W.shape
        return _blocks(features + 1, block[1]) * _blocks(units, block[0])

    def step(self, x: Rows, t: Rows, step: TwoLayerStep) -> Array:
        """Make a step of gradient descent, of which the batch may be another, and return the loss."""
        W1, b1, W2, b2, z1, delta1, delta2 = step.W1, step.b1, step.W2, step.b2, step.z1, step.delta1, step.delta2
        samples, outputs = len(x), W2.shape[1]
        features, units = W1.shape
        real, cross_entropy = _TYPES[W1.dtype], int(step.loss == "cross_entropy")
        losses, value = self._xp.empty(samples, np.float64), self._xp.empty((), W1.dtype)
        width, lanes = _power_of_two(units, 64), _power_of_two(outputs, 64)
        parts = max(_power_of_two(_blocks(features, 4), 1024 // width), lanes // width)
        labels, targets, _ = self._targets(t)
        sizes = features, units, outputs
        modes = lanes, ACTIVATION_CODES[step.activation], cross_entropy
        network = W1, b1, W2, b2, labels, targets
        self._launch(
            f"pass<{real}>", (samples,), (width, parts), (x.whole, x.numbers, *network, z1, delta1, delta2, losses, *sizes, *modes)
        )
        block = self._tile(samples, max(units, outputs))
        layers = x.whole, x.numbers, delta1, W1, b1, z1, delta2, W2, b2
        self._launch(
            f"update<{real}>",
            (self._tiles(W1, block) + self._tiles(W2, block) + 1,),
            block,
            (*layers, losses, value, samples, *sizes, cross_entropy, float(step.learning_rate)),
        )
        return value

    def descent(self, parameter: Array, gradient: Array, learning_rate: float) -> None:
        arguments = (parameter, gradient, parameter.size, float(learning_rate))
        self._launch(f"descent<{_TYPES[parameter.dtype]}>", *self._one_each(parameter.size), arguments)

    def loss_gradient(self, logits: Array, t: Any, loss: str, gradient: Array) -> Array:
        """Write the derivative with respect to the logits to `gradient`; returns the loss."""
        samples, outputs = logits.shape
        cross_entropy = loss == "cross_entropy"
        value = self._xp.empty((), logits.dtype)
        lanes = _power_of_two(outputs, 32)
        # One block, for as long as its threads have a handful of outputs each, saves the second kernel.
        alone = samples * outputs <= 8192
        height = _power_of_two(samples, (1024 if alone else 256) // lanes)
        blocks = 1 if alone else min(_blocks(samples, height), 1024)
        partial = self._xp.empty(blocks, np.float64)
        arguments = (logits, *self._targets(t), gradient, partial, value, samples, outputs, int(cross_entropy))
        self._launch(f"loss_gradient<{_TYPES[logits.dtype]}>", (blocks,), (lanes, height), arguments)
        if not alone:
            self._sum(partial, value, samples if cross_entropy else 1)
        return value

    def _sum(self, partial: Array, value: Array, divisor: int) -> None:
        self._launch(
            f"sum<{_TYPES[value.dtype]}>", (1,), (_power_of_two(partial.size, 256),), (partial, value, partial.size, divisor)
        )

    def numerical_gradient(
        self, x: Any, t: Any, W1: Array, b1: Array, W2: Array, b2: Array, activation: str, loss: str, h: float
    ) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        """The loss, and its central differences: see :mod:`fastnn.backends.incremental`."""
        xp = self._xp
        gradients = tuple(xp.empty(p.shape, p.dtype) for p in (W1, b1, W2, b2))
        losses = xp.empty(len(x), np.float64)
        units, outputs = W2.shape
        pairs = outputs if t.ndim == 2 and loss == "cross_entropy" else 1
        sample_bytes = 8 * (2 * units + 3 * outputs + 4 * pairs + 2) + 8 * pairs * units * W1.itemsize
        chunk = max(WORKSPACE_BYTES // sample_bytes, 1)
        for first in range(0, len(x), chunk):
            some = slice(first, first + chunk)
            self._differences(x, t, some, W1, b1, W2, b2, activation, loss, h, pairs, losses, gradients)
        value = xp.empty((), W1.dtype)
        self._sum(losses, value, len(x) if loss == "cross_entropy" else 1)
        return value, gradients

    def _differences(
        self,
        x: Any,
        t: Any,
        some: slice,
        W1: Array,
        b1: Array,
        W2: Array,
        b2: Array,
        activation: str,
        loss: str,
        h: float,
        pairs: int,
        losses: Array,
        gradients: tuple[Array, Array, Array, Array],
    ) -> None:
        """Write the losses of some of the samples, and write to the gradients or, after the first ones, add what follows."""
        cross_entropy, more = int(loss == "cross_entropy"), int(some.start > 0)
        scale = 1 / (h * (len(x) if cross_entropy else 1))
        x, t, losses = x[some], t[some], losses[some]
        empty, real = self._xp.empty, _TYPES[W1.dtype]
        samples, (features, units), outputs = len(x), W1.shape, W2.shape[1]
        a, z = empty((samples, units), np.float64), empty((samples, units + 1), np.float64)
        y, others, exponentials = (empty((samples, outputs), np.float64) for _ in range(3))
        counts, classes = empty(samples, np.int64), empty((samples, pairs), np.int64)
        odds = empty((samples, pairs, 3), np.float64)
        coefficients = empty((samples, pairs, units, 8), W1.dtype)
        dW1, db1, dW2, db2 = gradients
        modes = pairs, ACTIVATION_CODES[activation], cross_entropy

        outcome: tuple[Any, ...] = losses, counts, classes, odds
        self.dense(x, W1, b1, "identity", a)
        self._launch(
            f"network<{real}>",
            (samples,),
            (_power_of_two(max(outputs, units), 256),),
            (a, W2, b2, *self._targets(t), z, y, others, exponentials, *outcome, units, outputs, *modes),
        )
        self._launch(
            f"coefficients<{real}>",
            (samples * pairs,),
            (_power_of_two(units, 128),),
            (a, y, W2, counts, classes, coefficients, units, outputs, *modes),
        )
        width = _power_of_two(units, 64)
        sizes = samples, features, units, outputs
        self._launch(
            f"hidden_differences<{real}>",
            (features + 1, _blocks(units, width)),
            (width, _power_of_two(_blocks(samples, 4), 512 // width)),
            (*self._samples(x), a, y, W2, *outcome[1:], coefficients, dW1, db1, *sizes, *modes, h, scale, more),
        )
        self._launch(
            f"output_differences<{real}>",
            ((units + 1) * outputs,),
            (_power_of_two(samples, 128),),
            (z, y, others, *outcome[1:], dW2, db2, samples, units, outputs, pairs, cross_entropy, h, scale, more),
        )

    # -- steps that are replayed ---------------------------------------------------------------------------------------

    def new_position(self) -> Array:
        """Memory for where a loop is, which these kernels take."""
        return self._xp.empty(3, np.int64)

    def begin(self, position: Array, rows: Array, losses: Array) -> None:
        """Start a loop over row numbers, shape (steps, batch), that writes its losses."""
        self._launch("begin", (1,), (1,), (position, rows, losses))

    def fetch(self, position: Array, rows: Array) -> None:
        """Copy the row numbers of the steps that are next."""
        self._launch("fetch", *self._one_each(rows.size), (position, rows, rows.size, rows.shape[1]))

    def collect(self, position: Array, addresses: Array, dtype: Any) -> None:
        """Write the losses of these steps, which are of this dtype and at these addresses, and move on."""
        self._launch(f"collect<{_TYPES[dtype]}>", (1,), (addresses.size,), (position, addresses))

    # -- launching -----------------------------------------------------------------------------------------------------

    def _samples(self, a: Any) -> tuple[Array, Any]:
        """The array to read samples or targets from, and their row numbers if they have any."""
        return (a.whole, a.numbers) if isinstance(a, Rows) else (a, _NULL)

    def _targets(self, t: Any) -> tuple[Any, Any, Any]:
        """Labels or targets, whichever `t` is, and their row numbers if they have any."""
        t, rows = self._samples(t)
        return (t, _NULL, rows) if t.ndim == 1 else (_NULL, t, rows)

    @staticmethod
    def _one_each(size: int) -> tuple[tuple[int], tuple[int]]:
        """The grid and block for a thread for each of `size` values."""
        block = _power_of_two(size, 128)
        return (_blocks(size, block),), (block,)

    def _launch(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        self._function(name)(grid, block, tuple([self._contiguous(a) for a in arguments]))

    def _contiguous(self, argument: Any) -> Any:
        if isinstance(argument, self._xp.ndarray) and not argument.flags.c_contiguous:
            return self._xp.ascontiguousarray(argument)
        return argument

    def _function(self, name: str) -> Any:
        function = self._functions.get(name)
        if function is None:
            if not self._functions:
                module = self._xp.RawModule(code=source(), options=OPTIONS, name_expressions=NAME_EXPRESSIONS)
                self._functions = {expression: module.get_function(expression) for expression in NAME_EXPRESSIONS}
            function = self._functions[name]
        return function
