import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib as mpl
from matplotlib import pyplot as plt

from fastnn import InputError, SimpleNet, TwoLayerNet, gradient_descent, plotting
from fastnn.evaluation import evaluate
from fastnn.training import History


@pytest.fixture(autouse=True, scope="module")
def without_display():
    with mpl.rc_context():
        plt.switch_backend("agg")
        yield


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def bowl(x):
    return x[0] ** 2 / 20 + x[1] ** 2


def test_gradient_field_points_downhill():
    ax = plotting.plot_gradient_field(bowl, (-4, 4), (-2, 2), points=5)
    (arrows,) = [c for c in ax.collections if isinstance(c, mpl.quiver.Quiver)]
    np.testing.assert_allclose(arrows.U, -arrows.X / 10, atol=1e-8)
    np.testing.assert_allclose(arrows.V, -2 * arrows.Y, atol=1e-8)
    assert (arrows.X.min(), arrows.X.max(), arrows.Y.min(), arrows.Y.max()) == (-4, 4, -2, 2)
    longest = np.hypot(arrows.U, arrows.V).max() / arrows.scale
    assert longest == pytest.approx(1)  # a step of the grid: arrows do not overlap
    assert ax.get_aspect() == 1
    assert ax.get_xlabel()
    assert ax.get_ylabel()


def test_gradient_field_of_a_constant():
    plotting.plot_gradient_field(lambda x: float(x[0] * 0), points=3).figure.canvas.draw()


def test_contours_of_a_function_of_no_single_number():
    with pytest.raises(InputError, match="only one number has a gradient"):
        plotting.plot_gradient_field(lambda x: x**2)


def test_the_number_of_a_contour_is_drawn_whole():
    def slope(x):
        return x[0] + x[1]

    ax = plotting.plot_descent_path(slope, np.zeros((1, 2)), (0, 1), (0, 1))
    ax.figure.canvas.draw()
    inside = ax.get_window_extent()
    numbers = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert len(numbers) > 3
    for box in numbers:
        assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
        assert inside.y0 <= box.y0 <= box.y1 <= inside.y1


def test_descent_path():
    _, path = gradient_descent(bowl, np.array([-7.0, 2.0]), lr=0.9, step_num=20, return_path=True)
    ax = plotting.plot_descent_path(bowl, path)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), path)
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), path[:1])
    np.testing.assert_array_equal(ax.lines[2].get_xydata(), path[-1:])
    (low, high), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert low < path[:, 0].min() < path[:, 0].max() < high
    assert bottom < path[:, 1].min() < path[:, 1].max() < top
    assert ax.get_aspect() == 1
    ax.figure.canvas.draw()


def test_path_of_one_point_and_given_limits():
    ax = plotting.plot_descent_path(bowl, np.zeros((1, 2)), ylim=(-1, 3))
    assert ax.get_xlim() == (-1, 1)
    assert ax.get_ylim() == (-1, 3)


@pytest.mark.parametrize("iterations", [1, 50, 1000])
def test_history(iterations):
    loss = np.linspace(2, 1, iterations)
    epochs = list(range(0, iterations, 20))
    history = History(loss, epochs, [0.5] * len(epochs), [0.4] * len(epochs))
    left, right = plotting.plot_history(history)
    np.testing.assert_array_equal(left.lines[0].get_ydata(), loss)
    if iterations == 1000:  # the mean of a straight line lags by half the window
        mean = left.lines[1]
        np.testing.assert_allclose(
            mean.get_ydata(), np.interp(mean.get_xdata() - 4.5, np.arange(1000), loss)
        )
    np.testing.assert_array_equal(right.lines[0].get_xdata(), epochs)
    assert [line.get_label() for line in right.lines] == ["training", "test"]
    assert left.get_xlim() == right.get_xlim()
    left.figure.canvas.draw()


def test_history_without_a_test_set():
    history = History(np.ones(3), [0, 1], [0.1, 0.2])
    _, right = plotting.plot_history(history)
    assert len(right.lines) == 1


