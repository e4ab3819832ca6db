"""The kernels that make many steps, against the same steps by operations of the reference."""

import numpy as np
import pytest
from conftest import ReferenceBackend

import fastnn
from fastnn.backends.numba.backend import NumbaBackend
from fastnn.backends.numba.kernels import batches, panels, products
from fastnn.backends.numba.support import SUPPORT, values_to_sort
from fastnn.functions import ACTIVATIONS


def problem(features=30, outputs=3, samples=200, density=0.2):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, features)) * (rng.random((samples, features)) < density)
    return x, rng.integers(outputs, size=samples)


def counted(monkeypatch, backend, module="backprop_steps", name="descent_steps"):
    """How often the kernel is called."""
    calls, kernels = [], getattr(backend.kernels, module)
    kernel = getattr(kernels, name)

    class Counted:
        def __call__(self, *arguments):
            calls.append(1)
            return kernel(*arguments)

        def __getattr__(self, name):  # what is asked for to compile it
            return getattr(kernel, name)

    monkeypatch.setattr(kernels, name, Counted())
    return calls


def limited(monkeypatch, **largest):
    """The support table of the kernel of many steps, with other limits."""
    of_sizes = zip(SUPPORT["backprop steps"].sizes, ("outputs", "product"), strict=True)
    sizes = tuple((size, largest.get(name, limit)) for (size, limit), name in of_sizes)
    monkeypatch.setattr(SUPPORT["backprop steps"], "sizes", sizes)


def trained(
    backend,
    x,
    t,
    *,
    hidden=50,
    outputs=3,
    dtype="float64",
    activation="sigmoid",
    loss="cross_entropy",
    **options,
):
    net = fastnn.TwoLayerNet(
        x.shape[1],
        hidden,
        outputs,
        0.1,
        backend=backend,
        dtype=dtype,
        activation=activation,
        loss=loss,
        rng=0,
    )
    options = {"iterations": 40, "batch_size": 20, "evaluate_every": 0, "rng": 1} | options
    history = fastnn.train(net, x.astype(dtype), t, **options)
    return history.loss, net.params


def assert_trains_as_the_reference(backend, x, t, dtype, **options):
    (loss, params), (expected_loss, expected) = (
        trained(b, x, t, dtype=dtype, **options) for b in (backend, ReferenceBackend())
    )
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(loss, expected_loss, rtol=tolerance)
    for name, parameter in expected.items():
        np.testing.assert_allclose(
            params[name], parameter, rtol=0, atol=tolerance * abs(parameter).max()
        )


@pytest.fixture
def work_for_many(monkeypatch):
    """Small steps are work for all threads that there are, and so are the samples of a panel."""
    monkeypatch.setattr("fastnn.backends.numba.support.FUSED_GRAIN", 1)
    monkeypatch.setattr("fastnn.backends.numba.support.GROUP_SAMPLES", 1)


@pytest.mark.usefixtures("work_for_many")
@pytest.mark.parametrize("threads", [1, 2, 3, 16])
@pytest.mark.parametrize("density", [0.2, 1.0])
@pytest.mark.parametrize(
    ("hidden", "outputs", "batch"),
    [(1, 2, 1), (3, 2, 3), (7, 3, 20), (50, 10, 100), (129, 40, 7), (280, 70, 9), (5, 3, 500)],
)
def test_it_trains_as_the_reference_does(
    monkeypatch, dtype, threads, density, hidden, outputs, batch
):
    x, t = problem(outputs=outputs, density=density)
    backend = NumbaBackend(threads)
    calls = counted(monkeypatch, backend)
    options = {"hidden": hidden, "outputs": outputs, "batch_size": batch}
    assert_trains_as_the_reference(backend, x, t, dtype, **options)
    assert len(calls) > 1


def test_a_batch_of_which_some_samples_have_their_turn_at_a_time(dtype):
    """As its hidden units do not stay near; there is one panel of them, and one thread."""
    x, t = problem(density=1.0)
    assert 1100 * 64 * np.dtype(dtype).itemsize > products.NEAR
    assert_trains_as_the_reference(NumbaBackend(1), x, t, dtype, hidden=64, batch_size=1100)


