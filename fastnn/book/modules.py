"""What the book's modules hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functions, optimizers
from ..backends import Backend
from ..data import load_mnist as _load_mnist
from ..differentiation import numerical_diff, numerical_gradient, numerical_gradient_rows
from ..networks import SimpleNet, TwoLayerNet
from ..validation import Array
from .layers import Affine, Relu, Sigmoid, SoftmaxWithLoss, softmax_loss
from .regularization import BatchNormalization, Dropout
from .util import shuffle_dataset, smooth_curve

#: What ``from common.functions import *`` takes from :mod:`fastnn.functions`.
_NAMES = (
    "identity_function",
    "step_function",
    "sigmoid",
    "sigmoid_grad",
    "relu",
    "relu_grad",
    "softmax",
    "mean_squared_error",
    "sum_squared_error",
    "cross_entropy_error",
)

#: All that it brings into a script; the book's scripts count on NumPy being among it.
_FUNCTIONS = {
    "np": np,
    "softmax_loss": softmax_loss,
    **{name: getattr(functions, name) for name in _NAMES},
}

_LAYERS = {
    layer.__name__: layer
    for layer in (Affine, Relu, Sigmoid, SoftmaxWithLoss, BatchNormalization, Dropout)
}

_OPTIMIZERS = {
    name: getattr(optimizers, name)
    for name in ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam")
}


def book_modules(backend: Backend) -> dict[str, dict[str, Any]]:
    """What the book's modules hold, by the module's name, for this backend.

    A package holds nothing itself.
    """
    simple_net = {"np": np, "simpleNet": _simple_net(backend)}
    return {
        "common": {},
        "common.functions": _FUNCTIONS,
        "common.gradient": {
            "np": np,
            "numerical_diff": numerical_diff,
            "numerical_gradient": numerical_gradient,
            "numerical_gradient_2d": _numerical_gradient_2d,
        },
        "common.layers": _FUNCTIONS | _LAYERS,
        "common.optimizer": {"np": np, **_OPTIMIZERS},
        "common.util": {
            "np": np,
            "smooth_curve": smooth_curve,
            "shuffle_dataset": shuffle_dataset,
        },
        "dataset": {},
        "dataset.mnist": {"np": np, "load_mnist": load_mnist},
        "gradient_simplenet": simple_net,
        "simple_net": simple_net,
        "two_layer_net": {"np": np, "TwoLayerNet": _two_layer_net(backend), **simple_net},
    }


def load_mnist(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    one_hot: bool | None = None,
) -> Any:
    """MNIST as :func:`fastnn.load_mnist` gives it; some notes write `one_hot`."""
    return _load_mnist(normalize, flatten, one_hot_label if one_hot is None else one_hot)


def _simple_net(backend: Backend) -> type[SimpleNet]:
    class BookSimpleNet(SimpleNet):
        """fastnn's network behind the book's constructor, with weights of the global state."""

        def __init__(self) -> None:
            super().__init__(backend=backend)
            self.W = backend.asarray(np.random.randn(*self.W.shape))  # noqa: NPY002

        def predict(self, x: Any) -> Array:
            """The logits, always as a NumPy array."""
            return backend.to_numpy(super().predict(x))

    BookSimpleNet.__name__ = BookSimpleNet.__qualname__ = "simpleNet"
    return BookSimpleNet


def _two_layer_net(backend: Backend) -> type[TwoLayerNet]:
    class BookTwoLayerNet(TwoLayerNet):
        """fastnn's network behind the book's constructor.

        Its weights come from ``numpy.random.randn`` as in the book.
        """

        def __init__(
            self,
            input_size: int,
            hidden_size: int,
            output_size: int,
            weight_init_std: float = 0.01,
        ) -> None:
            super().__init__(
                input_size,
                hidden_size,
                output_size,
                weight_init_std,
                backend=backend,
            )
            for name in ("W1", "W2"):
                weights = weight_init_std * np.random.randn(*self.params[name].shape)  # noqa: NPY002
                self.params[name] = backend.asarray(weights)

        def predict(self, x: Any) -> Array:
            """The class probabilities, always as a NumPy array: a script goes on with them."""
            return backend.to_numpy(super().predict(x))

    BookTwoLayerNet.__name__ = BookTwoLayerNet.__qualname__ = "TwoLayerNet"
    return BookTwoLayerNet


def _numerical_gradient_2d(f: Any, X: Array) -> Array:
    """The gradient at a point, or at each row of `X` as a point of its own."""
    return numerical_gradient(f, X) if X.ndim == 1 else numerical_gradient_rows(f, X)
