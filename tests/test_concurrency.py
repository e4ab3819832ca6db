"""Training in several threads and processes at once: the same losses on any threads."""

import errno
import gc
import itertools
import multiprocessing
import os
import signal
import threading
import time
import weakref

import llvmlite.binding as llvmlite
import numpy as np
import pytest
from llvmlite import ir

import fastnn
from fastnn.backends import processor
from fastnn.backends.numba import affinity, helpers
from fastnn.backends.numba import threads as worker_threads
from fastnn.backends.numba.backend import NumbaBackend
from fastnn.backends.numba.kernels.atomics import (
    CALLER,
    FINISHED,
    call_pause,
    current,
    increase,
    own_part,
    pause,
    take_part,
    wait_for,
)
from fastnn.backends.numba.kernels.helpers import (
    ARGUMENTS,
    LET_GO,
    LOCK,
    SEAT,
    STATE,
    WAITS,
    WORKS,
    shared,
)
from fastnn.backends.numba.threads import WorkerPool

SCRIPT = """
import multiprocessing, sys, threading
import numpy as np
import fastnn
from fastnn.backends.numba.backend import NumbaBackend

def losses(seed, gradient="numerical"):
    (x, t), _ = fastnn.load_mnist()
    net = fastnn.TwoLayerNet(784, 50, 10, backend=NumbaBackend(2), rng=0)
    options = dict(iterations=5, gradient=gradient, evaluate_every=0, rng=seed)
    return fastnn.train(net, x[:500], t[:500], **options).loss

if __name__ == "__main__":
    expected = [losses(seed) for seed in range(4)]
    found = [None] * 4

    def work(seed):
        found[seed] = losses(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert all(np.array_equal(a, b) for a, b in zip(expected, found)), "threads"
    for method in sys.argv[1:]:
        with multiprocessing.get_context(method).Pool(2) as pool:
            found = pool.map_async(losses, range(4)).get(timeout=300)
        assert all(np.array_equal(a, b) for a, b in zip(expected, found)), method
    print("same")
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue", "tbb"])
def test_threads_and_processes_give_the_same_losses(python, tmp_path, monkeypatch, layer):
    """After training here, in threads at the same time, and in forked and spawned children."""
    monkeypatch.setenv("NUMBA_THREADING_LAYER", layer)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    methods = [
        method for method in ("fork", "spawn") if method in multiprocessing.get_all_start_methods()
    ]
    done = python(script, *methods)
    assert (done.code, done.out) == (0, "same\n"), done.err


def losses(seed, backend):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(200, 30)) * (rng.random((200, 30)) < 0.2), rng.integers(3, size=200)
    net = fastnn.TwoLayerNet(30, 8, 3, backend=backend, rng=0)
    return fastnn.train(net, x, t, iterations=20, batch_size=10, evaluate_every=0, rng=seed).loss


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_joblib(name):
    joblib = pytest.importorskip("joblib")
    expected = [losses(seed, name) for seed in range(4)]
    for prefer in ("threads", "processes"):
        found = joblib.Parallel(n_jobs=2, prefer=prefer)(
            joblib.delayed(losses)(seed, name) for seed in range(4)
        )
        assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


# -- the pool of workers itself --------------------------------------------------------------------


@shared
def count(thread, threads, counters, parts, done):
    """Count the calls for each part, slowly; the work is as the kernels share theirs."""
    part = take_part(counters, own_part(thread, threads, parts), parts)
    while part < parts:
        for _ in range(1000):
            done[part] = np.sqrt(done[part] ** 2)
        done[part] += 1
        increase(counters, FINISHED)
        part = take_part(counters, part + 1, parts)
    if thread == CALLER:
        wait_for(counters, FINISHED, parts)


def counted(pool, parts):
    done, counters = np.zeros(parts), np.zeros(1 + parts, np.int64)
    pool.run(count, (pool.size, counters, parts, done), parts)
    return done.tolist()


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("parts", [1, 2, 7, 100])
def test_every_part_is_done_once_before_the_call_returns(size, parts):
    pool = WorkerPool(size)
    for _ in range(200):
        assert counted(pool, parts) == [1] * parts


def test_several_threads_may_share_a_pool():
    pool, right = WorkerPool(3), []

    def work():
        right.extend(counted(pool, 5) == [1] * 5 for _ in range(200))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 1200


@shared
def meet(thread, threads, arrived, looks):
    """Return when so many threads have come, or give up."""
    increase(arrived, 0)
    increase(arrived, 1 + thread)
    for _ in range(looks):
        if current(arrived, 0) >= threads:
            return
        pause()


def met(pool, threads):
    """How many threads have come to one call, all of them with numbers of their own."""
    arrived = np.zeros(1 + threads, np.int64)
    pool.run(meet, (threads, arrived, 2 * 10**9), threads)
    assert arrived[1:].tolist() == [1] * threads
    return arrived[0]


def threads_of(pool):
    """The helpers, and the workers."""
    numbers = pool._helpers._threads.threads, pool._workers.threads
    return [[t for t in threading.enumerate() if t.native_id in some] for some in numbers]


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("seconds", [0, 0.02])
def test_helpers_come_whether_they_sleep_or_not(threads, seconds):
    pool = WorkerPool(3)
    for _ in range(20):
        assert met(pool, threads) == threads
        time.sleep(seconds)


@pytest.mark.parametrize(
    ("machine", "instruction"),
    [("x86_64", "pause"), ("aarch64", "isb"), ("arm64", "isb"), ("riscv64", None)],
)
def test_each_processor_pauses_in_its_own_way(machine, instruction):
    """Compiled for it, wherever this runs; on others the loop goes on at once."""
    llvmlite.initialize_all_targets()
    llvmlite.initialize_all_asmprinters()
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "wait")
    builder = ir.IRBuilder(function.append_basic_block())
    call_pause(builder, machine)
    builder.ret_void()
    triple = f"{machine}-unknown-linux-gnu" if instruction else None
    target = llvmlite.Target.from_triple(triple or llvmlite.get_default_triple())
    code = target.create_target_machine().emit_assembly(llvmlite.parse_assembly(str(module)))
    assert (instruction is None) == ("pause" not in code and "isb" not in code)
    assert instruction is None or f"\t{instruction}\n" in code


def test_there_is_no_more_help_than_is_wanted():
    pool = WorkerPool(4)
    for threads in (1, 2, 4, 9):
        available = min(threads, 4)
        assert met(pool, available) == available
        arrived = np.zeros(10, np.int64)
        pool.run(meet, (5, arrived, 10**5), threads)  # it waits for a fifth
        assert arrived[0] <= available


def test_a_helper_that_does_not_come_is_not_waited_for():
    """One that works for somebody else for ever, and one that never wakes."""
    pool = WorkerPool(3)
    busy, asleep = pool._helpers._seats = np.zeros((2, SEAT), np.int64)
    pool._helpers._threads.threads = [0, 0]
    pool._helpers._threads.keep_off = lambda: None
    busy[[STATE, ARGUMENTS]] = WORKS, 1
    lock = helpers._Lock()
    asleep[[LOCK, LET_GO]] = lock.address, helpers._address(helpers._let_go)
    for _ in range(10):
        assert counted(pool, 4) == [1] * 4
        assert busy[[STATE, ARGUMENTS]].tolist() == [WORKS, 1]
        assert asleep[[STATE, ARGUMENTS]].tolist() == [WAITS, 0]


@shared
def linger(thread, begun, looks, ended):
    if thread == CALLER:
        wait_for(begun, 0, 1)
    else:
        increase(begun, 0)
        for _ in range(looks):
            current(begun, 0)
        ended[0] += 1


def test_a_helper_that_has_begun_is_waited_for():
    """It reads what is on the stack of the call."""
    pool, ended = WorkerPool(2), np.zeros(1)
    for n in range(5):
        pool.run(linger, (np.zeros(1, np.int64), 10**6, ended), 2)
        assert ended[0] == 1 + n


def test_an_error_in_map_ends_no_worker_and_leaves_no_task():
    pool, barrier = WorkerPool(3), threading.Barrier(3)

    def fail(_):
        barrier.wait(60)  # all three are in it
        raise ValueError("here")

    for _ in range(3):
        with pytest.raises(ValueError, match="here"):
            pool.map(fail, [1, 2, 3])
    assert pool._queue.empty()
    assert len(threads_of(pool)[1]) == 2


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
def test_map_gives_the_results_in_order(size, count):
    pool, seen = WorkerPool(size), []

    def square(n):
        seen.append(n)
        return n * n

    for _ in range(20):
        seen.clear()
        assert pool.map(square, list(range(count))) == [n * n for n in range(count)]
        assert sorted(seen) == list(range(count))


def test_map_runs_on_several_threads_and_what_runs_in_it_on_one():
    pool, together, inside = WorkerPool(2), threading.Barrier(2), []

    def work(_):
        together.wait(60)  # passed by two at a time only
        arrived = np.zeros(3, np.int64)
        pool.run(meet, (2, arrived, 10**4), 2)
        inside.append(arrived[0])
        return threading.get_ident(), pool.map(lambda _: threading.get_ident(), [0, 1, 2])

    found = pool.map(work, [0, 1])
    assert len({own for own, _ in found}) == 2
    assert all(others == [own] * 3 for own, others in found)
    assert inside == [1, 1]
    assert counted(pool, 4) == [1] * 4


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("size", [1, 3])
def test_map_raises_the_error_of_the_first_item(size, error):
    pool, made, later = WorkerPool(size), [], threading.Event()

    def work(n):
        made.append(n)
        if n == 6:
            later.set()
        if n == 5 and size > 1:
            later.wait(60)
        if n in (5, 6, 20):
            raise error(n)

    for _ in range(3):
        made.clear()
        later.clear()
        with pytest.raises(error) as caught:
            pool.map(work, list(range(30)))
        assert caught.value.args == (5,)
        assert size > 1 or made == list(range(6))
        assert counted(pool, 7) == [1] * 7


def test_map_leaves_nothing_to_do_when_it_is_interrupted():
    pool, made, started = WorkerPool(2), [], threading.Event()
    main = threading.get_ident()

    def work(n):
        if threading.get_ident() == main:
            started.wait(60)
            signal.raise_signal(signal.SIGINT)
        made.append(n)
        started.set()
        time.sleep(0.01)  # few are made until it is known that the other thread has stopped

    with pytest.raises(KeyboardInterrupt):
        pool.map(work, list(range(1000)))
    assert len(made) < 20


def test_a_pool_ends_with_its_last_reference():
    pool = WorkerPool(3)
    assert met(pool, 3) == 3
    assert pool.map(str, [1, 2, 3]) == ["1", "2", "3"]
    found = threads_of(pool)
    assert [len(threads) for threads in found] == [2, 2]
    reference = weakref.ref(pool)
    del pool
    gc.collect()
    assert reference() is None
    assert reference not in list(worker_threads._pools.data)
    for thread in itertools.chain(*found):
        thread.join(60)
        assert not thread.is_alive()


def test_one_fork_handler_for_all_pools(python):
    code = """
