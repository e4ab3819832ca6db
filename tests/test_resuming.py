"""Trainings that are killed and resumed, against the same ones that were never interrupted."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import fastnn
from fastnn import (
    Callback,
    CheckpointError,
    DtypeError,
    EarlyStopping,
    InputError,
    TwoLayerNet,
    resume,
    train,
)
from fastnn.optimizers import OPTIMIZERS, Adam, Momentum
from fastnn.schedules import CosineWithWarmup

RNG = np.random.default_rng(0)
X = RNG.random((60, 6)) * (RNG.random((60, 6)) < 0.5)
T = RNG.integers(3, size=60)
X_TEST, T_TEST = RNG.random((20, 6)), RNG.integers(3, size=20)


class PowerCut(BaseException):
    """Nothing that anybody expects."""


class Cut(Callback):
    """Ends the training after so many iterations, as rudely as Python can."""

    def __init__(self, iteration):
        self.every = self.iteration = iteration

    def on_iteration(self, state):
        if state.iteration == self.iteration:
            raise PowerCut


def network(backend, dtype="float64"):
    return TwoLayerNet(6, 5, 3, 0.5, backend=backend, dtype=dtype, rng=0)


def same(one, other):
    """Parameters and history are the same, to the last bit, but for the time they took."""
    first, second = (
        {name: net.backend.to_numpy(p).tobytes() for name, p in net.params.items()}
        for net in (one[0], other[0])
    )
    assert first == second
    dicts = [history.to_dict() | {"seconds": 0.0} for history in (one[1], other[1])]
    assert dicts[0] == dicts[1]


def cut_and_resumed(path, backend, cuts, options, given=None, dtype="float64"):
    """Train, cut at these iterations, and resumed each time."""
    net, given = network(backend, dtype), given or {}
    callbacks = options.get("callbacks", ())
    begin = options | {"checkpoint": path, "callbacks": (*callbacks, Cut(cuts[0]))}
    with pytest.raises(PowerCut):
        train(net, X, T, **begin)
    for cut in cuts[1:]:
        with pytest.raises(PowerCut):
            resume(path, X, T, **given, callbacks=[Cut(cut)])
    return resume(path, X, T, **given)


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("sampling", ["replacement", "shuffle"])
def test_resumed_is_as_if_never_interrupted(tmp_path, backend, optimizer, gradient, sampling):
    options = {
        "optimizer": optimizer,
        "gradient": gradient,
        "sampling": sampling,
        "epochs": 4,
        "batch_size": 7,
        "rng": 3,
        "x_test": X_TEST,
        "t_test": T_TEST,
        "checkpoint_every": 5,
    }
    whole = network(backend)
    expected = whole, train(whole, X, T, **options | {"rng": 3})
    given = {"x_test": X_TEST, "t_test": T_TEST, "backend": backend}
    found = cut_and_resumed(tmp_path / "c", backend, [8, 19, 20], options, given)
    same(found, expected)
    assert found[1].stopped == "finished"
    # It has ended: to resume it once more gives what it ended with.
    same(resume(tmp_path / "c", X, T, **given), expected)


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_schedule_validation_early_stopping_and_weights(tmp_path, name, dtype):
    weights = np.linspace(0, 2, 60)
    options = {
        "optimizer": Adam(beta1=0.8, weight_decay=0.01),
        "learning_rate": CosineWithWarmup(0.3, 400, warmup=10),
        "sampling": "shuffle",
        "validation": 0.25,
        "early_stopping": EarlyStopping(patience=4),
        "epochs": 80,
        "batch_size": 8,
        "rng": 5,
        "sample_weight": weights,
        "checkpoint_every": 3,
    }
    whole = network(name, dtype)
    expected = whole, train(whole, X, T, **options)
    assert expected[1].stopped == "early stopping"
    options |= {"optimizer": Adam(beta1=0.8, weight_decay=0.01), "early_stopping": EarlyStopping(4)}
    given = {"sample_weight": weights}
    found = cut_and_resumed(tmp_path / "c", name, [5, 12, 25], options, given, dtype)
    same(found, expected)
    assert found[1].best_iteration == expected[1].best_iteration


def test_a_history_that_is_continued(tmp_path):
    options = {"epochs": 3, "batch_size": 8, "sampling": "shuffle", "checkpoint_every": 2}
    whole = network("numpy")
    first = train(whole, X, T, iterations=11, batch_size=8, rng=1)
    started = whole.to("numpy")
    expected = whole, train(whole, X, T, **options, history=first, rng=2)
    cut = {"checkpoint": tmp_path / "c", "callbacks": [Cut(20)]}
    with pytest.raises(PowerCut):
        train(started, X, T, **options, **cut, history=first, rng=2)
    same(resume(tmp_path / "c", X, T), expected)


def test_an_interrupt_is_no_end(tmp_path):
    class Interrupt(Callback):
        every = 13

        def on_iteration(self, state):
            if state.iteration == 13:
                os.kill(os.getpid(), signal.SIGINT)

    options = {"iterations": 40, "batch_size": 5, "rng": 0, "optimizer": "momentum"}
    whole = network("numpy")
    expected = whole, train(whole, X, T, **options)
    net, path = network("numpy"), tmp_path / "c"
    with pytest.warns(fastnn.InterruptWarning):
        history = train(net, X, T, **options, checkpoint=path, callbacks=[Interrupt()])
    assert history.stopped == "interrupted"
    assert len(history.loss) < 40
    same(resume(path, X, T), expected)


def begun(path, **options):
    """A training that was cut."""
    options = {"iterations": 30, "batch_size": 5, "rng": 0} | options
    with pytest.raises(PowerCut):
        train(network("numpy"), X, T, **options, checkpoint=path, callbacks=[Cut(10)])
    return path


OTHERS = {
    "samples": (lambda: (X + 1e-9, T), {}, "x_train and t_train: these are other data, of SHA-256"),
    "labels": (lambda: (X, T[::-1]), {}, "x_train and t_train: these are other data"),
    "fewer": (lambda: (X[:50], T[:50]), {}, "x_train and t_train: these are other data"),
    "a test set": (lambda: (X, T), {"x_test": X, "t_test": T}, "began without x_test and t_test"),
    "weights": (lambda: (X, T), {"sample_weight": np.ones(60)}, "began without sample_weight"),
    "validation": (lambda: (X, T), {"validation": (X, T)}, "began without validation"),
    "batch size": (lambda: (X, T), {"batch_size": 6}, "batch_size=6, but .* batch_size=5"),
    "length": (lambda: (X, T), {"iterations": 31}, "iterations=31, but .* iterations=30"),
    "sampling": (lambda: (X, T), {"sampling": "shuffle"}, "sampling='shuffle', but .*replacement"),
    "gradient": (lambda: (X, T), {"gradient": "numerical"}, "'numerical', but .*'backprop'"),
    "optimizer": (lambda: (X, T), {"optimizer": "adam"}, "optimizer='adam', but .* 'sgd'"),
    "rate": (lambda: (X, T), {"learning_rate": 0.2}, r"learning_rate=0.2, but .*learning_rate=0.1"),
    "a misspelt name": (lambda: (X, T), {"batchsize": 5}, "argument='batchsize' is not known"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_not_what_the_training_began_with_is_refused(tmp_path, what):
    data, options, message = OTHERS[what]
    path = begun(tmp_path / "c")
    before = path.read_bytes()
    with pytest.raises(InputError, match=message) as caught:
        resume(path, *data(), **options)
    assert str(caught.value).count("\n") == 0
    assert len(str(caught.value)) <= 300
    assert path.read_bytes() == before


def test_what_is_the_same_is_taken(tmp_path):
    path = begun(tmp_path / "c", optimizer="momentum", learning_rate=0.3)
    options = {"batch_size": 5, "iterations": 30, "learning_rate": 0.3, "optimizer": "momentum"}
    _, history = resume(path, X, T, **options)
    assert len(history.loss) == 30


def test_a_function_of_the_rate_is_given_again(tmp_path):
    def rate(i):
        return 0.1 / (1 + i)

    whole = network("numpy")
    expected = whole, train(whole, X, T, iterations=30, batch_size=5, rng=0, learning_rate=rate)
    path = begun(tmp_path / "c", learning_rate=rate)
    with pytest.raises(InputError, match="learning_rate that is a function of the caller's own"):
        resume(path, X, T)
    same(resume(path, X, T, learning_rate=rate), expected)


class Own:
    """An optimizer of somebody's own."""

    def __init__(self, name="own"):
        self.steps = 0

    def update(self, params, grads):
        self.steps += 1
        for name, w in params.items():
            w -= grads[name] / (10 + self.steps)

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def test_an_optimizer_of_ones_own(tmp_path):
    whole = network("numpy")
    expected = whole, train(whole, X, T, iterations=30, batch_size=5, rng=0, optimizer=Own())
    path = begun(tmp_path / "c", optimizer=Own())
    with pytest.raises(InputError, match=r"optimizer=None, but the training began with a .*Own"):
        resume(path, X, T)
    same(resume(path, X, T, optimizer=Own()), expected)


