"""Where the time of a step on a GPU goes: the parts that `results/gpu-model.md` predicts, measured.

What a barrier of all blocks takes, a kernel in a graph, each kernel of ours by itself, and each
phase of the kernel that stays, which is compiled with a clock in it for that.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn.backends.cupy import products, training
from fastnn.backends.cupy.graph import Memory, Recording
from fastnn.backends.cupy.sources import MODULES, OPTIONS
from fastnn.optimizers.choosing import stated
from fastnn.stepping import runner, single_step

from .problems import Problem, Size

#: How often what is recorded in one graph is repeated in it.
REPEATED = 64

BLOCKS, THREADS = 100, 512

#: The steps of a launch of which the clock is read, and the places in a step.
FIRST, STEPS, PLACES = 200, 64, 16

#: What stands before each reading of the clock in `cooperative.cu`, in order.
CLOCKS = (
    ("A", "        // A, "),
    ("A itself", "        arrive(arrived);\n        begin_to_fetch_inputs"),
    ("arrival 1, next inputs", "        wait(arrived, ++round * grid);\n\n        // B"),
    ("barrier 1", "        // B\n"),
    ("B: hidden units", "            if (n == block) keep_output_weights();"),
    ("B: output weights", "            // The outputs, by each"),
    ("B: outputs", "                if (warp < backs) {\n"),
    ("B: back", "        arrive(arrived);\n        begin_to_fetch_numbers"),
    ("arrival 2, next numbers", "        wait(arrived, ++round * grid);\n\n        // C"),
    ("barrier 2", "        // C\n"),
    ("C: deltas and products", "            Quad<T>* partial = shared.partial + warp / 2"),
    ("C: sums", "            T sum = 0;\n#pragma unroll\n            for (int group"),
    ("C: weights", "    }\n\n#pragma unroll 1\n    for (int place = thread; place < own * TILE;"),
)


def as_it_is(source: str) -> str:
    return source


def acquiring(source: str) -> str:
    """Waits by loads that acquire, each of them."""
    return _changed(
        source, ("ld.relaxed.gpu.global.u32 %0, [%1];", "ld.acquire.gpu.global.u32 %0, [%1];")
    )


def unordered(source: str) -> str:
    """Wrong: what the order of memory costs."""
    return _changed(
        source,
        ("ld.acquire.gpu.global.u32 %0, [%1];", "ld.relaxed.gpu.global.u32 %0, [%1];"),
        ("red.release.gpu.global", "red.relaxed.gpu.global"),
    )


def fenced(source: str) -> str:
    """Each thread makes its own writes known before the block's barrier, not one for all after."""
    waits, barrier = "    wait_for_copies();\n", "    __syncthreads();\n    if (looks()) add"
    return _changed(
        source,
        (waits + barrier, waits + "    __threadfence();\n" + barrier),
        ("red.release.gpu.global", "red.relaxed.gpu.global"),
    )


def _changed(source: str, *changes: tuple[str, str]) -> str:
    for before, after in changes:
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    return source


VARIANTS: dict[str, Callable[[str], str]] = {
    "as it is": as_it_is,
    "acquiring": acquiring,
    "unordered": unordered,
    "fenced": fenced,
}


def variants(backend: Any, dtype: str = "float32") -> dict[str, float]:
    """Microseconds a step of the kernel that stays, as it is and changed, in turn."""
    steps = 3200
    run, rows = _run(backend, dtype, steps)
    constants = _constants(backend, run, rows, dtype)
    source = MODULES["cooperative"].source()
    modules = {
        name: _stays(backend, change(source), dtype, constants) for name, change in VARIANTS.items()
    }
    modules["for any sizes"] = _stays(backend, source, dtype, ())
    times: dict[str, list[float]] = {name: [] for name in (*modules, "few samples")}
    losses, rates = backend.empty(steps, dtype), np.full(steps, 0.01)
    for _ in range(7):
        for name in times:
            some = rows % 2000 if name == "few samples" else rows
            with _in_place(backend, dtype, modules.get(name, modules["as it is"])):
                seconds = _seconds(backend, lambda r=some: run(r, losses, rates))
            times[name].append(1e6 * seconds / steps)
    return {name: round(statistics.median(some), 3) for name, some in times.items()}


def _constants(backend: Any, run: Any, rows: Any, dtype: str) -> tuple[str, ...]:
    """Those that the kernel is compiled for."""
    ours, noted = backend.kernels, []
    launch = ours.launch

    def note(*arguments: Any, **options: Any) -> None:
        noted.append(options["constants"])
        launch(*arguments, **options)

    ours.launch = note
    try:
        run(rows[:1], backend.empty(1, dtype), np.full(1, 0.01))
    finally:
        del ours.launch
    return noted[0]


