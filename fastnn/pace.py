"""How many steps to make at a time, so that it takes about as long as it should."""

from __future__ import annotations

#: By how much the number of steps grows at most: what is measured may be anything, once.
GROWTH = 64


class Pace:
    """Of the pieces of a loop, measured on those before.

    Parameters
    ----------
    seconds : float
        How long a piece should take.

    Attributes
    ----------
    steps, evaluations : int
        How many of each the next piece should have at most.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._step: float | None = None  # what a step takes, if it has been measured by itself
        self.steps = self.evaluations = 1

    def measured(self, steps: int, evaluations: int, seconds: float) -> None:
        """A piece of so many took so long."""
        seconds = max(seconds, 1e-9)
        if not evaluations:
            self._step = seconds / steps
            wanted = self._seconds / self._step
        else:
            # As long as it is not known what is whose, each might have taken it all.
            own = 0.0 if self._step is None else min(steps * self._step, 0.9 * seconds)
            self.evaluations = self._grown(
                self._seconds * evaluations / (seconds - own), self.evaluations
            )
            wanted = self._seconds / (self._step or seconds / steps)
        self.steps = self._grown(wanted, self.steps)

    @staticmethod
    def _grown(wanted: float, before: int) -> int:
        return max(1, round(min(wanted, GROWTH * before)))
