"""Pictures of gradients, descents and training, in the manner of the book's figures; of results.

Matplotlib is imported when the first picture is drawn; it comes with ``pip install
'fastnn[plot]'``. Every function draws into the Axes, or the Figure, that it is given, or into a new
figure, and returns them: what is shown, saved or changed is up to the caller.
"""

from .descents import plot_descent_path, plot_gradient_field, plot_history
from .results import plot_calibration, plot_confusion, plot_weights, plot_worst

__all__ = [
    "plot_calibration",
    "plot_confusion",
    "plot_descent_path",
    "plot_gradient_field",
    "plot_history",
    "plot_weights",
    "plot_worst",
]
