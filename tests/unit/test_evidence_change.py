"""A run that changed: found where it did, and not where it only drifts or scatters."""

import math
import random
import re

import pytest

from fakes.evidence import blocks_of, slices_of
from joulestat.optimizer.evidence.change import faster_below, since_last_change
from joulestat.optimizer.evidence.levels import measure
from joulestat.optimizer.evidence.profile import Minimum, build_profile

MEASURED = {300: (200.0, 1.0), 215: (160.0, 1.1)}
VISITS = [(300, 8), (215, 8), (300, 8), (215, 24)]


def scattered(ratio: float, seed: int, count: int = 48) -> list[float]:
    rng = random.Random(seed)
    return [math.exp(rng.gauss(0.0, ratio)) for _ in range(count)]


def changed_at(position: int, factor: float, factors: list[float]) -> list[float]:
    return [each * (factor if index >= position else 1.0) for index, each in enumerate(factors)]


def test_a_run_that_stays_as_it_is_keeps_all_its_evidence() -> None:
    blocks = blocks_of(VISITS, MEASURED)

    assert (tuple(blocks), "") == since_last_change(blocks)


@pytest.mark.parametrize("factor", [0.8, 0.93, 1.08, 1.5])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_what_was_measured_before_a_change_is_left_out(factor: float, noise: float) -> None:
    factors = changed_at(32, factor, scattered(noise, 1))
    kept, said = since_last_change(blocks_of(VISITS, MEASURED, factors=factors))

    assert 33 * 60.0 == kept[0].start_seconds
    assert "what was measured before is left out" in said


def test_it_is_said_when_and_by_how_much() -> None:
    factors = changed_at(32, 1.123, [1.0] * 48)
    _, said = since_last_change(blocks_of(VISITS, MEASURED, factors=factors))

    assert (
        "since 00:32 UTC steps take 12.3 % longer at 215 W: what was measured before is left out"
        == said
    )


def test_a_change_of_power_alone_is_one_too() -> None:
    before = blocks_of([(300, 8), (215, 12)], MEASURED)
    hungrier = {watts: (1.2 * joules, seconds) for watts, (joules, seconds) in MEASURED.items()}
    after = blocks_of([(300, 8), (215, 12), (215, 12)], hungrier)[20:]
    kept, said = since_last_change([*before, *after])

    assert 21 * 60.0 == kept[0].start_seconds
    assert "the run draws 20.0 % more power at 215 W" in said


def test_after_several_changes_the_last_one_counts() -> None:
    factors = changed_at(40, 1.5, changed_at(20, 1.5, [1.0] * 48))
    kept, _ = since_last_change(blocks_of(VISITS, MEASURED, factors=factors))

    assert 41 * 60.0 == kept[0].start_seconds


@pytest.mark.parametrize("seed", range(40))
def test_scatter_of_three_per_cent_is_no_change(seed: int) -> None:
    assert "" == since_last_change(blocks_of(VISITS, MEASURED, factors=scattered(0.03, seed)))[1]


@pytest.mark.parametrize("seed", range(40))
def test_a_slow_drift_of_two_per_cent_is_no_change(seed: int) -> None:
    """An Ornstein-Uhlenbeck process with a memory of ten minutes."""
    rng, kept = random.Random(seed), math.exp(-60.0 / 600.0)
    at, factors = rng.gauss(0.0, 0.02), []
    for _ in range(48):
        at = kept * at + rng.gauss(0.0, 0.02 * math.sqrt(1 - kept * kept))
        factors.append(math.exp(at))

    assert "" == since_last_change(blocks_of(VISITS, MEASURED, factors=factors))[1]


def test_a_small_change_is_left_to_the_drift() -> None:
    factors = changed_at(32, 1.03, [1.0] * 48)

    assert "" == since_last_change(blocks_of(VISITS, MEASURED, factors=factors))[1]


@pytest.mark.parametrize(("factor", "is_seen"), [(0.7, True), (1.3, True), (1.1, False)])
def test_after_a_short_time_only_a_large_change_is_believed(factor: float, is_seen: bool) -> None:
    """Blocks of 20 s: four of them, and 80 s, before the change under its limit."""
    factors = changed_at(12, factor, scattered(0.01, 2))
    blocks = blocks_of(VISITS, MEASURED, factors=factors, seconds=20.0)[:26]

    assert is_seen == bool(since_last_change(blocks)[1])


def test_what_another_limit_does_is_no_change() -> None:
    assert "" == since_last_change(blocks_of([(300, 10), (215, 30)], MEASURED))[1]


def test_a_profile_rests_on_what_came_after_the_change() -> None:
    longer = {watts: (1.3 * joules, 1.3 * seconds) for watts, (joules, seconds) in MEASURED.items()}
    visits = [(300, 40), (215, 40), (215, 60)]
    items = slices_of(visits[:2], MEASURED) + slices_of(visits, longer)[80:]
    profile = build_profile(items, Minimum())

    assert [215] == [point.power_limit_watts for point in profile.points]
    assert 1.3 * 1.1 == pytest.approx(profile.points[0].seconds_per_step)
    assert re.search(r"steps take (29|30)\.\d % longer at 215 W", profile.changed)


def test_a_lower_limit_that_seems_faster_contradicts_itself() -> None:
    visits = [(300, 8), (215, 8)]
    (said,) = faster_below(measure(blocks_of(visits, {**MEASURED, 215: (160.0, 0.8)})))

    assert "steps seem 20.0 % shorter at 215 W than at 300 W" in said
    assert [] == faster_below(measure(blocks_of(visits, MEASURED)))


@pytest.mark.parametrize("seed", range(20))
def test_noise_that_makes_a_lower_limit_seem_faster_is_no_contradiction(seed: int) -> None:
    same = {300: (200.0, 1.0), 215: (160.0, 1.0)}
    blocks = blocks_of([(300, 20), (215, 8)], same, factors=scattered(0.03, seed, 28))

    assert [] == faster_below(measure(blocks))
