"""The stated 95 % intervals of a slowdown hold the truth about as often as they say.

With drift they cannot be right from scatter alone; that is measured beside.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from joulestat.optimizer.evidence.blocks import Block, gather
from joulestat.optimizer.evidence.levels import measure
from joulestat.optimizer.history.facts import Slice

Schedule = list[tuple[int, float]]

SLOWDOWN = {300: 1.0, 240: 1.02, 215: 1.05, 180: 1.1}
STEP_SECONDS = 3.0
LOOK_SECONDS = 15.0
SWITCHING: Schedule = [(300, 480.0), (215, 480.0), (300, 480.0), (180, 480.0)] * 11
SEARCHING: Schedule = [(300, 480.0), (215, 150.0), (240, 150.0), (180, 150.0), (240, 600.0)]
FIRST_LOOK: Schedule = [(300, 480.0), (215, 150.0)]
TWO_SIDED_95 = 1.96


@dataclass(frozen=True)
class Noise:
    """What makes steps uneven: standard deviations of ln.

    Attributes:
        window: Of the time of 40 steps, independent from step to step.
        drift: Of a slow drift of the time of all steps.
        memory_seconds: How long the drift remembers.
    """

    window: float
    drift: float = 0.0
    memory_seconds: float = 600.0


def train(schedule: Schedule, noise: Noise, rng: np.random.Generator) -> list[Slice]:
    slices: list[Slice] = []
    now, drifted = 0.0, rng.normal(0.0, noise.drift)
    kept = math.exp(-LOOK_SECONDS / noise.memory_seconds)
    for watts, duration in schedule:
        for _ in range(int(duration / LOOK_SECONDS)):
            drifted = kept * drifted + rng.normal(0.0, noise.drift * math.sqrt(1 - kept * kept))
            steps = round(LOOK_SECONDS / (STEP_SECONDS * SLOWDOWN[watts]))
            seconds = steps * STEP_SECONDS * SLOWDOWN[watts] * math.exp(drifted)
            seconds *= 1 + rng.normal(0.0, noise.window * math.sqrt(40 / steps))
            slices.append(
                Slice("a", watts, now, now + LOOK_SECONDS, steps, seconds * watts, seconds)
            )
            now += LOOK_SECONDS
    return slices


def stated(blocks: tuple[Block, ...]) -> tuple[float, float]:
    """Return ln of the slowdown at 215 W and its error, as the optimizer states them."""
    levels = measure(blocks)
    one, base = levels.index(215), levels.index(300)
    assert one is not None
    assert base is not None
    cov = levels.cov_seconds
    return (
        float(levels.log_seconds[one] - levels.log_seconds[base]),
        math.sqrt(float(cov[one, one] + cov[base, base] - 2 * cov[one, base])),
    )


def from_scatter(blocks: tuple[Block, ...]) -> tuple[float, float]:
    """Return the same as means of blocks taken for independent would have it."""
    logs = {
        watts: np.log([b.seconds_per_step for b in blocks if b.power_limit_watts == watts])
        for watts in (300, 215)
    }
    variance = sum(each.var(ddof=1) / len(each) for each in logs.values())
    return float(logs[215].mean() - logs[300].mean()), math.sqrt(float(variance))


def coverage(schedule: Schedule, noise: Noise, *, times: int) -> tuple[float, float]:
    """Return how often the interval held the truth: the stated one, and scatter's alone."""
    hits = np.zeros(2)
    for seed in range(times):
        blocks = gather(train(schedule, noise, np.random.default_rng(seed))).blocks
        for index, (found, error) in enumerate((stated(blocks), from_scatter(blocks))):
            hits[index] += abs(found - math.log(SLOWDOWN[215])) <= TWO_SIDED_95 * error + 1e-9
    stated_share, scatter_share = hits / times
    return float(stated_share), float(scatter_share)


@pytest.mark.parametrize(
    ("schedule", "times"),
    [(SWITCHING, 40), (SEARCHING, 100), (FIRST_LOOK, 100)],
    ids=["switching for 6 h", "searching", "first look"],
)
@pytest.mark.parametrize("window", [0.0, 0.01, 0.03])
def test_intervals_hold_the_truth_without_drift(
    schedule: Schedule, times: int, window: float
) -> None:
    share, _ = coverage(schedule, Noise(window), times=times)

    assert 0.85 <= share


@pytest.mark.parametrize(
    "noise",
    [Noise(0.01, 0.02, 60.0), Noise(0.01, 0.02), Noise(0.003, 0.02), Noise(0.01, 0.01, 3600.0)],
    ids=["fast", "slow", "slow beyond the noise", "as slow as an hour"],
)
@pytest.mark.parametrize(
    ("schedule", "times"),
    [(SWITCHING, 40), (SEARCHING, 100), (FIRST_LOOK, 100)],
    ids=["switching for 6 h", "searching", "first look"],
)
def test_intervals_hold_the_truth_with_drift(schedule: Schedule, times: int, noise: Noise) -> None:
    share, _ = coverage(schedule, noise, times=times)

    assert 0.78 <= share


@pytest.mark.parametrize("schedule", [SEARCHING, FIRST_LOOK], ids=["searching", "first look"])
def test_scatter_alone_would_promise_far_too_much(schedule: Schedule) -> None:
    share, from_scatter_alone = coverage(schedule, Noise(0.003, 0.02), times=100)

    assert from_scatter_alone <= 0.6
    assert from_scatter_alone + 0.25 <= share
