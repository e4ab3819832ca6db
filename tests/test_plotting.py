import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from fastnn import InputError, gradient_descent, plotting
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


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"fastnn\[plot\]"):
        plotting.plot_gradient_field(bowl)
