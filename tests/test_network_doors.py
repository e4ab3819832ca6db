"""The public doors of a network, by kinds 2 to 5 of test_doors.py."""

import pickle
from collections import ChainMap, OrderedDict, UserDict
from types import MappingProxyType

import numpy as np
import pytest
from doors import (
    LABELS,
    VALUES,
    T,
    X,
    assert_is_a_message,
    assert_refused,
    host,
    make,
    regression,
    uses,
)

import fastnn
from fastnn import DtypeError, HostMemoryError, InputError, SimpleNet, TwoLayerNet, functions, train
from fastnn.validation import shown, sizes, targets_of_any_sum

# -- 2. what a network may hold --------------------------------------------------------------------


class Lazy(dict):
    """Makes its items anew each time."""

    def __getitem__(self, name):
        return super().__getitem__(name) + 0


def test_only_a_dict_holds_parameters(backend, tmp_path):
    net = make(backend)
    kept = net.params
    np.savez(tmp_path / "w.npz", **host(net))
    with np.load(tmp_path / "w.npz") as file:
        others = [file, MappingProxyType(kept), ChainMap(kept), UserDict(kept), Lazy(kept)]
        for value in (*others, list(kept.items()), None, X):
            with pytest.raises(
                DtypeError, match=r"params is a .*network\.params = dict\("
            ) as caught:
                net.params = value
            assert_is_a_message(caught.value)
            assert net.params is kept
        loaded = {name: backend.asarray(a) for name, a in dict(file).items()}
    for value in (loaded, OrderedDict(loaded)):
        net.params = value
        assert net.params is value
        before = host(net)
        train(net, X, T, iterations=2, batch_size=3, rng=0)
        assert all((host(net)[name] != before[name]).any() for name in before)
    assert type(pickle.loads(pickle.dumps(make("numpy"))).params) is dict


def sharing(backend):
    """Dicts of parameters of which two lie in the same memory, by kind."""
    net = TwoLayerNet(4, 4, 4, 0.5, backend=backend, rng=0)
    whole = backend.asarray(np.arange(32.0).reshape(8, 4))
    yield net, {"W2": net.params["W1"]}
    yield net, {"b1": net.params["b2"]}
    yield net, {"W1": whole[:4, ...], "W2": whole[3:7, ...]}
    yield net, {"W1": whole[:4, ...], "b1": whole[2, ...]}
    yield net, {"W1": whole[:4, ...], "W2": whole[:4, ...].T}


def test_parameters_that_share_memory_are_refused(backend):
    x, t = np.eye(4), [0, 1, 2, 3]
    for net, shared in sharing(backend):
        kept = dict(net.params)
        net.params |= shared
        train_ways = uses(net, x, t)
        for name in ("loss", "accuracy", "test"):  # read parameters only; test data are X
            del train_ways[name]
        assert_refused(net, train_ways, InputError, r"params\['\w+'\] and params\['\w+'\] share")
        net.predict(x)
        net.params = kept


def test_parts_of_one_array_that_do_not_overlap_are_trained(backend):
    net = TwoLayerNet(4, 4, 4, 0.5, backend=backend, rng=0)
    whole = backend.asarray(np.arange(40.0).reshape(4, 10) / 40)
    net.params |= {"W1": whole[:, :4], "W2": whole[:, 4:8], "b1": whole[:, 8], "b2": whole[:, 9]}
    other = TwoLayerNet(4, 4, 4, 0.5, backend=backend, rng=0)
    other.params |= {name: backend.asarray(a) for name, a in host(net).items()}
    for some in (net, other):
        train(some, np.eye(4), [0, 1, 2, 3], iterations=3, batch_size=3, rng=0)
    for name, parameter in host(net).items():
        np.testing.assert_allclose(parameter, host(other)[name], rtol=1e-12)


def test_elements_that_share_memory_are_refused():
    net = make("numpy")
    net.params["b1"] = np.lib.stride_tricks.as_strided(np.zeros(1), (4,), (0,))
    calls = {name: call for name, call in uses(net).items() if name not in ("loss", "accuracy")}
    assert_refused(net, calls, InputError, r"elements of params\['b1'\] share memory")


@pytest.mark.parametrize("cls", [np.matrix, np.ma.MaskedArray])
def test_parameters_are_plain_arrays(cls):
    net = make("numpy")
    net.params["W1"] = net.params["W1"].view(cls)
    assert_refused(net, uses(net), DtypeError, r"params\['W1'\] is a numpy\..*np\.array")


# -- 3. outputs and targets that cannot mean what they say -----------------------------------------


def test_one_output_is_no_probability(backend):
    for construct in (
        lambda: TwoLayerNet(2, 5, 1, backend=backend),
        lambda: SimpleNet(2, 1, backend=backend),
    ):
        with pytest.raises(
            InputError, match=r"single output.*'binary_cross_entropy'.*'mean_squared"
        ):
            construct()


