"""Contestants, each of which says how long its work took, timed in turn."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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


def _nobody_told(name: str, share: float) -> None:
    pass


def interleave(
    contestants: Mapping[str, Contestant],
    *,
    seconds: float,
    fewest: int = 5,
    most: int = 50,
    told: Callable[[str, float], object] = _nobody_told,
    failed: dict[str, str] | None = None,
) -> dict[str, Timing]:
    """Time contestants in turn: whatever else the machine does meets all of them alike.

    Parameters
    ----------
    contestants : mapping of str to callable
    seconds : float
        About how long all of it may take, a first round apart that warms up and is not counted; at
        most three times that, even if it makes the rounds fewer.
    fewest, most : int
        Rounds to count; with a `most` of 1 the first round is the only one, and it is counted.
    told : callable
        Called before each sample with the contestant's name and the share of the time that is over.
    failed : dict, optional
        Where to put why a contestant fails in the first round, which is left out then; without it,
        its error is raised.

    Returns
    -------
    dict of str to Timing

    Examples
    --------
    >>> timings = interleave({"sum": repeat(lambda: sum(range(100)))}, seconds=0.1)
    >>> 0 < timings["sum"].low <= timings["sum"].median <= timings["sum"].high
    True
    """
    samples = {}
    for name, contestant in contestants.items():
        told(name, 0.0)
        try:
            samples[name] = [contestant()]
        except Exception as error:
            if failed is None:
                raise
            failed[name] = f"{type(error).__name__}: {error}"
    if most > 1:
        samples = {name: [] for name in samples}
        started = time.perf_counter()
        for i in range(most):
            for name, values in samples.items():
                over = (time.perf_counter() - started) / seconds if seconds else 1.0
                told(name, min(over, 1.0))
                _let_threads_sleep()
                values.append(contestants[name]())
            elapsed = time.perf_counter() - started
            if elapsed > (seconds if i + 1 >= fewest else 3 * seconds):
                break
    return {name: Timing.of(values) for name, values in samples.items()}


def _let_threads_sleep() -> None:
    """Wait until no thread of this process runs any more, at most 0.3 s.

    The threads of OpenBLAS and OpenMP wait for more work in a busy loop, OpenBLAS's for 0.1 s;
    meanwhile they would take the processor from the contestant that comes next.
    """
    for _ in range(30):
        before = time.process_time()
        time.sleep(0.01)  # longer than a tick, at which the scheduler accounts for what runs
        if time.process_time() - before < 0.002:
            return


def repeat(call: Callable[[], Any], synchronize: Callable[[], None] = lambda: None) -> Contestant:
    """The contestant that makes this call as often as a steady sample takes, warmed up before.

    How often, is told by calls after the first one, which may load or compile something.
    """
    count, called = 0, False

    def sample() -> float:
        nonlocal count, called
        # The processor has slept, and its caches hold what the contestant before used.
        warm = time.perf_counter() + _WARM_UP
        while True:
            started = time.perf_counter()
            call()
            synchronize()
            took = time.perf_counter() - started
            if started + took >= warm:
                break
            called = True
        if not called:
            called = True
            return took
        if not count:
            count = 1 if took > _SAMPLE else _calls_that_last(call, synchronize)
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


def timed_with_threads(
    name: str,
    call: Callable[[], Any],
    units: float,
    counts: Sequence[int] = (1, 2),
) -> dict[str, Contestant]:
    """A contestant for each of these numbers of BLAS threads, as far as the machine has cores.

    `call` does so many units of work.
    """
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
