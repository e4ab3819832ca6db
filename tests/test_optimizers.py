"""The optimizers: against the book's formulas in extended precision, and those of PyTorch."""

import copy
import pickle
from functools import cache

import book
import numpy as np
import pytest
from conftest import ReferenceBackend
from hypothesis import given
from hypothesis import strategies as st

import fastnn
from fastnn import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
from fastnn.backends.numba.backend import NumbaBackend
from fastnn.optimizers import OPTIMIZERS
from fastnn.optimizers.choosing import chosen
from fastnn.stepping import runner

RULES = sorted(OPTIMIZERS)

# -- the oracle: the book's formulas, written down once more ---------------------------------------


class Oracle:
    """One parameter after the other, in whatever precision it is given."""

    def __init__(self, name, lr, weight_decay=0.0):
        self.name, self.lr, self.decay, self.t = name, np.longdouble(lr), weight_decay, 0
        self.kept = {}

    def update(self, params, grads):
        self.t += 1
        for name in params:
            g = grads[name] + np.longdouble(self.decay) * params[name]
            kept = self.kept.setdefault(name, [0 * g, 0 * g])
            params[name] = getattr(self, self.name)(params[name], g, kept)

    def sgd(self, w, g, kept):
        return w - self.lr * g

    def momentum(self, w, g, kept):
        kept[0] = np.longdouble(0.9) * kept[0] - self.lr * g
        return w + kept[0]

    def nesterov(self, w, g, kept):
        m, v = np.longdouble(0.9), kept[0]
        kept[0] = m * v - self.lr * g
        return w + m * m * v - (1 + m) * self.lr * g

    def adagrad(self, w, g, kept):
        kept[0] = kept[0] + g**2
        return w - self.lr * g / (np.sqrt(kept[0]) + 1e-7)

    def rmsprop(self, w, g, kept):
        d = np.longdouble(0.99)
        kept[0] = d * kept[0] + (1 - d) * g**2
        return w - self.lr * g / (np.sqrt(kept[0]) + 1e-7)

    def adam(self, w, g, kept):
        b1, b2 = np.longdouble(0.9), np.longdouble(0.999)
        kept[0] = b1 * kept[0] + (1 - b1) * g
        kept[1] = b2 * kept[1] + (1 - b2) * g**2
        rate = self.lr * np.sqrt(1 - b2**self.t) / (1 - b1**self.t)
        return w - rate * kept[0] / (np.sqrt(kept[1]) + 1e-7)


RATES = dict(zip(RULES, (0.1, 0.02, 0.05, 0.05, 0.01, 0.2), strict=True))


def made(name, **options):
    return OPTIMIZERS[name](lr=RATES[name], **options)


# -- alone -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", RULES)
def test_updates_are_the_books(backend, dtype, name, weight_decay):
    rng = np.random.default_rng(0)
    start = {"W": rng.normal(size=(4, 3)).astype(dtype), "b": rng.normal(size=3).astype(dtype)}
    params = {k: backend.asarray(w.copy()) for k, w in start.items()}
    wide = {k: w.astype(np.longdouble) for k, w in start.items()}
    same, optimizer = dict(params), made(name, weight_decay=weight_decay)
    oracle = Oracle(name, RATES[name], weight_decay)
    for step in range(30):
        grads = {k: (rng.normal(size=w.shape) * 3.0**-step).astype(dtype) for k, w in start.items()}
        grads["W"][1] = 0
        with backend.current():
            optimizer.update(params, {k: backend.asarray(g) for k, g in grads.items()})
        oracle.update(wide, {k: g.astype(np.longdouble) for k, g in grads.items()})
    tolerance = 300 * float(np.finfo(dtype).eps)
    for k, w in params.items():
        assert w is same[k]
        assert backend.dtype_of(w) == dtype
        np.testing.assert_allclose(backend.to_numpy(w), wide[k], rtol=tolerance, atol=tolerance)


