"""JAX: the step compiled and called from Python, all steps in one `lax.scan`, and differences.

The central differences are computed in batches by `vmap`.

On the CPU it divides its work over a thread pool of its own, of the size of the machine. Where
there is a GPU, too, JAX would use that by itself, all of its memory, and products of reduced
precision.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # before the import
import jax
import jax.numpy as jnp
import numpy as np

from ..problems import LEARNING_RATE, Problem

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_device", jax.devices("cpu")[0])
jax.config.update("jax_default_matmul_precision", "highest")

Params = dict[str, jax.Array]


def predict(params: Params, x: jax.Array) -> jax.Array:
    """The probabilities of the classes."""
    z1 = jax.nn.sigmoid(x @ params["W1"] + params["b1"])
    return jax.nn.softmax(z1 @ params["W2"] + params["b2"])


def _loss(params: Params, x: jax.Array, t: jax.Array) -> jax.Array:
    y = predict(params, x)
    return -jnp.log(jnp.take_along_axis(y, t[:, None], axis=1) + 1e-7).mean()


def _step(params: Params, x: jax.Array, t: jax.Array, rows: jax.Array) -> tuple[Params, jax.Array]:
    def loss(params: Params) -> jax.Array:
        z1 = jax.nn.sigmoid(x[rows] @ params["W1"] + params["b1"])
        log_y = jax.nn.log_softmax(z1 @ params["W2"] + params["b2"])
        return -jnp.take_along_axis(log_y, t[rows][:, None], axis=1).mean()

    value, gradient = jax.value_and_grad(loss)(params)
    return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradient), value


class Step:
    """One compiled step, called once an iteration; the new parameters get the old ones' memory."""

    platform = "cpu"

    def __init__(self, problem: Problem) -> None:
        try:
            self._device = jax.devices(self.platform)[0]
        except RuntimeError as error:
            raise ImportError(f"JAX finds no {self.platform}") from error
        self._x, self._t = jax.device_put((problem.x, problem.t), self._device)
        self._params = jax.device_put(problem.params, self._device)
        self._step = jax.jit(_step, donate_argnums=0)

    def run(self, rows: np.ndarray) -> None:
        losses = []
        for batch in rows:
            self._params, loss = self._step(self._params, self._x, self._t, batch)
            losses.append(loss)
        jax.block_until_ready((self._params, losses))

    def params(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(value) for name, value in self._params.items()}


class Scan(Step):
    """All iterations compiled into one loop."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)

        def loop(
            params: Params, x: jax.Array, t: jax.Array, rows: jax.Array
        ) -> tuple[Params, jax.Array]:
            return jax.lax.scan(lambda p, batch: _step(p, x, t, batch), params, rows)

        self._loop = jax.jit(loop, donate_argnums=0)

    def run(self, rows: np.ndarray) -> None:
        self._params, losses = self._loop(
            self._params, self._x, self._t, jax.device_put(rows, self._device)
        )
        jax.block_until_ready((self._params, losses))


class ScanOnGpu(Scan):
    """That loop on the first GPU."""

    platform = "gpu"


def central_differences(
    params: dict[str, np.ndarray],
    x: np.ndarray,
    t: np.ndarray,
    indices: list[tuple[int, ...]],
    h: float,
    at_once: int = 50,
) -> Callable[[], np.ndarray]:
    """A compiled function that differentiates the loss for these entries of W1, so many at once."""
    there = {name: jnp.asarray(value) for name, value in params.items()}
    x_there, t_there, places = jnp.asarray(x), jnp.asarray(t), jnp.asarray(indices)

    @jax.jit
    def differentiate(params: Params, x: jax.Array, t: jax.Array, places: jax.Array) -> Any:
        def one(place: jax.Array) -> jax.Array:
            above, below = (
                params | {"W1": params["W1"].at[place[0], place[1]].add(sign * h)}
                for sign in (1, -1)
            )
            return (_loss(above, x, t) - _loss(below, x, t)) / (2 * h)

        return jax.lax.map(one, places, batch_size=min(at_once, len(indices)))

    return lambda: np.asarray(differentiate(there, x_there, t_there, places))
