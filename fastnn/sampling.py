"""Which samples each batch has: row numbers, drawn from one generator on the host.

A sampler draws for exactly the steps that are made next, however many at a time: the numbers do not
depend on how the steps are cut into pieces. So between two pieces the generator, and what
`state_dict` gives, are all that the rest of a training depends on; nothing is drawn ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .errors import InputError
from .validation import shown


class Sampler:
    """Batches of row numbers, and where in its epoch a training is.

    Parameters
    ----------
    samples, batch_size : int
    rng : numpy.random.Generator

    Attributes
    ----------
    steps_per_epoch : int
    epoch : int
        How many epochs are complete.
    position : int
        How many steps of the epoch under way are made.
    """

    name: ClassVar[str]

    def __init__(self, samples: int, batch_size: int, rng: np.random.Generator) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.rng = rng
        self.steps_per_epoch = self._steps_per_epoch()
        self.epoch = 0
        self.position = 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that batches have."""
        return (self.batch_size,)

    @property
    def steps_left(self) -> int:
        """How many steps the epoch under way still has."""
        return self.steps_per_epoch - self.position

    def start_at(self, iteration: int) -> None:
        """Count as after so many steps of another training."""
        self.epoch, self.position = divmod(iteration, self.steps_per_epoch)

    def draw(self, steps: int) -> list[np.ndarray]:
        """The row numbers of the next steps.

        Returns
        -------
        list of numpy.ndarray of int64, each of shape (some steps, samples in each batch)
            Together they are of so many steps.
        """
        blocks = self._draw(steps)
        passed, self.position = divmod(self.position + steps, self.steps_per_epoch)
        self.epoch += passed
        return blocks

    def state_dict(self) -> dict[str, Any]:
        """What a sampler of the same kind and size goes on from, beside the generator's state.

        Numbers that JSON has, and NumPy arrays of one dimension.
        """
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Raises
        ------
        InputError
            If no sampler of this size gives such a state; nothing is changed then.
        """
        epoch: Any = state.get("epoch")
        position: Any = state.get("position")
        are_counts = isinstance(epoch, int) and isinstance(position, int)
        if not are_counts or epoch < 0 or not 0 <= position < self.steps_per_epoch:
            raise InputError(
                f"the state of the sampler has epoch={shown(epoch)}, position={shown(position)}; "
                f"an epoch of this one has {self.steps_per_epoch} steps"
            )
        self.epoch, self.position = epoch, position

    def _steps_per_epoch(self) -> int:
        raise NotImplementedError

    def _draw(self, steps: int) -> list[np.ndarray]:
        raise NotImplementedError


class Replacement(Sampler):
    """Every row number of every batch is drawn from all of them, as the book does.

    They are ``rng.integers(samples, size=(steps, batch_size))``, which gives the same numbers for
    all steps at once as for some after others. An epoch is as many steps as there are whole batches
    in the data, at least one.
    """

    name = "replacement"

    def _steps_per_epoch(self) -> int:
        return max(self.samples // self.batch_size, 1)

    def _draw(self, steps: int) -> list[np.ndarray]:
        return [self.rng.integers(self.samples, size=(steps, self.batch_size))]


class Shuffle(Sampler):
    """Every epoch has each sample once, in an order of its own.

    The order is ``rng.permutation(samples)``, drawn when the epoch's first batch is; its last batch
    has what is left, which may be less than `batch_size`.
    """

    name = "shuffle"

    def __init__(self, samples: int, batch_size: int, rng: np.random.Generator) -> None:
        super().__init__(samples, batch_size, rng)
        self._order = np.empty(0, np.int64)

    @property
    def sizes(self) -> tuple[int, ...]:
        whole, rest = divmod(self.samples, self.batch_size)
        return (self.batch_size,) * (whole > 0) + (rest,) * (rest > 0)

    def _steps_per_epoch(self) -> int:
        return -(-self.samples // self.batch_size)

    def start_at(self, iteration: int) -> None:
        """A new order begins wherever another training has ended."""
        self.epoch = iteration // self.steps_per_epoch

    def _draw(self, steps: int) -> list[np.ndarray]:
        blocks: list[np.ndarray] = []
        position = self.position
        while steps:
            if position == 0:
                self._order = self.rng.permutation(self.samples)
            some = min(steps, self.steps_per_epoch - position)
            blocks += self._batches(position, position + some)
            position = (position + some) % self.steps_per_epoch
            steps -= some
        if len({block.shape[1] for block in blocks}) == 1:  # no rest: as few blocks as possible
            return [np.concatenate(blocks)]
        return blocks

    def _batches(self, first: int, last: int) -> list[np.ndarray]:
        """The batches of these steps of the epoch under way: whole ones, and what is left."""
        rows = self._order[first * self.batch_size : last * self.batch_size]
        whole = len(rows) // self.batch_size * self.batch_size
        blocks = rows[:whole].reshape(-1, self.batch_size), rows[whole:].reshape(1, -1)
        return [block for block in blocks if block.size]

    def state_dict(self) -> dict[str, Any]:
        # Between two epochs there is no order yet.
        order = self._order[: self.samples if self.position else 0]
        return super().state_dict() | {"order": order.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        order = np.asarray(state.get("order"))
        everything = np.arange(self.samples if state.get("position") else 0)
        if order.ndim != 1 or not np.array_equal(np.sort(order), everything):
            raise InputError(
                f"the state of the sampler has no order of {len(everything)} samples; "
                "resume with the data that the training began with"
            )
        super().load_state_dict(state)
        self._order = order.astype(np.int64)


#: By the names that the argument `sampling` has for them.
SAMPLERS: dict[str, type[Sampler]] = {cls.name: cls for cls in (Replacement, Shuffle)}