@pytest.mark.torch
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", RULES)
def test_pytorch_makes_the_same_steps(name, weight_decay):
    """Its Adam only without the guard, which it adds elsewhere: gradients are large here."""
    torch = pytest.importorskip("torch")
    rate, more = RATES[name], {"weight_decay": weight_decay}
    makers = {
        "sgd": lambda p: torch.optim.SGD(p, rate, **more),
        "momentum": lambda p: torch.optim.SGD(p, rate, momentum=0.9, **more),
        "nesterov": lambda p: torch.optim.SGD(p, rate, momentum=0.9, nesterov=True, **more),
        "adagrad": lambda p: torch.optim.Adagrad(p, rate, eps=1e-7, **more),
        "rmsprop": lambda p: torch.optim.RMSprop(p, rate, alpha=0.99, eps=1e-7, **more),
        "adam": lambda p: torch.optim.Adam(p, rate, eps=0.0, **more),
    }
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 2))
    tensor = torch.tensor(w, requires_grad=True)
    theirs, ours, params = makers[name]([tensor]), made(name, weight_decay=weight_decay), {"w": w}
    scale = 1e5 if name == "adam" else 1.0
    for _ in range(20):
        g = scale * rng.normal(size=w.shape)
        tensor.grad = torch.tensor(g)
        theirs.step()
        ours.update(params, {"w": g})
    np.testing.assert_allclose(w, tensor.detach().numpy(), rtol=1e-9)


@given(st.sampled_from(RULES), st.integers(0, 2**32 - 1))
def test_nothing_but_the_parameters_and_the_memory_changes(name, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(0, 4, size=rng.integers(0, 4)))
    w, g = rng.normal(size=shape), rng.normal(size=shape)
    kept, optimizer = g.copy(), made(name)
    optimizer.update({"w": w}, {"w": g, "more": None})
    np.testing.assert_array_equal(g, kept)
    for state in optimizer.state_names:
        assert getattr(optimizer, state)["w"].shape == shape


@pytest.mark.parametrize("name", RULES)
def test_the_books_comparison_of_optimizers(name):
    """Chapter 6: plain floats in the dict, f(x, y) = x²/20 + y²."""
    params, optimizer = (
        {"x": -7.0, "y": 2.0},
        OPTIMIZERS[name](lr=1.5 if name == "adagrad" else 0.3),
    )
    for _ in range(200):
        optimizer.update(params, {"x": params["x"] / 10.0, "y": 2.0 * params["y"]})
    assert abs(params["x"]) < 1
    assert abs(params["y"]) < 0.1


def test_a_tensor_of_a_library_that_does_not_say_its_namespace():
    torch = pytest.importorskip("torch")
    for name in RULES:
        w, host = torch.ones(3, dtype=torch.float64), np.ones(3)
        ours, theirs = made(name), made(name)
        for _ in range(3):
            ours.update({"w": w}, {"w": torch.full((3,), 0.5, dtype=torch.float64)})
            theirs.update({"w": host}, {"w": np.full(3, 0.5)})
        np.testing.assert_allclose(w.numpy(), host, rtol=1e-14)


def test_the_books_names_and_defaults():
    assert repr(SGD()) == "SGD(lr=0.01, weight_decay=0.0)"
    assert repr(Momentum()) == "Momentum(lr=0.01, momentum=0.9, weight_decay=0.0)"
    assert repr(Nesterov(0.1, 0.8)) == "Nesterov(lr=0.1, momentum=0.8, weight_decay=0.0)"
    assert repr(AdaGrad()) == "AdaGrad(lr=0.01, weight_decay=0.0)"
    assert repr(RMSprop()) == "RMSprop(lr=0.01, decay_rate=0.99, weight_decay=0.0)"
    assert repr(Adam()) == "Adam(lr=0.001, beta1=0.9, beta2=0.999, epsilon=1e-07, weight_decay=0.0)"
    assert (Momentum().v, AdaGrad().h, RMSprop().h, Adam().m, Adam().v) == (None,) * 5
    assert Adam().iter == 0


# -- what is refused, with nothing changed ---------------------------------------------------------


