"""Measuring on the machine at hand: contestants in turn, against the book's own loops.

``fastnn bench`` shows what :func:`measure` returns; the suite in ``benchmarks/`` measures with the same tools.
"""

from __future__ import annotations

import math
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .backends import available_backends
from .backends.numpy_backend import cpu_name
from .data import load_mnist
from .errors import InputError
from .functions import LOG_GUARD, one_hot
from .networks import TwoLayerNet
from .training import train
from .validation import float_dtype

#: What the book's loop is called in every table.
BOOK = "book's loop"

#: On how many parameters the book's numerical gradient is timed: all of them take minutes, and each costs the same.
BOOK_PARAMETERS = 500

#: A contestant does some of its work and returns the seconds that one unit of it took.
Contestant = Callable[[], float]

# How long a sample of repeated calls lasts at least, in seconds.
_SAMPLE = 0.01
#: And of the calls before it, which are not timed.
_WARM_UP = 0.01


@dataclass(frozen=True)
class Timing:
    """Seconds for one unit of work: the median over the rounds, and the quartiles."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, samples: list[float]) -> Timing:
        """Summarize the samples of one contestant."""
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0], 1)
        low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(median, low, high, len(samples))

    def __mul__(self, factor: float) -> Timing:
        return Timing(self.median * factor, self.low * factor, self.high * factor, self.rounds)


def interleave(contestants: Mapping[str, Contestant], *, seconds: float, fewest: int = 5, most: int = 50) -> dict[str, Timing]:
    """Time contestants in turn, round after round, so that whatever else the machine does meets all of them alike.

    Parameters
    ----------
    contestants : mapping of str to callable
    seconds : float
        About how long all of it may take, a first round apart that warms up and is not counted; at most three times that,
        even if it makes the rounds fewer.
    fewest, most : int
        Rounds to count; with a `most` of 1 the first round is the only one, and it is counted.

    Returns
    -------
    dict of str to Timing

    Examples
    --------
    >>> timings = interleave({"sum": repeat(lambda: sum(range(100)))}, seconds=0.1)
    >>> 0 < timings["sum"].low <= timings["sum"].median <= timings["sum"].high
    True
    """
    samples = {name: [contestant()] for name, contestant in contestants.items()}
    if most > 1:
        samples = {name: [] for name in contestants}
        started = time.perf_counter()
        for i in range(most):
            for name, contestant in contestants.items():
                _let_threads_sleep()
                samples[name].append(contestant())
            elapsed = time.perf_counter() - started
            if elapsed > (seconds if i + 1 >= fewest else 3 * seconds):
                break
    return {name: Timing.of(values) for name, values in samples.items()}


def _let_threads_sleep() -> None:
    """Wait until no thread of this process runs any more, at most 0.3 s.

    The threads of OpenBLAS and OpenMP wait for more work in a busy loop, OpenBLAS's for 0.1 s; meanwhile they would take the
    processor from the contestant that comes next.
    """
    for _ in range(30):
        before = time.process_time()
        time.sleep(0.01)  # longer than a tick of the scheduler, at which it accounts for what runs elsewhere
        if time.process_time() - before < 0.002:
            return


def repeat(call: Callable[[], Any], synchronize: Callable[[], None] = lambda: None) -> Contestant:
    """The contestant that makes this call, for some time before the clock starts and then as often as a steady sample takes."""
    count = 0

    def sample() -> float:
        nonlocal count
        # The processor has slept, and its caches hold what the contestant before used.
        warm = time.perf_counter() + _WARM_UP
        while True:
            started = time.perf_counter()
            call()
            synchronize()
            if time.perf_counter() >= warm:
                break
        if not count:
            count = 1 if time.perf_counter() - started > _SAMPLE else _calls_that_last(call, synchronize)
        started = time.perf_counter()
        for _ in range(count):
            call()
        synchronize()
        return (time.perf_counter() - started) / count

    return sample


def _calls_that_last(call: Callable[[], Any], synchronize: Callable[[], None]) -> int:
    count = 1
    while True:
        started = time.perf_counter()
        for _ in range(count):
            call()
        synchronize()
        elapsed = time.perf_counter() - started
        if elapsed >= _SAMPLE:
            return count
        count = max(2 * count, math.ceil(count * _SAMPLE / max(elapsed, 1e-9)))


def training_steps(network: TwoLayerNet, x: Any, t: Any, *, iterations: int, rng: Any = 0, **options: Any) -> Contestant:
    """The contestant that trains a network, as a user would, and returns the seconds an iteration of the loop took.

    Checking and keeping the data, done once a training, is outside the loop. `options` are those of
    :func:`fastnn.train`.
    """

    def sample() -> float:
        return train(network, x, t, iterations=iterations, evaluate_every=0, rng=rng, **options).seconds / iterations

    return sample


class BookNet:
    """The book's network as its readers write it in NumPy, from given initial weights; targets are one-hot.

    It is what the speed of fastnn is compared with, and shares no code with it.
    """

    def __init__(self, params: Mapping[str, np.ndarray]) -> None:
        self.params = {name: parameter.copy() for name, parameter in params.items()}

    def _forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z1 = 1 / (1 + np.exp(-(np.dot(x, self.params["W1"]) + self.params["b1"])))
        a2 = np.dot(z1, self.params["W2"]) + self.params["b2"]
        exp = np.exp(a2 - np.max(a2, axis=1, keepdims=True))
        return z1, exp / np.sum(exp, axis=1, keepdims=True)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Class probabilities."""
        return self._forward(x)[1]

    def loss(self, x: np.ndarray, t: np.ndarray) -> float:
        """Cross-entropy with its guard."""
        return -np.sum(t * np.log(self.predict(x) + LOG_GUARD)) / len(x)

    def gradient(self, x: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
        """Backpropagation."""
        z1, y = self._forward(x)
        dy = (y - t) / len(x)
        da1 = np.dot(dy, self.params["W2"].T) * z1 * (1 - z1)
        return {"W1": np.dot(x.T, da1), "b1": np.sum(da1, axis=0), "W2": np.dot(z1.T, dy), "b2": np.sum(dy, axis=0)}

    def numerical_gradient(self, x: np.ndarray, t: np.ndarray, parameters: int, h: float = 1e-4) -> np.ndarray:
        """Central differences for so many entries of W1, spread over it: two losses of all samples for each."""
        W1 = self.params["W1"]
        gradient = []
        for index in sampled_indices(W1, parameters):
            value = W1[index]
            W1[index] = value + h
            above = self.loss(x, t)
            W1[index] = value - h
            below = self.loss(x, t)
            gradient.append((above - below) / (2 * h))
            W1[index] = value
        return np.array(gradient)

    def train(self, x: np.ndarray, t: np.ndarray, rows: np.ndarray, learning_rate: float = 0.1) -> list[float]:
        """One iteration for each row of `rows`, the numbers of its samples; the loss is evaluated after the update."""
        losses = []
        for batch in rows:
            x_batch, t_batch = x[batch], t[batch]
            gradient = self.gradient(x_batch, t_batch)
            for name in self.params:
                self.params[name] -= learning_rate * gradient[name]
            losses.append(self.loss(x_batch, t_batch))
        return losses


def sampled_indices(a: np.ndarray, count: int) -> list[tuple[int, ...]]:
    """The indices of `count` entries, or of all if there are fewer, evenly spread over the array."""
    flat = np.linspace(0, a.size - 1, min(count, a.size)).round().astype(int)
    return [tuple(map(int, index)) for index in zip(*np.unravel_index(flat, a.shape), strict=True)]


def timed_with_threads(name: str, call: Callable[[], Any], units: float, counts: Sequence[int] = (1, 2)) -> dict[str, Contestant]:
    """A contestant for each of these numbers of BLAS threads, as far as the machine has cores: `call` does so many units."""
    return {
        f"{name}, {count} thread{'s' if count > 1 else ''}": _with_threads(call, units, count)
        for count in counts
        if count == 1 or count <= (os.cpu_count() or 1)
    }


def _with_threads(call: Callable[[], Any], units: float, count: int) -> Contestant:
    def sample() -> float:
        with blas_threads(count):
            started = time.perf_counter()
            call()
            return (time.perf_counter() - started) / units

    return sample


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Give the BLAS behind NumPy so many threads for a while."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(count, user_api="blas"):
        yield


def machine() -> dict[str, Any]:
    """What a measurement must be read with: processor, memory, threads and versions."""
    from threadpoolctl import threadpool_info

    versions = {"python": platform.python_version()}
    for package in ("fastnn", "numpy", "numba", "cupy-cuda12x", "cupy-cuda13x"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    numba = sys.modules.get("numba")
    return {
        "cpu": cpu_name(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "devices": {name: found.device for name, found in available_backends().items() if found.available},
        "nvidia_driver": _nvidia_driver(),
        "blas": [
            f"{pool['internal_api']} {pool['version']} for {pool.get('architecture', '?')}, {pool['num_threads']} threads"
            for pool in blas
        ],
        "numba_threads": numba.config.NUMBA_NUM_THREADS if numba else None,
        "versions": versions,
    }


def _memory_gb() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (AttributeError, ValueError):  # not on Windows
        return None


def _nvidia_driver() -> str | None:
    """The version of the NVIDIA driver; None where there is none, or no Linux to tell."""
    file = Path("/proc/driver/nvidia/version")
    found = re.search(r"\d+\.\d+(\.\d+)?", file.read_text(encoding="utf-8")) if file.exists() else None
    return found[0] if found else None


def measure(*, dtype: Any = "float64", hidden_size: int = 50, batch_size: int = 100, seconds: float = 30.0) -> dict[str, Any]:
    """Time a training step and a numerical gradient on MNIST with every backend that can run here, and with the book's loop.

    Parameters
    ----------
    dtype : {"float64", "float32"}
    hidden_size, batch_size : int
    seconds : float
        About how long the measuring may take; loading and compiling come on top.

    Returns
    -------
    dict
        Plain data: ``machine``, ``network``, ``batch_size``, ``dtype``, ``unavailable`` (backend → reason), and
        ``training_step`` and ``numerical_gradient``, each with one entry a contestant: ``median``, ``low`` and ``high``
        (quartiles) in seconds, ``rounds``, and how many times faster it is than NumPy and than the book's loop,
        ``speedup_over_numpy`` and ``speedup_over_book``.
    """
    (x, t), _ = load_mnist()
    x = x.astype(float_dtype(dtype), copy=False)
    targets = one_hot(t.astype(np.intp), 10, x.dtype)
    backends = available_backends()
    rng = np.random.default_rng(0)
    iterations = max(1, 30_000 // batch_size)
    rows = rng.integers(len(x), size=(iterations, batch_size))
    networks = {
        name: TwoLayerNet(x.shape[1], hidden_size, 10, backend=name, dtype=dtype, rng=0)
        for name, found in backends.items()
        if found.available
    }
    book = BookNet(networks["numpy"].params)
    steps = timed_with_threads(BOOK, lambda: book.train(x, targets, rows), iterations) | {
        name: training_steps(network, x, t, iterations=iterations, batch_size=batch_size) for name, network in networks.items()
    }
    training_step = interleave(steps, seconds=seconds / 2)

    x_batch, t_batch, targets_batch = x[rows[0]], t[rows[0]], targets[rows[0]]
    parameters = sum(p.size for p in book.params.values())
    sample = min(BOOK_PARAMETERS, book.params["W1"].size)
    gradients = timed_with_threads(BOOK, lambda: book.numerical_gradient(x_batch, targets_batch, sample), sample / parameters) | {
        name: repeat(_numerical_gradient(network, x_batch, t_batch), network.backend.synchronize)
        for name, network in networks.items()
    }
    numerical_gradient = interleave(gradients, seconds=seconds / 2)

    return {
        "machine": machine(),
        "network": f"{x.shape[1]}-{hidden_size}-10",
        "batch_size": batch_size,
        "dtype": str(x.dtype),
        "unavailable": {name: f"{f.reason}; {f.remedy}" for name, f in backends.items() if not f.available},
        "training_step": _with_speedups(training_step),
        "numerical_gradient": _with_speedups(numerical_gradient),
    }


def _numerical_gradient(network: TwoLayerNet, x: np.ndarray, t: np.ndarray) -> Callable[[], Any]:
    x, t = network.backend.asarray(x), network.backend.asarray(t)
    return lambda: network.numerical_gradient(x, t)


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


def table(measured: Mapping[str, Any]) -> str:
    """What :func:`measure` returned, as lines for a person to read."""
    versions = ", ".join(f"{name} {number}" for name, number in measured["machine"]["versions"].items())
    lines = [
        f"{measured['machine']['cpu']}; {versions}",
        f"{measured['network']} on MNIST, batch {measured['batch_size']}, {measured['dtype']}; medians of interleaved rounds, "
        "quartiles in brackets",
    ]
    for title in ("training_step", "numerical_gradient"):
        lines += ["", f"{title.replace('_', ' '):<24} {'time':>9}  {'':<20} {'vs numpy':>10} {'vs book':>10}"]
        for name, row in measured[title].items():
            spread = f"[{format_seconds(row['low'])}, {format_seconds(row['high'])}]"
            factors = f"{format_factor(row['speedup_over_numpy']):>10} {format_factor(row['speedup_over_book']):>10}"
            lines.append(f"  {name:<22} {format_seconds(row['median']):>9}  {spread:<20} {factors}")
        lines += [f"  {name:<22} not run: {reason}" for name, reason in measured["unavailable"].items()]
    lines += [
        "",
        f"vs book: against the faster of the book's loops, whose numerical gradient is timed on {BOOK_PARAMETERS} parameters.",
    ]
    return "\n".join(lines)


def format_seconds(seconds: float) -> str:
    """Three significant digits with a fitting unit.

    >>> format_seconds(0.000123456), format_seconds(12.3456)
    ('123 µs', '12.3 s')
    """
    unit, scale = next((u, s) for u, s in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)) if seconds >= 0.9995 * s or s == 1e-6)
    value = seconds / scale
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{f'{value:#.3g}'.rstrip('.')} {unit}"


def format_factor(factor: float) -> str:
    """How many times faster, to two or more digits.

    >>> format_factor(3.14159), format_factor(21234.5), format_factor(0.000123)
    ('3.1 ×', '21,234 ×', '0.00012 ×')
    """
    return f"{factor:,.0f} ×" if factor >= 100 else f"{factor:.1f} ×" if factor >= 1 else f"{factor:.2g} ×"


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise InputError unless :func:`plot` can write this file: better before measuring than after."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("drawing needs matplotlib; install it with pip install 'fastnn[plot]'") from error
    path, formats = Path(path), Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise InputError(f"the picture {path} is of no known format; end its name with one of .{', .'.join(formats)}")
    if not path.parent.is_dir():
        raise InputError(f"the picture {path} cannot be written: there is no directory {path.parent}")


def plot(measured: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw what :func:`measure` returned, as two bar charts, the second on a logarithmic axis; the file's suffix is its format.

    Raises
    ------
    InputError
        If matplotlib is not installed, or knows no such format, or the directory does not exist.
    """
    check_picture(path)
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, title in zip(figure.subplots(1, 2), ("training_step", "numerical_gradient"), strict=True):
        rows = measured[title]
        bars = axes.barh(list(rows), [row["median"] for row in rows.values()], color="tab:blue")
        axes.bar_label(bars, [f" {format_seconds(row['median'])}" for row in rows.values()])
        axes.set(xscale="linear" if title == "training_step" else "log", title=title.replace("_", " "))
        axes.xaxis.set_major_formatter(EngFormatter("s"))
        axes.margins(x=0.25)
        axes.invert_yaxis()
    figure.suptitle(f"{measured['network']}, batch {measured['batch_size']}, {measured['dtype']}: {measured['machine']['cpu']}")
    figure.savefig(path)