def _stays(backend: Any, source: str, dtype: str, constants: tuple[str, ...]) -> Any:
    return backend.xp.RawModule(
        code=source,
        options=(*OPTIONS, *constants),
        name_expressions=[_name(dtype)],
        enable_cooperative_groups=True,
    )


def _name(dtype: str) -> str:
    return f"train<{'float' if dtype == 'float32' else 'double'}>"


def _run(backend: Any, dtype: str, steps: int) -> tuple[Any, Any]:
    (x, t), _ = fastnn.load_mnist()
    net = fastnn.TwoLayerNet(784, 50, 10, backend=backend, dtype=dtype, rng=0)
    run = runner(
        net, net.dataset(x, t), gradient="backprop", batch_size=100, optimizer=fastnn.SGD()
    )
    return run, backend.asarray(np.random.default_rng(0).integers(len(x), size=(steps, 100)))


@contextmanager
def _in_place(backend: Any, dtype: str, module: Any) -> Iterator[None]:
    """The kernel that stays comes from this module meanwhile."""
    ours, function = backend.kernels, module.get_function(_name(dtype))
    others = ours._function

    def found(name: str, constants: tuple[str, ...] = ()) -> Any:
        return function if name == _name(dtype) else others(name, constants)

    ours._function = found
    try:
        yield
    finally:
        del ours._function


def clocked_source(change: Callable[[str], str] = as_it_is) -> str:
    """The kernel that stays, in which the first thread of each block reads the clock."""
    source = MODULES["cooperative"].source()
    for place, (name, text) in enumerate(CLOCKS):
        assert source.count(text) == 1, name
        source = source.replace(text, f"        CLOCK({place})\n{text}")
    return f"""
__device__ long long clocks[{STEPS} * {BLOCKS} * {PLACES}];
#define CLOCK(place) if (threadIdx.x == 0 && threadIdx.y == 0 && blockIdx.x < {BLOCKS} \\
    && step >= {FIRST} && step < {FIRST + STEPS}) \\
    clocks[((step - {FIRST}) * {BLOCKS} + blockIdx.x) * {PLACES} + place] = clock64();
{change(source)}"""


def barriers(backend: Any) -> dict[str, float]:
    """Nanoseconds of each kind of barrier, of a load from the second-level cache, of a launch."""
    xp, rounds, found = backend.xp, 10_000, {}
    code = MODULES["cooperative"].source()
    code += (Path(__file__).parent / "probes.cu").read_text(encoding="utf-8")
    module = xp.RawModule(code=code, options=OPTIONS, enable_cooperative_groups=True)
    for name in ("chase", "counter", "looking", "unordered", "several", "mail", "clusters"):
        function = module.get_function(name)
        # Of clusters of eight, no fewer than that.
        blocks = {"chase": 1, "clusters": 104}.get(name, BLOCKS)
        call = partial(_rounds, backend, function, (blocks, 1 if blocks == 1 else THREADS), rounds)
        found[name] = round(1e9 * min(call() for _ in range(3)) / rounds, 1)
    nothing = xp.RawModule(code=code, options=OPTIONS).get_function("nothing")
    empty = partial(nothing, (BLOCKS,), (THREADS,), ())
    found["launch in a graph"] = round(1e3 * _in_a_graph(backend, empty), 1)
    return found


def _rounds(backend: Any, function: Any, shape: tuple[int, int], rounds: int) -> float:
    """Seconds of a launch, with new memory each time."""
    blocks, threads = shape

    def launch() -> None:
        function((blocks,), (threads,), (backend.xp.zeros(1 << 15, np.uint32), rounds))

    return _seconds(backend, launch)


def kernels(backend: Any, hidden: int, batch: int, dtype: str) -> dict[str, float]:
    """Microseconds of each kernel of the book's steps that are replayed, one after the other."""
    (x, t), _ = fastnn.load_mnist()
    net = fastnn.TwoLayerNet(784, hidden, 10, backend=backend, dtype=dtype, rng=0)
    data = net.dataset(x, t)
    numbers = backend.asarray(np.random.default_rng(0).integers(len(x), size=batch))
    ours, found = backend.kernels, {}
    launched: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    launch = ours.launch

    def noted(name: str, *arguments: Any, **options: Any) -> None:
        launched.append((name, arguments, options))
        launch(name, *arguments, **options)

    ours.launch = noted
    try:
        for gradient in ("backprop", "numerical"):
            step = net.training_step(
                data,
                single_step(net, data, gradient, batch, fastnn.SGD()),
                gradient=gradient,
                update=stated(fastnn.SGD()),
                batch_size=batch,
            )
            make = (
                products.steps(ours, step)
                if gradient == "numerical"
                else training._two_kernels(backend, ours, step)
            )
            make(numbers, 1e-6, None)
    finally:
        del ours.launch
    for name, arguments, options in launched:
        found[name] = _in_a_graph(backend, lambda a=(name, *arguments), o=options: launch(*a, **o))
    return {name: round(value, 2) for name, value in found.items()}