def read_only(a):
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    ("params", "grads", "error", "message"),
    [
        ({"a": np.ones(2)}, {"b": np.ones(2)}, fastnn.InputError, "grads has no 'a'"),
        ({"a": np.ones(2)}, {"a": np.ones(3)}, fastnn.InputError, r"shape \(3,\).*\(2,\)"),
        ({"a": np.ones((2, 2))}, {"a": np.ones(2)}, fastnn.InputError, "nothing is broadcast"),
        ({"a": np.ones(2, int)}, {"a": np.ones(2)}, fastnn.DtypeError, "int64.*astype"),
        ({"a": np.ones(2)}, {"a": np.ones(2, int)}, fastnn.DtypeError, "int64"),
        ({"a": np.ones(2, "f4")}, {"a": np.ones(2)}, fastnn.DtypeError, "float64.*float32"),
        ({"a": [1.0, 2.0]}, {"a": np.ones(2)}, fastnn.DtypeError, "array of floats"),
        ({"a": 1}, {"a": 1.0}, fastnn.DtypeError, "array of floats"),
        ({"a": np.ones(2) * 1j}, {"a": np.ones(2)}, fastnn.DtypeError, "complex"),
        ({"a": read_only(np.ones(2))}, {"a": np.ones(2)}, fastnn.InputError, "read-only"),
        ({"a": np.ma.ones(2)}, {"a": np.ones(2)}, fastnn.DtypeError, "array of floats"),
    ],
)
@pytest.mark.parametrize("name", RULES)
def test_bad_input_changes_nothing(name, params, grads, error, message):
    optimizer, first = made(name), np.ones(2)
    before = copy.deepcopy(params["a"])
    with pytest.raises(error, match=message) as raised:
        optimizer.update({"0": first} | params, {"0": np.ones(2)} | grads)
    assert len(str(raised.value)) <= 300
    np.testing.assert_array_equal(first, 1)
    np.testing.assert_array_equal(params["a"], before)
    assert all(getattr(optimizer, state) is None for state in optimizer.state_names)
    assert getattr(optimizer, "iter", 0) == 0


@pytest.mark.parametrize("name", RULES)
def test_an_array_of_another_library_changes_nothing(name):
    grads = {"a": pytest.importorskip("array_api_strict").ones(2)}
    test_bad_input_changes_nothing(
        name, {"a": np.ones(2)}, grads, fastnn.ForeignArrayError, "convert one of them"
    )


@pytest.mark.parametrize("other", [{"b": (2,)}, {"a": (3,)}, {"a": (2,), "b": (2,)}])
def test_an_optimizer_is_for_the_parameters_that_it_remembers(other):
    optimizer = Adam()
    optimizer.update({"a": np.ones(2)}, {"a": np.ones(2)})
    arrays = {name: np.ones(shape) for name, shape in other.items()}
    with pytest.raises(fastnn.InputError, match="take a new optimizer"):
        optimizer.update(arrays, {name: np.ones(shape) for name, shape in other.items()})
    assert optimizer.iter == 1
    assert all((a == 1).all() for a in arrays.values())


def test_arrays_that_cannot_be_changed_are_refused():
    jnp = pytest.importorskip("jax.numpy")
    with pytest.raises(fastnn.DtypeError, match="cannot be changed in place"):
        SGD().update({"a": jnp.ones(2)}, {"a": jnp.ones(2)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(lr=-1), "lr=-1 is too small"),
        (lambda: SGD(lr="0.1"), "lr='0.1' is a str"),
        (lambda: Adam(lr=float("nan")), "not finite"),
        (lambda: Momentum(momentum=1.0), r"momentum=1.0 is too large; give a number below 1"),
        (lambda: Adam(beta2=1.5), "beta2=1.5"),
        (lambda: RMSprop(decay_rate=-0.1), "decay_rate=-0.1"),
        (lambda: AdaGrad(weight_decay=-1e-3), "weight_decay"),
        (lambda: chosen("adamw", None), "optimizer='adamw' is not known; choose one of 'sgd'"),
        (lambda: chosen(Adam, None), "has no update"),
        (lambda: chosen(3, None), "optimizer=3"),
        (lambda: chosen(type("O", (), {"update": print})(), 0.1), "no attribute lr"),
    ],
)
def test_impossible_optimizers_are_refused(make, message):
    with pytest.raises((fastnn.InputError, fastnn.DtypeError), match=message):
        make()


