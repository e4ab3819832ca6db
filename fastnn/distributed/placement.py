"""Which worker gets which parts: as many samples each as can be, and where they are already."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


def placed(
    rows: Mapping[int, int],
    have: Mapping[int, Collection[str]],
    workers: Sequence[str],
    before: Mapping[str, int],
) -> dict[str, list[int]]:
    """The numbers of the parts for each worker that gets any, in order.

    Parameters
    ----------
    rows : dict of int to int
        How many samples each part has.
    have : dict of int to addresses
        Where it is.
    workers : list of str
    before : dict of str to int
        How many samples each worker has already.

    Examples
    --------
    >>> placed({0: 5, 1: 5, 2: 5, 3: 5}, {0: ["b"], 1: ["b"], 2: ["b"]}, ["a", "b"], {})
    {'a': [2, 3], 'b': [0, 1]}
    """
    load = {address: before.get(address, 0) for address in workers}
    share = (sum(load.values()) + sum(rows.values())) / len(workers)
    found: dict[str, list[int]] = {address: [] for address in workers}
    rest = []
    for n in sorted(rows):
        near = [a for a in have.get(n, ()) if a in load and load[a] + rows[n] <= share]
        if near:
            address = min(near, key=lambda a: load[a])
            found[address].append(n)
            load[address] += rows[n]
        else:
            rest.append(n)
    for n in rest:  # neighbours stay together, as long as there is room
        room = [a for a in workers if load[a] + rows[n] <= share]
        address = room[0] if room else min(workers, key=lambda a: load[a])
        found[address].append(n)
        load[address] += rows[n]
    return {address: sorted(numbers) for address, numbers in found.items() if numbers}
