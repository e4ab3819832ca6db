"""What a training computes depends on itself, not on who else trains; and no limit is left behind.

The threads of the BLAS belong to the process: see :mod:`fastnn.backends.turns`.
"""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import fastnn
from fastnn.backends import processor, turns
from fastnn.backends.numpy import NumpyBackend
from fastnn.backends.turns import TURNS, Turn, Turns

RNG = np.random.default_rng(0)
X, T = RNG.random((300, 200)), RNG.integers(10, size=300)


def blas():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    """On any machine; sizes in between are measured to pay."""
    monkeypatch.setattr(processor, "_threads_pay", lambda *_: True)
    with threadpool_limits(2, user_api="blas"):
        yield
        assert blas() == {2}


def bits(seed):
    """Networks of several sizes on backends that want one thread, two, or what pays."""
    backend = [NumpyBackend(), NumpyBackend(1), NumpyBackend(2), NumpyBackend()][seed % 4]
    hidden = [5, 50, 60, 90][seed % 4]
    net = fastnn.TwoLayerNet(200, hidden, 10, backend=backend, rng=seed)
    options = {"iterations": 12, "batch_size": 100, "evaluate_every": 5, "rng": seed}
    history = fastnn.train(net, X, T, **options)
    return history.loss.tobytes(), [p.tobytes() for p in net.params.values()]


def test_48_trainings_in_8_threads_give_the_bits_of_the_same_alone():
    alone = [bits(seed) for seed in range(48)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(bits, range(48)))
    assert [i for i in range(48) if alone[i] != together[i]] == []


def in_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_those_that_want_the_same_share_and_the_last_one_restores():
    with Turn(1):
        thread = in_thread(lambda: Turn(1).__enter__())
        thread.join(60)
        assert not thread.is_alive()
        assert blas() == {1}
        TURNS._inside.remove(thread.ident)
    assert blas() == {2}


def test_those_that_want_another_number_take_turns():
    seen, order = [], []

    def large():
        with Turn(2) as turn:
            seen.append(blas())
            order.append("large")
            while "small" not in order[1:]:
                turn.give_way()

    with Turn(1) as turn:
        seen.append(blas())
        thread = in_thread(large)
        while not TURNS._waiting:
            pass
        assert order == []
        turn.give_way()
        assert order == ["large"]
        order.append("small")
        assert blas() == {1}
    thread.join(60)
    assert seen == [{1}, {2}]


def test_a_training_inside_a_training_goes_on_with_what_that_has():
    with Turn(1), Turn(2) as turn:
        turn.give_way()
        with processor.threads_that_pay(10**9):
            assert blas() == {1}
    assert blas() == {2}


def test_an_error_or_interrupt_leaves_nothing_behind(monkeypatch):
    with pytest.raises(KeyboardInterrupt), Turn(1):
        raise KeyboardInterrupt
    assert not TURNS._inside


def test_an_interrupt_while_it_waits_again_leaves_nothing_behind(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with Turn(1) as turn:
        monkeypatch.setattr(Turns, "enter", interrupted)
        TURNS._waiting.append("somebody")
        with pytest.raises(KeyboardInterrupt):
            turn.give_way()
        TURNS._waiting.clear()
    assert not TURNS._inside


def test_all_threads_are_counted_while_one_is_used():
    with Turn(1):
        assert TURNS.available() == 2
        found = []
        in_thread(lambda: found.append(TURNS.available())).join()
    assert found == [2]


FORKED = """
import os, threading, warnings
from threadpoolctl import threadpool_info, threadpool_limits
import numpy as np
from fastnn.backends.turns import TURNS, Turn
warnings.simplefilter("ignore", DeprecationWarning)
def blas():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
def hold():
    with Turn(1), TURNS._changed:
        held.set()
        done.wait()
before, held, done = blas(), threading.Event(), threading.Event()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    same = blas() == before
    with Turn(1):
        np.ones((200, 200)) @ np.ones((200, 200))
    os._exit(42 if same and blas() == before else 1)
done.set()
thread.join()
assert blas() == before
with Turn(1):
    child_inside = os.fork()
    if child_inside == 0:
        inside = set(blas()) == {1}
if child_inside == 0:
    os._exit(42 if inside and blas() == before else 1)
print(*(os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in (child, child_inside)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_is_not_limited_by_a_thread_that_stayed_behind(python):
    done = python("-c", FORKED)
    assert (done.code, done.out) == (0, "42 42\n"), done.err


SCIPY = """
from threadpoolctl import threadpool_info
import numpy as np, threading
import fastnn
def blas():
    return {p["filepath"]: p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}
before = blas()
class Importing(type(fastnn.get_backend("numpy"))):
    def loss_gradient(self, *arguments, **options):
        import scipy.linalg
        thread = threading.Thread(target=train, args=("numpy",))  # comes and goes meanwhile
        thread.start()
        thread.join()
        return super().loss_gradient(*arguments, **options)
def train(backend):
    net = fastnn.TwoLayerNet(4, 3, 2, backend=backend, rng=0)
    fastnn.train(net, np.ones((9, 4)), np.zeros(9, int), iterations=3, batch_size=3)
train(Importing())
after = blas()
most = max(before.values())
assert len(after) > len(before) and set(after.values()) == {most}, (before, after)
print("restored")
"""


def test_a_library_that_is_loaded_meanwhile_is_not_left_limited(python):
    pytest.importorskip("scipy")
    done = python("-c", SCIPY)
    assert (done.code, done.out) == (0, "restored\n"), done.err


def test_libraries_are_looked_at_again_when_a_module_has_come(monkeypatch):
    before = turns.blas()
    assert turns.blas() is before
    monkeypatch.setitem(sys.modules, "may_have_brought_a_library", object())
    assert turns.blas() is not before
    assert turns.blas().info() == before.info()