# -- as data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_state_is_a_flat_dict_and_comes_back(backend, name):
    params = {"W.1": backend.asarray(np.ones((2, 3))), "b": backend.asarray(np.ones(3))}
    grads = {k: w * 0.5 for k, w in params.items()}
    optimizer = made(name, weight_decay=0.01)
    optimizer.update(params, grads)
    state = optimizer.state_dict()
    expected = {f"{kept}.{k}" for kept in optimizer.state_names for k in params}
    assert {k for k in state if "." in k} == expected
    numbers = {k: v for k, v in state.items() if "." not in k}
    counts = {"iter": 1} if name == "adam" else {}
    assert numbers == optimizer.hyperparameters | counts
    other = OPTIMIZERS[name]()
    other.load_state_dict(state)
    copies = copy.deepcopy(optimizer), other
    before = {k: backend.to_numpy(w).copy() for k, w in params.items()}
    optimizer.update(params, grads)  # which changes neither the copies nor the state
    after = {k: backend.to_numpy(w).copy() for k, w in params.items()}
    for one in copies:
        for k, w in params.items():
            w[...] = backend.asarray(before[k])
        one.update(params, grads)
        for k, w in params.items():
            assert backend.to_numpy(w).tobytes() == after[k].tobytes()


def test_a_pickle_goes_on():
    params, grads = {"w": np.ones(3)}, {"w": np.arange(3.0)}
    optimizer = Adam()
    optimizer.update(params, grads)
    other = pickle.loads(pickle.dumps(optimizer))
    again = {"w": params["w"].copy()}
    optimizer.update(params, grads)
    other.update(again, grads)
    assert params["w"].tobytes() == again["w"].tobytes()
    assert repr(other) == repr(optimizer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("lr"), "has the numbers"),
        (lambda s: s.pop("iter"), "has the numbers"),
        (lambda s: s.update(beta3=0.1), "beta3"),
        (lambda s: s.update(beta1=2.0), "beta1=2.0"),
        (lambda s: s.update(iter=-1), "iter=-1"),
        (lambda s: s.pop("m.w"), "different parameters"),
        (lambda s: s.update({"h.w": np.ones(2)}), "remembers no 'h.w'"),
        (lambda s: s.update({"m.w": "text"}), "array of floats"),
        (lambda s: s.update({"m.w": np.ones(2, int)}), "int64"),
    ],
)
def test_a_state_that_cannot_be_is_refused(change, message):
    optimizer = Adam()
    optimizer.update({"w": np.ones(2)}, {"w": np.ones(2)})
    state = optimizer.state_dict()
    change(state)
    other = Adam(lr=0.5)
    with pytest.raises((fastnn.InputError, fastnn.DtypeError), match=message):
        other.load_state_dict(state)
    assert (other.lr, other.m, other.v, other.iter) == (0.5, None, None, 0)


# -- in training -----------------------------------------------------------------------------------

FEATURES, UNITS, CLASSES, SAMPLES, BATCH, STEPS = 9, 6, 3, 40, 8, 20


def problem(samples):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, FEATURES))
    if samples == "sparse":
        x[rng.random(x.shape) < 0.8] = 0
        x[:, 4] = 0  # a feature that is never there: its weights never move
    rows = rng.integers(SAMPLES, size=(STEPS, BATCH))
    return x.astype(np.float32).astype(float), rng.integers(CLASSES, size=SAMPLES), rows


def steps_of(gradient, rows):
    """Fewer where each of them takes the slowest of the backends long."""
    return rows if gradient == "backprop" else rows[:12, :2]


def network(backend, dtype="float64", seed=0, **options):
    return fastnn.TwoLayerNet(
        FEATURES, UNITS, CLASSES, 0.5, backend=backend, dtype=dtype, rng=seed, **options
    )


