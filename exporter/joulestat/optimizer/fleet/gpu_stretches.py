"""From looks at a run's counters to stretches of unchanged limits, with their errors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulestat.optimizer.fleet.gpu_facts import Stretch

LONGEST_STRETCH_SECONDS = 900.0
"""Longer ones are cut, from the end on: what is slow now must not hide behind what was fast."""

SHORTEST_STRETCH_SECONDS = 60.0
MIN_BLOCKS = 4
MAX_BLOCKS = 12
"""Standard errors come from 4 to 12 blocks of time: slices of seconds are not independent."""


@dataclass(frozen=True, slots=True)
class GpuSlice:
    """What a run did between two looks, all of it training, under limits that did not change.

    Attributes:
        start_seconds: Unix time of the earlier look.
        end_seconds: Unix time of the later one.
        limits_watts: Limit in force by device UUID.
        joules: Energy by device UUID.
        joules_seconds: Time in which that energy was taken, by device UUID: the step time that the
            same exporter counted, once for each scraper that saw it.
        steps: Steps, summed over all exporters' counts.
        step_seconds: Time those steps took, likewise.
    """

    start_seconds: float
    end_seconds: float
    limits_watts: Mapping[str, int]
    joules: Mapping[str, float]
    joules_seconds: Mapping[str, float]
    steps: float
    step_seconds: float


def stretches_of(
    slices: Sequence[GpuSlice], shortest_seconds: float = SHORTEST_STRETCH_SECONDS
) -> tuple[Stretch, ...]:
    """Return the stretches in slices that are in time order; shorter ones are left out.

    The last one is there however short it is: it is now.
    """
    alike: list[list[GpuSlice]] = []
    for item in slices:
        if alike and alike[-1][-1].limits_watts == item.limits_watts:
            alike[-1].append(item)
        else:
            alike.append([item])
    pieces = [piece for group in alike for piece in _cut(group)]
    return tuple(
        _stretch(piece)
        for piece in pieces
        if piece is pieces[-1] or _length_seconds(piece) >= shortest_seconds
    )


def _cut(group: Sequence[GpuSlice]) -> list[list[GpuSlice]]:
    """Cut backwards, so that the last piece is a whole one; the first may be short."""
    pieces: list[list[GpuSlice]] = [[]]
    for item in reversed(group):
        if pieces[-1] and pieces[-1][0].end_seconds - item.start_seconds > LONGEST_STRETCH_SECONDS:
            pieces.append([])
        # In descending order of time for now.
        pieces[-1].append(item)
    return [piece[::-1] for piece in reversed(pieces)]


def _length_seconds(piece: Sequence[GpuSlice]) -> float:
    return sum(item.end_seconds - item.start_seconds for item in piece)


def _stretch(piece: Sequence[GpuSlice]) -> Stretch:
    uuids = piece[0].limits_watts
    steps = sum(item.steps for item in piece)
    powers: dict[str, float] = {}
    errors: dict[str, float | None] = {}
    for uuid in uuids:
        powers[uuid], errors[uuid] = _ratio(
            [(item.joules[uuid], item.joules_seconds[uuid]) for item in piece]
        )
    known = {uuid: error for uuid, error in errors.items() if error is not None}
    step_seconds, step_stderr = _ratio([(item.step_seconds, item.steps) for item in piece])
    return Stretch(
        start_seconds=piece[0].start_seconds,
        end_seconds=piece[-1].end_seconds,
        limits_watts=dict(uuids),
        power_watts=powers,
        power_stderr_watts=known if len(known) == len(errors) else None,
        step_seconds=step_seconds,
        step_stderr_seconds=step_stderr,
        steps=steps,
    )


def _ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float | None]:
    """Return a ratio of two sums, and its standard error from blocks of time.

    Returns:
        The error is None with fewer slices than blocks are needed.
    """
    over, under = (sum(part) for part in zip(*pairs, strict=True))
    ratio = over / under
    n_blocks = min(MAX_BLOCKS, len(pairs))
    if n_blocks < MIN_BLOCKS:
        return ratio, None
    residuals = [0.0] * n_blocks
    for number, (above, below) in enumerate(pairs):
        residuals[number * n_blocks // len(pairs)] += (above - ratio * below) / under
    squares = sum(residual**2 for residual in residuals)
    return ratio, math.sqrt(squares * n_blocks / (n_blocks - 1))