def test_given_axes_are_drawn_into():
    before = plt.get_fignums()
    _, axes = plt.subplots(2, 2)
    assert plotting.plot_gradient_field(bowl, points=3, ax=axes[0, 0]) is axes[0, 0]
    assert plotting.plot_descent_path(bowl, np.eye(2), ax=axes[0, 1]) is axes[0, 1]
    plotting.plot_history(History(np.ones(3)), axes=axes[1])
    assert len(plt.get_fignums()) == len(before) + 1
    assert all(ax.has_data() for ax in axes.flat)


@pytest.mark.parametrize("xlim", [(1, 1), (2, 1), (0, np.nan)])
def test_impossible_limits(xlim):
    for draw in (
        plotting.plot_gradient_field,
        lambda f, xlim: plotting.plot_descent_path(f, np.eye(2), xlim),
    ):
        with pytest.raises(InputError, match="xlim"):
            draw(bowl, xlim)


@pytest.mark.parametrize("path", [np.zeros((3, 3)), np.zeros(2), np.zeros((0, 2))])
def test_impossible_paths(path):
    with pytest.raises(InputError, match=r"\(points, 2\)"):
        plotting.plot_descent_path(bowl, path)


# -- results ---------------------------------------------------------------------------------------


@pytest.fixture
def evaluation():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3) / 2, size=60)
    return evaluate(p, rng.integers(3, size=60), ["$a", "b" * 50, "日本"])


def test_confusion(evaluation):
    ax = plotting.plot_confusion(evaluation)
    numbers = {(t.get_position()[1], t.get_position()[0]): int(t.get_text()) for t in ax.texts}
    for (row, column), count in np.ndenumerate(evaluation.confusion):
        assert numbers.get((row, column), 0) == count
    shares = ax.images[0].get_array()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["$a", "b" * 23 + "…", "日本"]


def test_calibration(evaluation):
    ax = plotting.plot_calibration(evaluation)
    found = evaluation.calibration
    x, y = ax.lines[1].get_data()
    np.testing.assert_array_equal(x, found.confidence[found.count > 0])
    np.testing.assert_array_equal(y, found.accuracy[found.count > 0])
    ax.figure.canvas.draw()
    squared = evaluate(np.eye(2), [0, 1], probabilities=False)
    with pytest.raises(InputError, match="no probabilities"):
        plotting.plot_calibration(squared)


def test_the_worst_errors(evaluation):
    x = np.random.default_rng(1).random((60, 6))
    figure = plotting.plot_worst(evaluation, x, (2, 3), count=5)
    drawn = [ax for ax in figure.axes if ax.images]
    assert len(drawn) == 5
    for ax, row in zip(drawn, evaluation.worst, strict=False):
        np.testing.assert_array_equal(ax.images[0].get_array(), x[row].reshape(2, 3))
        said = evaluation.label_names[evaluation.said[row]][:3]
        assert f"said {said}" in ax.get_title()
    bars = plotting.plot_worst(evaluation, count=4)
    assert len(bars.axes[0].patches) == 4
    assert f"row {evaluation.worst[0] + 1}: " in bars.axes[0].get_yticklabels()[0].get_text()
    none = plotting.plot_worst(evaluate(np.eye(2), [0, 1]), np.eye(2), (1, 2))
    assert "no errors" in none._suptitle.get_text()


def test_weights(backend):
    network = TwoLayerNet(6, 14, 2, backend=backend, rng=0)
    W = network.backend.to_numpy(network.params["W1"])
    figure = plotting.plot_weights(network, (2, 3), count=12)
    images = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(images) == 12
    units = [int(ax.get_title()) for ax in figure.axes if ax.images]
    for unit, image in zip(units, images, strict=True):
        np.testing.assert_array_equal(image, W[:, unit].reshape(2, 3))
    strength = np.abs(network.backend.to_numpy(network.params["W2"])).sum(axis=1)
    assert set(range(14)) - set(units) == set(np.argsort(strength)[:2].tolist())
    table = plotting.plot_weights(network, features=["$x", *"bcdef"])
    np.testing.assert_array_equal(table.axes[0].images[0].get_array(), W)
    simple = plotting.plot_weights(SimpleNet(4, 3, backend=backend, rng=0), (2, 2))
    assert "3 of 3 outputs" in simple._suptitle.get_text()
    with pytest.raises(InputError, match="image_shape"):
        plotting.plot_weights(network, (5, 5))


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"fastnn\[plot\]"):
        plotting.plot_gradient_field(bowl)
