"""Races in the kernels, over many shapes: ``python -m tests.cuda_on_cpu.races``.

Then one barrier after the other is left out, and each that is missing has to be found.
"""

import sys
import time
import warnings
from collections import defaultdict
from contextlib import suppress

from fastnn.errors import DivergenceError

from . import cupy_on_cpu
from .backend import CupyOnCpuBackend
from .watch import GRID
from .workload import FEW, MANY


class WatchedBackend(CupyOnCpuBackend):
    """The CuPy backend over the CPU, with each access of its kernels watched."""

    @staticmethod
    def _import():
        return _Watched()

    @property
    def watches(self):
        """The detectors, one for each module of kernels that has been built."""
        return self.xp.watches

    def findings(self):
        """What was found since the last call, a line each."""
        return [line for watch in self.watches for line in watch.findings()]


class _Watched:
    """cupy_on_cpu, but for the modules of kernels: they are built to be watched."""

    def __init__(self):
        self.watches = []

    def __getattr__(self, name):
        return getattr(cupy_on_cpu, name)

    def RawModule(self, **options):
        module = cupy_on_cpu.RawModule(watched=True, **options)
        self.watches.append(module.watch)
        return module


def without_each_barrier(backend, work=FEW):
    """Where each barrier is, and what is found without it, a pair each."""
    reaching = defaultdict(list)
    for one in work:
        one.run(backend)
        for watch in backend.watches:
            for number in watch.reached():
                reaching[watch, number].append(one)
    places = {watch.barriers[number] for watch, number in reaching}
    for watch in backend.watches:
        for number, place in enumerate(watch.barriers):
            # The source of several modules is common, but not what they make of it.
            if reaching[watch, number] or place not in places:
                yield place, _found_without(backend, watch, number, reaching[watch, number])
        if watch.cooperative:
            yield "the grid", _found_without(backend, watch, GRID, work)


def _found_without(backend, watch, number, work):
    with watch.without(number):
        for one in work:
            # What a race may lead to: losses or gradients that are NaN.
            with suppress(DivergenceError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                one.run(backend)
            if found := backend.findings():
                return found
    return []


def main():
    backend, started, failed = WatchedBackend(), time.monotonic(), False
    for number, work in enumerate(MANY, 1):
        work.run(backend)
        for line in backend.findings():
            failed = True
            say(f"{work}\n    {line}")
        if number % 20 == 0:
            say(f"{number} of {len(MANY)} networks, {time.monotonic() - started:.0f} s")
    shapes = defaultdict(set)
    for watch in backend.watches:
        for kernel, grid, block in watch.launches:
            shapes[kernel].add((grid, block))
    for kernel, seen in sorted(shapes.items()):
        say(f"{kernel:40} {len(seen):6} shapes of launches")
    say(f"{sum(watch.accesses for watch in backend.watches):,} accesses")
    for place, found in without_each_barrier(backend):
        failed |= not found
        say(f"without the barrier of {place}: {found[0] if found else 'NOTHING IS FOUND'}")
    return failed


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
