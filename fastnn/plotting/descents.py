"""Pictures of gradients, of descents and of training, in the manner of the book's figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..differentiation import numerical_gradient_rows
from ..differentiation.values import Values
from ..errors import InputError
from ..history import History
from ..validation import Array, positive_int, real_array, real_number
from .figures import axes_or_new, pyplot

#: Points a side at which a function is evaluated for its contours.
CONTOUR_POINTS = 101

#: How far from the edge the number of a contour is to be, as a share of the side.
LABEL_MARGIN = 0.05

#: Points of a line up to which each has a mark.
MOST_MARKERS = 100


def plot_gradient_field(
    f: Callable[[np.ndarray], Any],
    xlim: tuple[float, float] = (-2.0, 2.0),
    ylim: tuple[float, float] = (-2.0, 2.0),
    *,
    points: int = 17,
    ax: Any = None,
) -> Any:
    """Arrows of −∇f, the direction of steepest descent, on a grid, over the contours of f.

    Parameters
    ----------
    f : callable
        Maps an array of shape (2,) to a number.
    xlim, ylim : (float, float)
        The part of the plane.
    points : int
        Arrows a side. The longest is about as long as their distance.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    InputError, DtypeError
        If a range is empty, or as :func:`fastnn.numerical_gradient`.
    """
    points = positive_int(points, "points", 2)
    ax = axes_or_new(ax)
    _contours(ax, f, xlim, ylim)
    x, y = np.meshgrid(np.linspace(*xlim, points), np.linspace(*ylim, points))
    descent = -numerical_gradient_rows(f, np.stack((x.ravel(), y.ravel()), axis=1))
    longest = np.hypot(*descent.T).max()
    spacing = min(xlim[1] - xlim[0], ylim[1] - ylim[0]) / (points - 1)
    ax.quiver(
        x,
        y,
        *descent.T,
        color="tab:blue",
        angles="xy",
        scale_units="xy",
        scale=longest / spacing if longest else 1,
        width=0.004,
    )
    return ax


def plot_descent_path(
    f: Callable[[np.ndarray], Any],
    path: Array,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    *,
    ax: Any = None,
) -> Any:
    """The path of a gradient descent in the plane, over the contours of f.

    Parameters
    ----------
    f : callable
        Maps an array of shape (2,) to a number.
    path : array, shape (points, 2)
        As ``gradient_descent(..., return_path=True)`` returns it.
    xlim, ylim : (float, float), optional
        The part of the plane; by default what the path takes up, and a margin.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    InputError
        If the path is not of shape (points, 2), or a range is empty.
    """
    path = real_array(path, "path")
    if path.ndim != 2 or path.shape[1] != 2 or len(path) == 0:
        raise InputError(f"path has shape {path.shape}; a path in the plane has shape (points, 2)")
    ax = axes_or_new(ax)
    middle, width = (path.max(axis=0) + path.min(axis=0)) / 2, np.ptp(path, axis=0)
    reach = np.maximum(0.6 * width, 0.2 * width.max()) if width.any() else np.ones(2)
    around = np.stack((middle - reach, middle + reach), axis=1).tolist()
    _label(ax, _contours(ax, f, xlim or around[0], ylim or around[1]))
    ax.plot(
        *path.T,
        color="tab:red",
        marker="o",
        markersize=3,
        linewidth=1,
        label=f"descent, {len(path) - 1} steps",
    )
    ax.plot(*path[0], color="black", marker="o", linestyle="none", label="start")
    ax.plot(*path[-1], color="black", marker="*", markersize=12, linestyle="none", label="end")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    return ax


def plot_history(history: History, *, axes: Any = None) -> Any:
    """Loss of every iteration, and what was evaluated, of a training.

    Parameters
    ----------
    history : History
        As :func:`fastnn.train` returns it.
    axes : sequence of two matplotlib.axes.Axes, optional
        Where to draw the loss and the accuracies; by default side by side in a new figure.

    Returns
    -------
    array of two matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    """
    if axes is None:
        axes = pyplot().subplots(1, 2, figsize=(10, 4), layout="constrained")[1]
    loss, accuracy = axes
    loss.plot(history.loss, color="tab:blue", linewidth=0.5, alpha=0.5, label="each batch")
    window = max(len(history.loss) // 100, 1)
    if window > 1:
        means = np.convolve(history.loss, np.full(window, 1 / window), mode="valid")
        loss.plot(
            np.arange(len(means)) + window - 1,
            means,
            color="tab:blue",
            label=f"mean of the last {window}",
        )
    if history.validation_loss:
        loss.plot(
            history.iterations,
            history.validation_loss,
            color="tab:green",
            marker="^",
            markersize=4,
            label="validation",
        )
    if len(loss.lines) > 1:
        loss.legend()
    loss.set(xlabel="iteration", ylabel="loss", ylim=(0, None))
    for values, label, marker, line in (
        (history.train_accuracy, "training", "o", "-"),
        (history.test_accuracy, "test", "s", "--"),
        (history.validation_accuracy, "validation", "^", ":"),
    ):
        if values or label == "training":
            accuracy.plot(
                *(history.iterations[: len(values)], values),
                marker=marker if len(values) <= MOST_MARKERS else None,
                markersize=4,
                linestyle=line,
                label=label,
            )
    accuracy.legend(loc="lower right")
    accuracy.set(xlabel="iteration", ylabel="accuracy", ylim=(0, 1))
    accuracy.set_xlim(loss.get_xlim())  # of the same iterations
    for ax in (loss, accuracy):
        ax.grid(alpha=0.3)
    return axes


def _contours(
    ax: Any, f: Callable[[np.ndarray], Any], xlim: tuple[float, float], ylim: tuple[float, float]
) -> Any:
    for (low, high), name in ((xlim, "xlim"), (ylim, "ylim")):
        if not real_number(low, name) < real_number(high, name):
            raise InputError(f"{name}=({low:g}, {high:g}) is empty; give (low, high)")
    x, y = np.meshgrid(np.linspace(*xlim, CONTOUR_POINTS), np.linspace(*ylim, CONTOUR_POINTS))
    points = np.stack((x.ravel(), y.ravel()), axis=1)
    of_f = Values(np, points[0])
    values = np.array([float(of_f.number(f(point))) for point in points]).reshape(x.shape)
    ax.set(xlabel="x[0]", ylabel="x[1]", xlim=xlim, ylim=ylim, aspect="equal")
    return ax.contour(x, y, values, levels=12, colors="gray", linewidths=0.8)


def _label(ax: Any, contours: Any) -> None:
    """Write the numbers of contours on them, but for those of which a part would be outside."""
    numbers = list(ax.clabel(contours, inline=False))
    low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
    places = [number.get_position() for number in numbers]
    for number in numbers:
        number.remove()
    inside = [
        place
        for place in places
        if abs((np.array(place) - low) / (high - low) - 0.5).max() < 0.5 - LABEL_MARGIN
    ]
    ax.clabel(contours, fontsize=8, manual=inside)
