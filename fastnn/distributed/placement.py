"""Which worker gets which parts: as many samples each as can be, and neighbours together.

Of neighbours on one worker only the sum is sent (:mod:`fastnn.distributed.summation`), in each
step, while a part is moved once. So each worker gets a range of parts, and the choice is only
which one: that of which it has the most already.
"""

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
        How many samples each worker has of other parts.

    Examples
    --------
    >>> placed({0: 5, 1: 5, 2: 5, 3: 5}, {0: ["b"], 1: ["b"], 2: ["b"]}, ["a", "b"], {})
    {'b': [0, 1], 'a': [2, 3]}
    >>> placed({1: 5, 2: 5, 7: 5}, {}, ["a", "b"], {"a": 10, "b": 5})
    {'a': [1], 'b': [2, 7]}
    """
    whole = sum(rows.values())
    share = (whole + sum(before.get(address, 0) for address in workers)) / len(workers)
    rooms = {address: max(share - before.get(address, 0), 0) for address in workers}
    scale = whole / sum(rooms.values())
    left, free, begin = sorted(rows), list(workers), 0.0
    found: dict[str, list[int]] = {}
    middles, passed = {}, 0.0
    for n in left:
        middles[n] = passed + rows[n] / 2
        passed += rows[n]
    while left:
        ends = {address: begin + rooms[address] * scale for address in free}
        ranges = {a: [n for n in left if middles[n] < end] for a, end in ends.items()}
        if len(free) == 1:
            ranges = {free[0]: left}
        near = {a: sum(rows[n] for n in some if a in have.get(n, ())) for a, some in ranges.items()}
        chosen = max(free, key=near.__getitem__)
        if ranges[chosen]:
            found[chosen] = ranges[chosen]
        left, begin = left[len(ranges[chosen]) :], ends[chosen]
        free.remove(chosen)
    return found
