"""What happened during a training."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class History:
    """What happened during training.

    Attributes
    ----------
    loss : numpy.ndarray, shape (iterations,)
        The loss of each iteration's batch, before the parameters were updated with it.
    iterations : list of int
        After the update of which iterations, counted from 0, the accuracies were evaluated.
    train_accuracy, test_accuracy : list of float
        The accuracies on all the training and test samples then; `test_accuracy` is empty without a
        test set.
    seconds : float
        Wall-clock seconds of the loop, evaluations included, compilation not.
    """

    loss: np.ndarray = field(default_factory=lambda: np.empty(0))
    iterations: list[int] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0
