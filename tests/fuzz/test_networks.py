"""The networks, their training and its history, and the choice of a backend."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import fastnn
from fastnn.backends import Backend

from .calls import OF_NETWORKS, RECORD, array_like, check, examples
from .values import anything, arrays, inert, keywords, mostly, odd

#: Of the names of a backend, what can run everywhere.
BACKENDS = ["numpy", "numba"]
FEATURES, HIDDEN, OUTPUTS, SAMPLES = 3, 4, 3, 5

# Sizes between those that a test can wait for and those that nothing can hold are left out.
sizes = mostly([1, 2, 3, 5])
names = mostly(["sigmoid", "tanh", "relu", "identity"])
losses = mostly(["cross_entropy", "mean_squared_error", "binary_cross_entropy"])
dtypes = mostly(["float64", "float32", np.float64, ">f8"], st.one_of(odd, st.just("int64")))
seeds = mostly([None, 0, 1, np.random.default_rng(0)])


def is_network(value):
    right = all(np.isfinite(value.backend.to_numpy(p)).all() for p in value.params.values())
    return None if right else "has parameters that are not finite"


@examples(150)
@given(
    st.tuples(sizes, sizes, sizes),
    keywords(
        weight_init_std=mostly([0, 0.01, 1.0]),
        activation=names,
        loss=losses,
        backend=mostly([*BACKENDS, "auto"]),
        dtype=dtypes,
        rng=seeds,
    ),
)
def test_two_layer_net(layers, options):
    check("TwoLayerNet", fastnn.TwoLayerNet, *layers, **options, result=is_network)


@examples(60)
@given(
    sizes,
    sizes,
    keywords(loss=losses, backend=mostly([*BACKENDS, "auto"]), dtype=dtypes, rng=seeds),
)
def test_simple_net(inputs, outputs, options):
    check("SimpleNet", fastnn.SimpleNet, inputs, outputs, **options, result=is_network)


#: Numba compiles each combination of dtype, activation and loss for ten seconds: of the networks on
#: it, a run of the suite draws these only.
COMPILED = [("float64", "sigmoid", "cross_entropy"), ("float32", "relu", "mean_squared_error")]

FORMULAS = list(
    itertools.product(
        ["float64", "float32"],
        ["sigmoid", "tanh", "relu", "identity"],
        ["cross_entropy", "mean_squared_error", "binary_cross_entropy"],
    )
)


@st.composite
def networks(draw):
    backend = draw(st.sampled_from(BACKENDS))
    few = backend == "numba" and RECORD is None
    dtype, activation, loss = draw(st.sampled_from(COMPILED if few else FORMULAS))
    options = {"backend": backend, "dtype": dtype, "loss": loss, "rng": 0}
    if not draw(st.integers(0, 3)):
        return fastnn.SimpleNet(FEATURES, OUTPUTS, **options)
    layers = FEATURES, HIDDEN, OUTPUTS
    return fastnn.TwoLayerNet(*layers, 1.0, activation=activation, **options)


samples = mostly(
    st.one_of(
        arrays((SAMPLES, FEATURES), ["f8", "f4", "i8"]),
        arrays((SAMPLES, FEATURES)),
        arrays((FEATURES,)),
    ),
    anything(),
)
targets = mostly(
    st.one_of(
        st.just(np.array([0, 1, 2, 0, 1])),
        st.just(np.eye(OUTPUTS)[[0, 1, 2, 0, 1]]),
        arrays((SAMPLES,), ["i8", "u1", "f8"]),
        arrays((SAMPLES, OUTPUTS)),
        st.sampled_from([0, 2, 3]),
    ),
    anything(),
)


def parts(network):
    """A check of a gradient: an array like each parameter."""

    def wrong(value):
        if list(value) != list(network.params):
            return f"has the entries {list(value)}"
        return next(filter(None, (array_like(p.shape, p.dtype)(value[n]) for n, p in net())), None)

    net = network.params.items
    return wrong


def outputs(network):
    return lambda y: (
        array_like(None, network.dtype)(y)
        or (None if y.shape[-1:] == (OUTPUTS,) and y.ndim <= 2 else f"has shape {y.shape}")
    )


def is_fraction(value):
    return None if type(value) is float and 0 <= value <= 1 else "is no fraction"


def is_float(value):
    return None if type(value) is float else f"is a {type(value).__name__}"


@examples(200)
@given(networks(), samples)
def test_predict(network, x):
    expected = {"documented": OF_NETWORKS, "result": outputs(network)}
    check("predict", network.predict, x, network=network, **expected)


@examples(250)
@given(networks(), st.sampled_from(["loss", "accuracy", "gradient"]), samples, targets)
def test_methods(network, name, x, t):
    result = {"loss": is_float, "accuracy": is_fraction, "gradient": parts(network)}[name]
    expected = {"documented": OF_NETWORKS, "result": result}
    check(name, getattr(network, name), x, t, network=network, **expected)


@examples(150)
@given(
    networks(),
    samples,
    targets,
    keywords(h=mostly([1e-4, "auto", 1e-7]), method=mostly(["full", "incremental"])),
)
def test_numerical_gradient(network, x, t, options):
    call = network.numerical_gradient
    expected = {"documented": OF_NETWORKS, "result": parts(network)}
    check("network.numerical_gradient", call, x, t, network=network, **options, **expected)


@examples(60)
@given(
    networks(),
    samples,
    targets,
    keywords(
        method=mostly(["full", "incremental", "projection"]),
        tolerance=mostly([1e-3, 0.5]),
        rng=seeds,
    ),
)
def test_gradient_check(network, x, t, options):
    def wrong(report):
        return None if str(report).count("\n") == len(network.params) + 1 else "is no table"

    call = fastnn.gradient_check
    expected = {"documented": OF_NETWORKS, "result": wrong, "network": network}
    check("gradient_check", lambda *a, **k: call(network, *a, **k), x, t, **options, **expected)


@st.composite
def parameters(draw):
    """What somebody puts in place of a parameter."""
    return draw(st.sampled_from(["W", "W1", "b1", "W2", "b2"])), draw(anything((HIDDEN,)))


@examples(100)
@given(networks(), parameters(), st.sampled_from(["predict", "loss", "gradient", "train"]))
def test_replaced_parameters(network, replaced, name):
    network.params[replaced[0]] = replaced[1]
    x, t = np.ones((SAMPLES, FEATURES)), np.zeros(SAMPLES, int)
    if name == "train":
        call = lambda: fastnn.train(network, x, t, iterations=2, batch_size=2)  # noqa: E731
        check("train with a replaced parameter", call, documented=OF_NETWORKS)
    else:
        arguments = (x,) if name == "predict" else (x, t)
        call = getattr(network, name)
        check(f"{name} with a replaced parameter", call, *arguments, documented=OF_NETWORKS)


@examples(250)
@given(
    networks(),
    samples,
    targets,
    keywords(
        x_test=samples,
        t_test=targets,
        iterations=mostly([0, 1, 3, 40]),
        batch_size=mostly([1, 3, 20]),
        learning_rate=mostly([0, 0.1, 1, 1e39, 1e-320], inert),
        gradient=mostly(["backprop", "numerical"]),
        evaluate_every=mostly([None, 0, 1, 7]),
        sampling=mostly(["replacement", "shuffle"]),
        optimizer=mostly([None, "sgd", "momentum", "adam"]),
        validation=mostly([None, 0.2, 0.5]),
        early_stopping=mostly([None, 1, 3]),
        sample_weight=mostly([None, np.ones(SAMPLES)], arrays((SAMPLES,))),
        rng=seeds,
    ),
)
def test_train(network, x, t, options):
    def wrong(history):
        loss = history.loss
        asked = 10_000 if options["iterations"] is None else options["iterations"]
        made = len(loss) if history.stopped == "early stopping" else asked
        if loss.shape != (made,) or loss.dtype != network.dtype:
            return f"has losses of shape {loss.shape} and {loss.dtype}"
        if not np.isfinite(loss).all() or is_network(network):
            return "is no DivergenceError, and something is not finite"
        if len(history.train_accuracy) != len(history.iterations):
            return "has other numbers of accuracies than of evaluations"
        right = all(0 <= a <= 1 for a in history.train_accuracy + history.test_accuracy)
        return None if right and math.isfinite(history.seconds) else "has no fractions"

    options.setdefault("iterations", 2)  # the default takes longer than a test has
    call = fastnn.train
    expected = {"documented": OF_NETWORKS, "result": wrong, "network": network}
    check("train", lambda *a, **k: call(network, *a, **k), x, t, **options, **expected)


@examples(40)
@given(odd)
def test_train_of_no_network(network):
    check("train", fastnn.train, network, np.ones((2, 2)), [0, 1], iterations=1)


@examples(100)
@given(
    mostly([*BACKENDS, "auto", "numpy:0", "numba:x", ":", "auto:", "Numpy", "cupy:99", "torch:-1"]),
    keywords(multiplications=mostly([0, 1, 10**6]), threads=mostly([None, 1, 2, 10**4])),
)
def test_get_backend(name, options):
    def wrong(backend):
        return None if isinstance(backend, Backend) else "is no backend"

    check("get_backend", fastnn.get_backend, name, **options, result=wrong)