import os
handlers = []
os.register_at_fork = lambda **functions: handlers.extend(functions.values())
from fastnn.backends.numba.threads import WorkerPool
pools = [WorkerPool(2) for _ in range(10)]
ours = [f.__module__ for f in handlers if f.__module__.startswith("fastnn.")]
assert ours == [WorkerPool.__module__]
"""
    done = python("-c", code)
    assert done.code == 0, done.err


IN_A_FORKED_CHILD = """
import os, threading, warnings
import numpy as np
from fastnn.backends.numba.kernels.atomics import current, increase, pause
from fastnn.backends.numba.kernels.helpers import shared
from fastnn.backends.numba.threads import WorkerPool
warnings.simplefilter("ignore", DeprecationWarning)  # "this process is multi-threaded"

@shared
def meet(thread, arrived):
    increase(arrived, 0)
    while current(arrived, 0) < 3:
        pause()

def run(pool):
    pool.run(meet, (np.zeros(1, np.int64),), 3)  # returns if there are two helpers
    barrier = threading.Barrier(3)
    pool.map(lambda _: barrier.wait(60), [1, 2, 3])  # and if there are two workers

pool, unused = WorkerPool(3), WorkerPool(3)
run(pool)
held, released = threading.Event(), threading.Event()

def hold():
    with pool._lock, pool._helpers._starting, unused._lock, unused._helpers._starting:
        held.set()
        released.wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