def test_an_optimizer_of_ours_that_was_changed_is_ones_own(tmp_path):
    def halved():
        optimizer = Momentum(0.5)
        optimizer.update = lambda params, grads: Momentum.update(
            optimizer, params, {name: g / 2 for name, g in grads.items()}
        )
        return optimizer

    whole = network("numpy")
    expected = whole, train(whole, X, T, iterations=30, batch_size=5, rng=0, optimizer=halved())
    path = begun(tmp_path / "c", optimizer=halved())
    for given in (None, "momentum", Momentum(0.5)):
        with pytest.raises(InputError, match=r"the training began with a fastnn\S*\.Momentum"):
            resume(path, X, T, optimizer=given)
    same(resume(path, X, T, optimizer=halved()), expected)


class Never(EarlyStopping):
    """Remembers the best, and never stops."""

    def should_stop(self, state):
        return False


class Counting(Callback):
    """Has a state."""

    def __init__(self):
        self.count = 0

    def on_iteration(self, state):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


class CountingToo(Counting):
    pass


#: Early stopping, where it may be given, and what `resume` needs of it.
STOPPING = {
    "ours": (lambda: {"early_stopping": 2}, dict),
    "ours, given again": (lambda: {"early_stopping": 2}, lambda: {"early_stopping": 2}),
    "a class of one's own": (
        lambda: {"early_stopping": Never(2)},
        lambda: {"early_stopping": Never(2)},
    ),
    "among the callbacks": (
        lambda: {"callbacks": [Counting(), EarlyStopping(2)]},
        lambda: {"callbacks": [Counting(), EarlyStopping(2)]},
    ),
    "two": (
        lambda: {"early_stopping": 5, "callbacks": [EarlyStopping(3, monitor="train_loss")]},
        lambda: {"callbacks": [EarlyStopping(3, monitor="train_loss")]},
    ),
}