@pytest.mark.parametrize("values", [VALUES, VALUES.astype(int), VALUES > 2, VALUES.astype(">f4")])
def test_values_of_a_regression_may_be_a_column_or_not(backend, values):
    column = values.astype(float)[:, None]
    flat, rows = (regression(backend) for _ in range(2))
    assert flat.loss(X, values) == rows.loss(X, column)
    expected = float(((flat.backend.to_numpy(flat.predict(X)) - column) ** 2).sum() / 2)
    assert flat.loss(X, values) == pytest.approx(expected, rel=1e-12)
    for method in ("gradient", "numerical_gradient"):
        found, right = getattr(flat, method)(X, values), getattr(rows, method)(X, column)
        for name, gradient in host(flat, right).items():
            np.testing.assert_array_equal(host(flat, found)[name], gradient)
    assert fastnn.gradient_check(flat, X, values).passed
    for single in (values[0], values[:1], values[0].item(), [values[0].item()]):
        assert flat.loss(X[0], single) == rows.loss(X[:1], column[:1])
    for gradient in ("backprop", "numerical"):
        options = {"iterations": 5, "batch_size": 3, "learning_rate": 1e-4, "rng": 0}
        histories = [
            train(net, X, t, gradient=gradient, **options)
            for net, t in ((flat, values), (rows, column))
        ]
        np.testing.assert_array_equal(histories[0].loss, histories[1].loss)
        assert histories[0].iterations == histories[0].train_accuracy == []
    for t, match in [(values[:5], r"\(5,\); give values of shape \(6,\)"), (3, "values of shape")]:
        with pytest.raises(InputError, match=match):
            flat.loss(X, t)
    found = functions.mean_squared_error(column + 0.5, values)
    assert found == pytest.approx(6 * 0.125)


def test_one_output_has_no_accuracy(backend):
    net = regression(backend)
    options = {"iterations": 2, "batch_size": 3, "learning_rate": 1e-4}
    calls = {
        "accuracy": lambda: net.accuracy(X, VALUES),
        "test": lambda: train(net, X, VALUES, x_test=X, t_test=VALUES, **options),
        "interval": lambda: train(net, X, VALUES, evaluate_every=1, **options),
    }
    assert_refused(net, calls, InputError, "no accuracy")


def test_labels_of_several_outputs_stay_labels(backend):
    net = make(backend, loss="mean_squared_error")
    assert net.loss(X, LABELS) == net.loss(X, T)
    assert_refused(
        net, {"loss": lambda: net.loss(X, VALUES)}, DtypeError, r"t holds 1\.5; other.*3 values"
    )
    assert_refused(
        net, {"loss": lambda: net.loss(X, -65.0 * LABELS)}, DtypeError, r"t holds -65\.0; other"
    )
    net.gradient(X, 2 * T + 1)  # any values are targets of the squared error


@pytest.mark.parametrize(
    ("row", "total"),
    [([1, 0, 1], 2), ([0, 0, 0], 0), ([0.5, 0.5, 0.5], 1.5), ([0.5, 0.49, 0], 0.99)],
)
def test_rows_that_are_no_probabilities_are_refused(backend, dtype, row, total):
    for net in (make(backend, dtype=dtype), SimpleNet(5, 3, backend=backend, dtype=dtype, rng=0)):
        t = T.copy()
        t[4] = row
        calls = uses(net, X, t)
        report = calls.pop("check")
        assert_refused(net, calls, InputError, rf"t\w*\[4\] sums to {total:g}.*mean_squared_error")
        report()  # which is to find out what such targets do
        with targets_of_any_sum():
            assert np.isfinite(net.loss(X, t))


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i4", "?"])
def test_probabilities_may_be_rounded(backend, dtype, kind):
    net = make(backend, dtype=dtype)
    net.loss(X, T.astype(kind))
    if kind[0] == "f":
        net.loss(X, np.random.default_rng(0).dirichlet([1.0] * 3, 6).astype(kind))


# -- 4. sizes that no memory holds -----------------------------------------------------------------


def test_impossible_sizes_are_refused_before_anything_changes(backend):
    net, rng = make(backend), np.random.default_rng(0)
    options = {"iterations": 2, "batch_size": 2, "rng": rng}
    for large in (10**12, 10**15, 10**30, 10**5000):
        calls = {
            name: lambda name=name, n=large: train(net, X, T, **options | {name: n})
            for name in ("iterations", "batch_size")
        }
        calls["empty"] = lambda n=large: backend.empty((n, 10**6), "float64")
        assert_refused(net, calls, (InputError, HostMemoryError), "memory")
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
    for shape in (2**62, (2**31, 2**31), (2**62, 4), -1, (2, -3)):
        with pytest.raises(InputError):
            backend.empty(shape, "float64")
    for shape in ((10**12, 10**12, 2), (10**6, 10**7, 2), (2, 2, 10**5000)):
        with pytest.raises((InputError, HostMemoryError)):
            TwoLayerNet(*shape, backend=backend, rng=rng)


