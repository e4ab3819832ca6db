"""The samples of a training as its loop sees them: it asks for sums, and the workers have parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backends import Backend
from ..backends.datasets import DistantDataset
from ..base_network import Network
from ..files.digests import OF_BLOCKS
from ..functions import LOSSES
from ..validation import Array
from .arrays import Blocks
from .cluster import Cluster
from .parts import Parts, Placed
from .summation import total
from .worker import Recipe, Sums


class DistributedDataset(DistantDataset):
    """Samples and targets on the workers of a cluster.

    Parameters
    ----------
    cluster : Cluster
    network : Network
        What they are for.
    backend : str or Backend
        What the workers compute with.
    blocks : Blocks
    name : str
        For messages: "train", "test" or "validation".
    progress : bool
        Show a bar while they are loaded.

    Attributes
    ----------
    digest, of_weights : str
        What tells samples and targets, and weights, from others; the sizes of the blocks included.
    """

    def __init__(
        self,
        cluster: Cluster,
        network: Network,
        backend: str | Backend,
        blocks: Blocks,
        name: str,
        *,
        progress: bool = False,
    ) -> None:
        super().__init__(network.backend)
        self._rows = blocks.rows
        self._ends = np.cumsum(blocks.rows)
        recipe = Recipe(network, backend)
        self._parts = Parts(cluster, recipe, blocks, name, progress=progress)
        self.digest, self.of_weights = (
            _digest(blocks.rows, [each[k] for each in self._parts.digests]) for k in range(2)
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def places(self) -> dict[str, tuple[int, ...]]:
        """Which parts each worker has, by address."""
        return self._parts.places

    def close(self) -> None:
        """Let the workers forget the samples."""
        self._parts.close()

    def gradient(
        self, network: Network, rows: Array, method: str
    ) -> tuple[float, dict[str, Array] | None]:
        numbers = self.backend.to_numpy(rows)
        part = np.searchsorted(self._ends, numbers, side="right")
        active = np.unique(part).tolist()
        starts = self._ends - self._rows
        own = {n: numbers[part == n] - starts[n] for n in active}
        params = self._params(network)

        def asked(one: Placed) -> tuple[Any, ...] | None:
            there = {n: own[n] for n in one.numbers if n in own}
            return (params, there, active, method) if there else None

        found = self._total("gradient", asked, active)
        if not found.weight:
            return 0.0, None
        mean = self._mean(network)
        shares = {n: g / found.weight if mean else g / 1 for n, g in found.gradients.items()}
        loss = found.value / found.weight if mean else found.value
        return loss, {name: self.backend.asarray(g) for name, g in shares.items()}

    def count_correct(self, network: Network) -> int:
        return self._evaluated(network, False).correct

    def accuracy_and_loss(self, network: Network) -> tuple[int, Array]:
        found = self._evaluated(network, True)
        loss = found.value / found.weight if self._mean(network) else found.value
        return found.correct, self.backend.asarray(np.asarray(loss))

    def _evaluated(self, network: Network, with_loss: bool) -> Sums:
        params = self._params(network)
        every = range(len(self._rows))
        return self._total("evaluation", lambda _: (params, with_loss), every)

    def _params(self, network: Network) -> dict[str, np.ndarray]:
        return {name: self.backend.to_numpy(p) for name, p in network.params.items()}

    @staticmethod
    def _mean(network: Network) -> bool:
        return LOSSES[network.loss_name].mean

    def _total(
        self,
        method: str,
        arguments: Callable[[Placed], tuple[Any, ...] | None],
        active: Sequence[int],
    ) -> Sums:
        """The sum over all parts."""
        answers = self._parts.answers(method, arguments)
        found = {tree: sums for answer in answers for tree, sums in answer.items()}
        result = total(found, active, len(self._rows), Sums.plus)
        assert result is not None
        return result


def _digest(rows: Sequence[int], digests: Sequence[str]) -> str:
    """One of all, and of the blocks that they are in, on which the last bits depend.

    It is none of the array as a whole, which would have to come to one place for that.
    """
    whole = hashlib.sha256(repr((list(rows), list(digests))).encode())
    return OF_BLOCKS + whole.hexdigest()
