"""What is run when there is a GPU at last, for as long as there is one: see ``first_hour.sh``.

``python -m benchmarks.first_hour STAGE`` prints a line for each finding and writes all of them to
$OUT/STAGE.json; its exit code is how many went wrong. With REHEARSE=1 the kernels run on the CPU,
on little data, to see that everything would run.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn.bench.measure import training_steps
from fastnn.bench.timing import interleave
from fastnn.errors import DeviceMemoryError
from fastnn.stepping import runner

from . import probes
from .problems import Problem, Size

REHEARSAL = os.environ.get("REHEARSE") == "1"
OUT = Path(os.environ.get("OUT", "."))

#: The networks that are timed: hidden units, batch size, dtype, gradient.
CASES: list[tuple[int, int, str, str]] = [
    (50, 100, "float32", "backprop"),
    (50, 100, "float64", "numerical"),
    (50, 100, "float64", "backprop"),
    (50, 100, "float32", "numerical"),
    (50, 1, "float32", "backprop"),
    (50, 1000, "float32", "backprop"),
    (500, 100, "float32", "backprop"),
    (500, 100, "float64", "numerical"),
]


def gpu() -> Any:
    if not REHEARSAL:
        return fastnn.get_backend("cupy")
    from tests.cuda_on_cpu.backend import CupyOnCpuBackend

    return CupyOnCpuBackend()


class Findings:
    """What a stage has found so far, also where it does not come to its end."""

    def __init__(self, stage: str) -> None:
        self._path, self._found, self.failed = OUT / f"{stage}.json", [], 0

    def of(self, name: str, function: Callable[[], Any]) -> None:
        started = time.perf_counter()
        try:
            entry = {"name": name, "ok": True, "detail": function()}
        except Exception as error:  # one that fails does not end the others
            self.failed += 1
            where = traceback.format_exc()[-1500:]
            text = f"{type(error).__name__}: {error}"[:1500]
            entry = {"name": name, "ok": False, "detail": text, "where": where}
        entry["seconds"] = round(time.perf_counter() - started, 3)
        self._found.append(entry)
        self._path.write_text(json.dumps(self._found, indent=1, default=str), encoding="utf-8")
        print("ok  " if entry["ok"] else "FAIL", name, entry["detail"], flush=True)


# -- does it work ----------------------------------------------------------------------------------


def smoke(backend: Any, findings: Findings) -> None:
    """The machine, the time that compiling takes, and the gradients against NumPy's."""
    findings.of("backends", lambda: {k: str(v) for k, v in fastnn.available_backends().items()})
    findings.of("device", lambda: (backend.device, dict(backend.device_attributes)))
    for dtype in ("float64", "float32"):
        findings.of(f"warm-up {dtype}", lambda dtype=dtype: _timed(backend.warm_up, dtype))
    x, t = _mnist(100)
    for dtype in ("float64", "float32"):
        for method in ("gradient", "numerical_gradient"):
            findings.of(
                f"{method} {dtype}",
                lambda dtype=dtype, method=method: _as_numpy(backend, dtype, method, x, t),
            )


def _timed(function: Callable[..., Any], *arguments: Any) -> str:
    started = time.perf_counter()
    function(*arguments)
    return f"{time.perf_counter() - started:.2f} s"


