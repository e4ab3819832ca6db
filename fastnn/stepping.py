"""The steps of a training: by the backend's own way for what the network states, or one by one."""

from __future__ import annotations

from typing import Any

from .backends.base import Dataset, Runner
from .backends.steps import GradientDescent
from .base_network import Network
from .validation import Array

#: How a step computes its gradient: the name of the network's method.
GRADIENTS = {"backprop": "descend", "numerical": "descend_numerically"}


def runner(
    network: Network, data: Dataset, *, gradient: str, batch_size: int, learning_rate: float
) -> Runner:
    """What makes steps: the backend's own way for the stated step, or one by one."""
    step = sgd_step(network, data, gradient, batch_size, learning_rate)
    stated = network.training_step(
        data, step, gradient=gradient, update=GradientDescent(learning_rate), batch_size=batch_size
    )
    fused = None if stated is None else network.backend.runner(stated)

    def one_by_one(rows: Array, losses: Array) -> None:
        for i in range(rows.shape[0]):
            losses[i] = step(rows[i, ...])

    return one_by_one if fused is None else fused


def sgd_step(
    network: Network, data: Dataset, gradient: str, batch_size: int, learning_rate: float
) -> Any:
    """A function of row numbers that does an iteration over the operations; it returns the loss."""
    descend = getattr(network, GRADIENTS[gradient])
    buffers: dict[str, Array] = {}

    def step(rows: Any) -> Any:
        if not buffers:  # allocated once, and only if a step is made in this way
            buffers.update(network.buffers(batch_size) | {"x": data.buffer(batch_size)})
        x, t = data.batch(rows, out=buffers["x"])
        return descend(x, t, learning_rate, buffers)

    return step
