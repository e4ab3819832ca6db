"""What a training does beside its steps.

Epochs, sampling, validation, early stopping, callbacks, going on, weights. Signals are in
test_interrupts.py.
"""

import copy
import inspect
import math
import sys
import time
from types import SimpleNamespace

import book
import numpy as np
import pytest
from test_training import LABELS, RecordingBackend, T, X, host, same, small

import fastnn
from fastnn import Callback, DtypeError, EarlyStopping, InputError, TwoLayerNet, train
from fastnn.base_network import Network
from fastnn.callbacks import METHODS
from fastnn.evaluations import held_out
from fastnn.loop import loop
from fastnn.pace import Pace
from fastnn.preparation import prepare
from fastnn.sampling import SAMPLERS, Replacement, Shuffle

#: Networks learn to take weights in a change of their own; these tests begin then.
needs_weights = pytest.mark.skipif(
    "sample_weight" not in inspect.signature(Network.dataset).parameters,
    reason="network.dataset takes no sample_weight yet",
)
WITH_WEIGHTS = ("test_weights_of_zero_leave_out_and_of_two_repeat", "test_weights_go_with_a_split")


def recorded(n=50, **options):
    """The row numbers of every batch of a training on so many samples."""
    recorder = RecordingBackend()
    train(small(recorder), X[:n], T[:n], **({"rng": 1} | options))
    sizes = SAMPLERS[options.get("sampling", "replacement")](
        n, options.get("batch_size", 100), np.random.default_rng()
    ).sizes
    return recorder.seen[len(sizes) :]  # the first are the rehearsal's


# -- how long, and on which samples ----------------------------------------------------------------


