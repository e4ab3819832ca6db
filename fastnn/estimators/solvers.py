"""scikit-learn's solvers: which optimizer of ours each is, and the learning rate of its epochs."""

from __future__ import annotations

from typing import Any

from ..optimizers import Adam, Momentum, Nesterov

#: Below which rate ``learning_rate="adaptive"`` ends a training, and by what it divides one.
SMALLEST_RATE, DIVISOR = 1e-6, 5.0


class Solver:
    """An optimizer, and the rate at which it makes the steps of the epoch to come."""

    def __init__(self, estimator: Any) -> None:
        self.rate = self.initial = float(estimator.learning_rate_init)
        self.schedule, self.power = "constant", estimator.power_t
        # Their constructors refuse what scikit-learn allows, as a momentum of 1.
        if estimator.solver == "adam":
            self.optimizer: Any = Adam(self.rate)
            self.optimizer.beta1, self.optimizer.beta2 = estimator.beta_1, estimator.beta_2
            self.optimizer.epsilon = estimator.epsilon
        else:
            self.schedule = estimator.learning_rate
            nesterov = estimator.nesterovs_momentum
            self.optimizer = Nesterov(self.rate) if nesterov else Momentum(self.rate)
            self.optimizer.momentum = float(estimator.momentum)

    def epoch_ends(self, samples: int) -> None:
        """Set the rate for the next epoch, after so many samples of all epochs."""
        if self.schedule == "invscaling":
            self.rate = self.initial / (samples + 1) ** self.power

    def stalls(self) -> tuple[bool, str]:
        """Whether a training ends that does not get better, and what to say; or a smaller rate."""
        if self.schedule != "adaptive":
            return True, "Stopping."
        if self.rate <= SMALLEST_RATE:
            return True, "Learning rate too small. Stopping."
        self.rate /= DIVISOR
        return False, f"Setting learning rate to {self.rate:f}"
