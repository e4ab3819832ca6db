"""Ctrl-C and SIGTERM while a network is trained: real signals."""

import os
import signal
import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from test_training import T, X, host, same, small

from fastnn import EarlyStopping, InterruptWarning, train
from fastnn.interrupts import Interrupts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals of POSIX")

HANDLED = signal.SIGINT, signal.SIGTERM
both = pytest.mark.parametrize("number", HANDLED, ids=lambda number: number.name)


@pytest.fixture(autouse=True)
def handlers():
    """Python's own, also where the tests run in the background, and after whatever a test does."""
    before = [signal.getsignal(number) for number in HANDLED]
    defaults = [signal.default_int_handler, signal.SIG_DFL]
    for number, default in zip(HANDLED, defaults, strict=True):
        signal.signal(number, default)
    yield
    assert [signal.getsignal(number) for number in HANDLED] == defaults
    for number, handler in zip(HANDLED, before, strict=True):
        signal.signal(number, handler)


def sends(number, at, times=1):
    """A callback that sends itself a signal after so many iterations."""

    def send(_):
        for _ in range(times):
            signal.raise_signal(number)

    return SimpleNamespace(on_iteration=send, every=at)


@both
def test_the_training_ends_after_the_batch_and_can_go_on(backend, number):
    rng, net, whole = np.random.default_rng(1), small(backend), small(backend)
    with pytest.warns(InterruptWarning) as caught:
        history = train(
            net, X, T, iterations=60, batch_size=8, rng=rng, callbacks=[sends(number, 23)]
        )
    assert len(caught) == 1
    message = str(caught[0].message)
    assert message.startswith(f"training was interrupted by {number.name} after 23 of 60 iterati")
    assert caught[0].filename == __file__
    assert history.stopped == "interrupted"
    assert len(history.loss) == 23
    expected = train(whole, X, T, iterations=60, batch_size=8, rng=1)
    assert history.loss.tolist() == expected.loss[:23].tolist()
    more = train(net, X, T, iterations=37, batch_size=8, rng=rng, history=history)
    assert more.loss.tolist() == expected.loss.tolist()
    assert more.train_accuracy == expected.train_accuracy
    assert more.stopped == "finished"
    assert same(host(net), host(whole))


@both
@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_in_a_process_of_its_own(python, number, gradient):
    """From outside, at any moment of a long training on a fused backend."""
    done = python(
        *("-W", "error", "-W", "default::RuntimeWarning", "-c"),
        f"""
import os, signal, sys, threading, time
from types import SimpleNamespace
import numpy as np
from fastnn import TwoLayerNet, train
signal.signal(signal.SIGINT, signal.default_int_handler)
rng = np.random.default_rng(0)
x, t = np.where(rng.random((2000, 300)) < 0.8, 0, rng.random((2000, 300))), np.arange(2000) % 10
net = TwoLayerNet(300, 50, 10, backend="numba", rng=0)
timer = threading.Timer(0.7, os.kill, [os.getpid(), {int(number)}])
start = SimpleNamespace(on_begin=lambda _: timer.start())
before = time.perf_counter()
history = train(
    net, x, t, iterations=10**8, gradient={gradient!r}, evaluate_every=0, callbacks=[start], rng=0
)
assert time.perf_counter() - before < 60
assert history.stopped == "interrupted"
assert 0 < len(history.loss) < 10**8
assert all(np.isfinite(p).all() for p in net.params.values())
other = TwoLayerNet(300, 50, 10, backend="numba", rng=0)
same = train(
    other, x, t, iterations=len(history.loss), gradient={gradient!r}, evaluate_every=0, rng=0
)
assert same.loss.tobytes() == history.loss.tobytes()
assert all((net.params[name] == p).all() for name, p in other.params.items())
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
print("and the program goes on")
""",
    )
    assert (done.code, done.out) == (0, "and the program goes on\n"), done.err
    assert done.err.count("InterruptWarning") == 1