def _mnist(rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    (x, t), _ = fastnn.load_mnist()
    return x[:rows], t[:rows]


def _as_numpy(backend: Any, dtype: str, method: str, x: Any, t: Any) -> str:
    net = fastnn.TwoLayerNet(784, 50, 10, backend=backend, dtype=dtype, rng=0)
    found, expected = getattr(net, method)(x, t), getattr(net.to("numpy"), method)(x, t)
    worst = max(
        abs(backend.to_numpy(found[k]) - expected[k]).max() / abs(expected[k]).max()
        for k in expected
    )
    assert worst < (1e-4 if dtype == "float32" else 1e-9), f"differs by {worst:.1e}"
    return f"{worst:.1e}"


# -- how long it takes -----------------------------------------------------------------------------


def times(backend: Any, findings: Findings) -> None:
    """Microseconds a step: by one kernel that stays, and by graphs; and whole trainings."""
    x, t = _mnist(200 if REHEARSAL else None)
    own = backend.device_attributes
    for hidden, batch, dtype, gradient in CASES[: 2 if REHEARSAL else None]:
        for way in ("one kernel", "graphs") if gradient == "backprop" else ("graphs",):
            backend.device_attributes = (
                own if way == "one kernel" else own | {"CooperativeLaunch": 0}
            )
            case = hidden, batch, dtype, gradient
            findings.of(
                f"784-{hidden}-10 batch {batch} {dtype} {gradient}, {way}",
                lambda case=case: _steps(backend, x, t, *case),
            )
    backend.device_attributes = own
    for gradient, dtype in (("backprop", "float32"), ("numerical", "float64")):
        findings.of(
            f"training, {gradient} {dtype}",
            lambda gradient=gradient, dtype=dtype: _training(backend, x, t, gradient, dtype),
        )


def _steps(
    backend: Any, x: Any, t: Any, hidden: int, batch: int, dtype: str, gradient: str
) -> dict[str, float]:
    steps = 4 if REHEARSAL else 3200 if gradient == "backprop" else 640
    net = fastnn.TwoLayerNet(784, hidden, 10, backend=backend, dtype=dtype, rng=0)
    options = {"gradient": gradient, "batch_size": batch, "optimizer": fastnn.SGD()}
    run = runner(net, net.dataset(x, t), **options)
    rows = backend.asarray(np.random.default_rng(0).integers(len(x), size=(steps, batch)))
    losses, rates = backend.empty(steps, dtype), np.full(steps, 0.01)
    started = time.perf_counter()
    run(rows, losses, rates)
    backend.synchronize()
    first, whole, issued = time.perf_counter() - started, [], []
    for _ in range(1 if REHEARSAL else 9):
        started = time.perf_counter()
        run(rows, losses, rates)
        issued.append(time.perf_counter() - started)
        backend.synchronize()
        whole.append(time.perf_counter() - started)
    return {
        "µs a step": round(1e6 * statistics.median(whole) / steps, 2),
        "least": round(1e6 * min(whole) / steps, 2),
        "of the host": round(1e6 * statistics.median(issued) / steps, 2),
        "ms of the first call": round(1e3 * first, 1),
    }


def _training(backend: Any, x: Any, t: Any, gradient: str, dtype: str) -> dict[str, Any]:
    """Of some trainings, but for the first, which compiles."""
    iterations = 5 if REHEARSAL else 10_000
    net = fastnn.TwoLayerNet(784, 50, 10, backend=backend, dtype=dtype, rng=0)
    options = {"iterations": iterations, "gradient": gradient, "progress": False, "rng": 0}
    whole, loop = [], []
    for _ in range(1 if REHEARSAL else 4):
        started = time.perf_counter()
        history = fastnn.train(net, x, t, evaluate_every=0, **options)
        whole.append(time.perf_counter() - started)
        loop.append(history.seconds)
    return {
        "iterations": iterations,
        "µs an iteration": round(1e6 * min(loop) / iterations, 2),
        "ms around them": round(1e3 * (min(whole) - min(loop)), 1),
        "ms of the first": round(1e3 * whole[0], 1),
        "last loss": float(history.loss[-1]),
    }


# -- what only a GPU can show ----------------------------------------------------------------------


def semantics(backend: Any, findings: Findings) -> None:
    """Determinism, streams, threads, graphs that are gone, memory, large indices, tensors."""
    for check in (_steps_as_numpy, _same_bits, _threads, _gone, _memory):
        findings.of(check.__name__.strip("_"), lambda check=check: check(backend))
    if not REHEARSAL:
        for check in (_another_stream, _no_memory, _large_indices, _tensors):
            findings.of(check.__name__.strip("_"), lambda check=check: check(backend))


def _small() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 60)), rng.integers(5, size=400)


def _trained(
    backend: Any, gradient: str = "backprop", dtype: str = "float64", seed: int = 0
) -> Any:
    net = fastnn.TwoLayerNet(60, 20, 5, 0.3, backend=backend, dtype=dtype, rng=0)
    options = {"iterations": 10 if REHEARSAL else 70, "batch_size": 30, "evaluate_every": 0}
    history = fastnn.train(net, *_small(), gradient=gradient, rng=seed, progress=False, **options)
    return [history.loss, *(net.backend.to_numpy(p) for p in net.params.values())]


def _same(some: Any, others: Any) -> None:
    assert all(map(np.array_equal, some, others)), "other bits"


def _steps_as_numpy(backend: Any) -> dict[str, str]:
    found = {}
    for gradient in ("backprop", "numerical"):
        for dtype, tolerance in (("float64", 1e-8), ("float32", 2e-4)):
            pairs = zip(
                _trained(backend, gradient, dtype), _trained("numpy", gradient, dtype), strict=True
            )
            worst = max(abs(a - b).max() for a, b in pairs)
            assert worst < tolerance, f"{gradient} {dtype} differs by {worst:.1e}"
            found[f"{gradient} {dtype}"] = f"{worst:.1e}"
    return found


def _same_bits(backend: Any) -> None:
    for gradient in ("backprop", "numerical"):
        _same(_trained(backend, gradient, "float32"), _trained(backend, gradient, "float32"))


