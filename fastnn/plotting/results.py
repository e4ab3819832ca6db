"""Pictures of what a network has learnt: its mistakes, how sure it may be, what it looks for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..base_network import Network
from ..errors import InputError
from ..evaluation import Evaluation
from ..validation import positive_int
from .figures import axes_or_new, figure_or_new

#: Classes up to which the numbers are written into a confusion matrix, and all names beside it.
FEW, MANY = 20, 60

#: The longest name that is written in full.
LONGEST_NAME = 24


def plot_confusion(evaluation: Evaluation, *, ax: Any = None) -> Any:
    """The confusion matrix: a row for what is right, a column for what was said.

    The shade is the part of its row, and the numbers are samples.

    Parameters
    ----------
    evaluation : fastnn.evaluation.Evaluation
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    """
    ax = axes_or_new(ax)
    counts, names = evaluation.confusion, [_short(name) for name in evaluation.label_names]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.figure.colorbar(image, ax=ax, label="part of the row")
    if len(names) <= MANY:
        places = range(len(names))
        turned = max(map(len, names)) > 3
        ax.set_xticks(places, names, rotation=90 if turned else 0, parse_math=False)
        ax.set_yticks(places, names, parse_math=False)
    if len(names) <= FEW:
        size = 9 if len(names) <= 12 else 6
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            text = f"{counts[row, column]}"
            ax.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
    ax.set(xlabel="said", ylabel="right", title=f"accuracy {evaluation.accuracy:.4f}")
    return ax


def plot_calibration(evaluation: Evaluation, *, ax: Any = None) -> Any:
    """How often answers are right by how sure they are, and how many there are of each.

    On the diagonal, an answer with the probability 0.8 is right eight times in ten.

    Parameters
    ----------
    evaluation : fastnn.evaluation.Evaluation
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
        If the outputs were no probabilities.
    """
    found = evaluation.calibration
    if found is None:
        raise InputError("the outputs are no probabilities, and so have no calibration to draw")
    ax = axes_or_new(ax)
    filled, share = found.count > 0, found.count / found.count.sum()
    width = found.edges[1] - found.edges[0]
    ax.bar(
        found.edges[:-1], share, width, align="edge", color="lightgray", label="part of the answers"
    )
    ax.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1, label="as sure as right")
    ax.plot(
        found.confidence[filled],
        found.accuracy[filled],
        color="tab:blue",
        marker="o",
        label="right",
    )
    ax.set(
        xlim=(0, 1),
        ylim=(0, 1.02),
        xlabel="probability of what was said",
        ylabel="part that is right",
        title=f"expected calibration error {found.error:.4f}",
    )
    ax.grid(alpha=0.3)
    ax.legend(loc="upper left")
    return ax


def plot_worst(
    evaluation: Evaluation,
    x: Any = None,
    image_shape: tuple[int, int] | None = None,
    *,
    count: int = 24,
    figure: Any = None,
) -> Any:
    """The errors of which the classifier was surest, with what was said and what is right.

    Parameters
    ----------
    evaluation : fastnn.evaluation.Evaluation
    x : array_like, shape (samples, features), optional
        The samples, if they are images.
    image_shape : (int, int), optional
        Height and width. Without it, the errors are bars with the numbers of their rows.
    count : int
        How many at most.
    figure : matplotlib.figure.Figure, optional
        Where to draw.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    """
    worst = evaluation.worst[: positive_int(count, "count")]
    names = [_short(name) for name in evaluation.label_names]
    if image_shape is None or x is None:
        figure = figure_or_new(figure, (7, 1.2 + 0.25 * len(worst)))
        ax = figure.subplots()
        _bars(ax, evaluation, worst, names)
        return figure
    columns = max(min(8, len(worst)), 1)
    rows = max(math.ceil(len(worst) / columns), 1)
    figure = figure_or_new(figure, (1.5 * columns, 1.8 * rows + 0.5))
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for ax, row in zip(axes, worst, strict=False):
        ax.imshow(np.reshape(np.asarray(x[int(row)]), image_shape), cmap="gray")
        said, right = names[evaluation.said[row]], names[evaluation.labels[row]]
        text = f"said {said} ({evaluation.confidence[row]:.2f})\nis {right}"
        ax.set_title(text, fontsize=9, parse_math=False)
    for ax in axes:
        ax.set_axis_off()
    figure.suptitle(_counted(evaluation, len(worst)))
    return figure


def _bars(ax: Any, evaluation: Evaluation, worst: np.ndarray, names: list[str]) -> None:
    texts = [
        f"row {row + 1}: said {names[evaluation.said[row]]}, is {names[evaluation.labels[row]]}"
        for row in worst.tolist()
    ]
    ax.barh(range(len(worst)), evaluation.confidence[worst], color="tab:red")
    ax.set_yticks(range(len(worst)), texts, parse_math=False)
    ax.invert_yaxis()
    ax.set(xlabel="output of what was said", title=_counted(evaluation, len(worst)))


def _counted(evaluation: Evaluation, shown: int) -> str:
    errors, samples = len(evaluation.worst), len(evaluation.labels)
    if not errors:
        return f"no errors in {samples} samples"
    return f"the {shown} surest of {errors} errors in {samples} samples"


def plot_weights(
    network: Network,
    image_shape: tuple[int, int] | None = None,
    features: list[str] | None = None,
    *,
    count: int = 100,
    figure: Any = None,
) -> Any:
    """The weights of the hidden units: what each looks for, red for more and blue for less.

    Parameters
    ----------
    network : Network
    image_shape : (int, int), optional
        Height and width of the samples; each unit is an image then. Otherwise they are the columns
        of one.
    features : list of str, optional
        The names of the features.
    count : int
        How many units at most, those with the largest weights in the next layer first.
    figure : matplotlib.figure.Figure, optional
        Where to draw.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    InputError
        If the samples of the network are not of this shape.
    """
    count = positive_int(count, "count")
    host = [network.backend.to_numpy(p) for p in network.params.values() if p.ndim == 2]
    W, following = host[0], host[1] if len(host) > 1 else None
    if image_shape is not None and math.prod(image_shape) != len(W):
        raise InputError(f"image_shape={image_shape} is not that of {len(W)} features")
    units = W.shape[1]
    order = np.arange(units)
    if following is not None and units > count:
        order = np.sort(np.argsort(-np.abs(following).sum(axis=1), kind="stable")[:count])
    order = order[:count]
    most = float(np.abs(W[:, order]).max()) or 1.0
    options = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
    what = "hidden units" if following is not None else "outputs"
    title = f"weights of {len(order)} of {units} {what}"
    if image_shape is None:
        figure = figure_or_new(figure, (8, 6))
        ax = figure.subplots()
        image = ax.imshow(W[:, order], aspect="auto", interpolation="nearest", **options)
        if features is not None and len(features) <= MANY:
            names = [_short(name) for name in features]
            ax.set_yticks(range(len(names)), names, parse_math=False)
        ax.set(xlabel=what[:-1], ylabel="feature", title=title)
        figure.colorbar(image, ax=ax)
        return figure
    columns = min(10, len(order))
    rows = math.ceil(len(order) / columns)
    figure = figure_or_new(figure, (columns + 1, rows + 0.6))
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for ax, unit in zip(axes, order, strict=False):
        image = ax.imshow(W[:, unit].reshape(image_shape), interpolation="nearest", **options)
        ax.set_title(str(unit), fontsize=7, pad=2)
    for ax in axes:
        ax.set_axis_off()
    figure.suptitle(title)
    figure.colorbar(image, ax=axes.tolist(), shrink=0.8)
    return figure


def _short(name: str) -> str:
    """A name that fits beside a picture, of what can be printed."""
    text = "".join(c if c.isprintable() else "?" for c in name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
