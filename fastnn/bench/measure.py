"""A training step and a numerical gradient here, on every backend and with the book's loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ..backends import available_backends
from ..data import load_mnist
from ..networks import TwoLayerNet
from ..progress import progress_bar
from ..training import train
from ..validation import float_dtype
from .book_net import BOOK, BOOK_PARAMETERS, BookNet
from .machine import machine
from .timing import Contestant, Timing, interleave, repeat, timed_with_threads

#: About how many samples one training of a contestant takes.
SAMPLES = 30_000


def measure(
    *,
    dtype: Any = "float64",
    hidden_size: int = 50,
    batch_size: int = 100,
    seconds: float = 30.0,
    progress: bool = False,
) -> dict[str, Any]:
    """Time a training step and a numerical gradient on MNIST with every backend that can run here.

    Beside them, the book's loop.

    Parameters
    ----------
    dtype : {"float64", "float32"}
    hidden_size, batch_size : int
    seconds : float
        About how long the measuring may take; loading and compiling come on top.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        Plain data: ``machine``, ``network``, ``batch_size``, ``dtype``, ``unavailable`` (backend →
        why it cannot run or failed), and ``training_step`` and ``numerical_gradient``, each with
        one entry a contestant: ``median``, ``low`` and ``high`` (quartiles) in seconds, ``rounds``,
        and how many times faster it is than NumPy and than the book's loop, ``speedup_over_numpy``
        and ``speedup_over_book``.
    """
    (x, t), _ = load_mnist()
    x = x.astype(float_dtype(dtype), copy=False)
    targets = np.eye(10, dtype=x.dtype)[t]
    networks: dict[str, TwoLayerNet] = {}
    unavailable: dict[str, str] = {}
    for name, found in available_backends().items():
        if not found.available:
            unavailable[name] = f"{found.reason}; {found.remedy}"
            continue
        try:
            network = TwoLayerNet(x.shape[1], hidden_size, 10, backend=name, dtype=dtype, rng=0)
        except Exception as error:  # of anybody's backend
            if name == "numpy":
                raise
            unavailable[name] = f"{type(error).__name__}: {error}"
        else:
            networks[name] = network
    book = BookNet(networks["numpy"].params)
    iterations = max(1, SAMPLES // batch_size)
    rows = np.random.default_rng(0).integers(len(x), size=(iterations, batch_size))

    batch = rows[0]
    steps = timed_with_threads(BOOK, lambda: book.train(x, targets, rows), iterations)
    gradients = _book_gradient(book, x[batch], targets[batch])
    options = {"iterations": iterations, "batch_size": batch_size}
    for name, network in networks.items():
        steps[name] = training_steps(network, x, t, **options)
        gradients[name] = _numerical_gradient(network, x[batch], t[batch])
    parts = []
    form = "{desc:<20} {percentage:3.0f} % |{bar}| {elapsed}"
    with progress_bar(100.0, progress, bar_format=form, leave=False) as bar:
        for i, contestants in enumerate((steps, gradients)):

            def tell(name: str, share: float, part: int = i) -> None:
                if bar is not None:
                    bar.set_description_str(name, refresh=False)
                    bar.n = 50.0 * (part + share)
                    bar.refresh()

            timings = interleave(contestants, seconds=seconds / 2, told=tell, failed=unavailable)
            if "numpy" not in timings or not any(name.startswith(BOOK) for name in timings):
                raise RuntimeError(f"nothing to compare with: {unavailable}")
            parts.append(timings)
    training_step, numerical_gradient = parts

    return {
        "machine": machine(),
        "network": f"{x.shape[1]}-{hidden_size}-10",
        "batch_size": batch_size,
        "dtype": str(x.dtype),
        "unavailable": unavailable,
        "training_step": _with_speedups(training_step),
        "numerical_gradient": _with_speedups(numerical_gradient),
    }


def training_steps(
    network: TwoLayerNet,
    x: Any,
    t: Any,
    *,
    iterations: int,
    rng: Any = 0,
    **options: Any,
) -> Contestant:
    """The contestant that trains a network, and returns the seconds an iteration took.

    Checking and keeping the data, done once a training, is outside the loop. `options` are those of
    :func:`fastnn.train`.
    """
    options |= {"iterations": iterations, "evaluate_every": 0, "rng": rng}

    def sample() -> float:
        return train(network, x, t, **options).seconds / iterations

    return sample


def _numerical_gradient(network: TwoLayerNet, x: np.ndarray, t: np.ndarray) -> Contestant:
    x, t = network.backend.asarray(x), network.backend.asarray(t)
    return repeat(lambda: network.numerical_gradient(x, t), network.backend.synchronize)


def _book_gradient(book: BookNet, x: np.ndarray, t: np.ndarray) -> dict[str, Contestant]:
    """Contestants that differentiate by some parameters, and count as the part of all they are."""
    sample = min(BOOK_PARAMETERS, book.params["W1"].size)
    part = sample / sum(p.size for p in book.params.values())
    return timed_with_threads(BOOK, lambda: book.numerical_gradient(x, t, sample), part)


def _with_speedups(timings: Mapping[str, Timing]) -> dict[str, dict[str, Any]]:
    book = min(timing.median for name, timing in timings.items() if name.startswith(BOOK))
    return {
        name: asdict(timing)
        | {
            "speedup_over_numpy": timings["numpy"].median / timing.median,
            "speedup_over_book": book / timing.median,
        }
        for name, timing in timings.items()
    }
