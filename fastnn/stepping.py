"""The steps of a training: by the backend's own way for what the network states, or one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .backends.base import Dataset, Runner
from .backends.datasets import DistantDataset
from .backends.steps import KeepingRunner
from .base_network import Network
from .optimizers.choosing import stated
from .validation import Array

#: How a step computes its gradient: the name of the network's method.
GRADIENTS = {"backprop": "descend", "numerical": "descend_numerically"}


def runner(
    network: Network, data: Dataset, *, gradient: str, batch_size: int, optimizer: Any
) -> Runner:
    """What makes steps: the backend's own way for the stated step, or one by one.

    Parameters
    ----------
    network : Network
    data : Dataset
        Of the network.
    gradient : {"backprop", "numerical"}
    batch_size : int
    optimizer : object with ``update(params, grads)``
        After each call of the runner its memory is that after these steps. The learning rates of
        the call take the place of its `lr` meanwhile, if it has one.
    """

    def over(some: Dataset) -> Runner:
        step = single_step(network, some, gradient, batch_size, optimizer)
        update = None if isinstance(some, DistantDataset) else stated(optimizer)
        fused = None
        if update is not None:
            of_network = network.training_step(
                some, step, gradient=gradient, update=update, batch_size=batch_size
            )
            fused = None if of_network is None else network.backend.runner(of_network)

        def one_by_one(rows: Array, losses: Array, rates: np.ndarray) -> None:
            for i, rate in enumerate(rates.tolist()):
                losses[i] = step(rows[i, ...], rate)

        return one_by_one if fused is None else fused

    return data.runner(batch_size, over)


def runners(
    network: Network, data: Dataset, sizes: Iterable[int], **options: Any
) -> dict[int, Runner]:
    """For batches of each of these sizes what makes steps with them: one for all, if it can.

    `options` are those of :func:`runner`.
    """
    largest, *others = sorted(set(sizes), reverse=True)
    made = {largest: runner(network, data, batch_size=largest, **options)}
    for size in others:
        first = made[largest]
        if isinstance(first, KeepingRunner) and first.smaller:
            made[size] = first
        else:
            made[size] = runner(network, data, batch_size=size, **options)
    return made


def single_step(
    network: Network, data: Dataset, gradient: str, batch_size: int, optimizer: Any
) -> Callable[[Array, float], Any]:
    """A function of row numbers and a learning rate that does an iteration over the operations.

    It returns the loss: 0 of a batch in which no sample weighs anything, and then moves nothing.
    """
    descend = getattr(network, GRADIENTS[gradient])
    buffers: dict[str, Array] = {}
    has_rate = hasattr(optimizer, "lr")

    def here(rows: Array) -> Any:
        if not buffers:  # allocated once, and only if a step is made in this way
            buffers.update(network.buffers(batch_size) | {"x": data.buffer(batch_size)})
        x, t = data.weighted_batch(rows, out=buffers["x"])
        if data.weights is not None and not network.backend.largest(t.weights):
            return 0.0
        return descend(x, t, optimizer, buffers)

    def elsewhere(rows: Array) -> Any:
        assert isinstance(data, DistantDataset)
        value, gradients = data.gradient(network, rows, gradient)
        if gradients is not None:
            optimizer.update(network.params, gradients)
        return value

    move = elsewhere if isinstance(data, DistantDataset) else here

    def step(rows: Array, rate: float) -> Any:
        if not has_rate or optimizer.lr == rate:
            return move(rows)
        own, optimizer.lr = optimizer.lr, rate
        try:
            return move(rows)
        finally:
            optimizer.lr = own

    return step
