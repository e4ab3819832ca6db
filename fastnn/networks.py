"""The networks: formulas in terms of a backend's operations."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, ClassVar

import numpy as np

from .backends import Backend
from .base_network import LayerDelta, Network
from .errors import InputError
from .functions import ACTIVATIONS
from .validation import Array, choice, float_dtype, generator, positive_int, real_number

#: The parameters of a :class:`TwoLayerNet`, from its dict.
_W1_b1_W2_b2 = itemgetter("W1", "b1", "W2", "b2")


#: Beyond how many standard deviations no weight is ever drawn.
_FARTHEST = 100


class SimpleNet(Network):
    """The book's ``simpleNet``: one layer of weights without a bias, softmax, cross-entropy.

    Parameters
    ----------
    input_size, output_size : int
        The book's are 2 and 3.
    loss : {"cross_entropy", "mean_squared_error", "binary_cross_entropy"}
    backend : str or Backend
        As for :func:`fastnn.get_backend`.
    dtype : {"float64", "float32"}
    rng : None, int or numpy.random.Generator
        Where the weights, standard normal as in the book, come from: fresh entropy, a seed, or this
        generator.

    Examples
    --------
    >>> net = SimpleNet(rng=0)
    >>> net.W.shape
    (2, 3)
    >>> net.gradient(np.array([0.6, 0.9]), 2)["W"].shape
    (2, 3)
    """

    architecture: ClassVar[str | None] = "simple"

    def __init__(
        self,
        input_size: int = 2,
        output_size: int = 3,
        *,
        loss: str = "cross_entropy",
        backend: str | Backend = "numpy",
        dtype: Any = "float64",
        rng: Any = None,
    ) -> None:
        i, k = positive_int(input_size, "input_size"), positive_int(output_size, "output_size")
        super().__init__(self.shapes(i, k), loss=loss, backend=backend, dtype=dtype)
        rng = generator(rng)
        self.params = self._initial(lambda _, shape: rng.standard_normal(shape))
        self._no_bias = self._parameter(np.zeros(k))

    @staticmethod
    def shapes(input_size: int, output_size: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters of a network of these sizes."""
        return {"W": (input_size, output_size)}

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_no_bias": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._no_bias = self._parameter(np.zeros(self._outputs))

    @property
    def W(self) -> Array:
        """The weights, shape (input_size, output_size): ``params["W"]``."""
        return self.params["W"]

    @W.setter
    def W(self, value: Array) -> None:
        self.params["W"] = value

    def predict(self, x: Any) -> Array:
        """The logits x·W, as the book's ``simpleNet`` has it: the softmax is part of its loss."""
        x, single = self._enter(x)
        logits = self._logits(x)
        return logits[0, ...] if single else logits

    def _logits(self, x: Array) -> Array:
        return self.backend.dense(x, self.W, self._no_bias)

    def _backward(
        self, x: Array, t: Array, out: dict[str, Array]
    ) -> tuple[Array, list[LayerDelta]]:
        value, delta = self._loss_gradient(self._logits(x), t)
        return value, [("W", "b", x, delta)]

    def _descend_layers(
        self, layers: list[LayerDelta], learning_rate: float, out: dict[str, Array]
    ) -> None:
        [(*_, x, delta)] = layers
        self.backend.descent(self.W, self.backend.dense_gradient(x, delta)[0], learning_rate)