def run_steps(net, data, rows, optimizer, gradient="backprop", calls=(STEPS,), rates=None):
    """The losses of steps that are made in calls of so many."""
    backend, losses = net.backend, np.empty(len(rows), net.dtype)
    run = runner(net, data, gradient=gradient, batch_size=rows.shape[1], optimizer=optimizer)
    rates, start = np.full(len(rows), optimizer.lr) if rates is None else rates, 0
    with backend.current():
        for count in calls:
            some, found = slice(start, start + count), backend.empty(count, net.dtype)
            run(backend.asarray(rows[some]), found, rates[some])
            losses[some] = backend.to_numpy(found)
            start += count
    assert start == len(rows)
    return losses


def host(net):
    return {name: net.backend.to_numpy(p).copy() for name, p in net.params.items()}


@cache
def expected(name, samples, gradient, weight_decay):
    """The losses and the parameters after the book's loop, in extended precision."""
    x, t, rows = problem(samples)
    rows = steps_of(gradient, rows)
    start = host(network("numpy"))
    wide = {k: p.astype(np.float32).astype(np.longdouble) for k, p in start.items()}
    wide_x, targets = x.astype(np.longdouble), book.one_hot(t, CLASSES)
    oracle, losses = Oracle(name, RATES[name], weight_decay), []
    slope = book.gradient if gradient == "backprop" else book.differences
    for batch, rate in zip(rows, RATES[name] * np.linspace(1, 0.5, len(rows)), strict=True):
        here, oracle.lr = (wide, wide_x[batch], targets[batch]), np.longdouble(rate)
        losses.append(book.loss(*here))
        oracle.update(wide, slope(*here))
    return losses, wide


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("samples", ["dense", "sparse"])
@pytest.mark.parametrize("name", RULES)
def test_training_is_the_books_loop(backend, dtype, name, samples, gradient, weight_decay):
    x, t, rows = problem(samples)
    rows = steps_of(gradient, rows)
    net, calls = network(backend, dtype), (1, 0, 8, len(rows) - 9)
    for p in net.params.values():
        p[...] = backend.asarray(backend.to_numpy(p).astype(np.float32).astype(dtype))
    rates = RATES[name] * np.linspace(1, 0.5, len(rows))
    losses, wide = expected(name, samples, gradient, weight_decay)
    optimizer = made(name, weight_decay=weight_decay)
    found = run_steps(net, net.dataset(x, t), rows, optimizer, gradient, calls, rates)
    # Where a gradient is nearly zero, that of Adam and its kind is rounding over itself.
    tolerance = 1e-9 if dtype == np.float64 else 2e-3
    np.testing.assert_allclose(found, np.array(losses, float), rtol=tolerance)
    for k, p in host(net).items():
        np.testing.assert_allclose(p, wide[k].astype(float), rtol=tolerance, atol=tolerance)
    assert optimizer.lr == RATES[name]
    assert getattr(optimizer, "iter", len(rows)) == len(rows)


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("samples", ["dense", "sparse"])
@pytest.mark.parametrize("name", RULES)
def test_many_calls_and_a_resume_make_the_bits_of_one_call(backend, name, samples, gradient):
    x, t, rows = problem(samples)
    rows = steps_of(gradient, rows)
    rates, n = RATES[name] * np.linspace(1, 0.5, len(rows)), len(rows)
    nets = [network(backend) for _ in range(3)]
    data = nets[0].dataset(x, t)
    optimizers = [made(name, weight_decay=0.01) for _ in nets]
    options = {"gradient": gradient, "rates": rates}
    losses = [
        run_steps(nets[0], data, rows, optimizers[0], calls=(n,), **options),
        run_steps(nets[1], data, rows, optimizers[1], calls=(1,) * n, **options),
    ]
    first = run_steps(nets[2], data, rows[:7], optimizers[2], gradient, (3, 4), rates[:7])
    resumed, other = OPTIMIZERS[name](), network(backend, seed=5)
    resumed.load_state_dict(optimizers[2].state_dict())
    other.params = {k: backend.asarray(p) for k, p in host(nets[2]).items()}
    rest = run_steps(other, data, rows[7:], resumed, gradient, (n - 7,), rates[7:])
    losses.append(np.concatenate([first, rest]))
    assert losses[0].tobytes() == losses[1].tobytes() == losses[2].tobytes()
    for one, optimizer in ((nets[1], optimizers[1]), (other, resumed)):
        for k, p in host(nets[0]).items():
            assert host(one)[k].tobytes() == p.tobytes()
        expected = optimizers[0].state_dict()
        assert optimizer.state_dict().keys() == expected.keys()
        for k, value in optimizer.state_dict().items():
            if "." in k:
                assert backend.to_numpy(value).tobytes() == backend.to_numpy(expected[k]).tobytes()
            else:
                assert value == expected[k]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("density", [0.2, 1.0])