pool._queue.put(released.wait)  # and a worker is busy
child = os.fork()
if child == 0:
    run(pool)
    run(unused)
    os._exit(42)
released.set()
run(pool)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_has_threads_of_its_own(python, tmp_path):
    """Also where another thread held the locks at the fork, and tasks were waiting."""
    script = tmp_path / "script.py"
    script.write_text(IN_A_FORKED_CHILD)
    done = python(script)
    assert (done.code, done.out) == (0, "42\n"), done.err


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.ENOSYS])
@pytest.mark.parametrize("name", ["sched_getaffinity", "sched_setaffinity"])
def test_where_the_system_refuses_to_move_threads_it_goes_on(monkeypatch, name, number):
    asked = []

    def refuse(*arguments):
        asked.append(arguments)
        raise OSError(number, "refused")

    monkeypatch.setattr(os, name, refuse, raising=False)
    monkeypatch.setattr(
        os,
        {"sched_getaffinity": "sched_setaffinity"}.get(name, "sched_getaffinity"),
        lambda *_: {0, 1},
        raising=False,
    )
    processors = itertools.count()
    monkeypatch.setattr(affinity, "_processor", lambda: 2 + next(processors))
    pool = WorkerPool(2)
    for _ in range(5):
        assert counted(pool, 4) == [1] * 4
    assert len(asked) == 1


