import numpy as np
import pytest

from fastnn import InputError, SimpleNet, TwoLayerNet, gradient_check
from fastnn.cli import main
from fastnn.networks import Network

METHODS = ["full", "incremental", "projection"]


def samples(size, features, classes, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, (size, features)), rng.integers(classes, size=size)


def small_network(backend, dtype="float64", **options):
    return TwoLayerNet(7, 5, 3, weight_init_std=0.5, backend=backend, dtype=dtype, rng=1, **options)


@pytest.fixture
def broken_gradient(monkeypatch):
    """Make every network's backpropagation wrong in one way."""

    def break_it(change):
        right = Network.gradient

        def wrong(self, x, t):
            gradients = right(self, x, t)
            change(gradients)
            return gradients

        monkeypatch.setattr(Network, "gradient", wrong)

    return break_it


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "identity"])
def test_right_gradients_pass(backend, dtype, method, loss, activation):
    network = small_network(backend, dtype, loss=loss, activation=activation)
    before = {name: (p, backend.to_numpy(p).tobytes()) for name, p in network.params.items()}
    report = gradient_check(network, *samples(6, 7, 3), method=method)
    assert report.passed, str(report)
    assert list(report.parameters) == ["W1", "b1", "W2", "b2"]
    for name, (parameter, values) in before.items():
        assert network.params[name] is parameter
        assert backend.to_numpy(parameter).tobytes() == values


@pytest.mark.parametrize("method", ["full", "projection", None])
def test_simple_net_passes(backend, method):
    network = SimpleNet(rng=0, backend=backend)
    assert gradient_check(network, np.array([0.6, 0.9]), 2, method=method).passed


def test_default_is_the_fastest_method_of_the_network():
    assert gradient_check(SimpleNet(rng=0), [0.6, 0.9], 2).method == "full"
    assert gradient_check(small_network("numpy"), *samples(6, 7, 3)).method == "incremental"


def test_one_layer_has_nothing_incremental():
    with pytest.raises(InputError, match=r"method='incremental'.*'full', 'projection'"):
        gradient_check(SimpleNet(rng=0), [0.6, 0.9], 2, method="incremental")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("targets", ["labels", "one-hot", "soft"])
def test_every_kind_of_target(method, targets):
    x, t = samples(6, 7, 3)
    t = {"labels": t, "one-hot": np.eye(3)[t], "soft": np.full((6, 3), [0.5, 0.5, 0.0])}[targets]
    assert gradient_check(small_network("numpy"), x, t, method=method).passed


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b2"])
def test_one_wrong_entry_fails_and_is_named(broken_gradient, method, name):
    def change(gradients):
        gradients[name][(-1,) * gradients[name].ndim] *= 1.01

    broken_gradient(change)
    report = gradient_check(small_network("numpy"), *samples(6, 7, 3), method=method)
    assert not report.passed
    assert [key for key, check in report.parameters.items() if not check.passed] == [name]
    if method == "full":
        wrong = report.parameters[name].worst_index
        assert wrong == tuple(size - 1 for size in small_network("numpy").params[name].shape)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [0, 2, np.nan])
def test_wrong_gradients_fail_in_float32(broken_gradient, method, factor):
    def change(gradients):
        gradients["W1"] *= factor

    broken_gradient(change)
    report = gradient_check(small_network("numpy", "float32"), *samples(6, 7, 3), method=method)
    assert not report.parameters["W1"].passed
    assert report.parameters["b2"].passed


def test_incremental_method_finds_small_errors_of_small_gradients_in_float32(
    broken_gradient, backend
):
    network, (x, t) = (
        TwoLayerNet(20, 6, 3, 0.01, backend=backend, dtype="float32", rng=0),
        samples(8, 20, 3),
    )
    assert gradient_check(network, x, t).passed

    def change(gradients):
        gradients["W1"] *= 1.005  # by less than rounding makes of a loss in float32 at any step

    broken_gradient(change)
    assert not gradient_check(network, x, t).parameters["W1"].passed
    assert gradient_check(network, x, t, method="full").parameters["W1"].passed


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "identity"])
@pytest.mark.parametrize("weight_init_std", [0, 0.01, 0.3])
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_incremental_method_passes_right_gradients(
    backend, dtype, activation, weight_init_std, loss
):
    network = TwoLayerNet(
        30,
        8,
        3,
        weight_init_std,
        activation=activation,
        loss=loss,
        backend=backend,
        dtype=dtype,
        rng=0,
    )
    for seed in range(5):
        x, t = samples(6, 30, 3, seed)
        # Without weights, these make the gradient of b2 zero.
        for targets in (
            t,
            [0, 1, 2, 0, 1, 2],
        ):
            report = gradient_check(network, x, targets)
            assert report.passed, str(report)


def test_numbers_of_the_report(broken_gradient):
    network, (x, t) = small_network("numpy"), samples(6, 7, 3)
    right, change_by = network.gradient(x, t)["b2"], np.array([0.0, 0.3, -0.6])

    def change(gradients):
        gradients["b2"] += change_by

    broken_gradient(change)
    check = gradient_check(network, x, t, method="full").parameters["b2"]
    assert check.worst_index == (2,)
    assert check.maximum_difference == pytest.approx(0.6, rel=1e-5)
    assert check.mean_difference == pytest.approx(0.3, rel=1e-5)
    assert check.relative_error == pytest.approx(
        0.6 / max(abs(right).max(), abs(right + change_by).max()), rel=1e-5
    )


