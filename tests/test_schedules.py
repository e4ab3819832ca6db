"""Learning rates by iteration, against the formulas written out, PyTorch's and scikit-learn's."""

import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn import DtypeError, InputError, TwoLayerNet, schedules, train
from fastnn.schedules import (
    Constant,
    CosineWithWarmup,
    InverseScaling,
    OfFunction,
    Schedule,
    StepDecay,
    schedule,
)

RATE = 0.3


def cosine(i, rate, total, warmup, minimum):
    if i < warmup:
        return rate * (i + 1) / warmup
    if i >= total:
        return minimum
    return (
        minimum + (rate - minimum) * (1 + math.cos(math.pi * (i - warmup) / (total - warmup))) / 2
    )


def decayed(i, rate, every, factor):
    for _ in range(i // every):
        rate *= factor
    return rate


CASES = [
    (Constant(RATE), lambda _: RATE),
    (StepDecay(RATE, 7, 0.5), lambda i: decayed(i, RATE, 7, 0.5)),
    (StepDecay(RATE, 3), lambda i: decayed(i, RATE, 3, 0.1)),
    (InverseScaling(RATE), lambda i: RATE / math.sqrt(i + 1)),
    (InverseScaling(RATE, 1.25), lambda i: RATE / math.exp(1.25 * math.log(i + 1))),
    (CosineWithWarmup(RATE, 40), lambda i: cosine(i, RATE, 40, 0, 0)),
    (CosineWithWarmup(RATE, 40, 9, 0.01), lambda i: cosine(i, RATE, 40, 9, 0.01)),
    (CosineWithWarmup(RATE, 2, 1), lambda i: cosine(i, RATE, 2, 1, 0)),
    (OfFunction(lambda i: 1 / (i + 2)), lambda i: 1 / (i + 2)),
]
of_schedule = [f"{number}-{type(rates).__name__}" for number, (rates, _) in enumerate(CASES)]
every = pytest.mark.parametrize(("rates", "formula"), CASES, ids=of_schedule)


@every
def test_the_rates_are_those_of_the_formula(rates, formula):
    found = rates.rates(0, 60)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [formula(i) for i in range(60)], rtol=1e-13, atol=1e-17)
    assert [rates(i) for i in range(60)] == found.tolist()
    assert type(rates(3)) is float


@every
@given(first=st.integers(0, 3000), cuts=st.lists(st.integers(0, 50), max_size=8))
def test_how_the_iterations_are_cut_changes_no_bit(rates, formula, first, cuts):
    bounds = np.cumsum([first, *cuts]).tolist()
    pieces = [rates.rates(a, b) for a, b in pairwise(bounds)]
    whole = rates.rates(first, bounds[-1])
    assert np.concatenate([np.empty(0), *pieces]).tobytes() == whole.tobytes()


@pytest.mark.torch
def test_those_of_pytorch_where_the_definitions_agree():
    torch = pytest.importorskip("torch")
    optim = torch.optim.lr_scheduler

    def of_torch(make, steps=60):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
        scheduler, rates = make(optimizer), []
        for _ in range(steps):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        return rates

    for ours, theirs in (
        (StepDecay(RATE, 7, 0.5), lambda o: optim.StepLR(o, step_size=7, gamma=0.5)),
        # Beyond T_max its cosine rises again.
        (
            CosineWithWarmup(RATE, 59, minimum=0.01),
            lambda o: optim.CosineAnnealingLR(o, T_max=59, eta_min=0.01),
        ),
    ):
        np.testing.assert_allclose(ours.rates(0, 60), of_torch(theirs), rtol=1e-10)