def test_a_worker_that_has_ended_is_not_a_refusal(monkeypatch):
    asked = []

    def ended(worker, processors):
        asked.append(worker)
        raise ProcessLookupError

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", ended, raising=False)
    monkeypatch.setattr(affinity, "_processor", lambda: len(asked))
    pool = WorkerPool(3)
    for _ in range(3):
        assert counted(pool, 4) == [1] * 4
    assert asked == pool._helpers._threads.threads * 3


@pytest.mark.parametrize("available", [0, 1])
def test_where_no_thread_can_be_started_it_goes_on(monkeypatch, available):
    start, started = threading.Thread.start, []

    def limited(thread):
        if len(started) >= available:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    pool = WorkerPool(5)
    for _ in range(20):
        assert counted(pool, 7) == [1] * 7
        assert pool.map(str, [1, 2, 3]) == ["1", "2", "3"]
    assert [len(threads) for threads in threads_of(pool)] == [available, 0]
    assert pool._queue.empty()


def test_training_goes_on_where_threads_are_refused(monkeypatch):
    expected = losses(0, NumbaBackend(1))
    monkeypatch.setattr("fastnn.backends.numba.support.FUSED_GRAIN", 1)

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    np.testing.assert_allclose(losses(0, NumbaBackend(3)), expected, rtol=1e-12)


def test_threads_are_refused_unless_there_is_one():
    with pytest.raises(fastnn.InputError, match="threads=0"):
        NumbaBackend(0)


def test_blas_threads_are_limited_in_the_loop_and_restored_after_an_error():
    from threadpoolctl import threadpool_info, threadpool_limits

    def blas():
        return [
            library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
        ]

    seen = []

    class Failing(type(fastnn.get_backend("numpy"))):
        def loss_gradient(self, *arguments, **options):
            seen.append(blas())
            raise RuntimeError("in the loop")

    with threadpool_limits(2, user_api="blas"):
        before = blas()
        net = fastnn.TwoLayerNet(5, 4, 3, backend=Failing(), rng=0)
        with pytest.raises(RuntimeError, match="in the loop"):
            fastnn.train(net, np.ones((9, 5)), np.zeros(9, int), batch_size=3)
        assert blas() == before
    assert seen[0] == [1] * len(before)