def test_printed_table():
    report = gradient_check(small_network("numpy"), *samples(6, 7, 3), method="full")
    lines = str(report).splitlines()
    assert lines[0].split("  ")[0] == "parameter"
    assert [line.split()[0] for line in lines[1:5]] == ["W1", "b1", "W2", "b2"]
    assert all(line.endswith("pass") for line in lines[1:5])
    assert lines[5].startswith("pass: method full, h = 6.1e-06")


def nearly_right(gradients):
    for gradient in gradients.values():
        gradient *= 1.0001


def test_tolerance(broken_gradient):
    broken_gradient(nearly_right)
    network, (x, t) = small_network("numpy"), samples(6, 7, 3)
    report = gradient_check(network, x, t, method="full", tolerance=1e-3)
    assert report.passed
    assert report.tolerance == 1e-3
    report = gradient_check(network, x, t, method="full", tolerance=1e-6)
    assert not report.passed
    assert "FAIL" in str(report)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("targets", ["labels", "soft"])
def test_guard_of_the_logarithm_is_allowed_for(backend, method, targets):
    network, x = TwoLayerNet(2, 3, 2, backend=backend, rng=0), np.ones((4, 2))
    # The probability of class 0 is 8e-7: a tenth less of gradient.
    network.params["b2"][:] = backend.asarray(np.array([0.0, 14]))
    t = {"labels": [0, 0, 1, 0], "soft": [[1.0, 0], [0.5, 0.5], [0, 1], [0.8, 0.2]]}[targets]
    report = gradient_check(network, x, t, method=method)
    assert report.passed, str(report)
    assert report.tolerance == 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_right_gradients_pass_where_outputs_are_saturated(method, dtype):
    x, t = samples(6, 30, 3)
    for seed in range(30):
        network = TwoLayerNet(30, 8, 3, 1, activation="identity", dtype=dtype, rng=seed)
        report = gradient_check(network, x, t, method=method)
        assert report.passed, f"{seed}: {report}"


@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_right_gradients_pass_where_a_hidden_unit_is_large(backend, activation):
    network = TwoLayerNet(2, 3, 4, activation=activation, backend=backend, rng=0)
    network.params["b1"][:] = backend.asarray(np.array([-1e4, 0, 1e4]))
    report = gradient_check(network, [[1.0, 2.0], [-3.0, 0.5]], [0, 3])
    assert report.passed, str(report)


@pytest.mark.parametrize("method", METHODS)
def test_wrong_gradients_fail_where_outputs_are_saturated(broken_gradient, method):
    def change(gradients):
        gradients["b2"][0] += 1e-3
        gradients["W1"] *= 1.001

    broken_gradient(change)
    network = TwoLayerNet(30, 8, 3, 1, activation="identity", rng=0)
    report = gradient_check(network, *samples(6, 30, 3), method=method)
    assert not report.parameters["b2"].passed
    assert not report.parameters["W1"].passed


@pytest.mark.parametrize("method", METHODS)
def test_targets_that_do_not_sum_to_one_fail(method):
    """Backpropagation is the book's y − t, which is not the derivative then."""
    x, _ = samples(6, 7, 3)
    assert not gradient_check(small_network("numpy"), x, np.full((6, 3), 0.5), method=method).passed


def test_directions_are_the_same_each_time():
    network, (x, t) = small_network("numpy"), samples(6, 7, 3)
    assert gradient_check(network, x, t, method="projection") == gradient_check(
        network, x, t, method="projection"
    )
    assert gradient_check(network, x, t, method="projection") != gradient_check(
        network, x, t, method="projection", rng=1
    )


def test_parameters_are_put_back_when_the_loss_raises(monkeypatch):
    network, (x, t) = small_network("numpy"), samples(6, 7, 3)
    before, calls, loss = dict(network.params), [], network.loss

    def failing(x, t):
        calls.append(1)
        if len(calls) == 30:
            raise KeyboardInterrupt
        return loss(x, t)

    monkeypatch.setattr(network, "loss", failing)
    with pytest.raises(KeyboardInterrupt):
        gradient_check(network, x, t, method="projection")
    assert all(network.params[name] is parameter for name, parameter in before.items())


def test_impossible_arguments():
    network, (x, t) = small_network("numpy"), samples(6, 7, 3)
    for options in ({"method": "exact"}, {"tolerance": -1}, {"tolerance": np.nan}):
        with pytest.raises(InputError, match=next(iter(options))):
            gradient_check(network, x, t, **options)
    with pytest.raises(InputError, match="features"):
        gradient_check(network, x[:, :3], t, method="projection")


@pytest.mark.parametrize(
    ("options", "code", "last"), [(("--tolerance", "1e-3"), 0, "pass:"), ((), 1, "FAIL:")]
)
def test_command(capsys, broken_gradient, options, code, last):
    broken_gradient(nearly_right)
    with pytest.raises(SystemExit) as stopped:
        main(
            ["gradcheck", "--method", "projection", "--hidden", "4", "--backend", "numpy", *options]
        )
    assert stopped.value.code == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "784-4-10, float64, on numpy; 3 samples of MNIST"
    assert [line.split()[0] for line in lines[2:]] == ["parameter", "W1", "b1", "W2", "b2", last]


@pytest.mark.parametrize("options", [("--samples", "0"), ("--method", "exact"), ("--hidden", "-1")])
def test_impossible_options_of_the_command(capsys, options):
    with pytest.raises(SystemExit) as stopped:
        main(["gradcheck", "--backend", "numpy", *options])
    assert stopped.value.code == 2
    assert options[0].strip("-") in capsys.readouterr().err
