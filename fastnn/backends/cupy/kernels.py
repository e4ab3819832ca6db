"""The CUDA kernels as Python functions: how many threads each is given.

Arrays are CuPy arrays of one dtype. Inputs may have any strides; what is written must be
C-contiguous. Where a kernel takes samples or targets, they may be :class:`Rows` of a data set,
which are then gathered by the kernel itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...validation import Array
from ..steps import TrainingStep
from .rows import Rows
from .sources import MODULES, OPTIONS, TYPES
from .support import ACTIVATION_CODES

_NULL = np.uint64(0)


def power_of_two(size: int, most: int) -> int:
    """The smallest power of two that is at least `size`, but no more than `most`."""
    return min(1 << max(size - 1, 0).bit_length(), most)


def blocks(size: int, of: int) -> int:
    """How many blocks of so many it takes."""
    return -(-size // of)


class Kernels:
    """The kernels, compiled when one of them is first called and cached by CuPy on disk.

    Parameters
    ----------
    xp : module
        CuPy.
    """

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self._functions: dict[tuple[str, tuple[str, ...]], Any] = {}

    def dense(self, x: Any, W: Array, b: Array, activation: str, out: Array) -> None:
        samples, features = x.shape
        units = W.shape[1]
        width = power_of_two(units, 64)
        parts = power_of_two(blocks(features, 4), 512 // width)
        name = f"dense<{TYPES[W.dtype]}, {TYPES[out.dtype]}>"
        arguments = (*self.samples(x), W, b, out, features, units, ACTIVATION_CODES[activation])
        self.launch(name, (samples, blocks(units, width)), (width, parts), arguments)

    def dense_backward(self, delta: Array, W: Array, z: Array, activation: str, out: Array) -> None:
        arguments = (delta, W, z, out, *out.shape, delta.shape[1], ACTIVATION_CODES[activation])
        self.launch(f"dense_backward<{TYPES[W.dtype]}>", *self._one_each(out.size), arguments)

    def add_and_activate(self, a: Array, b: Array, activation: str) -> None:
        """Of each row of `a`, in place, the activation of it and `b`."""
        samples, units = a.shape
        width = power_of_two(units, 128)
        self.launch(
            f"add_and_activate<{TYPES[a.dtype]}>",
            (blocks(units, width), min(samples, 1024)),
            (width,),
            (a, b, samples, units, ACTIVATION_CODES[activation]),
        )

    def multiply_by_derivative(self, delta: Array, z: Array, activation: str) -> None:
        """Multiply `delta`, in place, by the activation's derivative where it gave `z`."""
        (count,), width = self._one_each(delta.size)
        self.launch(
            f"multiply_by_derivative<{TYPES[delta.dtype]}>",
            (min(count, 1 << 16),),
            width,
            (delta, z, delta.size, ACTIVATION_CODES[activation]),
        )

    def dense_gradient(self, x: Any, delta: Array, dW: Array, db: Array) -> None:
        """Write the gradient of a layer's parameters to `dW` and `db`."""
        self._parameter_gradient("false", x, delta, dW, db, 0.0)

    def dense_descent(self, W: Array, b: Array, x: Any, delta: Array, learning_rate: float) -> None:
        self._parameter_gradient("true", x, delta, W, b, learning_rate)

    def _parameter_gradient(
        self, descent: str, x: Any, delta: Array, W: Array, b: Array, learning_rate: float
    ) -> None:
        samples, units = delta.shape
        features = W.shape[0]
        block = self.tile(samples, units)
        arguments = (*self.samples(x), delta, W, b, samples, features, units, float(learning_rate))
        self.launch(
            f"dense_gradient<{TYPES[W.dtype]}, {descent}>",
            (self.tiles(W, block),),
            block,
            arguments,
        )

    @staticmethod
    def tile(samples: int, units: int) -> tuple[int, int]:
        """A block for the weights' gradients: units, and parts of the samples."""
        width = power_of_two(units, 64)
        return width, power_of_two(blocks(samples, 4), min(512 // width, 16))

    @staticmethod
    def tiles(W: Array, block: tuple[int, int]) -> int:
        """How many of these blocks there are for a layer, 8 features each (FEATURES)."""
        features, units = W.shape
        return blocks(features + 1, 8) * blocks(units, block[0])

    def step(
        self,
        x: Rows,
        t: Rows,
        step: TrainingStep,
        rate: float,
        between: tuple[Array, Array, Array],
        out: Array | None = None,
    ) -> Array:
        """Make a stated step with this batch, at this learning rate, and return the loss.

        `between` are arrays for z1, delta1 and delta2, and `out`, shape (), one for the loss.
        """
        W1, b1, W2, b2 = (step.params[name] for name in ("W1", "b1", "W2", "b2"))
        z1, delta1, delta2 = between
        samples, outputs = len(x), W2.shape[1]
        features, units = W1.shape
        real, cross_entropy = TYPES[W1.dtype], int(step.loss == "cross_entropy")
        losses = self.xp.empty(samples, np.float64)
        value = self.xp.empty((), W1.dtype) if out is None else out
        width, lanes = power_of_two(units, 64), power_of_two(outputs, 64)
        parts = max(power_of_two(blocks(features, 4), 1024 // width), lanes // width)
        labels, targets, _ = self.targets(t)
        sizes = features, units, outputs
        assert step.activation is not None
        modes = lanes, ACTIVATION_CODES[step.activation], cross_entropy
        network = W1, b1, W2, b2, labels, targets
        self.launch(
            f"pass<{real}>",
            (samples,),
            (width, parts),
            (x.whole, x.numbers, *network, z1, delta1, delta2, losses, *sizes, *modes),
        )
        block = self.tile(samples, max(units, outputs))
        layers = x.whole, x.numbers, delta1, W1, b1, z1, delta2, W2, b2
        self.launch(
            f"update<{real}>",
            (self.tiles(W1, block) + self.tiles(W2, block) + 1,),
            block,
            (*layers, losses, value, samples, *sizes, cross_entropy, rate),
        )
        return value

    def descent(self, parameter: Array, gradient: Array, learning_rate: float) -> None:
        arguments = (parameter, gradient, parameter.size, float(learning_rate))
        self.launch(
            f"descent<{TYPES[parameter.dtype]}>", *self._one_each(parameter.size), arguments
        )

    def loss_gradient(self, logits: Array, t: Any, loss: str, gradient: Array) -> Array:
        """Write the derivative with respect to the logits to `gradient`; returns the loss."""
        samples, outputs = logits.shape
        cross_entropy = loss == "cross_entropy"
        value = self.xp.empty((), logits.dtype)
        lanes = power_of_two(outputs, 32)
        # One block, for as long as its threads have a handful of outputs each, saves the second
        # kernel.
        alone = samples * outputs <= 8192
        height = power_of_two(samples, (1024 if alone else 256) // lanes)
        count = 1 if alone else min(blocks(samples, height), 1024)
        partial = self.xp.empty(count, np.float64)
        arguments = (
            logits,
            *self.targets(t),
            gradient,
            partial,
            value,
            samples,
            outputs,
            int(cross_entropy),
        )
        self.launch(f"loss_gradient<{TYPES[logits.dtype]}>", (count,), (lanes, height), arguments)
        if not alone:
            self.sum(partial, value, samples if cross_entropy else 1)
        return value

    def sum(self, partial: Array, value: Array, divisor: int) -> None:
        self.launch(
            f"sum<{TYPES[value.dtype]}>",
            (1,),
            (power_of_two(partial.size, 256),),
            (partial, value, partial.size, divisor),
        )

    # -- steps that are replayed -------------------------------------------------------------------

    def new_position(self) -> Array:
        """Memory for where a loop is, which these kernels take."""
        return self.xp.empty(3, np.int64)

    def begin(self, position: Array, rows: Array, losses: Array) -> None:
        """Start a loop over row numbers, shape (steps, batch), that writes its losses."""
        self.launch("begin", (1,), (1,), (position, rows, losses))

    def fetch(self, position: Array, rows: Array) -> None:
        """Copy the row numbers of the steps that are next."""
        self.launch("fetch", *self._one_each(rows.size), (position, rows, rows.size, rows.shape[1]))

    def collect(self, position: Array, addresses: Array, dtype: Any) -> None:
        """Write the losses of these steps, of this dtype and at these addresses, and move on."""
        self.launch(f"collect<{TYPES[dtype]}>", (1,), (addresses.size,), (position, addresses))

    # -- launching ---------------------------------------------------------------------------------

    def samples(self, a: Any) -> tuple[Array, Any]:
        """The array to read samples or targets from, and their row numbers if they have any."""
        return (a.whole, a.numbers) if isinstance(a, Rows) else (a, _NULL)

    def targets(self, t: Any) -> tuple[Any, Any, Any]:
        """Labels or targets, whichever `t` is, and their row numbers if they have any."""
        t, rows = self.samples(t)
        return (t, _NULL, rows) if t.ndim == 1 else (_NULL, t, rows)

    @staticmethod
    def _one_each(size: int) -> tuple[tuple[int], tuple[int]]:
        """The grid and block for a thread for each of `size` values."""
        block = power_of_two(size, 128)
        return (blocks(size, block),), (block,)

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: tuple[Any, ...],
        *,
        shared_bytes: int = 0,
        constants: tuple[str, ...] = (),
    ) -> None:
        """Launch a kernel, with so much shared memory beside what it declares itself.

        With `constants`, options of the compiler, it is the one that is compiled for them.
        """
        function = self._function(name, constants)
        arguments = tuple([self._contiguous(a) for a in arguments])
        if not shared_bytes:
            function(grid, block, arguments)
            return
        if function.max_dynamic_shared_size_bytes < shared_bytes:
            function.max_dynamic_shared_size_bytes = shared_bytes
        function(grid, block, arguments, shared_mem=shared_bytes)

    def _contiguous(self, argument: Any) -> Any:
        if isinstance(argument, self.xp.ndarray) and not argument.flags.c_contiguous:
            return self.xp.ascontiguousarray(argument)
        return argument

    def _function(self, name: str, constants: tuple[str, ...] = ()) -> Any:
        function = self._functions.get((name, constants))
        if function is None:
            sources = next(s for s in MODULES.values() if name in s.expressions)
            names = [name] if constants else sources.expressions
            module = self.xp.RawModule(
                code=sources.source(),
                options=(*OPTIONS, *constants),
                name_expressions=names,
                enable_cooperative_groups=sources.cooperative,
            )
            self._functions |= {(one, constants): module.get_function(one) for one in names}
            function = self._functions[name, constants]
        return function