def test_the_draws_with_replacement_are_those_of_before():
    """For a stretch of steps at a time, the longer of an epoch and 32 steps."""
    for n, batch_size in ((50, 8), (50, 1), (7, 3)):
        rows = np.array(recorded(n, iterations=10_000, batch_size=batch_size, evaluate_every=0))
        rng, stretch = np.random.default_rng(1), max(n // batch_size, 32)
        firsts = range(0, 10_000, stretch)
        expected = [
            rng.integers(n, size=(min(stretch, 10_000 - first), batch_size)) for first in firsts
        ]
        np.testing.assert_array_equal(rows, np.concatenate(expected))


@pytest.mark.parametrize("generator", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_no_generator_draws_otherwise_in_pieces(generator):
    for n in (50, 2**33):
        whole = np.random.Generator(generator(3)).integers(n, size=(60, 7))
        sampler = Replacement(n, 7, np.random.Generator(generator(3)))
        pieces = [sampler.draw(steps)[0] for steps in (1, 20, 0, 39)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("batch_size", [1, 7, 10, 49, 50, 51, 200])
def test_a_shuffled_epoch_has_every_sample_once(batch_size):
    steps = math.ceil(50 / batch_size)
    batches = recorded(epochs=4, batch_size=batch_size, sampling="shuffle")
    assert len(batches) == 4 * steps
    rng = np.random.default_rng(1)
    orders = []
    for epoch in range(4):
        of_epoch = batches[epoch * steps : (epoch + 1) * steps]
        assert {len(batch) for batch in of_epoch[:-1]} <= {batch_size}
        order = np.concatenate(of_epoch)
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
        np.testing.assert_array_equal(order, rng.permutation(50))
        orders.append(order.tolist())
    assert len({*map(tuple, orders)}) == 4


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("batch_size", [8, 10, 60])
def test_shuffled_training_is_the_loop_of_the_book(backend, batch_size, gradient):
    """On these batches, the smaller ones at the ends of the epochs included."""
    options = {"batch_size": batch_size, "sampling": "shuffle", "epochs": 3}
    rows = recorded(**options)
    net = small(backend)
    parameters = {name: p.astype(np.longdouble) for name, p in host(net).items()}
    history = train(net, X, T, learning_rate=0.5, gradient=gradient, rng=1, **options)
    expected = [book.train(parameters, X, T, [batch], 0.5)[0] for batch in rows]
    tolerance = 1e-10 if gradient == "backprop" else 1e-6
    np.testing.assert_allclose(history.loss, np.array(expected, float), rtol=tolerance)
    for name, parameter in host(net).items():
        wanted = parameters[name].astype(float)
        np.testing.assert_allclose(parameter, wanted, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("sampling", "batch_size", "steps"),
    [("replacement", 8, 6), ("replacement", 60, 1), ("shuffle", 8, 7), ("shuffle", 60, 1)],
)
def test_epochs_are_so_many_iterations(sampling, batch_size, steps):
    options = {"sampling": sampling, "batch_size": batch_size, "rng": 1}
    nets = small("numpy"), small("numpy")
    one = train(nets[0], X, T, epochs=3, **options)
    assert len(one.loss) == 3 * steps
    assert one.iterations == [steps - 1, 2 * steps - 1, 3 * steps - 1]
    assert one.train_accuracy[-1] == nets[0].accuracy(X, T)
    other = train(nets[1], X, T, iterations=3 * steps, **options)
    assert one.loss.tolist() == other.loss.tolist()
    assert same(host(nets[0]), host(nets[1]))
    first = steps - 1 if sampling == "shuffle" else 0  # the book evaluates first
    assert other.iterations == [*range(first, 3 * steps, steps)]


@pytest.mark.parametrize(
    ("sampling", "ends"), [("replacement", [6, 12, 18]), ("shuffle", [11, 18, 25])]
)
def test_epochs_after_a_history_that_ends_within_one(sampling, ends):
    """Those with replacement go on counting; shuffled ones begin anew."""
    history = train(small("numpy"), X, T, iterations=4, batch_size=8)
    watch = Recorder("on_epoch")
    options = {"batch_size": 8, "sampling": sampling, "callbacks": [watch], "history": history}
    more = train(small("numpy"), X, T, epochs=3, **options)
    assert more.iterations == [0, *(end - 1 for end in ends if end <= len(more.loss))]
    assert watch.calls == [("on_epoch", n, i, n) for i, n in enumerate(ends, 1) if n <= 25]


def test_the_default_is_ten_thousand_iterations():
    assert len(train(small("numpy"), X, T, batch_size=1, evaluate_every=0).loss) == 10_000


def test_a_sampler_goes_on_from_its_state():
    for kind in SAMPLERS.values():
        sampler = kind(23, 5, np.random.default_rng(0))
        for steps in (0, 1, 2, 3, 9, 4):
            sampler.draw(steps)
            again = kind(23, 5, copy.deepcopy(sampler.rng))
            again.load_state_dict(sampler.state_dict())
            assert (again.epoch, again.position) == (sampler.epoch, sampler.position)
            rows, expected = again.draw(7), copy.deepcopy(sampler).draw(7)
            assert [a.tolist() for a in rows] == [a.tolist() for a in expected]


@pytest.mark.parametrize("sampling", SAMPLERS)
def test_how_many_row_numbers_are_drawn_at_a_time_changes_nothing(sampling, monkeypatch):
    found = []
    for most in (1 << 17, 21, 1):
        monkeypatch.setattr("fastnn.loop.MOST_ROWS", most)
        net = small("numpy")
        options = {"iterations": 40, "batch_size": 5, "sampling": sampling, "evaluate_every": 7}
        history = train(net, X, T, rng=0, **options)
        found.append([history.loss, history.train_accuracy, net.params["W1"]])
    for others in found[1:]:
        assert all(map(np.array_equal, found[0], others))


@pytest.mark.parametrize(
    "change",
    [
        {"position": 5},
        {"position": -1},
        {"epoch": None},
        {"epoch": 1.5},
        {"order": np.arange(22)},
        {"order": np.zeros(23, int)},
        {"order": None},
        {"order": np.arange(23).reshape(1, 23)},
    ],
)
def test_the_state_of_another_sampler_is_refused(change):
    sampler = Shuffle(23, 5, np.random.default_rng(0))
    sampler.draw(2)
    state, other = sampler.state_dict(), Shuffle(23, 5, np.random.default_rng(0))
    with pytest.raises(InputError, match="state of the sampler"):
        other.load_state_dict(state | change)
    assert (other.epoch, other.position) == (0, 0)


# -- validation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("targets", [LABELS, T], ids=["labels", "rows"])
def test_the_validation_is_what_the_network_says(backend, loss, targets):
    """Also of more samples than are evaluated at a time."""
    x, t = np.tile(X, (90, 1)), np.tile(targets, (90,) + (1,) * (targets.ndim - 1))
    net = small(backend, loss=loss)
    options = {"batch_size": 8, "learning_rate": 0.01, "iterations": 7}
    history = train(net, X, T, validation=(x, t), evaluate_every=3, rng=0, **options)
    assert history.iterations == [0, 3, 6]
    assert history.validation_loss[-1] == pytest.approx(net.loss(x, t), rel=1e-12)
    assert history.validation_accuracy[-1] == pytest.approx(net.accuracy(x, t), abs=1e-15)
    assert len(history.validation_loss) == len(history.validation_accuracy) == 3


@pytest.mark.parametrize("fraction", [0.2, 0.001, 0.999, 0.5])
def test_a_fraction_is_set_aside_by_the_generator(backend, fraction):
    count = held_out(50, fraction)
    assert 1 <= count <= 49
    assert abs(count - 50 * fraction) <= max(0.5, 1 - 50 * fraction, 50 * fraction - 49)
    rng = np.random.default_rng(3)
    order = rng.permutation(50)
    aside, kept = np.sort(order[:count]), np.sort(order[count:])
    nets = [small(backend), small(backend)]
    options = {"iterations": 5, "batch_size": 4}
    one = train(nets[0], X, LABELS, validation=fraction, rng=3, **options)
    other = train(
        nets[1], X[kept], LABELS[kept], validation=(X[aside], LABELS[aside]), rng=rng, **options
    )
    assert one.loss.tolist() == other.loss.tolist()
    for name in fastnn.History.EVALUATED:
        assert getattr(one, name) == getattr(other, name)
    assert same(host(nets[0]), host(nets[1]))


def test_a_fraction_of_what_there_are_many_kinds_of():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    mostly_zero = np.where(np.random.default_rng(0).random(X.shape) < 0.8, 0, X)
    halves = np.full((50, 4), 0.2497, np.float16) + np.float16(0.001)  # of which none sums to one
    expected = None
    for x in (
        mostly_zero,
        scipy_sparse.csr_array(mostly_zero),
        scipy_sparse.coo_array(mostly_zero),
    ):
        net = small("numba")
        history = train(net, x, LABELS, validation=0.3, iterations=9, batch_size=5, rng=0)
        found = history.loss.tolist(), history.validation_loss
        assert expected in (None, found)
        expected = found
    lists = mostly_zero.tolist(), LABELS.tolist()
    assert train(small("numba"), *lists, validation=0.3, iterations=9, batch_size=5, rng=0)
    train(small("numpy"), X, halves, validation=0.3, iterations=3, rng=0)


def test_the_generator_is_not_used_where_something_is_refused():
    net, rng = small("numpy"), np.random.default_rng(0)
    net.dataset = lambda *_, **__: 1 / 0  # as weights that are none would
    with pytest.raises(ZeroDivisionError):
        train(net, X, T, validation=0.5, rng=rng)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


# -- early stopping --------------------------------------------------------------------------------


def overfitting(backend, **options):
    """A network that soon gets worse on the samples that it does not see."""
    rng = np.random.default_rng(7)
    x, t = rng.random((40, 6)), rng.integers(3, size=40)
    net = TwoLayerNet(6, 20, 3, 0.5, backend=backend, rng=0)
    arguments = {"epochs": 400, "batch_size": 5, "learning_rate": 1.5, "rng": 2}
    return net, train(net, x, t, **(arguments | {"validation": 0.5} | options))


@pytest.mark.parametrize("sampling", ["replacement", "shuffle"])
@pytest.mark.parametrize(
    ("monitor", "min_delta"),
    [("validation_loss", 0), ("validation_loss", 0.05), ("validation_accuracy", 0)],
)
def test_early_stopping_is_a_training_stopped_there_by_hand(backend, monitor, min_delta, sampling):
    stopping = EarlyStopping(patience=4, min_delta=min_delta, monitor=monitor)
    net, history = overfitting(backend, early_stopping=stopping, sampling=sampling)
    assert history.stopped == "early stopping"
    values = getattr(history, monitor)
    sign = -1 if monitor.endswith("loss") else 1
    best, at, waited = values[0], 0, 0  # as it is written in any book
    for i, value in enumerate(values[1:], 1):
        assert waited < 4
        if sign * (value - best) > min_delta:
            best, at, waited = value, i, 0
        else:
            waited += 1
    assert waited == 4
    assert len(values) - 1 == at + 4
    assert history.best_iteration == history.iterations[at] == stopping.best_iteration
    assert stopping.best == best
    assert len(history.loss) == history.iterations[-1] + 1
    count = history.best_iteration + 1
    by_hand, its = overfitting(backend, iterations=count, epochs=None, sampling=sampling)
    assert same(host(net), host(by_hand))
    assert its.loss.tolist() == history.loss[:count].tolist()


def test_a_training_that_ends_earlier_has_the_best_parameters_too():
    stopping = EarlyStopping(patience=10**6)
    net, history = overfitting("numpy", early_stopping=stopping, epochs=60)
    assert history.stopped == "finished"
    assert history.best_iteration == history.iterations[np.argmin(history.validation_loss)]
    assert history.best_iteration < history.iterations[-1]
    by_hand, _ = overfitting("numpy", iterations=history.best_iteration + 1, epochs=None)
    assert same(host(net), host(by_hand))


def test_an_improvement_is_more_than_the_least_change():
    validation, seen = [3.0, 2.5, 2.1, 2.0, 1.9, 1.4, 1.5, 1.3, 1.2], []
    stopping = EarlyStopping(3, min_delta=0.5)
    for i, value in enumerate(validation):
        state = SimpleNamespace(
            history=fastnn.History(validation_loss=[value]),
            network=small("numpy"),
            iteration=i + 1,
        )
        stopping.on_evaluation(state)
        seen.append((stopping.best, stopping.waited, stopping.should_stop(state)))
    expected = [
        (3.0, 0),
        (3.0, 1),
        (2.1, 0),
        (2.1, 1),
        (2.1, 2),
        (1.4, 0),
        *((1.4, i) for i in (1, 2, 3)),
    ]
    assert seen == [(*pair, pair[1] >= 3) for pair in expected]


def test_an_int_is_the_patience_and_an_object_begins_anew():
    stopping = EarlyStopping(3)
    runs = [overfitting("numpy", early_stopping=stopping)[1] for _ in range(2)]
    runs += [overfitting("numpy", early_stopping=3)[1]]
    runs += [overfitting("numpy", callbacks=[EarlyStopping(3)])[1]]
    assert len({len(history.loss) for history in runs}) == 1
    assert len({history.best_iteration for history in runs}) == 1
    assert repr(stopping) == "EarlyStopping(patience=3, min_delta=0.0, monitor='validation_loss')"


def test_the_loss_of_the_training_is_the_mean_since_the_evaluation_before():
    seen = []

    class Watch(EarlyStopping):
        def on_evaluation(self, state):
            super().on_evaluation(state)
            seen.append((state.iteration, self.best))

    watch = Watch(10**6, monitor="train_loss")
    net = TwoLayerNet(2, 5, 1, loss="mean_squared_error", rng=0)  # which has no accuracy
    x = np.random.default_rng(0).random((30, 2))
    history = train(
        net, x, x[:, :1], epochs=5, batch_size=10, learning_rate=0.01, callbacks=[watch]
    )
    means = history.loss.reshape(5, 3).mean(axis=1)
    assert seen == [(3 * i + 3, pytest.approx(means[: i + 1].min())) for i in range(5)]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping(0), InputError, "patience=0"),
        (lambda: EarlyStopping(1.5), DtypeError, "patience=1.5"),
        (lambda: EarlyStopping(min_delta=-1), InputError, "min_delta=-1"),
        (lambda: EarlyStopping(min_delta=math.nan), InputError, "min_delta=nan"),
        (lambda: EarlyStopping(monitor="loss"), InputError, "monitor='loss'.*'train_loss'"),
        (lambda: EarlyStopping().load_state_dict({"best": 3}), InputError, "no state of an Early"),
    ],
)
def test_impossible_early_stopping(make, error, message):
    with pytest.raises(error, match=message):
        make()


