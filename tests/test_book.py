"""The book's scripts, as they stand, on each backend."""

import os
import sys
from pathlib import Path

import book
import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib as mpl
from matplotlib import pyplot as plt

from fastnn.book import run_script

SCRIPTS = Path(__file__).with_name("book_scripts")


@pytest.fixture
def run(tmp_path, monkeypatch, backend):
    """Run a script of the folder on the backend, in an empty directory and without a display."""
    monkeypatch.chdir(tmp_path)
    with mpl.rc_context():
        plt.switch_backend("agg")
        monkeypatch.setattr(plt, "show", lambda: None)
        yield lambda name: run_script(SCRIPTS / name, backend=backend)


@pytest.fixture
def run_text(tmp_path, monkeypatch):
    """Run a script given as text, on NumPy."""
    monkeypatch.chdir(tmp_path)

    def run_text(text, **options):
        path = tmp_path / "script.py"
        path.write_text(text)
        return run_script(path, **options)

    return run_text


def test_training_loop(run, backend, mnist):
    names = run("ch04/train_neuralnet.py")
    assert names["network"].backend is backend
    assert isinstance(names["prediction"], np.ndarray)
    assert names["agreement"] > 0.3

    # The book's own classes and formulas, with NumPy's global state as they use it.
    (x, t), (x_test, t_test) = mnist
    t, t_test = np.eye(10)[t], np.eye(10)[t_test]
    np.random.seed(0)
    params = {"W1": 0.01 * np.random.randn(784, 50), "b1": np.zeros(50)}
    params |= {"W2": 0.01 * np.random.randn(50, 10), "b2": np.zeros(10)}
    losses, accuracies = [], []
    for i in range(60):
        rows = np.random.choice(60000, 100)
        for key, gradient in book.gradient(params, x[rows], t[rows]).items():
            params[key] -= 0.5 * gradient
        losses.append(book.loss(params, x[rows], t[rows]))
        if i % 30 == 0:
            accuracies.append(book.accuracy(params, x_test, t_test))
    np.testing.assert_allclose(names["train_loss_list"], losses, rtol=1e-7)
    np.testing.assert_allclose(names["test_acc_list"], accuracies, atol=2e-4)


def test_gradient_check(run):
    differences = run("ch05/gradient_check.py")["differences"]
    assert list(differences) == ["W1", "b1", "W2", "b2"]
    # By the 1e-7 in the loss that backpropagation leaves out.
    assert max(differences.values()) < 1e-6


def test_simple_net(run):
    names = run("ch04/gradient_simplenet.py")
    assert names["loss"] == pytest.approx(0.92806853663411326, abs=1e-6)
    expected = [
        [0.21924763, 0.14356247, -0.36281009],
        [0.32887144, 0.2153437, -0.54421514],
    ]  # without the 1e-7
    np.testing.assert_allclose(names["dW"], expected, atol=2e-7)


@pytest.mark.filterwarnings("ignore:h=0.0001 is lost")
def test_gradient_descent(run):
    names = run("ch04/gradient_descent.py")
    np.testing.assert_allclose(names["minimum"], [-6.11110793e-10, 8.14814391e-10], rtol=1e-8)
    np.testing.assert_allclose(names["too_large"], [-2.58983747e13, -1.29524862e12], rtol=1e-8)
    np.testing.assert_allclose(names["too_small"], [-2.99999994, 3.99999992], rtol=1e-8)


def test_network_of_layers(run):
    names = run("ch05/two_layer_net_of_layers.py")
    for key, gradient in names["backprop"].items():
        np.testing.assert_allclose(gradient, names["numerical"][key], rtol=1e-5, atol=1e-7)
    np.random.seed(1)
    np.testing.assert_array_equal(names["network"].params["W1"], np.random.randn(6, 4))


def test_weights_are_those_of_the_book(run_text, backend):
    text = (
        "import numpy as np\nfrom two_layer_net import TwoLayerNet\n"
        "np.random.seed(5)\nnet = TwoLayerNet(4, 3, 2, 0.1)\n"
    )
    params = run_text(text, backend=backend)["net"].params
    np.random.seed(5)
    W1 = 0.1 * np.random.randn(4, 3)
    W2 = 0.1 * np.random.randn(3, 2)
    np.testing.assert_array_equal(backend.to_numpy(params["W1"]), W1)
    np.testing.assert_array_equal(backend.to_numpy(params["W2"]), W2)


def test_layers_take_labels_and_one_hot_targets(run_text):
    names = run_text(
        """
from common.layers import *
x = np.array([[1.0, 2.0, -1.0], [0.0, 0.5, 3.0]])
results = []
for t in (np.array([1, 0]), np.array([[0, 1, 0], [1, 0, 0]])):
    layer = SoftmaxWithLoss()
    results.append((layer.forward(x, t), layer.backward()))
sigmoid_layer = Sigmoid()
y = sigmoid_layer.forward(x)
dy = sigmoid_layer.backward(np.ones_like(x))
affine = Affine(np.ones((6, 2)), np.array([0.5, 1.0]))
image = np.arange(12.0).reshape(2, 2, 3)
z = affine.forward(image)
dimage = affine.backward(z)
"""
    )
    (loss, dx), (loss_2, dx_2) = names["results"]
    assert loss == loss_2
    np.testing.assert_array_equal(dx, dx_2)
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=1e-15)
    np.testing.assert_allclose(names["dy"], names["y"] * (1 - names["y"]))
    np.testing.assert_array_equal(names["z"], [[15.5, 16], [51.5, 52]])
    assert names["dimage"].shape == (2, 2, 3)


def test_gradient_at_each_row(run_text):
    names = run_text(
        """
import numpy as np
from common.gradient import numerical_gradient_2d
X = np.array([[3.0, 4.0], [0.0, 2.0]])
rows = numerical_gradient_2d(lambda x: x[0] ** 2 + x[1] ** 2, X)
point = numerical_gradient_2d(lambda x: x[0] ** 2 + x[1] ** 2, X[0])
"""
    )
    np.testing.assert_allclose(names["rows"], [[6, 8], [0, 4]], atol=1e-8)
    np.testing.assert_allclose(names["point"], [6, 8], atol=1e-8)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "import common.trainer",
            r"not provide common\.trainer.*common\.functions.*two_layer_net, and there is none",
        ),
        ("from common import trainer", r"common has no trainer; it has common\.functions"),
        (
            "from common.layers import Convolution",
            r"common\.layers has no Convolution.*Affine.*SoftmaxWithLoss",
        ),
        ("from dataset.cifar import load", r"does not provide dataset\.cifar"),
        (
            "import two_layer_net; two_layer_net.ThreeLayerNet",
            r"two_layer_net has no ThreeLayerNet; it has TwoLayerNet",
        ),
    ],
)
def test_what_is_missing_is_named(run_text, statement, message):
    with pytest.raises(ImportError, match=message):
        run_text(statement)


def test_everything_is_as_before_afterwards(run_text):
    before = sys.argv, sys.path[:], sys.meta_path[:], dict(os.environ)
    for text in ("import common.functions", "import dataset.mnist; raise SystemExit(3)"):
        try:
            run_text(text)
        except SystemExit as stopped:
            assert stopped.code == 3  # noqa: PT017
        assert (sys.argv, sys.path, sys.meta_path, dict(os.environ)) == before
        assert not {"common", "common.functions", "dataset", "dataset.mnist"} & sys.modules.keys()
