"""Looks whose energy and time cannot belong together: broken counters, and not the run."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from joulestat.optimizer.history.facts import Slice

ODD_POWER_FACTOR = 1.5
"""Mean power of a look this far from the middling look under the same limit is odd ..."""
ODD_DEVIATIONS = 8.0
"""... if it is also so many times further than looks usually are: some runs do wander."""
LEAST_LOOKS = 5
"""Of fewer looks none can be called odd."""
MOST_ODD_RATIO = 0.25
"""If more than this share is odd, that is how the run is."""


def without_odd(slices: Iterable[Slice]) -> tuple[list[Slice], int]:
    """Leave out looks in which a counter must have been wrong.

    A counter that stood still, was reset or was counted twice changes energy or time, not both.
    Power, their ratio, then leaves what the run draws under that limit; long steps alone do not.
    A counter that stood still and then caught up makes two odd looks, and both are left out.

    Args:
        slices: In time order.

    Returns:
        The others, in the same order, and how many were left out.
    """
    items = list(slices)
    by_place: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for position, item in enumerate(items):
        by_place[item.node, item.power_limit_watts].append(position)
    odd: set[int] = set()
    for positions in by_place.values():
        odd.update(_odd(items, positions))
    return [item for position, item in enumerate(items) if position not in odd], len(odd)


def _odd(items: Sequence[Slice], positions: Sequence[int]) -> list[int]:
    # Where no step ended, time and energy need not belong together.
    timed = [p for p in positions if items[p].steps > 0 and items[p].step_seconds > 0]
    if len(timed) < LEAST_LOOKS:
        return []
    watts = np.array([items[position].joules / items[position].step_seconds for position in timed])
    middle = float(np.median(watts))
    if middle <= 0:
        return []
    away = np.abs(np.log(np.maximum(watts, 1e-9) / middle))
    usual = float(np.median(away))
    far = away > max(np.log(ODD_POWER_FACTOR), ODD_DEVIATIONS * usual)
    if np.count_nonzero(far) > MOST_ODD_RATIO * len(timed):
        return []
    return [position for position, is_far in zip(timed, far, strict=True) if is_far]
