"""The estimators beside scikit-learn's networks and skorch: fits with all that belongs to them.

The random draws are the same as scikit-learn's, so that both end with the same model.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from fastnn import TwoLayerClassifier
from fastnn.bench.timing import Contestant, repeat

from ..problems import DTYPES, Problem
from ..recording import Claim, Record

OURS, THEIRS = "fastnn numba", "scikit-learn"


def fits(x: Any, y: np.ndarray, **options: Any) -> dict[str, Contestant]:
    """A fit of each, from the samples to the model; ours has compiled its kernels before."""

    def timed(make: Callable[[], Any]) -> Contestant:
        def fit() -> float:
            started = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                make().fit(x, y)
            return time.perf_counter() - started

        return fit

    found = {
        OURS: timed(lambda: TwoLayerClassifier(backend="numba", random_state=0, **options)),
        THEIRS: timed(lambda: MLPClassifier(random_state=0, **options)),
    }
    found[OURS]()
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_mnist(solver: str, dtype: str, record: Record, problem: Any) -> None:
    p: Problem = problem("book", dtype, "mnist")
    options = {"hidden_layer_sizes": (p.size.hidden,), "batch_size": min(200, len(p.x))}
    contestants = fits(p.x, p.t, solver=solver, max_iter=1 if record.quick else 3, **options)
    contestants["skorch"] = skorch_fit(p, solver, 1 if record.quick else 3)
    bound = 4 if (solver, dtype) == ("sgd", "float64") else 3
    record.compare(
        f"fit of MNIST 784-50-10, batch 200, {solver}, {dtype}",
        contestants,
        [Claim(OURS, (THEIRS,), times_faster=bound)],
        unit="fit",
        seconds=30,
        fewest=3,
    )


def skorch_fit(p: Problem, solver: str, epochs: int) -> Contestant | str:
    """The same network and batches in skorch, or why not."""
    try:
        import torch
        from skorch import NeuralNetClassifier
    except ImportError as error:
        return str(error)
    x, t = p.x, p.t.astype(np.int64)
    rule = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[solver]
    more = {"optimizer__momentum": 0.9, "optimizer__nesterov": True} if solver == "sgd" else {}

    def fit() -> float:
        dtype = getattr(torch, p.dtype)
        module = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], p.size.hidden, dtype=dtype),
            torch.nn.ReLU(),
            torch.nn.Linear(p.size.hidden, 10, dtype=dtype),
        )
        net = NeuralNetClassifier(
            module,
            criterion=torch.nn.CrossEntropyLoss,
            max_epochs=epochs,
            batch_size=200,
            lr=0.001,
            optimizer=rule,
            optimizer__weight_decay=1e-4 / 200,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
            **more,
        )
        started = time.perf_counter()
        net.fit(x, t)
        return time.perf_counter() - started

    return fit


@pytest.mark.parametrize(("name", "bound"), [("digits", 3), ("iris", 1)])
def test_small(name: str, bound: float, record: Record) -> None:
    x, y = (load_digits if name == "digits" else load_iris)(return_X_y=True)
    record.compare(
        f"fit of {name}, with the default settings",
        fits(x, y, max_iter=2 if record.quick else 200),
        [Claim(OURS, (THEIRS,), times_faster=bound)],
        unit="fit",
        seconds=20,
        fewest=3,
    )


def test_sparse(record: Record) -> None:
    """Words in texts: 20,000 of them, of which each has about 100, more often the common ones."""
    texts, words = (200, 1000) if record.quick else (2000, 20_000)
    rng = np.random.default_rng(0)
    columns = (words * rng.random((texts, 100)) ** 3).astype(np.intp).ravel()
    rows = np.repeat(np.arange(texts), 100)
    x = sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=(texts, words))
    y = rng.integers(0, 5, texts)
    record.compare(
        f"fit of a sparse matrix of {words} columns",
        fits(x, y, max_iter=2),
        [Claim(OURS, (THEIRS,), times_faster=5)],
        unit="fit",
        seconds=30,
        fewest=3,
    )


def test_predict_one_row(record: Record, problem: Any) -> None:
    p: Problem = problem("book", "float64", "mnist")
    x, y = p.x[:2000], p.t[:2000]
    models = {
        OURS: TwoLayerClassifier((50,), max_iter=1, backend="numba"),
        THEIRS: MLPClassifier((50,), max_iter=1),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = {name: model.fit(x, y) for name, model in models.items()}
    record.compare(
        "predict of one row of MNIST",
        {name: repeat(lambda m=model: m.predict(x[:1])) for name, model in fitted.items()},
        [Claim(OURS, (THEIRS,), at_most=1)],
        unit="call",
    )