def large(backend: Any, dtype: str) -> dict[str, float]:
    """Microseconds of each operation of a step of 784-4096-10, batches of 8,192."""
    p = Problem(Size(784, 4096, 8192), dtype)
    net, xp = p.network(backend), backend.xp
    data, rows = net.dataset(p.x, p.t), backend.asarray(p.rows(1)[0])
    (x, t), (W1, b1, W2, b2) = data.batch(rows), net.params.values()
    samples = x.gathered()
    z1 = backend.dense(x, W1, b1, "sigmoid")
    logits = backend.dense(z1, W2, b2)
    delta2 = backend.loss_gradient(logits, t, "cross_entropy")[1]
    delta1, other = backend.dense_backward(delta2, W2, z1, "sigmoid"), xp.empty_like(z1)
    calls: dict[str, Callable[[], Any]] = {
        "the batch": lambda: data.batch(rows),
        "dense 1": lambda: backend.dense(x, W1, b1, "sigmoid", out=other),
        "its product": lambda: xp.matmul(samples, W1, out=other),
        "dense 2": lambda: backend.dense(z1, W2, b2),
        "loss_gradient": lambda: backend.loss_gradient(logits, t, "cross_entropy"),
        "dense_backward": lambda: backend.dense_backward(delta2, W2, z1, "sigmoid", out=other),
        "dense_descent 2": lambda: backend.dense_descent(W2, b2, z1, delta2, 0.0),
        "dense_descent 1": lambda: backend.dense_descent(W1, b1, x, delta1, 0.0),
        "the product for dW1": lambda: samples.T @ delta1,
    }
    found = {}
    for name, call in calls.items():
        found[name] = 1e6 * statistics.median(_seconds(backend, call) for _ in range(9))
    return {name: round(value, 1) for name, value in found.items()}


def phases(backend: Any, dtype: str, variant: str = "as it is") -> dict[str, Any]:
    """Cycles of each phase of the kernel that stays, two numbers.

    The median over blocks and steps, and that over the steps of the slowest block's.
    """
    xp, steps = backend.xp, FIRST + STEPS + 1
    run, rows = _run(backend, dtype, steps)
    constants = _constants(backend, run, rows, dtype)
    module = _stays(backend, clocked_source(VARIANTS[variant]), dtype, constants)
    with _in_place(backend, dtype, module):
        for _ in range(2):
            run(rows, backend.empty(steps, dtype), np.full(steps, 0.01))
        backend.synchronize()
    memory = module.get_global("clocks")
    read = xp.ndarray((STEPS, BLOCKS, PLACES), np.int64, memory).get()
    read = read[:, :, : len(CLOCKS)]
    ends = np.concatenate([read[:-1, :, 1:], read[1:, :, :1]], axis=2)
    taken = ends - read[:-1]
    names = [name for name, _ in CLOCKS[1:]] + ["the end"]
    result: dict[str, Any] = {
        what: (int(np.median(taken[:, :, i])), int(np.median(taken[:, :, i].max(axis=1))))
        for i, what in enumerate(names)
    }
    result["a step"] = int(np.median(read[1:, :, 0] - read[:-1, :, 0]))
    return result


def _in_a_graph(backend: Any, launch: Callable[[], Any]) -> float:
    """Microseconds of what is launched, repeated in a graph."""

    def repeated() -> None:
        for _ in range(REPEATED):
            launch()

    recording = Recording(backend, Memory(backend), repeated)
    times = [_seconds(backend, recording.graph.launch) for _ in range(9)]
    return 1e6 * statistics.median(times) / REPEATED


def _seconds(backend: Any, call: Callable[[], Any]) -> float:
    """What the GPU takes, by its own events."""
    events = backend.xp.cuda.Event(), backend.xp.cuda.Event()
    call()  # loaded, and its memory written
    events[0].record()
    call()
    events[1].record()
    events[1].synchronize()
    return 1e-3 * backend.xp.cuda.get_elapsed_time(*events)
