"""What the kernels can do: support tables of the backend, and how work is cut for its threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...validation import Array
from ..datasets import Dataset
from ..support import Support
from .samples import SparseDataset, SparseRows

#: Up to which share of non-zero values samples are compressed: about where the sparse kernels and
#: the BLAS take the same time, which also depends on the dtype and on the number of hidden units,
#: unknown when data enter.
SPARSE_DENSITY = 0.25

#: Up to how many multiplications the layers of a network are not worth calls of their own: about
#: where the BLAS has made up for these with samples that have no zeros.
FEW_MULTIPLICATIONS = 50_000

#: From how many values on samples are compressed for a single call, and how many of their rows are
#: looked at for that.
SPARSE_SIZE, SPARSE_ROWS = 10_000, 8

#: The bytes of the widest vector of the kernels, and of a line of the cache.
LINE = 64

#: How many multiplications by sparse values are worth a part of their own, for another thread to
#: take: as many as are done until one that sleeps has woken up.
SPARSE_GRAIN = 150_000
#: How many multiplications are, if each stands for the perturbation of a hidden unit.
PERTURBATION_GRAIN = 100_000
#: And how many multiplications are for each thread of those that stay from step to step.
FUSED_GRAIN = 50_000
#: How many samples each of the threads that share a panel of hidden units has at least: what one of
#: them has written the others read in the next stage, which takes as long as 25 samples save.
GROUP_SAMPLES = 50
#: From how many bytes of a parameter on copies are made by several threads.
LARGE_COPY = 2**21
#: After how many multiplications a kernel over many steps returns, so that Python sees to signals:
#: some tenths of a second.
INTERRUPTIBLE = 1_000_000_000

#: The kernel over many steps has all hidden units of a batch in memory twice, and goes through them
#: again and again. Above how many weights of the output layer the BLAS is faster, and above how
#: many multiplications of dense samples by the weights of the hidden layer.
LARGEST_FUSED_OUTPUT = 20_000
LARGEST_FUSED_PRODUCT = 2_000_000_000

#: From how many vectors of hidden units on, and how many values of a feature in a part, sorting the
#: values of a batch takes less than it saves.
SORTED_VECTORS, SORTED_VALUES = 12, 2
#: The samples of a part are numbered in 16 bits.
LARGEST_PART = 2**16


def multiplications(x: Array | SparseRows, units: int) -> int:
    """How many there are in x·W for so many units, as if all rows were like the average row."""
    if not isinstance(x, SparseRows):
        return x.size * units
    indptr, indices, _ = x.samples
    return len(x.rows) * len(indices) // (len(indptr) - 1) * units


def cut(work: int, grain: int, most: int) -> int:
    """Into how many parts to cut so many multiplications: one if threads do not pay."""
    return min(max(work // grain, 1), most)


def fused_threads(work: int, most: int, batch_size: int) -> int:
    """How many threads a kernel over many steps is for, if a step is so many multiplications."""
    return max(1, min(most, work // FUSED_GRAIN, batch_size))


def stage_counters(steps: int, stages: int, parts: int) -> np.ndarray:
    """Zeros for the counters of the parts of each stage; two stages share no line of the cache."""
    line = LINE // 8
    return np.zeros((steps, stages, -(-(1 + parts) // line) * line), np.int64)


def shared_rows(threads: int, parts: int, x: SparseRows, *arguments: Any) -> tuple[Any, ...]:
    """What a kernel gets whose threads share the rows of compressed samples, or their features."""
    return threads, stage_counters(1, 1, parts)[0, 0], parts, x.samples, x.rows, *arguments


def step_multiplications(data: Dataset, batch_size: int, units: int) -> int:
    """The same for a batch of a dataset."""
    values = len(data.x[1]) if isinstance(data, SparseDataset) else data.x.size
    return batch_size * values // len(data) * units


def values_to_sort(data: Dataset, batch_size: int, W1: Array, parts: int) -> int:
    """How many values a sample has at most, where those of batches are to be sorted; 0 elsewhere.

    They are sorted by their features (:mod:`.kernels.sorted_products`), in so many parts. There is
    memory for as many of each sample, which is not to be more than the dataset itself takes.
    """
    enough = W1.shape[1] * W1.itemsize >= SORTED_VECTORS * LINE
    if not (enough and isinstance(data, SparseDataset) and batch_size <= parts * LARGEST_PART):
        return 0
    indptr, _, values = data.x
    if batch_size * len(values) < SORTED_VALUES * len(W1) * parts * len(data):
        return 0
    most = int(np.diff(indptr).max())
    return most if batch_size * most <= len(values) else 0


def _dense_product(*, data: Dataset, batch_size: int, W1: Array, **_: Any) -> int:
    return (
        0
        if isinstance(data, SparseDataset)
        else step_multiplications(data, batch_size, W1.shape[1])
    )


#: The activations that compiled code has: see `kernels.activations`.
ACTIVATIONS = frozenset({"identity", "sigmoid", "tanh", "relu"})
_DTYPES = frozenset({"float32", "float64"})
_LOSSES = frozenset({"cross_entropy"})
_STEP: Any = {
    "network": frozenset({"two_layer"}),
    "activation": ACTIVATIONS,
    "update": frozenset({"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"}),
    "weight_decay": frozenset({True}),
    "dtype": _DTYPES,
}
_FUSED_SIZES = (
    (lambda W2, **_: W2.size, LARGEST_FUSED_OUTPUT),
    (_dense_product, LARGEST_FUSED_PRODUCT),
)

#: Of each operation that is overridden, and of the kernels that make many steps.
SUPPORT = {
    "dense": Support(activation=ACTIVATIONS, contiguous=("W", "b")),
    "output": Support(loss=_LOSSES),
    "two_layer_output": Support(
        activation=ACTIVATIONS, loss=_LOSSES, contiguous=("W1", "b1", "W2", "b2")
    ),
    "loss": Support(loss=_LOSSES),
    "loss_gradient": Support(loss=_LOSSES),
    "dense_backward": Support(activation=ACTIVATIONS),
    "dense_gradient": Support(contiguous=("delta",)),
    "dense_descent": Support(contiguous=("W", "delta")),
    "numerical_gradient": Support(activation=ACTIVATIONS, loss=_LOSSES | {"mean_squared_error"}),
    "backprop steps": Support(
        **_STEP,
        loss=_LOSSES | {"binary_cross_entropy"},
        gradient=frozenset({"backprop"}),
        sizes=_FUSED_SIZES,
    ),
    "objective steps": Support(
        **_STEP | {"update": _STEP["update"] - {"sgd"}},
        loss=_LOSSES | {"binary_cross_entropy", "mean_squared_error"},
        objective=frozenset({True}),
        sample_weights=frozenset({True}),
        gradient=frozenset({"backprop"}),
        sizes=_FUSED_SIZES,
    ),
    "numerical steps": Support(
        **_STEP, loss=_LOSSES, gradient=frozenset({"numerical"}), data=SparseDataset
    ),
}