# -- callbacks -------------------------------------------------------------------------------------


class Recorder(Callback):
    """Notes each call, and what the state is then."""

    every = 5

    def __init__(self, *events):
        self.calls = []
        for event in events:
            setattr(self, event, lambda *state, event=event: self.note(event, *state))

    def note(self, event, state=None):
        # Of the time nothing should depend.
        known = () if state is None else (state.iteration, state.epoch, len(state.history.loss))
        self.calls.append((event, *known))
        if state is not None:
            assert np.isfinite(state.history.loss).all()


def test_callbacks_are_called_at_their_moments(backend):
    recorder = Recorder(*(name for name in METHODS if name not in ("should_stop", "on_progress")))
    train(small(backend), X, T, iterations=14, batch_size=8, evaluate_every=4, callbacks=[recorder])
    expected = [("on_begin", 0, 0, 0)]
    for i in range(1, 15):
        now = i, i // 6, i
        expected += [("on_evaluation", *now)] * (i % 4 == 1)
        expected += [("on_iteration", *now)] * (i % 5 == 0)
        expected += [("on_epoch", *now)] * (i % 6 == 0)
    assert recorder.calls == [*expected, ("on_end", 14, 2, 14), ("on_exit",)]


@pytest.mark.parametrize("events", [(), ("on_iteration",), ("on_epoch",), ("on_evaluation",)])
def test_who_watches_changes_nothing(backend, events):
    plain, watched = small(backend), small(backend)
    options = {"iterations": 40, "batch_size": 8, "evaluate_every": 7, "rng": 0}
    expected = train(plain, X, T, **options)
    history = train(watched, X, T, callbacks=[Recorder(*events)], **options)
    assert history.loss.tolist() == expected.loss.tolist()
    assert history.train_accuracy == expected.train_accuracy
    assert same(host(plain), host(watched))


