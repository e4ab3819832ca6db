"""Where pictures are drawn: Matplotlib, imported when the first one is."""

from __future__ import annotations

from typing import Any


def axes_or_new(ax: Any) -> Any:
    """The Axes that are given, or those of a new figure."""
    return pyplot().subplots(layout="constrained")[1] if ax is None else ax


def figure_or_new(figure: Any, size: tuple[float, float]) -> Any:
    """The Figure that is given, or a new one of this size in inches."""
    return pyplot().figure(figsize=size, layout="constrained") if figure is None else figure


def pyplot() -> Any:
    """Matplotlib's pyplot, or an error that names the extra."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"plotting needs Matplotlib ({error}): pip install 'fastnn[plot]'"
        ) from error
    return plt
