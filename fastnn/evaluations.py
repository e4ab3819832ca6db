"""What is evaluated during a training, on which samples, and when."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from .backends.base import Dataset
from .backends.datasets import DistantDataset
from .base_network import Network
from .errors import DivergenceError, InputError
from .history import History
from .streams import streamed
from .validation import (
    Array,
    array_namespace,
    check_weights,
    is_sparse,
    real_array,
    targets_of_any_sum,
)

#: How many samples are classified at a time when the accuracy is evaluated: bounds the memory of
#: the hidden layer.
EVALUATION_CHUNK = 2000


class Evaluation(NamedTuple):
    """The results of one, on the device until they are asked for.

    Attributes
    ----------
    iteration : int
    counts : dict of str to (scalar, int)
        By the name in the history, how many samples are classified right, and how many there are;
        the first is negative if a parameter is not finite.
    loss : scalar or None
        On the validation samples.
    """

    iteration: int
    counts: dict[str, tuple[Array, int]]
    loss: Array | None


class Evaluations:
    """The datasets of a training that are evaluated, every `interval` iterations.

    Parameters
    ----------
    network : Network
    datasets : dict of str to Dataset
        Named "train", "test" and "validation", what there is of them.
    interval : int
        0 never evaluates.
    offset : int
        They are evaluated after the iterations offset, offset + interval, …, counted from 0.
    """

    def __init__(
        self, network: Network, datasets: dict[str, Dataset], interval: int, offset: int = 0
    ) -> None:
        self.network = network
        self.datasets = datasets
        self.interval = interval
        self.offset = offset

    def next_from(self, iteration: int) -> int | None:
        """After which iteration, of this one and those that follow, the next one is."""
        return iteration + (self.offset - iteration) % self.interval if self.interval else None

    def evaluate(self, iteration: int) -> Evaluation:
        """Evaluate the network as it is after an iteration; nothing waits for the device."""
        network = self.network
        broken = count_broken(network)
        counts: dict[str, tuple[Array, int]] = {}
        loss = None
        for name, data in self.datasets.items():
            if name == "validation":
                correct, loss = accuracy_and_loss(network, data)
            else:
                correct = count_correct(network, data) if network.has_accuracy else None
            if network.has_accuracy:
                # Negative, in the one number that comes back, if the network has no accuracy.
                counts[f"{name}_accuracy"] = correct - broken * (len(data) + 1), len(data)
        return Evaluation(iteration, counts, loss)

    def record(self, found: Evaluation, history: History, rate: float) -> None:
        """Add the results to a history.

        Raises
        ------
        DivergenceError
            If a parameter or the loss is not finite.
        """
        to_numpy = self.network.backend.to_numpy
        values = {name: float(to_numpy(n)) / total for name, (n, total) in found.counts.items()}
        check_parameters(min(values.values(), default=0) >= 0, found.iteration, rate)
        if found.loss is not None:
            values["validation_loss"] = loss = float(to_numpy(found.loss))
            if not np.isfinite(loss):
                raise DivergenceError(
                    f"the loss on the validation samples is {loss} after iteration "
                    f"{found.iteration}: training diverged; "
                    f"start again with a learning_rate smaller than {rate:g}"
                )
        history.iterations.append(found.iteration)
        for name, value in values.items():
            getattr(history, name).append(value)


def columns(network: Network, datasets: Iterable[str]) -> set[str]:
    """What evaluations of these datasets add to in a history."""
    accuracies = {f"{name}_accuracy" for name in datasets if network.has_accuracy}
    return accuracies | {"validation_loss"} if "validation" in datasets else accuracies


def count_correct(network: Network, data: Dataset) -> Array:
    """How many samples of a dataset are classified right: a scalar that stays with the backend."""
    if isinstance(data, DistantDataset):
        return data.count_correct(network)
    return sum(network.count_correct(x, t) for x, t in data.chunks(EVALUATION_CHUNK))


def count_broken(network: Network) -> Array:
    """How many parameters are NaN or infinite: a scalar that stays with the backend."""
    xp = network.backend.xp
    # Not count_nonzero, which older versions of NumPy answer with an int of Python.
    broken = (xp.astype(~xp.isfinite(p), xp.int64) for p in network.params.values())
    return sum(xp.sum(some) for some in broken)


def check_parameters(finite: bool, iteration: int, rate: float) -> None:
    """Raise DivergenceError, of this iteration, unless they are finite."""
    if not finite:
        raise DivergenceError(
            f"the parameters are not finite after iteration {iteration}: training diverged, "
            "and they are of no use any more; "
            f"start again with a learning_rate smaller than {rate:g}"
        )


def accuracy_and_loss(network: Network, data: Dataset) -> tuple[Array, Array]:
    """How many are classified right, and the loss of all, in one pass; both stay there."""
    if isinstance(data, DistantDataset):
        return data.accuracy_and_loss(network)
    backend = network.backend
    # All logits, which are few beside the hidden layer: what a loss makes of samples, a mean or a
    # sum, is its own affair.
    logits, start = None, 0
    for x, t in data.chunks(EVALUATION_CHUNK):
        some = network._logits(x)
        if logits is None:
            logits = backend.empty((len(data), some.shape[1]), network.dtype)
        logits[start : start + t.shape[0], ...] = some
        start += t.shape[0]
    correct = backend.count_correct(logits, data.t, network.loss_name)
    return correct, backend.loss(
        backend.output(logits, network.loss_name), data.t, network.loss_name
    )


def held_out(samples: int, fraction: float) -> int:
    """How many of so many samples a fraction is: rounded, at least one, and leaves at least one."""
    return min(max(round(fraction * samples), 1), samples - 1)


def split(
    network: Network, x: Any, t: Any, fraction: float, rng: np.random.Generator, **options: Any
) -> tuple[Dataset, Dataset]:
    """Training and validation samples: of ``rng.permutation(samples)``, the first are the latter.

    How many says :func:`held_out`; both keep the order that they come in. `options`, such as
    weights, go along with the training samples. The generator
    is used if nothing is refused.
    """
    backend = network.backend
    stream = streamed(x)
    if stream is None:
        entered, targets = network._enter_pair(x, t, "train", use="array")
    else:
        entered, targets = stream, network._enter_stream(stream, t, "train")
    samples = targets.shape[0]
    if samples < 2:
        raise InputError(
            f"validation={fraction:g} of {samples} sample leaves none to train on; "
            "give validation=(x, t)"
        )
    for name, value in options.items():
        weights = real_array(value, name)
        check_weights(weights, samples, name, xp=array_namespace(weights))
        options[name] = np.asarray(weights)
    count = held_out(samples, fraction)
    drawing = copy.deepcopy(rng)
    order = drawing.permutation(samples)

    def part(rows: np.ndarray, name: str, options: dict[str, Any]) -> Dataset:
        with backend.current():
            numbers = backend.asarray(rows)
            if stream is not None:
                chosen = stream.select(rows)
            elif is_sparse(x):
                chosen = x.tocsr()[rows]
            else:
                chosen = backend.take(entered, numbers)
            labels = backend.take(targets, numbers)
        own = {key: value[rows] for key, value in options.items()}
        with targets_of_any_sum():  # which has been checked, with what they were rounded to
            return network.dataset(chosen, labels, name, **own)

    parts = (
        part(np.sort(order[count:]), "train", options),
        part(np.sort(order[:count]), "train", {}),
    )
    rng.bit_generator.state = drawing.bit_generator.state
    return parts