@pytest.mark.parametrize("moment", ["on_begin", "on_iteration", "on_progress", "learning_rate"])
@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_parameters_that_are_assigned_meanwhile_are_trained(backend, gradient, moment):
    """Another dict, and another array in it, of samples that are mostly zero, too."""
    for x in (X, X * (np.arange(X.size).reshape(X.shape) % 5 == 0)):
        nets = plain, changed = small(backend), small(backend)

        def assign(state, net=changed):
            if state.iteration >= 8:
                net.params["b1"] = net.backend.asarray(host(net)["b1"])
            else:
                net.params = {name: net.backend.asarray(p) for name, p in host(net).items()}

        rates = [0.5, 0.5]
        callback = Callback() if moment == "learning_rate" else Assigning(moment, assign)
        if moment == "learning_rate":
            rates[1] = lambda i: assign(SimpleNamespace(iteration=i)) or 0.5
        options = {"iterations": 12, "batch_size": 7, "gradient": gradient}
        histories = [
            train(
                net,
                x,
                T,
                **options,
                callbacks=[*some, Recorder("on_iteration")],
                learning_rate=rate,
                rng=0,
            )
            for net, some, rate in zip(nets, ([], [callback]), rates, strict=True)
        ]
        np.testing.assert_allclose(histories[1].loss, histories[0].loss, rtol=1e-12)
        found, expected = host(changed), host(plain)
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-10)