def test_that_of_scikit_learn():
    optimizers = pytest.importorskip("sklearn.neural_network._stochastic_optimizers")
    theirs = optimizers.SGDOptimizer([np.zeros(1)], RATE, "invscaling", power_t=0.7)
    rates = []
    for i in range(20):
        theirs.iteration_ends(i)
        rates.append(theirs.learning_rate)
    np.testing.assert_allclose(InverseScaling(RATE, 0.7).rates(0, 20), rates, rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Constant(-1), InputError, "learning_rate=-1"),
        (lambda: Constant(math.nan), InputError, "learning_rate=nan"),
        (lambda: Constant("0.1"), DtypeError, "learning_rate='0.1'"),
        (lambda: StepDecay(0.1, 0), InputError, "every=0"),
        (lambda: StepDecay(0.1, 2.5), DtypeError, "every=2.5"),
        (lambda: StepDecay(0.1, 2, -0.5), InputError, "factor=-0.5"),
        (lambda: InverseScaling(0.1, math.inf), InputError, "power=inf"),
        (lambda: CosineWithWarmup(0.1, 10, 10), InputError, "warmup=10 is not less than total=10"),
        (lambda: CosineWithWarmup(0.1, 10, -1), InputError, "warmup=-1"),
        (lambda: CosineWithWarmup(0.1, 10, minimum=0.2), InputError, "minimum=0.2.*rate=0.1"),
        (lambda: CosineWithWarmup(0.1, 0), InputError, "total=0"),
        (lambda: schedule(1e300, np.dtype("float32")), InputError, "1e\\+300.*float32"),
    ],
)
def test_impossible_schedules(make, error, message):
    with pytest.raises(error, match=message):
        make()


class Broken(Schedule):
    """Of a number of rates that is not asked for."""

    def rates(self, first, last):
        return np.ones(last - first + 1)


class Of(Schedule):
    """What a user writes."""

    def __init__(self, values):
        self.values = np.array(values, float)

    def at(self, iterations):
        return self.values[iterations.astype(int)]


@pytest.mark.parametrize("bad", [-0.5, math.nan, math.inf, 1e300])
@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize("kind", [Of, lambda values: lambda i: values[i]])
def test_a_bad_rate_is_refused_with_its_iteration(bad, at, kind):
    net = TwoLayerNet(3, 4, 2, dtype="float32", rng=0)
    before = {name: p.copy() for name, p in net.params.items()}
    values = [0.5] * 6
    values[at] = bad
    with pytest.raises(InputError, match=f"learning rate of iteration {at} is ") as caught:
        train(net, np.eye(3), [0, 1, 0], iterations=6, batch_size=2, learning_rate=kind(values))
    assert str(caught.value).count("\n") == 0
    if at == 0:
        assert all((net.params[name] == p).all() for name, p in before.items())


@pytest.mark.parametrize("rate", [None, "fast", 1j, [0.1], object()])
def test_what_is_no_rate(rate):
    net = TwoLayerNet(3, 4, 2, rng=0)
    # None is the optimizer's own.
    for learning_rate in (*([] if rate is None else [rate]), lambda _: rate):
        with pytest.raises(DtypeError, match=r"learning.rate"):
            train(
                net, np.eye(3), [0, 1, 0], iterations=3, batch_size=2, learning_rate=learning_rate
            )


def test_a_schedule_of_too_many_rates():
    with pytest.raises(InputError, match=r"shape \(2,\) for 1 iterations"):
        train(TwoLayerNet(3, 4, 2), np.eye(3), [0, 1, 0], iterations=3, learning_rate=Broken())


def test_schedules_are_values():
    assert StepDecay(0.1, 3) == StepDecay(0.1, 3, 0.1) != StepDecay(0.1, 4)
    with pytest.raises(AttributeError):
        Constant(0.1).learning_rate = 2
    for one in (Constant(0.1), StepDecay(0.1, 3), InverseScaling(1), CosineWithWarmup(1, 9, 2)):
        assert pickle.loads(pickle.dumps(one)) == one == eval(repr(one), vars(schedules))


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_a_network_trains_at_the_rates_of_the_schedule(backend, gradient):
    """As one that is trained a step at a time, each at its rate."""
    x, t = np.random.default_rng(0).random((12, 5)), np.arange(12) % 3
    nets = [TwoLayerNet(5, 4, 3, 0.5, backend=backend, rng=0) for _ in range(2)]
    rates = CosineWithWarmup(0.8, 8, 2)
    options = {"batch_size": 4, "gradient": gradient, "evaluate_every": 0}
    history = train(nets[0], x, t, iterations=10, learning_rate=rates, rng=1, **options)
    rng, losses = np.random.default_rng(1), []
    for i in range(10):
        one = train(nets[1], x, t, iterations=1, learning_rate=rates(i), rng=rng, **options)
        losses.append(one.loss[0])
    assert history.loss.tolist() == losses
    for name, p in nets[0].params.items():
        expected = backend.to_numpy(nets[1].params[name])
        np.testing.assert_array_equal(backend.to_numpy(p), expected)