@pytest.mark.parametrize("density", [0.2, 1.0])
@pytest.mark.parametrize("soft", [False, True])
def test_targets_may_be_rows(monkeypatch, dtype, density, soft):
    x, t = problem(density=density)
    targets = np.eye(3)[t] * 0.7 + 0.1 if soft else np.eye(3)[t]
    backend = NumbaBackend(2)
    calls = counted(monkeypatch, backend)
    loss, params = trained(backend, x, targets, dtype=dtype)
    assert calls
    if not soft:
        expected_loss, expected = trained(backend, x, t, dtype=dtype)
        assert np.array_equal(loss, expected_loss)
        assert all(np.array_equal(params[name], expected[name]) for name in expected)
    expected_loss, _ = trained(ReferenceBackend(), x, targets, dtype=dtype)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-12 if dtype == np.float64 else 2e-5)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation(activation):
    x, t = problem()
    (loss, params), (expected_loss, expected) = (
        trained(b, x, t, activation=activation) for b in (NumbaBackend(2), ReferenceBackend())
    )
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-12)
    for name, parameter in expected.items():
        np.testing.assert_allclose(params[name], parameter, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("work_for_many")
@pytest.mark.parametrize("threads", [2, 5, 16])
def test_the_number_of_threads_changes_nothing_in_a_panel(threads):
    """But the order of the panels in the sum of a logit, and so some last bits."""
    x, t = problem()
    first, second = (trained(NumbaBackend(n), x, t, iterations=100) for n in (threads, 1))
    np.testing.assert_allclose(first[0], second[0], rtol=1e-13)
    again = trained(NumbaBackend(threads), x, t, iterations=100)
    assert np.array_equal(first[0], again[0])
    assert all(np.array_equal(first[1][name], again[1][name]) for name in first[1])


@pytest.mark.usefixtures("work_for_many")
@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("density", [0.2, 1.0])
@pytest.mark.parametrize("update", [None, fastnn.Momentum, fastnn.Adam])
@pytest.mark.parametrize(("hidden", "batch"), [(1, 4), (5, 30), (8, 200)])
@pytest.mark.parametrize("features", [30, 3])
def test_threads_that_share_a_panel_make_the_same_step(
    monkeypatch, dtype, threads, features, density, update, hidden, batch
):
    """To the same bits; also the last batch of an epoch, which is smaller."""
    groups, allocate = [], panels.allocate
    monkeypatch.setattr(panels, "allocate", lambda *a: groups.append(a[1]) or allocate(*a))
    x, t = problem(density=density, samples=230, features=features)
    options = {"hidden": hidden, "batch_size": batch, "dtype": dtype, "sampling": "shuffle"}
    (losses, params), (found, shared) = (
        trained(NumbaBackend(n), x, t, optimizer=update and update(0.01), **options)
        for n in (1, threads)
    )
    assert groups[0] == 1 < max(groups)
    assert np.array_equal(losses, found)
    for name, p in params.items():
        assert np.array_equal(p, shared[name]), name


@pytest.mark.usefixtures("work_for_many")
@pytest.mark.filterwarnings("ignore:.*hasn't converged")
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("density", [0.2, 1.0])
def test_threads_that_share_a_panel_have_one_penalty(dtype, density, solver):
    x, t = problem(density=density)
    options = {"hidden_layer_sizes": 7, "solver": solver, "alpha": 0.1, "batch_size": 60}
    options |= {"max_iter": 12, "tol": 0, "n_iter_no_change": 99, "random_state": 0}
    weights = np.random.default_rng(1).uniform(0.5, 2, len(x))
    one, several = (
        fastnn.TwoLayerClassifier(backend=NumbaBackend(threads), **options).fit(
            x.astype(dtype), t, sample_weight=weights
        )
        for threads in (1, 4)
    )
    np.testing.assert_allclose(several.loss_curve_, one.loss_curve_, rtol=1e-14)
    for found, expected in zip(several.coefs_, one.coefs_, strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("threads", "units", "most_groups", "dtype", "shares"),
    [
        (2, 8, 9, "float64", (1, 2)),
        (2, 16, 9, "float32", (1, 2)),
        (2, 8, 1, "float64", (2, 1)),  # too few samples for two
        (2, 1, 1, "float32", (1, 1)),
        (2, 9, 9, "float64", (2, 1)),
        (2, 50, 9, "float64", (2, 1)),
        (2, 500, 9, "float64", (8, 1)),
        (16, 50, 9, "float64", (7, 2)),
        (64, 50, 99, "float64", (7, 9)),
        (64, 50, 3, "float64", (7, 3)),
    ],
)
def test_how_units_are_shared_out(threads, units, most_groups, dtype, shares):
    assert panels.shares(threads, units, most_groups, np.dtype(dtype)) == shares


@pytest.mark.usefixtures("work_for_many")
@pytest.mark.parametrize(("features", "hidden"), [(9001, 20), (9001, 100), (40001, 8)])
@pytest.mark.parametrize("update", [fastnn.Nesterov, fastnn.Adam])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_more_features_than_a_gradient_has_room_for(monkeypatch, dtype, update, features, hidden):
    """It is summed up, and used, some features at a time."""
    x, t = problem(features=features, samples=100, density=0.01)
    x[:, 4000:4100] = 0  # features of which there is nothing
    backend = NumbaBackend(2)
    assert features * hidden * 4 > batches.GRADIENT
    calls = counted(monkeypatch, backend)
    options = {"hidden": hidden, "dtype": dtype, "batch_size": 30, "sampling": "shuffle"}
    results = [
        trained(where, x, t, optimizer=update(0.01, weight_decay=1e-3), **options)
        for where in (ReferenceBackend(), backend)
    ]
    assert calls
    (losses, params), (found, of_kernel) = results
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(found, losses, rtol=tolerance, atol=tolerance)
    for name, p in params.items():
        np.testing.assert_allclose(of_kernel[name], p, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("work_for_many")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("update", [None, fastnn.Adam])
@pytest.mark.parametrize(
    ("features", "hidden", "batch"),
    [(40, 3, 20), (40, 20, 1), (40, 61, 33), (40, 90, 100), (40, 500, 70), (1200, 128, 50)],
)
def test_a_sorted_batch_makes_the_same_step(
    monkeypatch, dtype, update, threads, features, hidden, batch
):
    """To the same bits; also the last batch of an epoch, which is smaller."""
    x, t = problem(samples=230, features=features)
    x[:, :3] = x[:, 20:25] = x[:, -2:] = 0  # features of which there is nothing
    x[7:12] = 0
    x[100] = np.linspace(1, 2, features)
    options = {"hidden": hidden, "batch_size": batch, "dtype": dtype, "sampling": "shuffle"}
    results = []
    for most in (0, features):
        monkeypatch.setattr(
            "fastnn.backends.numba.support.values_to_sort", lambda *_, most=most: most
        )
        optimizer = update and update(0.01, weight_decay=1e-3)
        results.append(trained(NumbaBackend(threads), x, t, optimizer=optimizer, **options))
    (losses, params), (found, sorted_params) = results
    assert np.array_equal(losses, found)
    for name, p in params.items():
        assert np.array_equal(p, sorted_params[name]), name


def test_which_batches_are_sorted():
    """Many units and values of a feature; no more memory than the dataset takes."""
    backend = NumbaBackend(2)

    def most(x, units=96, batch=30, dtype="float64", parts=2):
        data = backend.dataset(backend.kept_samples(x, np.dtype(dtype)), np.zeros(len(x), np.intp))
        return values_to_sort(data, batch, np.empty((x.shape[1], units), dtype), parts)

    x, _ = problem(features=30, samples=200, density=0.2)
    assert most(x) == (x != 0).sum(axis=1).max()
    assert most(x, units=95) == 0
    assert most(x, units=191, dtype="float32") == 0
    assert most(x, units=192, dtype="float32") > 0
    assert most(x, parts=4) == 0  # some 30 · 6 values of 30 features
    assert most(x, batch=10) == 0
    assert most(x, batch=200) == 0  # each sample with as many as the largest: more than there are
    assert most(np.ones((200, 30))) == 0
    assert most(x, batch=2**17 + 1) == 0


@pytest.mark.parametrize(
    "options",
    [{"loss": "mean_squared_error"}, {"gradient": "numerical"}, {"hidden": 6000}, {"density": 1.0}],
    ids=lambda options: next(iter(options)),
)
def test_other_training_goes_step_by_step(monkeypatch, options):
    x, t = problem(density=options.pop("density", 0.2))
    limited(monkeypatch, outputs=10_000, product=20)
    backend = NumbaBackend(2)
    calls = counted(monkeypatch, backend)
    loss, _ = trained(backend, x, t, iterations=5, learning_rate=0.01, **options)
    expected, _ = trained(ReferenceBackend(), x, t, iterations=5, learning_rate=0.01, **options)
    assert not calls
    np.testing.assert_allclose(loss, expected, rtol=1e-9)


# -- by numerical gradient -------------------------------------------------------------------------


def trained_numerically(backend, x, t, **options):
    return trained(backend, x, t, gradient="numerical", learning_rate=0.5, **options)


def assert_trained_alike(found, expected, tolerance):
    (loss, params), (expected_loss, expected_params) = found, expected
    np.testing.assert_allclose(loss, expected_loss, rtol=tolerance)
    for name, parameter in expected_params.items():
        np.testing.assert_allclose(
            params[name], parameter, rtol=0, atol=tolerance * abs(parameter).max()
        )


@pytest.mark.usefixtures("work_for_many")
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("targets", ["labels", "one-hot", "soft"])
@pytest.mark.parametrize(("hidden", "outputs", "batch"), [(1, 2, 1), (7, 3, 20), (50, 10, 100)])
def test_numerical_steps_are_those_of_the_reference(
    monkeypatch, dtype, threads, targets, hidden, outputs, batch
):
    x, labels = problem(outputs=outputs)
    rows = np.eye(outputs)[labels]
    t = {"labels": labels, "one-hot": rows, "soft": rows * 0.7 + 0.3 / outputs}[targets]
    backend = NumbaBackend(threads)
    calls = counted(monkeypatch, backend, "numerical_steps", "descent_steps")
    options = {
        "hidden": hidden,
        "outputs": outputs,
        "batch_size": batch,
        "dtype": dtype,
        "iterations": 12,
    }
    found, expected = (
        trained_numerically(b, x, t, **options) for b in (backend, ReferenceBackend())
    )
    assert len(calls) > 1
    assert_trained_alike(found, expected, 1e-11 if dtype == np.float64 else 2e-5)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_numerical_steps_with_every_activation(activation):
    x, t = problem()
    found, expected = (
        trained_numerically(b, x, t, activation=activation)
        for b in (NumbaBackend(2), ReferenceBackend())
    )
    assert_trained_alike(found, expected, 1e-10)


@pytest.mark.usefixtures("work_for_many")
def test_neither_threads_nor_calls_change_numerical_steps(monkeypatch):
    x, t = problem()
    first = trained_numerically(NumbaBackend(1), x, t)
    monkeypatch.setattr("fastnn.backends.numba.support.INTERRUPTIBLE", 1)  # a call for each step
    backend = NumbaBackend(3)
    calls = counted(monkeypatch, backend, "numerical_steps", "descent_steps")
    second = trained_numerically(backend, x, t)
    assert len(calls) >= 40
    assert np.array_equal(first[0], second[0])
    assert all(np.array_equal(first[1][name], second[1][name]) for name in first[1])


@pytest.mark.parametrize(
    "options",
    [{"loss": "mean_squared_error"}, {"density": 1.0}],
    ids=lambda options: next(iter(options)),
)
def test_other_numerical_steps_go_one_by_one(monkeypatch, options):
    x, t = problem(density=options.pop("density", 0.2))
    backend = NumbaBackend(2)
    calls = counted(monkeypatch, backend, "numerical_steps", "descent_steps")
    options |= {"iterations": 5, "gradient": "numerical", "learning_rate": 0.01}
    found, expected = (trained(b, x, t, **options) for b in (backend, ReferenceBackend()))
    assert not calls
    assert_trained_alike(found, expected, 1e-10)


def test_parameters_and_accuracies_are_up_to_date_between_epochs():
    x, t = problem()
    nets = [
        fastnn.TwoLayerNet(30, 8, 3, 0.1, backend=b, rng=0)
        for b in (NumbaBackend(2), ReferenceBackend())
    ]
    histories = [
        fastnn.train(
            n, x, t, x_test=x, t_test=t, iterations=57, batch_size=10, evaluate_every=4, rng=1
        )
        for n in nets
    ]
    assert histories[0].train_accuracy == histories[1].train_accuracy
    assert histories[0].iterations == histories[1].iterations
