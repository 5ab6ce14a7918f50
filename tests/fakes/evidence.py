"""Evidence that is known exactly: slices, blocks and levels of a run made by hand."""

from collections.abc import Iterable, Mapping

import numpy as np

from joulestat.optimizer.evidence.blocks import Block
from joulestat.optimizer.evidence.levels import Levels
from joulestat.optimizer.history.facts import Slice


def levels_of(
    measured: Mapping[int, tuple[float, float]],
    *,
    seconds_error: float | Mapping[int, float] = 1e-4,
    watts_error: float = 1e-4,
    step_scatter: float = 0.001,
) -> Levels:
    """Return levels with independent errors.

    Args:
        measured: Joules and seconds per step by limit.
        seconds_error: Standard error of ln seconds, for all limits or by limit.
        watts_error: Standard error of ln W.
        step_scatter: Of one step, in time and in power.
    """
    limits = tuple(sorted(measured))
    joules, seconds = np.array([measured[watts] for watts in limits]).T
    errors = [
        seconds_error if isinstance(seconds_error, float) else seconds_error[watts]
        for watts in limits
    ]
    return Levels(
        limits_watts=limits,
        log_seconds=np.log(seconds),
        log_watts=np.log(joules / seconds),
        cov_seconds=np.diag(np.square(errors)),
        cov_watts=np.diag(np.full(len(limits), watts_error**2)),
        step_scatter_seconds=step_scatter,
        step_scatter_watts=step_scatter,
        drift_seconds=0.0,
        steps=np.full(len(limits), 1000.0),
    )


def blocks_of(
    visits: Iterable[tuple[int, int]],
    measured: Mapping[int, tuple[float, float]],
    *,
    factors: Iterable[float] = (),
    steps: float = 20.0,
    seconds: float = 60.0,
) -> list[Block]:
    """Return blocks of one run, one after the other.

    Args:
        visits: Limit and number of blocks of each stay.
        measured: Joules and seconds per step by limit.
        factors: By how much time and energy of each block are greater; nothing for 1.
        steps: Of each block.
        seconds: Length of each block.
    """
    blocks: list[Block] = []
    each = iter(factors)
    for visit, (watts, count) in enumerate(visits):
        for _ in range(count):
            factor, start = next(each, 1.0), seconds * len(blocks)
            joules, step_seconds = measured[watts]
            blocks.append(
                Block(
                    power_limit_watts=watts,
                    visit=visit,
                    start_seconds=start,
                    end_seconds=start + seconds,
                    steps=steps,
                    joules_per_step=factor * joules,
                    seconds_per_step=factor * step_seconds,
                )
            )
    return blocks


def slices_of(
    visits: Iterable[tuple[int, int]],
    measured: Mapping[int, tuple[float, float]],
    *,
    node: str = "a",
    steps: float = 10.0,
    look_seconds: float = 15.0,
) -> list[Slice]:
    """Return what one node did, look by look.

    Args:
        visits: Limit and number of looks of each stay.
        measured: Joules and seconds per step by limit.
        node: Its name.
        steps: In every look.
        look_seconds: Between two looks.
    """
    found: list[Slice] = []
    for watts, count in visits:
        joules, seconds = measured[watts]
        for _ in range(count):
            start = look_seconds * len(found)
            found.append(
                Slice(
                    node,
                    watts,
                    start,
                    start + look_seconds,
                    steps,
                    steps * joules,
                    steps * seconds,
                )
            )
    return found