@pytest.mark.parametrize("what", STOPPING)
def test_early_stopping_is_the_one_of_before(tmp_path, what):
    begin, again = STOPPING[what]
    options = {"batch_size": 7, "epochs": 60, "validation": 0.2, "learning_rate": 5.0, "rng": 3}
    options |= {"iterations": None}
    whole = network("numpy")
    expected = whole, train(whole, X, T, **options, **begin())
    some = begin()
    callbacks = [*some.pop("callbacks", ()), Cut(10)]
    with pytest.raises(PowerCut):
        train(
            network("numpy"),
            X,
            T,
            **options,
            **some,
            callbacks=callbacks,
            checkpoint=tmp_path / "c",
            checkpoint_every=3,
        )
    same(resume(tmp_path / "c", X, T, **again()), expected)


@pytest.mark.parametrize(
    ("began", "given", "message"),
    [
        (2, 3, r"early_stopping=3, but .* EarlyStopping\(patience=2, .*leave it out"),
        (None, 3, "early_stopping=3, but the training began with none; leave it out"),
        (2, Never(2), r"but the training began with EarlyStopping\(patience=2"),
        (Never(2), None, r"early_stopping=None, but .*\.Never; give the same again"),
        (Never(2), 2, r"early_stopping=2, but the training began with .*\.Never"),
    ],
)
def test_another_early_stopping_is_refused(tmp_path, began, given, message):
    path = begun(tmp_path / "c", early_stopping=began, validation=0.2)
    with pytest.raises(InputError, match=message) as caught:
        resume(path, X, T, early_stopping=given)
    assert len(str(caught.value)) <= 300


def test_callbacks_in_another_order_are_refused(tmp_path):
    path = tmp_path / "c"
    with pytest.raises(PowerCut):
        train(
            network("numpy"),
            X,
            T,
            iterations=20,
            checkpoint=path,
            callbacks=[Counting(), CountingToo(), Cut(5)],
        )
    for wrong in ([CountingToo(), Counting()], [Counting()], []):
        with pytest.raises(InputError, match=r"\(Counting, CountingToo\).*in this order"):
            resume(path, X, T, callbacks=wrong)
    one, other = Counting(), CountingToo()
    resume(path, X, T, callbacks=[one, other])
    assert (one.count, other.count) == (20, 20)