@pytest.mark.parametrize("pay", [False, True])
def test_blas_threads_in_between_are_what_was_measured_to_pay(monkeypatch, pay):
    from threadpoolctl import threadpool_info, threadpool_limits

    def blas():
        return {
            library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
        }

    backend = fastnn.get_backend("numpy")
    monkeypatch.setattr(processor, "_threads_pay", lambda *_: pay)
    with threadpool_limits(2, user_api="blas"):
        for multiplications, threads in ((1000, 1), (4_000_000, 2 if pay else 1), (10**9, 2)):
            with backend.limit_threads(multiplications):
                assert blas() == {threads}
            assert blas() == {2}


def test_what_pays_is_measured_for_the_threads_at_hand(monkeypatch):
    from threadpoolctl import threadpool_limits

    asked = []
    monkeypatch.setattr(processor, "_threads_pay", lambda *sizes: asked.append(sizes[1]) or True)
    for threads in (1, 2):
        with (
            threadpool_limits(threads, user_api="blas"),
            fastnn.get_backend("numpy").limit_threads(4_000_000),
        ):
            pass
    assert asked == [2]


def test_what_was_measured_holds_for_the_process_so_that_two_runs_agree_exactly(monkeypatch):
    from threadpoolctl import threadpool_limits

    changing = iter([True, False, True])
    monkeypatch.setattr(processor, "_measured", {})
    monkeypatch.setattr(processor, "_measure", lambda *_: next(changing))
    x, t = np.random.default_rng(0).random((200, 784)), np.arange(200) % 10
    with threadpool_limits(2, user_api="blas"):
        runs = [
            fastnn.train(
                fastnn.TwoLayerNet(784, 50, 10, rng=0), x, t, iterations=20, rng=0, evaluate_every=0
            )
            for _ in range(2)
        ]
    assert next(changing) is False
    assert runs[0].loss.tobytes() == runs[1].loss.tobytes()


def test_warming_up_measures_again(monkeypatch):
    backend, answers = fastnn.get_backend("numpy"), [True, False, True]
    monkeypatch.setattr(processor, "_measured", {})
    monkeypatch.setattr(processor, "_measure", lambda *_: answers.pop(0))
    found = []
    for _ in range(2):
        found += [processor._threads_pay(22, 2), processor._threads_pay(22, 2)]
        backend.warm_up()
    assert found == [True, True, False, False]


def test_nothing_is_measured_where_kernels_have_threads_of_their_own(monkeypatch):
    monkeypatch.setattr(
        processor,
        "_threads_pay",
        lambda *_: pytest.fail("its BLAS threads would go on waiting, busily"),
    )
    with fastnn.get_backend("numba").limit_threads(4_000_000):
        pass


def test_the_measurement_leaves_the_threads_as_they_were():
    from threadpoolctl import threadpool_info, threadpool_limits

    with threadpool_limits(2, user_api="blas"):
        before = threadpool_info()
        assert isinstance(processor._measure(20, 2), bool)
        assert threadpool_info() == before


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n"}, 8),
        ({"cpu.max": "something else"}, 8),
        ({}, 8),
    ],
)
def test_a_container_has_as_many_cores_as_its_quota_is_time_for(
    monkeypatch, tmp_path, files, cores
):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(processor, "_CONTROL", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert processor.cores() == cores


def test_numba_has_no_more_threads_than_cores_unless_told(python, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "64")
    code = (
        "from fastnn import get_backend\n"
        "print([get_backend('numba', threads=n).pool.size for n in (None, 3)])"
    )
    done = python("-c", code)
    assert (done.out, done.err) == (f"[{min(64, processor.cores())}, 3]\n", "")