class TwoLayerNet(Network):
    """The book's network: a hidden layer, an output layer, and the loss of what comes out.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        Features of a sample, hidden units, classes or outputs.
    weight_init_std : float
        Standard deviation of the normal distribution of the initial weights; biases start at zero.
    activation : {"sigmoid", "tanh", "relu", "identity"}
        Of the hidden layer.
    loss : {"cross_entropy", "mean_squared_error", "binary_cross_entropy"}
        The cross-entropy is that of the softmax of the outputs; the squared error, ½·Σ (y − t)²,
        that of the plain outputs; the binary cross-entropy that of the logistic function of each
        output, for a single yes or no, or several that are independent of each other (multi-label).
    backend : str or Backend
        What carries out the work, as for :func:`fastnn.get_backend`; resolved once, here.
    dtype : {"float64", "float32"}
        Of parameters and of everything computed.
    rng : None, int or numpy.random.Generator
        Where the initial weights come from: fresh entropy, a seed, or this generator. The same seed
        gives the same weights on every backend.

    Attributes
    ----------
    params : dict
        ``W1`` (input_size, hidden_size), ``b1`` (hidden_size,), ``W2`` (hidden_size, output_size),
        ``b2`` (output_size,).

    Raises
    ------
    InputError, DtypeError
        For sizes below one, unknown names, a negative standard deviation, or a dtype that
        parameters cannot have.

    Examples
    --------
    >>> net = TwoLayerNet(784, 50, 10, rng=0)
    >>> net.predict(np.zeros((3, 784))).shape
    (3, 10)
    >>> net.params["W1"].shape
    (784, 50)
    """

    architecture: ClassVar[str | None] = "two_layer"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        weight_init_std: float = 0.01,
        *,
        activation: str = "sigmoid",
        loss: str = "cross_entropy",
        backend: str | Backend = "numpy",
        dtype: Any = "float64",
        rng: Any = None,
    ) -> None:
        i = positive_int(input_size, "input_size")
        j = positive_int(hidden_size, "hidden_size")
        k = positive_int(output_size, "output_size")
        scale = _standard_deviation(weight_init_std, float_dtype(dtype))
        self.activation = choice(activation, "activation", ACTIVATIONS)
        super().__init__(self.shapes(i, j, k), loss=loss, backend=backend, dtype=dtype)
        rng = generator(rng)
        self.params = self._initial(
            lambda name, shape: (
                scale * rng.standard_normal(shape) if name.startswith("W") else np.zeros(shape)
            )
        )

    @staticmethod
    def shapes(input_size: int, hidden_size: int, output_size: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters of a network of these sizes."""
        i, j, k = input_size, hidden_size, output_size
        return {"W1": (i, j), "b1": (j,), "W2": (j, k), "b2": (k,)}

    def _logits(self, x: Array) -> Array:
        W1, b1, W2, b2 = _W1_b1_W2_b2(self.params)
        z1 = self.backend.dense(x, W1, b1, self.activation)
        return self.backend.dense(z1, W2, b2)

    def _outputs_of(self, x: Array) -> Array:
        if getattr(self._logits, "__func__", None) is not TwoLayerNet._logits:  # has its own
            return super()._outputs_of(x)
        W1, b1, W2, b2 = _W1_b1_W2_b2(self.params)
        activation, loss = self.activation, self.loss_name
        return self.backend.two_layer_output(x, W1, b1, W2, b2, activation, loss)

    def _backward(
        self, x: Array, t: Array, out: dict[str, Array]
    ) -> tuple[Array, list[LayerDelta]]:
        W1, b1, W2, b2 = _W1_b1_W2_b2(self.params)
        z1 = self.backend.dense(x, W1, b1, self.activation, out=out.get("z1"))
        logits = self.backend.dense(z1, W2, b2, out=out.get("logits"))
        value, delta2 = self._loss_gradient(logits, t, out.get("delta2"))
        delta1 = self.backend.dense_backward(delta2, W2, z1, self.activation, out=out.get("delta1"))
        return value, [("W1", "b1", x, delta1), ("W2", "b2", z1, delta2)]

    def _incremental_differences(
        self, x: Array, t: Array, h: float
    ) -> tuple[Array, dict[str, Array]]:
        W1, b1, W2, b2 = _W1_b1_W2_b2(self.params)
        value, gradients = self.backend.numerical_gradient(
            x, t, W1, b1, W2, b2, self.activation, self.loss_name, h
        )
        return value, dict(zip(self._shapes, gradients, strict=True))

    _methods: ClassVar[dict[str, str]] = {
        **Network._methods,
        "incremental": "_incremental_differences",
    }

    def buffers(self, batch_size: int) -> dict[str, Array]:
        n, (i, j), (_, k) = batch_size, self._shapes["W1"], self._shapes["W2"]
        shapes = {
            "z1": (n, j),
            "logits": (n, k),
            "delta2": (n, k),
            "delta1": (n, j),
            "W1": (i, j),
            "W2": (j, k),
        }
        return {name: self.backend.empty(shape, self.dtype) for name, shape in shapes.items()}


#: As the book writes it.
simpleNet = SimpleNet  # noqa: N816


def _standard_deviation(value: Any, dtype: np.dtype) -> float:
    """The standard deviation of the initial weights, refused where they might not be finite."""
    scale = real_number(value, "weight_init_std", minimum=0)
    if scale > (largest := float(np.finfo(dtype).max) / _FARTHEST):
        raise InputError(
            f"weight_init_std={scale:g} makes weights beyond the range of {dtype}; "
            f"give at most {largest:.0e}"
        )
    return scale