def _threads(backend: Any) -> None:
    expected = [_trained(backend, "numerical", seed=seed) for seed in range(3)]
    found: list[Any] = [None] * 3

    def work(seed: int) -> None:
        found[seed] = _trained(backend, "numerical", seed=seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for some, others in zip(expected, found, strict=True):
        assert others is not None, "a thread ended with an error"
        _same(some, others)


def _gone(backend: Any) -> None:
    """A runner that is dropped while the GPU is at it has done its work."""
    for gradient in ("backprop", "numerical"):
        found = []
        for drop in (False, True):
            net = fastnn.TwoLayerNet(60, 20, 5, 0.3, backend=backend, rng=0)
            options = {"gradient": gradient, "batch_size": 30, "optimizer": fastnn.SGD()}
            run = runner(net, net.dataset(*_small()), **options)
            rows = backend.asarray(np.random.default_rng(0).integers(400, size=(13, 30)))
            losses = backend.empty(13, "float64")
            run(rows, losses, np.full(13, 0.1))
            if drop:
                del run
                gc.collect()
                junk = [backend.xp.full(1 << k, np.nan) for k in range(4, 16)]
                del junk
            found.append(backend.to_numpy(losses))
        _same(found[:1], found[1:])


def _memory(backend: Any) -> Any:
    """Of trainings by graphs, the pool does not grow."""
    used = []
    for _ in range(2 if REHEARSAL else 10):
        _trained(backend, "numerical")
        gc.collect()
        if not REHEARSAL:
            pool = backend.xp.get_default_memory_pool()
            used.append((pool.used_bytes(), pool.total_bytes()))
    assert not used or used[-1] == used[2], used
    return used[-1:]


def _another_stream(backend: Any) -> None:
    expected = _trained(backend, "numerical"), _trained(backend)
    for options in ({"non_blocking": True}, {}):
        with backend.xp.cuda.Stream(**options):
            _same(_trained(backend, "numerical"), expected[0])
            _same(_trained(backend), expected[1])


def _no_memory(backend: Any) -> str:
    try:
        backend.empty(1 << 44, "float32")
    except DeviceMemoryError as error:
        return str(error)[:200]
    raise AssertionError("no error")


def _large_indices(backend: Any) -> str:
    """Rows beyond 2³¹ values."""
    xp, rows = backend.xp, 2_800_000
    if xp.cuda.runtime.memGetInfo()[0] < 30e9:
        return "left out: too little memory"
    x = xp.random.random((rows, 784), dtype=np.float32)
    pick = backend.asarray(np.array([0, 1, rows - 2, rows - 1]))
    some, _ = backend.dataset(x, xp.zeros(rows, np.int64)).batch(pick)
    W, b = xp.random.random((784, 50), dtype=np.float32), xp.zeros(50, np.float32)
    found = backend.to_numpy(backend.dense(some, W, b))
    expected = backend.to_numpy(x[pick]) @ backend.to_numpy(W)
    worst = abs(found / expected - 1).max()
    assert worst < 1e-5, worst
    return f"{worst:.1e}"


def _tensors(backend: Any) -> dict[str, str]:
    import torch

    tensor = torch.ones(2, 3, device="cuda")
    found = backend.asarray(tensor)
    assert found.data.ptr == tensor.data_ptr(), "copied"
    return {"torch": f"{found.shape} {found.dtype}"}


# -- for compute-sanitizer -------------------------------------------------------------------------


def shapes(backend: Any, findings: Findings) -> None:
    """Small work for every kernel; each array an allocation of its own, whose end is known."""
    from tests.cuda_on_cpu.workload import FEW

    if not REHEARSAL:
        backend.xp.cuda.set_allocator(None)
    count = int(os.environ.get("SHAPES", "2" if REHEARSAL else str(len(FEW))))
    for work in FEW[:count]:
        findings.of(str(tuple(work)), lambda work=work: work.run(backend))


# -- where the time goes ---------------------------------------------------------------------------


def parts(backend: Any, findings: Findings) -> None:
    """What the model of `results/gpu-model.md` is put together from; only a GPU has it."""
    if REHEARSAL:
        findings.of("the kernel with clocks", lambda: len(probes.clocked_source()))
        return
    for dtype in ("float32", "float64"):
        findings.of(f"kernels, µs, {dtype}", lambda d=dtype: probes.kernels(backend, 50, 100, d))
        findings.of(
            f"phases of the kernel that stays, cycles, {dtype}",
            lambda d=dtype: probes.phases(backend, d),
        )
        findings.of(f"variants, {dtype}", lambda d=dtype: probes.variants(backend, d))
        findings.of(f"large layers, µs, {dtype}", lambda d=dtype: probes.large(backend, d))
    findings.of("barriers and launches, ns", lambda: probes.barriers(backend))


def auto(_: Any, findings: Findings) -> None:
    """From how many multiplications a step on the GPU pays: `CupyBackend.least_work`."""
    if REHEARSAL:
        return
    for hidden, batch in product((10, 50, 100, 500, 2000), (1, 10, 30, 100, 300, 2000)):
        problem = Problem(Size(784, hidden, batch), "float32")
        findings.of(
            f"{batch * problem.size.parameters:,} multiplications, {problem.size}",
            lambda problem=problem: _fastest(problem),
        )


def _fastest(problem: Problem) -> dict[str, float]:
    """Microseconds a step of each backend."""
    fixed = {"batch_size": problem.size.batch, "iterations": problem.size.iterations(1e9)}
    found = interleave(
        {
            name: training_steps(problem.network(name), problem.x, problem.t, **fixed)
            for name in ("numba", "cupy")
        },
        seconds=0.2,
        fewest=3,
    )
    return {name: round(1e6 * timing.median, 1) for name, timing in found.items()}


STAGES = {stage.__name__: stage for stage in (smoke, times, semantics, parts, auto, shapes)}


def main(name: str) -> int:
    findings = Findings(name)
    STAGES[name](gpu(), findings)
    return findings.failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
