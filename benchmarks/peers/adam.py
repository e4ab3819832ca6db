"""The same network trained with Adam by others, each with its own definition of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.bench.timing import Contestant

from ..problems import OUTPUTS, Problem

RATE = 1e-3


def pytorch_fused(problem: Problem, rows: np.ndarray) -> Callable[[], None]:
    """Autograd, and PyTorch's Adam in one kernel."""
    import torch

    from .pytorch import Eager

    class FusedAdam(Eager):
        def __init__(self, problem: Problem) -> None:
            super().__init__(problem)
            self._optimizer = torch.optim.Adam(self._model.parameters(), lr=RATE, fused=True)

    peer = FusedAdam(problem)
    return lambda: peer.run(rows)


def jax_scan(problem: Problem, rows: np.ndarray) -> Callable[[], None]:
    """All steps in one compiled loop, with Adam of optax."""
    import jax
    import jax.numpy as jnp
    import optax

    optimizer: Any = optax.adam(RATE, eps=1e-7)

    def loss(params: Any, x: Any, t: Any) -> Any:
        z1 = jax.nn.sigmoid(x @ params["W1"] + params["b1"])
        log_y = jax.nn.log_softmax(z1 @ params["W2"] + params["b2"])
        return -jnp.take_along_axis(log_y, t[:, None], axis=1).mean()

    @jax.jit
    def loop(params: Any, state: Any, x: Any, t: Any, rows: Any) -> Any:
        def step(carry: Any, batch: Any) -> Any:
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params, x[batch], t[batch])
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, state), rows)

    device = jax.devices("cpu")[0]
    x, t, params, batches = jax.device_put((problem.x, problem.t, problem.params, rows), device)
    kept = [params, optimizer.init(params)]

    def run() -> None:
        (kept[0], kept[1]), losses = loop(*kept, x, t, batches)
        jax.block_until_ready((kept, losses))

    return run


def scikit_learn(problem: Problem, rows: np.ndarray) -> Callable[[], None]:
    """`fit` on all batches laid out one after the other, for one pass over them."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    samples = rows.ravel()
    x, t = problem.x[samples], problem.t[samples]
    model = MLPClassifier(
        hidden_layer_sizes=(problem.size.hidden,),
        activation="logistic",
        solver="adam",
        alpha=0,
        batch_size=problem.size.batch,
        learning_rate_init=RATE,
        epsilon=1e-7,
        shuffle=False,
        max_iter=1,
        warm_start=True,
    )
    model.partial_fit(x, t, classes=np.arange(OUTPUTS))

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one pass is what was asked for
            model.fit(x, t)

    return run


PEERS = {
    "PyTorch fused Adam": pytorch_fused,
    "JAX scan, optax Adam": jax_scan,
    "scikit-learn Adam": scikit_learn,
}


def contestants(problem: Problem, iterations: int) -> dict[str, Contestant | str]:
    """Each of them, by number of threads where it has any to choose, or why it cannot take part."""
    from . import threads

    rows, result = problem.rows(iterations), {}
    for name, make in PEERS.items():
        try:
            run = make(problem, rows)
            run()  # compiles, and allocates
        except ImportError as error:
            result[name] = str(error)
            continue
        for count in (None,) if name.startswith("JAX") else (1, 2):
            label = name if count is None else f"{name}, {count} thread{'s' if count > 1 else ''}"
            result[label] = _contestant(run, iterations, threads, count)
    return result


def _contestant(
    run: Callable[[], None], iterations: int, threads: Any, count: int | None
) -> Contestant:
    def sample() -> float:
        with threads(count):
            started = time.perf_counter()
            run()
            return (time.perf_counter() - started) / iterations

    return sample
