"""When the run itself changed: longer sequences, other data, resumed with other settings.

What was measured before and after such a moment cannot be compared, and drift is no such moment.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from joulestat.optimizer.evidence.blocks import Block
from joulestat.optimizer.evidence.levels import Levels, Vector, columns, fit

CHANGE_RATIO = 0.04
"""A smaller change is left to the drift, which the errors allow for."""
CHANGE_ERRORS = 6.0
"""So many standard errors: the moment is looked for, and there are many."""
LEAST_BLOCKS = 4
LEAST_SECONDS = 300.0
"""A limit must have been in force for so long on both sides, and in so many blocks."""
LARGE_CHANGE_RATIO = 0.15
LARGE_LEAST_SECONDS = 60.0
"""No drift goes so far: a change as large as this is believed sooner."""
MOST_CHANGES = 4

FASTER_RATIO = 0.03
FASTER_ERRORS = 4.0
"""Steps under a lower limit that are shorter by more than both contradict the limits."""


@dataclass(frozen=True, slots=True)
class _Change:
    position: int
    log_ratio: float
    quantity: int


def since_last_change(blocks: Sequence[Block]) -> tuple[tuple[Block, ...], str]:
    """Leave out what was measured before the run changed.

    Levels under the same limit before and after a moment are compared, all limits together. A
    change of time or power must be beyond 4 % and beyond 6 standard errors, with the drift that
    the blocks show taken into account.

    Args:
        blocks: In time order.

    Returns:
        The blocks since the last change, and one sentence that says what changed; all blocks and
        an empty sentence where nothing did.
    """
    kept, said = tuple(blocks), ""
    for _ in range(MOST_CHANGES):
        change = _change(kept)
        if change is None:
            break
        said = _sentence(kept, change)
        # The moment may lie within the block that seems to be the first one after it.
        kept = kept[change.position + 1 :]
    return kept, said


def faster_below(levels: Levels) -> list[str]:
    """Return, for people, where steps seem clearly faster at a lower limit than at a higher one.

    No limit does that. The run changed on the way, where no limit was long enough in force on
    both sides to see it. Measured again, the higher limit shows the change.

    Args:
        levels: What was measured, with the errors of its differences.
    """
    logs, cov = levels.log_seconds, levels.cov_seconds
    worst: tuple[float, int, int] | None = None
    for high in range(1, len(logs)):
        for low in range(high):
            faster = float(logs[high] - logs[low])
            error = math.sqrt(max(0.0, float(cov[high, high] + cov[low, low] - 2 * cov[high, low])))
            if faster > max(FASTER_RATIO, FASTER_ERRORS * error) and (
                worst is None or faster > worst[0]
            ):
                worst = (faster, low, high)
    if worst is None:
        return []
    faster, low, high = worst
    low_watts, high_watts = levels.limits_watts[low], levels.limits_watts[high]
    said = (
        f"steps seem {-100 * math.expm1(-faster):.1f} % shorter at {low_watts} W than at "
        f"{high_watts} W, which no lower limit does; what the run does must have changed meanwhile"
    )
    return [said]


def _change(blocks: Sequence[Block]) -> _Change | None:
    long = set(_moments(blocks, LEAST_SECONDS))
    moments = _moments(blocks, LARGE_LEAST_SECONDS)
    if not moments:
        return None
    least = np.array([CHANGE_RATIO if at in long else LARGE_CHANGE_RATIO for at in moments])
    least = np.log1p(least)
    logs = np.array(
        [
            (math.log(b.seconds_per_step), math.log(b.joules_per_step / b.seconds_per_step))
            for b in blocks
        ]
    )
    steps = np.array([block.steps for block in blocks])
    _, design = columns(blocks)
    sizes, errors = _jumps(logs, design, steps, moments)
    beyond = np.abs(sizes) > np.maximum(least[:, None], CHANGE_ERRORS * errors)
    if not np.any(beyond):
        return None
    clearness = np.where(beyond, np.abs(sizes) / np.maximum(errors, 1e-9), 0.0)
    which, quantity = divmod(int(np.argmax(clearness)), logs.shape[1])
    position = moments[which]
    middle = np.array([(block.start_seconds + block.end_seconds) / 2 for block in blocks])
    with_jump = np.column_stack([design, _after(len(blocks), position)])
    fitted = fit(logs, with_jump, steps, middle)[quantity]
    size, error = float(fitted.levels[-1]), math.sqrt(max(0.0, float(fitted.cov[-1, -1])))
    if abs(size) <= max(float(least[which]), CHANGE_ERRORS * error):
        return None
    # How large it is, is told as people would work it out.
    return _Change(position, float(sizes[which, quantity]), quantity)


def _moments(blocks: Sequence[Block], least_seconds: float) -> list[int]:
    """Return positions with enough blocks of one limit before and from there on."""
    counts: dict[int, tuple[Vector, Vector]] = {}
    for watts in {block.power_limit_watts for block in blocks}:
        own = np.array([block.power_limit_watts == watts for block in blocks])
        seconds = np.array([block.end_seconds - block.start_seconds for block in blocks]) * own
        counts[watts] = (np.cumsum(own), np.cumsum(seconds))
    return [
        position
        for position in range(1, len(blocks))
        if any(
            min(number[position - 1], number[-1] - number[position - 1]) >= LEAST_BLOCKS
            and min(seconds[position - 1], seconds[-1] - seconds[position - 1]) >= least_seconds
            for number, seconds in counts.values()
        )
    ]


def _after(count: int, position: int) -> Vector:
    return (np.arange(count) >= position).astype(float)


def _jumps(
    logs: Vector, design: Vector, steps: Vector, moments: Sequence[int]
) -> tuple[Vector, Vector]:
    """Return the jump at each moment and its error if there were no drift.

    Weighted least squares; what the limits explain is taken out of both sides beforehand.

    Args:
        logs: Logarithms, shape (blocks, quantities).
        design: Which block is at which limit.
        steps: Weight of each block.
        moments: Positions of the first block after each moment.

    Returns:
        Both of shape (moments, quantities).
    """
    weight = steps[:, None]
    after = np.stack([_after(len(logs), position) for position in moments], axis=1)
    total = design.T @ weight
    after = after - design @ (design.T @ (weight * after) / total)
    rest = logs - design @ (design.T @ (weight * logs) / total)
    power = np.sum(weight * after**2, axis=0)[:, None]
    sizes = after.T @ (weight * rest) / power
    residuals = np.maximum(np.sum(weight * rest**2, axis=0) - sizes**2 * power, 0.0)
    freedom = max(1, len(logs) - design.shape[1] - 1)
    return sizes, np.sqrt(residuals / freedom / power)


def _sentence(blocks: Sequence[Block], change: _Change) -> str:
    moment = datetime.fromtimestamp(blocks[change.position].start_seconds, UTC)
    watts = blocks[change.position].power_limit_watts
    percent = 100 * (math.exp(change.log_ratio) - 1)
    what = f"steps take {abs(percent):.1f} % {'longer' if percent > 0 else 'less time'}"
    if change.quantity == 1:
        what = f"the run draws {abs(percent):.1f} % {'more' if percent > 0 else 'less'} power"
    return f"since {moment:%H:%M} UTC {what} at {watts} W: what was measured before is left out"
