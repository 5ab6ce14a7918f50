"""Only a register that is wrong is found wrong, not any workload, nor calls that fail."""

import random
from collections import deque
from collections.abc import Iterable, Iterator

import pytest

from joulestat.domain.device import PowerLimits, Reading
from joulestat.domain.energy import Anomaly
from joulestat.domain.units import NS_PER_SECOND, UJ_PER_JOULE
from joulestat.metering.meter import Meter


def sampled(
    draws_watts: Iterable[float], *, period_seconds: float, beat: int = 1, mean_of: int = 1
) -> Iterator[Reading]:
    """Yield readings of a right register, and of a sensor that tells the mean of some periods."""
    joules, last = 0.0, deque[float](maxlen=mean_of)
    for number, watts in enumerate(draws_watts):
        joules += watts * period_seconds
        last.append(watts)
        if number % beat == 0:
            yield Reading(
                at_ns=round(number * period_seconds * NS_PER_SECOND),
                energy_counter_uj=round(joules * UJ_PER_JOULE),
                power_watts=sum(last) / len(last),
                limits=PowerLimits(max_watts=1_000.0),
            )


def anomalies(readings: Iterable[Reading]) -> dict[Anomaly, int]:
    meter = Meter()
    for each in readings:
        meter.observe(each)
    assert meter.state is not None
    return {reason: count for reason, count in meter.state.anomalies.items() if count}


@pytest.mark.parametrize("idle_watts", [5.0, 10.0, 20.0])
@pytest.mark.parametrize("watts", [450.0, 1_000.0])
def test_a_step_in_power_that_a_slow_sensor_has_not_told_yet_is_no_anomaly(
    idle_watts: float, watts: float
) -> None:
    for begin in range(60, 130):
        up = [idle_watts] * begin + [watts] * 200
        down = [watts] * 5 + [idle_watts] * begin + [watts] * 200
        for draws in (up, down):
            found = anomalies(sampled(draws, period_seconds=0.1, mean_of=10))
            assert {} == found, f"with a step after {begin / 10} s"


def test_a_bursty_power_seen_every_ten_seconds_is_no_anomaly() -> None:
    for seed in range(20):
        chance = random.Random(seed)
        draws = (700.0 if chance.random() < 0.4 else 60.0 for _ in range(3_600))
        assert {} == anomalies(sampled(draws, period_seconds=1.0, beat=10)), f"seed {seed}"


def steady(count: int) -> list[Reading]:
    return list(sampled([250.0] * count, period_seconds=0.5))


def test_a_register_that_could_not_be_read_for_minutes_is_not_found_wrong_after_it() -> None:
    readings = [
        Reading(each.at_ns, None, each.power_watts, each.limits, counter_failed=True)
        if 200 < number < 560
        else each
        for number, each in enumerate(steady(1_200))
    ]

    assert {} == anomalies(readings)


def test_a_register_is_not_found_wrong_where_power_seldom_answers() -> None:
    readings = [
        each if number % 3 == 0 else Reading(each.at_ns, each.energy_counter_uj, None, each.limits)
        for number, each in enumerate(steady(1_200))
    ]

    assert {} == anomalies(readings)


def test_a_reset_that_power_did_not_see_is_not_compared_across() -> None:
    readings = [
        Reading(
            each.at_ns,
            each.energy_counter_uj - (30_000 * UJ_PER_JOULE if number >= 400 else 0),
            None if 400 <= number < 405 else each.power_watts,
            each.limits,
        )
        for number, each in enumerate(steady(1_200))
        if each.energy_counter_uj is not None
    ]

    assert {Anomaly.BACKWARDS: 1, Anomaly.RESET: 1} == anomalies(readings)
