"""What the kernels can do: the support tables of the CuPy backend."""

from __future__ import annotations

import math
from typing import Any

from ...functions import ACTIVATIONS
from ...validation import Array
from ..expansions import REACH
from ..support import Support

#: From how many multiplications on a product of matrices is left to cuBLAS, which cannot be
#: recorded: below, the host takes longer to launch that and what follows it than the kernels take.
#: On an H200 a step of 4·10⁷ took 75 µs by the kernels, one of 1.2·10⁸ 176 µs, and any of them 1.3
#: to 1.5 ms by cuBLAS, of a host that is slow to launch.
LARGE_PRODUCT = 1 << 28

#: The activations as the kernels know them.
ACTIVATION_CODES = {"identity": 0, "sigmoid": 1, "tanh": 2, "relu": 3}

#: λ/2 of the activations (:class:`fastnn.functions.activations.Expansion`). From a step on that
#: this takes beyond REACH, no input of 1 is in the series, and so no bias.
EXPANSION_SCALES = {
    name: f.expansion.scale
    for name, f in ACTIVATIONS.items()
    if name in ACTIVATION_CODES and f.expansion is not None
}

#: What no index of the kernels that are 32-bit numbers may reach, with a margin for those that are
#: computed ahead: of as many rows of a layer's weights as a block holds features (CHUNK of the
#: kernels), or of all weights into the outputs. Nor may there be more blocks in a grid than its
#: second dimension takes, 65,535 of 64 units.
LARGEST_INDEX, CHUNK = 1 << 30, 1024

#: The largest hidden layer and the largest output layer that a step of two kernels takes:
#: MOST_UNITS and MOST_OUTPUTS of the kernels.
LARGEST_FUSED = 1024, 64

#: The largest hidden layer and the largest output layer of the kernel that stays, its
#: MOST_COOPERATIVE_UNITS and WARP, and the largest batch: of a larger one each block would have
#: many samples, one after the other. What shared memory it takes is asked of the GPU:
#: `cooperative`.
LARGEST_COOPERATIVE = 128, 32, 256

_ACTIVATIONS = frozenset(ACTIVATION_CODES)
_LOSSES = frozenset({"cross_entropy", "mean_squared_error"})
_DTYPES = frozenset({"float32", "float64"})


def _largest_product(batch_size: int, **arguments: Any) -> int:
    """Of all the products of a step, on its way forward and back."""
    return batch_size * max(p.size for p in arguments["params"].values())


def _small(size: Any) -> Any:
    return (size, LARGE_PRODUCT - 1)


def _indices(units: Any) -> Any:
    return (lambda **arguments: CHUNK * units(**arguments), LARGEST_INDEX)


def _gradient_product(*, x: Array, delta: Array, **_: Any) -> int:
    return len(x) * x.shape[1] * delta.shape[1]


_STEP: Any = {
    "activation": _ACTIVATIONS,
    "loss": _LOSSES,
    "update": frozenset({"sgd"}),
    "dtype": _DTYPES,
}
_BACKPROP: Any = {**_STEP, "gradient": frozenset({"backprop"})}
_DIFFERENCES: Any = (
    _indices(lambda W1, **_: W1.shape[1]),
    (lambda W2, **_: W2.size, LARGEST_INDEX),
)


def _reach(h: float | str, activation: str, **_: Any) -> float:
    return math.inf if isinstance(h, str) else h * EXPANSION_SCALES[activation]


_PRODUCTS: Any = (
    (_reach, REACH),
    (lambda W2, **_: W2.shape[0], LARGEST_FUSED[0]),
    (lambda W2, **_: W2.shape[1], LARGEST_FUSED[1]),
)
_TWO_LAYERS = ("W1", "b1", "W2", "b2")

#: Of each operation that is overridden, of the steps that one kernel makes, and of those that are
#: recorded: two kernels, or the operations where each of them is a kernel.
SUPPORT = {
    "dense": Support(
        activation=_ACTIVATIONS,
        sizes=(
            _small(lambda x, W, **_: len(x) * W.size),
            _indices(lambda W, **_: W.shape[1]),
        ),
    ),
    "large layers": Support(activation=_ACTIVATIONS),
    "loss_gradient": Support(loss=_LOSSES),
    "dense_backward": Support(
        activation=_ACTIVATIONS, sizes=(_small(lambda delta, W, **_: len(delta) * W.size),)
    ),
    "dense_gradient": Support(sizes=(_small(_gradient_product),)),
    "dense_descent": Support(
        contiguous=("W", "b"), sizes=(_small(lambda x, W, **_: len(x) * W.size),)
    ),
    "descent": Support(contiguous=("parameter",)),
    "numerical_gradient": Support(activation=_ACTIVATIONS, loss=_LOSSES, sizes=_DIFFERENCES),
    "one kernel": Support(
        **_BACKPROP,
        network=frozenset({"two_layer"}),
        contiguous=_TWO_LAYERS,
        sizes=(
            (lambda W2, **_: W2.shape[0], LARGEST_COOPERATIVE[0]),
            (lambda W2, **_: W2.shape[1], LARGEST_COOPERATIVE[1]),
            (lambda batch_size, **_: batch_size, LARGEST_COOPERATIVE[2]),
        ),
    ),
    "products": Support(activation=frozenset(EXPANSION_SCALES), loss=_LOSSES, sizes=_PRODUCTS),
    "steps of products": Support(
        **_STEP,
        gradient=frozenset({"numerical"}),
        network=frozenset({"two_layer"}),
        contiguous=_TWO_LAYERS,
        sizes=_PRODUCTS,
    ),
    "two kernels": Support(
        **_BACKPROP,
        network=frozenset({"two_layer"}),
        contiguous=_TWO_LAYERS,
        sizes=(
            _small(lambda W1, batch_size, **_: batch_size * W1.size),
            (lambda W2, **_: W2.shape[0], LARGEST_FUSED[0]),
            (lambda W2, **_: W2.shape[1], LARGEST_FUSED[1]),
        ),
    ),
    "operations of two layers": Support(
        **_BACKPROP,
        network=frozenset({"two_layer"}),
        contiguous=_TWO_LAYERS,
        sizes=(_small(_largest_product), _indices(lambda W2, **_: max(W2.shape))),
    ),
    "operations of one layer": Support(
        **_BACKPROP,
        network=frozenset({"simple"}),
        contiguous=("W",),
        sizes=(_small(_largest_product), _indices(lambda W, **_: W.shape[1])),
    ),
    "numerical gradient": Support(
        **_STEP,
        gradient=frozenset({"numerical"}),
        network=frozenset({"two_layer"}),
        contiguous=_TWO_LAYERS,
        sizes=_DIFFERENCES,
    ),
}