def test_a_second_ctrl_c_ends_at_once():
    net = small("numpy")
    with pytest.raises(KeyboardInterrupt):
        train(net, X, T, iterations=60, callbacks=[sends(signal.SIGINT, 23, times=2)])
    assert all(np.isfinite(p).all() for p in host(net).values())


def test_a_second_sigterm_ends_at_once(python):
    done = python(
        "-c",
        """
import signal, numpy as np
from types import SimpleNamespace
from fastnn import TwoLayerNet, train
def twice(_):
    signal.raise_signal(signal.SIGTERM)
    print("still here", flush=True)
    signal.raise_signal(signal.SIGTERM)
    print("never")
train(TwoLayerNet(2, 3, 2), np.eye(2), [0, 1], callbacks=[SimpleNamespace(on_iteration=twice)])
""",
    )
    assert (done.code, done.out) == (-signal.SIGTERM, "still here\n")


def test_one_that_comes_with_the_last_iteration_is_not_lost():
    with pytest.warns(InterruptWarning, match="after 20 of 20 iterations"):
        history = train(small("numpy"), X, T, iterations=20, callbacks=[sends(signal.SIGINT, 20)])
    assert history.stopped == "interrupted"
    assert len(history.loss) == 20


def test_early_stopping_leaves_the_parameters_of_the_interrupt():
    net, other = small("numpy"), small("numpy")
    options = {"batch_size": 5, "learning_rate": 2.0, "validation": 0.5, "rng": 0}
    with pytest.warns(InterruptWarning):
        history = train(
            net,
            X,
            T,
            iterations=400,
            early_stopping=EarlyStopping(10**6),
            callbacks=[sends(signal.SIGINT, 300)],
            **options,
        )
    assert history.best_iteration < 250
    train(other, X, T, iterations=300, **options)
    assert same(host(net), host(other))


@both
def test_handlers_that_somebody_has_set_are_theirs(number):
    came = []
    before = signal.signal(number, lambda *_: came.append(1))
    try:
        history = train(small("numpy"), X, T, iterations=40, callbacks=[sends(number, 23)])
        assert (history.stopped, came) == ("finished", [1])
    finally:
        signal.signal(number, before)


def test_what_the_program_ignores_stays_ignored():
    """As a job in the background does."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        options = {"iterations": 40, "callbacks": [sends(signal.SIGINT, 23)]}
        assert train(small("numpy"), X, T, **options).stopped == "finished"
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_touches_no_handler():
    before, found, seen = [signal.getsignal(n) for n in HANDLED], [], []
    watch = SimpleNamespace(on_begin=lambda _: seen.extend(map(signal.getsignal, HANDLED)))

    def work():
        found.append(train(small("numpy"), X, T, iterations=40, callbacks=[watch]).stopped)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["finished"]
    assert seen == before


@pytest.mark.parametrize("event", ["on_begin", "on_epoch", "on_end"])
def test_the_handlers_are_put_back_when_it_fails(event):
    failing = SimpleNamespace(**{event: lambda _: 1 / 0})
    with pytest.raises(ZeroDivisionError):
        train(small("numpy"), X, T, iterations=40, callbacks=[failing])


def test_a_handler_that_is_set_meanwhile_stays():
    own = [signal.getsignal(signal.SIGTERM)]

    def set_another(_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    try:
        train(small("numpy"), X, T, iterations=5, callbacks=[SimpleNamespace(on_begin=set_another)])
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, own[0])


def test_a_training_inside_a_training_ends_both():
    inner = []

    def nested(_):
        inner.append(
            train(small("numpy"), X, T, iterations=90, callbacks=[sends(signal.SIGINT, 5)])
        )

    with pytest.warns(InterruptWarning) as caught:
        outer = train(
            small("numpy"),
            *(X, T),
            iterations=90,
            callbacks=[SimpleNamespace(on_iteration=nested, every=7)],
        )
    assert [len(history.loss) for history in (*inner, outer)] == [5, 7]
    assert len(caught) == 2


def test_none_that_comes_is_none_that_is_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(small("numpy"), X, T, iterations=3).stopped == "finished"
    with Interrupts() as interrupts:
        pass
    assert interrupts.caught is None