@pytest.mark.parametrize(
    ("moment", "name", "value", "message"),
    [
        ("on_begin", "W1", np.zeros((6, 4)), r"has shape \(6, 4\)"),
        ("on_evaluation", "W1", None, "None"),
        ("on_iteration", "b1", np.zeros(5, int), "dtype int64"),
        ("on_epoch", "b1", np.zeros(5, np.float32), "dtype float32"),
        ("on_progress", "another", np.zeros(5), "has the entries"),
        ("on_iteration", "b1", "b2", "share memory"),
    ],
)
@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_what_is_assigned_meanwhile_is_checked(tmp_path, kind, moment, name, value, message):
    net = small(kind)

    def assign(state):
        both = np.zeros(5)
        if isinstance(value, str):
            net.params[value] = both[:4]
        net.params[name] = both if isinstance(value, str) else value

    options = {"batch_size": 50, "evaluate_every": 1, "checkpoint": tmp_path / "c"}
    callbacks = [Assigning(moment, assign)]
    for iterations in (1, 20):  # the one that it is after may be the last
        net.__init__(6, 5, 4, backend=kind, rng=0)
        with pytest.raises(fastnn.FastnnError, match=message) as caught:
            train(net, X, T, **options, iterations=iterations, callbacks=callbacks)
        assert len(str(caught.value)) <= 300


class Assigning:
    """Does something at a moment of a training."""

    def __init__(self, moment, function):
        setattr(self, moment, function)


def test_without_callbacks_the_loop_makes_many_steps_at_a_time(monkeypatch):
    """However short the epochs are."""
    calls = []
    monkeypatch.setattr("fastnn.loop.PIECE", 1e9)
    original = fastnn.loop.Steps.__call__

    def counted(self, rows, losses, rates):
        calls.append(len(rates))
        original(self, rows, losses, rates)

    monkeypatch.setattr(fastnn.loop.Steps, "__call__", counted)
    train(small("numpy"), X, T, iterations=5000, batch_size=50, evaluate_every=0)
    assert len(calls) < 6
    assert sum(calls) == 5000


@pytest.mark.parametrize(("step", "evaluation"), [(0.01, 0), (0, 0.05), (0.01, 0.02)])
def test_a_piece_takes_about_a_tenth_of_a_second(step, evaluation):
    """However long a step takes, or an evaluation."""
    seen, net = [], small("numpy")
    net.descend = lambda *_: time.sleep(step) or 0.5
    net.count_correct = lambda *_: time.sleep(evaluation) or np.int64(3)
    watch = SimpleNamespace(on_progress=lambda _: seen.append(time.perf_counter()))
    history = train(
        net, X, T, iterations=60, batch_size=8, evaluate_every=evaluation and 5, callbacks=[watch]
    )
    assert len(history.iterations) == (12 if evaluation else 0)
    assert max(np.diff(seen)) < 0.5  # on a machine that has other things to do


def test_the_pace_goes_by_what_is_measured():
    pace = Pace(0.1)
    assert (pace.steps, pace.evaluations) == (1, 1)
    pace.measured(1, 1, 0.05)  # who took how much?
    assert (pace.steps, pace.evaluations) == (2, 2)
    pace.measured(2, 0, 0.0002)
    assert (pace.steps, pace.evaluations) == (128, 2)  # it grows by not more
    pace.measured(128, 2, 0.0128 + 0.02)
    assert (pace.steps, pace.evaluations) == (1000, 10)
    pace.measured(500, 0, 5.0)
    assert pace.steps == 10
    pace.measured(1, 0, 10.0)
    assert pace.steps == 1