def test_a_callback_that_cannot_go_on_is_refused_at_the_beginning(tmp_path):
    class Halfway(Callback):
        def state_dict(self):
            return {}

    with pytest.raises(DtypeError, match=r"no load_state_dict"):
        train(
            network("numpy"), X, T, iterations=3, checkpoint=tmp_path / "c", callbacks=[Halfway()]
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": Adam(lr=0.5, beta1=0.1)}, r"Adam\(lr=0.5.*began with Adam\(lr=0.001, .*0.1"),
        ({"iterations": np.arange(3)}, r"iterations=array.*, but the training began with"),
        ({"rng": 0}, "rng=0 is for the beginning of a training"),
        ({"history": None}, "history=None is for the beginning of a training"),
        ({"checkpoint": "c"}, "checkpoint='c' is for the beginning of a training"),
    ],
)
def test_no_argument_is_passed_over(tmp_path, options, message):
    path = begun(tmp_path / "c", optimizer=Adam(weight_decay=0.1))
    with pytest.raises(InputError, match=message) as caught:
        resume(path, X, T, **options)
    assert len(str(caught.value)) <= 300
    resume(path, X, T, optimizer=Adam(weight_decay=0.1))


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_a_signal_that_comes_when_the_training_stops_loses_nothing(tmp_path, kind):
    class Interrupt(Callback):
        def on_evaluation(self, state):
            if stopping.waited == stopping.patience:
                signal.raise_signal(signal.SIGINT)

    options = {"batch_size": 7, "epochs": 60, "validation": 0.2, "learning_rate": 5.0, "rng": 3}
    whole, stopping = network(kind), EarlyStopping(2)
    expected = whole, train(whole, X, T, **options, early_stopping=2)
    assert expected[1].stopped == "early stopping"
    with pytest.warns(fastnn.InterruptWarning):
        history = train(
            network(kind),
            X,
            T,
            **options,
            early_stopping=stopping,
            callbacks=[Interrupt()],
            checkpoint=tmp_path / "c",
        )
    assert history.stopped == "interrupted"
    same(resume(tmp_path / "c", X, T, backend=kind), expected)


def test_an_optimizer_without_a_state_cannot_be_kept(tmp_path):
    class Forgetful:
        def update(self, params, grads):
            pass

    net = network("numpy")
    before = {name: p.copy() for name, p in net.params.items()}
    with pytest.raises(DtypeError, match="state_dict"):
        train(net, X, T, iterations=3, optimizer=Forgetful(), checkpoint=tmp_path / "c")
    assert all(np.array_equal(p, net.params[name]) for name, p in before.items())
    assert not list(tmp_path.iterdir())


def test_a_file_of_a_network_is_no_training(tmp_path):
    network("numpy").save(tmp_path / "net")
    with pytest.raises(CheckpointError, match=r"checkpoint"):
        resume(tmp_path / "net", X, T)
    with pytest.raises(CheckpointError, match=r"no such file|cannot be read"):
        resume(tmp_path / "none", X, T)


def test_a_checkpoint_that_cannot_be_written_ends_before_the_first_step(tmp_path):
    net = network("numpy")
    before = {name: p.copy() for name, p in net.params.items()}
    with pytest.raises(CheckpointError, match="no such folder"):
        train(net, X, T, iterations=3, checkpoint=tmp_path / "none" / "c")
    assert all(np.array_equal(p, net.params[name]) for name, p in before.items())


#: Trains or resumes, in a process group of its own.
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import fastnn
path, backend, optimizer, gradient = sys.argv[1:]
rng = np.random.default_rng(0)
x = rng.random((300, 40)) * (rng.random((300, 40)) < 0.3)
t = rng.integers(4, size=300)
if Path(path).exists():
    net, history = fastnn.resume(path, x, t)
else:
    net = fastnn.TwoLayerNet(40, 12, 4, 0.5, backend=backend, rng=0)
    history = fastnn.train(
        net, x, t, iterations={iterations}, batch_size=20, optimizer=optimizer, gradient=gradient,
        sampling="shuffle", validation=0.2, rng=1, checkpoint=path, checkpoint_every=40,
    )
state = history.to_dict() | {{"seconds": 0}}
print("end", repr(state), [p.tobytes() for p in net.params.values()])
"""


def finished(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.startswith("end")
    return out


@pytest.mark.skipif(not hasattr(os, "setsid"), reason="needs process groups")
def test_killed_at_random_moments(tmp_path):
    """SIGKILL to the whole group, twenty times, also in the middle of a write."""
    kinds = [
        ("numpy", "adam", "backprop", 4000),
        ("numba", "momentum", "backprop", 20000),
        ("numba", "adam", "numerical", 4000),
        ("numpy", "sgd", "numerical", 400),
    ]
    moments, kills = random.Random(0), 0
    for number, (*arguments, iterations) in enumerate(kinds):

        def start(path, arguments=arguments, iterations=iterations):
            program = PROGRAM.format(iterations=iterations)
            return subprocess.Popen(
                [sys.executable, "-c", program, str(path), *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )

        began = time.monotonic()
        expected = finished(start(tmp_path / f"whole {number}"))
        whole, path = time.monotonic() - began, tmp_path / f"killed {number}"
        process = None
        while True:
            process = start(path)
            if kills >= 5 * (number + 1):
                break
            try:
                process.wait(moments.uniform(0.3, 1.0) * whole)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
            finally:
                process.communicate()
            if process.returncode == 0:  # it had ended before: from the beginning once more
                path.unlink()
        assert finished(process) == expected
    assert kills == 20