@pytest.mark.parametrize("name", RULES)
def test_the_kernels_of_numba_make_the_steps_of_the_reference(
    monkeypatch, name, density, gradient, threads
):
    """Over 100 steps, with rows of whole vectors and others, some features not in a batch."""
    monkeypatch.setattr("fastnn.backends.numba.support.FUSED_GRAIN", 1)
    monkeypatch.setattr("fastnn.backends.numba.backend.PERTURBATION_GRAIN", 1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 30)) * (rng.random((80, 30)) < density)
    t, rows = rng.integers(4, size=80), rng.integers(80, size=(100, 4))
    found = []
    for backend in (NumbaBackend(threads), ReferenceBackend()):
        net = fastnn.TwoLayerNet(30, 21, 4, 0.5, backend=backend, rng=0)
        optimizer = made(name)
        losses = run_steps(net, net.dataset(x, t), rows, optimizer, gradient, (100,))
        found.append((losses, net.params, optimizer.state_dict()))
    (losses, params, state), (expected, reference, memory) = found
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    for k, p in reference.items():
        np.testing.assert_allclose(params[k], p, rtol=0, atol=1e-9 * abs(p).max())
    for k, p in memory.items():
        np.testing.assert_allclose(state[k], p, rtol=0, atol=1e-9 * max(np.abs(p).max(), 1e-3))


@pytest.mark.parametrize("name", RULES)
def test_numba_has_a_kernel_for_every_rule_and_none_for_weighted_samples(name):
    x, t, _ = problem("sparse")
    net = network(NumbaBackend(1))
    for gradient in ("backprop", "numerical"):
        options = {"gradient": gradient, "batch_size": BATCH, "update": made(name)}
        for data, known in ((net.dataset(x, t), True), (net.dataset(x, t, "", t + 1), False)):
            step = net.training_step(data, max, **options)
            assert (net.backend.runner(step) is not None) == known