def test_what_this_machine_cannot_hold_is_refused_though_its_system_promises_it(
    backend, monkeypatch
):
    """As a Linux does that overcommits: filling the array would end in the kernel's choice."""
    net = make(backend)
    monkeypatch.setattr(sizes, "host_memory", lambda: 100_000)
    calls = {"epochs": lambda: train(net, X, T, iterations=12_501, batch_size=2)}
    calls["network"] = lambda: TwoLayerNet(1000, 13, 2, backend=backend, dtype="float64")
    assert_refused(net, calls, HostMemoryError, "takes 1.* bytes of memory, and this machine has")
    TwoLayerNet(1000, 12, 2, backend=backend, dtype="float64")


# -- 5. messages -----------------------------------------------------------------------------------

WORDS = "one\ntwo " * 1000
STRANGE = [
    *(np.ones((200, 200)), [0] * 10**5, WORDS, b"\xff" * 999, {"a": WORDS}, 10**5000, -(10**5000)),
    *(
        "\0",
        "\ud800",
        None,
        1j,
        float("nan"),
        object(),
        np.random.default_rng,
        type(WORDS, (), {})(),
    ),
]


def holding(name):
    net = make("numpy")
    if not isinstance(name, np.ndarray | list | dict):
        net.params[name] = X
    return net


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: shown(value)[:20])
def test_messages_are_one_short_line(value):
    net = make("numpy")
    calls = [
        *(lambda n=n: TwoLayerNet(*n) for n in ((value, 2, 2), (2, value, 2), (2, 2, 2, value))),
        *(
            lambda name=name: TwoLayerNet(2, 2, 2, **{name: value})
            for name in ("activation", "loss", "backend", "dtype", "rng")
        ),
        *(
            lambda name=name: train(net, X, T, **{"iterations": 1, "batch_size": 1, name: value})
            for name in (
                *("iterations", "batch_size", "learning_rate", "gradient", "evaluate_every"),
                *("rng", "x_test"),
            )
        ),
        *(lambda method=method: method(value, value) for method in (net.loss, net.gradient)),
        lambda: net.predict(value),
        lambda: net.to(value),
        lambda: train(value, X, T),
        lambda: fastnn.gradient_check(value, X, T),
        lambda: fastnn.gradient_check(net, X, T, method=value, tolerance=value, rng=value),
        lambda: net.numerical_gradient(X, T, value, value),
        lambda: fastnn.numerical_gradient(np.sum, X.copy(), scheme=value, h=value),
        lambda: fastnn.numerical_gradient_rows(np.sum, X.copy(), scheme=value, h=value),
        lambda: holding(value).predict(X),
        lambda: fastnn.get_backend("auto", multiplications=value),
        lambda: fastnn.get_backend("numpy", threads=value),
        lambda: fastnn.get_backend(f"numpy:{shown(value)}{'9' * 5000}"),
        lambda: net.backend.warm_up(value),
        lambda: functions.maxout(value, value),
        lambda: functions.softmax(value),
        lambda: functions.mean_squared_error(value, value),
        lambda: setattr(net, "params", value),
    ]
    refused = 0
    for call in calls:
        try:
            call()
        except fastnn.FastnnError as error:
            assert_is_a_message(error)
            refused += 1
    assert refused > len(calls) // 3


def test_networks_of_none_dtypes_of_none_and_maxout_of_nothing(backend):
    with pytest.raises(DtypeError, match="network=None"):
        train(None, X, T)
    with pytest.raises(DtypeError, match="int64"):
        backend.warm_up("int64")
    with pytest.raises(DtypeError, match="multiplications='x'"):
        fastnn.get_backend("auto", multiplications="x")
    for x, pieces in [([], None), (np.empty((3, 0)), None), (np.empty((3, 0)), 2)]:
        with pytest.raises(InputError, match="maxout needs at least one value"):
            functions.maxout(x, pieces)
    assert functions.maxout(np.empty((0, 4)), 2).shape == (0, 2)


@pytest.mark.parametrize("name", ["W1", "b2"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_accuracy_of_parameters_that_are_no_numbers(backend, dtype, name, value):
    net = TwoLayerNet(4, 3, 3, backend=backend, dtype=dtype, activation="relu", rng=0)
    params = {key: backend.to_numpy(p).copy() for key, p in net.params.items()}
    params[name].flat[0] = value
    net.params = {key: backend.asarray(p) for key, p in params.items()}
    with pytest.raises(InputError, match=rf"^params\['{name}'\]\[.*0\] is {value}"):
        net.accuracy(np.ones((2, 4)), [0, 1])


def test_no_accuracy_of_outputs_beyond_the_range(backend):
    net = TwoLayerNet(4, 3, 3, 1.0, backend=backend, dtype="float32", activation="relu", rng=0)
    with (
        np.errstate(all="ignore"),
        pytest.raises(InputError, match="an output of the network is beyond the range of float32"),
    ):
        net.accuracy(np.full((2, 4), 3e38), [0, 1])


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1e37), ("float64", 1e307)])
def test_initial_weights_are_finite(backend, dtype, scale):
    with pytest.raises(InputError, match=f"weights beyond the range of {dtype}; give at most"):
        TwoLayerNet(4, 3, 2, scale, backend=backend, dtype=dtype)