@pytest.mark.parametrize(
    ("events", "every", "stopped_at"),
    [
        ((), None, 6),
        (("on_iteration",), 5, 5),
        (("on_evaluation",), None, 5),
        (("on_epoch",), 5, 6),
    ],
)
def test_a_callback_may_stop_the_training(backend, events, every, stopped_at):
    class Stops(Recorder):
        def should_stop(self, state):
            self.note("asked", state)
            return state.iteration > 3

    stops, net, other = Stops(*events), small(backend), small(backend)
    stops.every = every
    options = {"batch_size": 8, "evaluate_every": 4, "rng": 0}
    history = train(net, X, T, iterations=100, callbacks=[stops], **options)
    assert (history.stopped, len(history.loss)) == ("Stops", stopped_at)
    assert stops.calls[-1] == ("asked", stopped_at, stopped_at // 6, stopped_at)
    expected = train(other, X, T, iterations=stopped_at, **options)
    assert expected.loss.tolist() == history.loss.tolist()
    assert expected.iterations == history.iterations
    assert same(host(net), host(other))
    assert history.loss.base is None  # not a part of the memory for all iterations


def test_a_callback_has_the_name_that_it_says():
    stops = SimpleNamespace(name="enough", should_stop=lambda _: True)
    assert train(small("numpy"), X, T, iterations=100, callbacks=[stops]).stopped == "enough"
    never = SimpleNamespace(should_stop=lambda _: False)
    assert train(small("numpy"), X, T, iterations=100, callbacks=[never]).stopped == "finished"


@pytest.mark.parametrize("event", [*METHODS])
def test_what_a_callback_raises_ends_the_training_and_all_are_told(event):
    class Failing:
        def __init__(self):
            self.exits = 0
            setattr(self, event, self.fail)

        def fail(self, *_):
            raise ZeroDivisionError("of a callback")

    last = Recorder("on_exit")
    with pytest.raises(ZeroDivisionError, match="of a callback"):
        train(small("numpy"), X, T, iterations=20, callbacks=[last, Failing()], progress=True)
    assert last.calls == [("on_exit",)]


def test_a_bar_is_closed_when_the_training_fails(monkeypatch):
    closed = []

    class Bar:
        n = 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            closed.append(True)

        def set_postfix(self, shown, refresh):
            assert {*shown} <= {"loss", "accuracy"}

        def update(self, n):
            self.n += n

    monkeypatch.setattr("fastnn.callbacks.progress_bar", lambda *_, **__: Bar())
    train(small("numpy"), X, T, iterations=5, progress=True)
    failing = SimpleNamespace(on_epoch=lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(small("numpy"), X, T, iterations=5, progress=True, callbacks=[failing])
    assert closed == [True, True]


def test_a_bar_begins_where_the_history_ends(monkeypatch):
    made = []

    def progress_bar(total, shown, **options):
        made.append((total, shown, options["initial"]))
        return fastnn.progress.progress_bar(total, False)

    monkeypatch.setattr("fastnn.callbacks.progress_bar", progress_bar)
    history = train(small("numpy"), X, T, iterations=5, progress=True)
    train(small("numpy"), X, T, iterations=7, progress=True, history=history)
    train(small("numpy"), X, T, iterations=7)
    assert made == [(5, True, 0), (12, True, 5)]


@pytest.mark.parametrize(
    ("has", "shown"), [(True, True), (False, False)], ids=["a notebook", "another shell"]
)
def test_a_notebook_is_no_terminal_but_shows_a_bar(monkeypatch, has, shown):
    shell = SimpleNamespace(kernel=1) if has else SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert fastnn.progress._in_notebook() is shown
    monkeypatch.setattr(sys, "stderr", None)
    assert not fastnn.progress._in_notebook()


# -- going on --------------------------------------------------------------------------------------


class Keeps(Callback):
    """Keeps all that a checkpoint would hold, when so many iterations are made."""

    def __init__(self, at):
        self.every = at
        self.kept = None

    def on_iteration(self, state):
        self.due = self.kept is None

    def on_progress(self, state):
        if getattr(self, "due", False) and self.kept is None:
            kept = host(state.network), state.history.copy(), state.state_dict()
            self.kept = copy.deepcopy(kept)


def all_arguments(**options):
    """Every argument of train but of checkpoints, at its default or as given."""
    parameters = inspect.signature(train).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {n: v for n, v in (defaults | options).items() if not n.startswith("checkpoint")}


@pytest.mark.parametrize("sampling", ["replacement", "shuffle"])
@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize(
    ("at", "monitor"),
    [(1, "validation_loss"), (4, "validation_loss"), (17, "validation_loss"), (7, "train_loss")],
)
def test_a_training_goes_on_from_its_state(backend, sampling, gradient, at, monitor):
    """From any step, and through early stopping, to the same bits."""

    def arguments(keeps):
        return all_arguments(
            epochs=60,
            batch_size=3,
            sampling=sampling,
            gradient=gradient,
            learning_rate=fastnn.schedules.CosineWithWarmup(2.0, 400, 5),
            validation=0.5,
            early_stopping=EarlyStopping(3, monitor=monitor),
            callbacks=[keeps],
            rng=5,
        )

    rng = np.random.default_rng(7)
    x, t = rng.random((20, 6)), rng.integers(4, size=20)
    whole = small(backend)
    keeps = Keeps(at)
    expected = train(whole, x, t, **arguments(keeps))
    assert expected.stopped == "early stopping"
    params, history, state = keeps.kept
    assert state["iteration"] == at < len(expected.loss)

    resumed = small(backend)
    begin = np.random.default_rng(0)
    begin.bit_generator.state = state["rng_at_start"]
    again = prepare(resumed, x, t, **(arguments(Keeps(10**6)) | {"rng": begin}))
    for name, p in params.items():
        resumed.params[name][...] = backend.asarray(p)
    again.history = history
    again.load_state_dict(state)
    loop(again)
    assert again.history.loss.tobytes() == expected.loss.tobytes()
    for name in ("iterations", "stopped", "best_iteration", *fastnn.History.EVALUATED):
        assert getattr(again.history, name) == getattr(expected, name)
    assert same(host(resumed), host(whole))


def test_early_stopping_goes_on_from_its_state():
    keeps = Keeps(7)
    stopping = EarlyStopping(30, monitor="train_loss")
    overfitting("numpy", callbacks=[keeps], early_stopping=stopping, epochs=3, sampling="shuffle")
    _, _, state = keeps.kept
    kept = state["callbacks"][0]
    assert kept["seen"] == 4 < state["iteration"]  # the losses since then count in the next mean
    again = EarlyStopping(30, monitor="train_loss")
    again.load_state_dict(kept)
    again.on_begin(SimpleNamespace(network=TwoLayerNet(6, 20, 3, rng=0), iteration=7))
    found = again.state_dict()
    assert [*found] == [*kept]
    for name, value in kept.items():
        np.testing.assert_array_equal(found[name], value)


def test_the_state_of_a_training_is_plain():
    def check(value):
        if isinstance(value, dict):
            assert all(isinstance(name, str) for name in value)
            list(map(check, value.values()))
        elif isinstance(value, list):
            list(map(check, value))
        elif isinstance(value, np.ndarray):
            assert value.ndim == 1
        else:
            assert value is None or type(value) in (int, float, str)

    keeps = Keeps(3)
    overfitting("numpy", callbacks=[keeps], early_stopping=3, sampling="shuffle")
    check(keeps.kept[2])


def test_a_state_with_other_callbacks_is_refused():
    keeps = Keeps(3)
    overfitting("numpy", callbacks=[keeps], early_stopping=3)
    again = prepare(small("numpy"), X, T, **all_arguments())
    with pytest.raises(InputError, match=r"had 1 callbacks.*here are 0"):
        again.load_state_dict(keeps.kept[2])


def test_a_state_that_does_not_say_which_callbacks_it_has():
    options = {"early_stopping": 3, "validation": 0.2, "iterations": 9}
    keeps = Keeps(3)
    train(small("numpy"), X, T, callbacks=[keeps], **options)
    state = keeps.kept[2]
    del state["callback_classes"]
    again = prepare(small("numpy"), X, T, **all_arguments(**options))
    again.load_state_dict(state)
    assert again.iteration == 3
    again = prepare(small("numpy"), X, T, **all_arguments(iterations=9))
    with pytest.raises(InputError, match=r"had 1 callbacks.*\(unknown\), and here are 0"):
        again.load_state_dict(state)


def test_the_state_of_another_generator_is_refused():
    keeps = Keeps(3)
    train(small("numpy"), X, T, iterations=9, callbacks=[keeps])
    rng = np.random.Generator(np.random.MT19937(0))
    again = prepare(small("numpy"), X, T, **all_arguments(callbacks=[Keeps(3)], rng=rng))
    with pytest.raises(InputError, match=r"another generator.*and no MT19937"):
        again.load_state_dict(keeps.kept[2])
    assert again.iteration == 0


def test_best_weights_of_another_network_are_refused():
    keeps = Keeps(9)
    overfitting("numpy", callbacks=[keeps], early_stopping=30)
    stopping = EarlyStopping(30)
    stopping.load_state_dict(keeps.kept[2]["callbacks"][0])
    with pytest.raises(InputError, match="best weights of 'W1' are 120 numbers"):
        train(small("numpy"), X, T, validation=0.5, early_stopping=stopping, iterations=3)


# -- weights ---------------------------------------------------------------------------------------


@needs_weights
def test_weights_of_zero_leave_out_and_of_two_repeat(backend):
    weights = np.array([0.0, 1, 2] * 16 + [1, 1])
    repeated = np.repeat(np.arange(50), weights.astype(int))
    nets = small(backend), small(backend)
    options = {"batch_size": 100, "sampling": "shuffle", "epochs": 5, "rng": 0}
    train(nets[0], X, LABELS, sample_weight=weights, **options)
    train(nets[1], X[repeated], LABELS[repeated], **options)
    for name, p in host(nets[0]).items():
        np.testing.assert_allclose(p, host(nets[1])[name], rtol=1e-9, atol=1e-12)


@needs_weights
def test_weights_go_with_a_split(backend):
    weights = np.random.default_rng(0).random(50)
    kept = np.sort(np.random.default_rng(3).permutation(50)[10:])
    aside = np.sort(np.random.default_rng(3).permutation(50)[:10])
    nets = small(backend), small(backend)
    rng = np.random.default_rng(3)
    rng.permutation(50)
    options = {"batch_size": 8, "iterations": 9}
    one = train(nets[0], X, LABELS, sample_weight=weights, validation=0.2, rng=3, **options)
    other = train(
        *(nets[1], X[kept], LABELS[kept]),
        sample_weight=weights[kept],
        validation=(X[aside], LABELS[aside]),
        rng=rng,
        **options,
    )
    assert one.loss.tolist() == other.loss.tolist()
    assert one.validation_loss == other.validation_loss


# -- what it refuses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": -1}, InputError, "epochs=-1"),
        ({"epochs": 1.5}, DtypeError, "epochs=1.5"),
        ({"epochs": True}, DtypeError, "epochs=True"),
        ({"epochs": 2, "iterations": 5}, InputError, "iterations=5 and epochs=2.*one of them"),
        ({"epochs": 2**60}, InputError, "epochs=1152921504606846976"),
        ({"iterations": 2**60}, InputError, "iterations=1152921504606846976"),
        ({"sampling": "bootstrap"}, InputError, "sampling='bootstrap'.*'replacement', 'shuffle'"),
        ({"sampling": None}, InputError, "sampling=None"),
        ({"validation": 0}, InputError, "validation=0 is too small"),
        ({"validation": 1.0}, InputError, "validation=1 is too large"),
        ({"validation": -0.5}, InputError, "validation=-0.5"),
        ({"validation": math.nan}, InputError, "validation=nan"),
        ({"validation": True}, DtypeError, "validation=True is neither"),
        ({"validation": "0.1"}, DtypeError, "validation='0.1' is neither"),
        ({"validation": (X,)}, InputError, "validation has 1 entries"),
        ({"validation": (X, T, T)}, InputError, "validation has 3 entries"),
        ({"validation": (X[:, :5], T)}, InputError, "x_validation has 5 features"),
        ({"validation": (X, T[:9])}, InputError, "t_validation has shape"),
        ({"validation": 0.5, "x_train": X[:1], "t_train": T[:1]}, InputError, "of 1 sample"),
        ({"validation": 0.5, "x_train": X[:, :5]}, InputError, "x_train has 5 features"),
        ({"early_stopping": 0}, InputError, "early_stopping=0"),
        ({"early_stopping": True}, DtypeError, "early_stopping=True"),
        ({"early_stopping": "yes"}, DtypeError, "early_stopping='yes' is none.*patience"),
        ({"early_stopping": 3}, InputError, "there are no validation samples"),
        (
            {"early_stopping": 3, "validation": 0.5, "evaluate_every": 0},
            InputError,
            "evaluate_every=0 makes none",
        ),
        ({"callbacks": 3}, DtypeError, "callbacks=3 is no list"),
        ({"callbacks": Recorder("on_epoch")}, DtypeError, "is no list"),
        ({"callbacks": [3]}, DtypeError, "callbacks holds 3"),
        ({"callbacks": [Recorder]}, DtypeError, "callbacks holds <class"),
        ({"callbacks": [None]}, DtypeError, "callbacks holds None"),
        (
            {"callbacks": [SimpleNamespace(on_iteration=print, every=0)]},
            InputError,
            "every of .*=0 is too small",
        ),
        ({"history": {}}, DtypeError, "history={} is none"),
    ],
)
def test_bad_arguments_change_nothing(options, error, message):
    net, rng = small("numpy"), np.random.default_rng(0)
    before = host(net)
    arguments = {"x_train": X, "t_train": T, "batch_size": 8, "rng": rng} | options
    with pytest.raises(error, match=message) as caught:
        train(net, **arguments)
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)
    assert same(host(net), before)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x_test": X[:, :2], "t_test": X[:, :1]}, "single output has no accuracy"),
        ({"evaluate_every": 3}, "single output has no accuracy"),
        (
            {"early_stopping": EarlyStopping(3, monitor="train_accuracy")},
            "single output has none; watch a loss",
        ),
    ],
)
def test_what_a_single_output_has_not(options, message):
    net = TwoLayerNet(2, 3, 1, loss="mean_squared_error", rng=0)
    with pytest.raises(InputError, match=message):
        train(net, X[:, :2], X[:, :1], iterations=3, **options)