def test_an_interrupted_call_has_counted_the_steps_that_were_made(monkeypatch):
    """Also where the interrupt comes right after the kernel, before Python says anything."""
    monkeypatch.setattr("fastnn.backends.numba.support.INTERRUPTIBLE", 1)  # a piece for each step
    x, t, rows = problem("sparse")
    backend = NumbaBackend(2)
    for after in (False, True):
        net, optimizer = network(backend), Adam()
        pieces, run = iter(range(5)), backend.pool.run

        def interrupted(*call, pieces=pieces, run=run, after=after):
            last = next(pieces, None) is None
            if after or not last:
                run(*call)
            if last:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(backend.pool, "run", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run_steps(net, net.dataset(x, t), rows, optimizer)
        assert optimizer.iter == 5 + after
        other, expected = network(backend), Adam()
        run_steps(other, other.dataset(x, t), rows[: 5 + after], expected, calls=(5 + after,))
        for k, p in other.params.items():
            np.testing.assert_array_equal(net.params[k], p)
            np.testing.assert_array_equal(optimizer.v[k], expected.v[k])


# -- in the loop -----------------------------------------------------------------------------------


def trained(net, optimizer, **options):
    x, t, _ = problem("sparse")
    options = {"iterations": STEPS, "batch_size": BATCH, "rng": 1} | options
    return fastnn.train(net, x, t, optimizer=optimizer, **options).loss


@pytest.mark.parametrize("name", RULES)
def test_a_name_is_a_new_optimizer_with_the_books_defaults(backend, name):
    nets = network(backend), network(backend)
    losses = trained(nets[0], name), trained(nets[1], OPTIMIZERS[name]())
    np.testing.assert_array_equal(*losses)


def test_without_an_optimizer_the_rate_is_the_books_tenth(backend):
    losses = [
        trained(network(backend), optimizer, **options)
        for optimizer, options in (
            (None, {}),
            (None, {"learning_rate": 0.1}),
            ("sgd", {"learning_rate": 0.1}),
            (SGD(lr=0.1), {}),
            (SGD(lr=3.0), {"learning_rate": 0.1}),
        )
    ]
    for loss in losses[1:]:
        np.testing.assert_array_equal(loss, losses[0])


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_the_rehearsal_does_not_touch_the_optimizer_and_the_next_training_goes_on(
    backend, gradient
):
    optimizer, net = Adam(), network(backend)
    trained(net, optimizer, iterations=0, gradient=gradient)
    assert (optimizer.iter, optimizer.m) == (0, None)
    trained(net, optimizer, iterations=5, gradient=gradient)
    assert optimizer.iter == 5
    trained(net, optimizer, iterations=4, gradient=gradient, learning_rate=0.5)
    assert (optimizer.iter, optimizer.lr) == (9, 0.001)
    backend.check_arrays(**optimizer.v)


class Signs:
    """A reader's own: a step of the same size for each parameter, without a learning rate."""

    def __init__(self):
        self.steps = 0

    def update(self, params, grads):
        self.steps += 1
        for name in params:
            params[name] -= 0.01 * (grads[name] / (abs(grads[name]) + 1e-12))


class Clipped(Adam):
    """Gradients of at most 0.01."""

    steps = 0

    def update(self, params, grads):
        self.steps += 1
        clipped = {k: g / (1 + abs(g) / 0.01) for k, g in grads.items()}
        super().update(params, clipped)


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("make", [Signs, Clipped])
def test_an_optimizer_of_somebody_else_makes_each_step(backend, make, gradient):
    found = []
    for one in (backend, ReferenceBackend()):
        optimizer, net = make(), network(one)
        loss = trained(net, optimizer, gradient=gradient)
        assert optimizer.steps == STEPS
        found.append((loss, host(net)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-7)
    for k, p in found[1][1].items():
        np.testing.assert_allclose(found[0][1][k], p, rtol=0, atol=1e-7)
    plain = trained(network(backend), "adam", gradient=gradient)
    assert abs(plain - found[0][0]).max() > 1e-5


@pytest.mark.parametrize("name", RULES)
def test_so_does_a_single_object_that_was_changed(name):
    calls, optimizer = [], made(name)
    optimizer.update = lambda _, grads: calls.append(sorted(grads))
    net = network("numba")
    before = host(net)
    trained(net, optimizer)
    assert calls == [["W1", "W2", "b1", "b2"]] * STEPS
    for k, p in before.items():
        np.testing.assert_array_equal(net.params[k], p)


def test_a_given_rate_reaches_an_optimizer_of_somebody_else():
    class Plain:
        lr = 7.0

        def update(self, params, grads):
            for name in params:
                params[name] -= self.lr * grads[name]

    nets, optimizer = [network("numba") for _ in range(2)], Plain()
    losses = [
        trained(net, one, learning_rate=0.3)
        for net, one in zip(nets, (optimizer, None), strict=True)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-12)
    assert optimizer.lr == 7.0


def test_an_optimizer_that_raises_leaves_its_rate_as_it_was():
    class Failing(SGD):
        def update(self, params, grads):
            raise RuntimeError

    optimizer = Failing(lr=0.5)
    with pytest.raises(RuntimeError):
        trained(network("numpy"), optimizer, learning_rate=0.1)
    assert optimizer.lr == 0.5


# -- samples that weigh differently ----------------------------------------------------------------


def weighted_step(backend, loss, gradient, x, t, weights, network_class=None, **options):
    """The loss and the parameters after one step on all samples."""
    net = (
        fastnn.SimpleNet(FEATURES, CLASSES, loss=loss, backend=backend, rng=0)
        if network_class
        else network(backend, loss=loss)
    )
    data = net.dataset(x, t, "", weights)
    rows = np.arange(len(x))[None]
    rate = 0.1 if loss == "cross_entropy" else 0.001
    found = run_steps(net, data, rows, SGD(lr=rate), gradient, (1,), **options)
    return float(found[0]), host(net)


@pytest.mark.parametrize("simple", [False, True])
@pytest.mark.parametrize("targets", ["labels", "soft"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
@pytest.mark.parametrize("samples", ["dense", "sparse"])
def test_a_weight_of_0_leaves_out_and_one_of_2_repeats(
    backend, samples, gradient, loss, targets, simple
):
    x, labels, _ = problem(samples)
    x, labels = x[:12], labels[:12]
    soft = np.random.default_rng(1).dirichlet(np.ones(CLASSES), 12)
    t, weights = (labels if targets == "labels" else soft), np.array([0, 1, 2, 1] * 3)
    fixed = backend, loss, gradient
    repeated = np.repeat(np.arange(12), weights)
    found = weighted_step(*fixed, x, t, weights, simple)
    expected = weighted_step(*fixed, x[repeated], t[repeated], None, simple)
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    # The full numerical gradient of the small network is a difference of losses.
    atol = 1e-8 if simple and gradient == "numerical" else 1e-13
    for k, p in expected[1].items():
        np.testing.assert_allclose(found[1][k], p, rtol=0, atol=atol)
    ones = weighted_step(*fixed, x, t, np.ones(12), simple)
    plain = weighted_step(*fixed, x, t, None, simple)
    assert ones[0] == pytest.approx(plain[0], rel=1e-12)
    for k, p in plain[1].items():
        np.testing.assert_allclose(ones[1][k], p, rtol=0, atol=atol)


def test_weights_are_those_of_the_loss(backend, dtype):
    """Σ wᵢ·lossᵢ / Σ wᵢ for weights that all differ, and the two gradients of it agree."""
    x, t, rows = problem("sparse")
    weights = np.random.default_rng(2).random(SAMPLES)
    losses = []
    for gradient in ("backprop", "numerical"):
        net = network(backend, dtype)
        data = net.dataset(x, t, "", weights)
        before = host(net)
        losses.append(run_steps(net, data, rows[:3], Adam(), gradient, (3,)))
    some = rows[0]
    each = [book.loss(before, x[[i]], book.one_hot(t[[i]], CLASSES)) for i in some]
    expected = np.average(each, weights=weights[some])
    assert losses[0][0] == pytest.approx(expected, rel=1e-5 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-4)


@pytest.mark.parametrize("gradient", ["backprop", "numerical"])
def test_a_batch_without_weight_makes_no_step(backend, gradient):
    x, t, _ = problem("sparse")
    net, optimizer = network(backend), Adam()
    before = host(net)
    weights = np.zeros(SAMPLES)
    weights[0] = 1
    rows = np.full((2, 4), 7)
    losses = run_steps(net, net.dataset(x, t, "", weights), rows, optimizer, gradient, (2,))
    assert losses.tolist() == [0, 0]
    assert (optimizer.iter, optimizer.m) == (0, None)
    for k, p in host(net).items():
        np.testing.assert_array_equal(p, before[k])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((SAMPLES, 1)), "shape"),
        (-np.ones(SAMPLES), "holds -1"),
        (np.zeros(SAMPLES), "sums to 0"),
        (np.full(SAMPLES, np.nan), r"sample_weight\[0\] is nan"),
        (np.full(SAMPLES, 1e308), "sums to inf"),
        (["a"] * SAMPLES, "sample_weight"),
    ],
)
def test_impossible_weights_are_refused(weights, message):
    x, t, _ = problem("dense")
    with pytest.raises((fastnn.InputError, fastnn.DtypeError), match=message):
        network("numpy").dataset(x, t, "", weights)
