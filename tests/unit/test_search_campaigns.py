"""Whole campaigns on known curves: where they end, and how many limits they try."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.campaign import run_campaign
from joulestat.optimizer.search.explore import MOST_PROBES
from joulestat.optimizer.search.objective import Cost, Objective, Slowdown


def v_shaped(best_watts: int) -> Any:
    """Energy has its least at ``best_watts``; time rises as the limit falls."""

    def curve(watts: int) -> tuple[float, float]:
        return 100.0 + 40.0 * abs(watts / best_watts - 1) ** 1.5, (300 / watts) ** 0.4

    return curve


@pytest.mark.parametrize("best_watts", [125, 150, 180, 200, 240, 280, 300])
def test_a_campaign_finds_the_least_energy_wherever_it_is(best_watts: int) -> None:
    curve = v_shaped(best_watts)
    campaign = run_campaign(curve, Cost(1.0), reference_watts=300, min_watts=100.0)

    assert MOST_PROBES >= len(campaign.probes)
    assert curve(campaign.held_watts)[0] <= 1.015 * curve(best_watts)[0]


@pytest.mark.parametrize("bound", [1.02, 1.05, 1.1, 1.3])
def test_a_campaign_keeps_the_slowdown_and_comes_close_to_it(bound: float) -> None:
    def curve(watts: int) -> tuple[float, float]:
        return watts**0.5, (300 / watts) ** 0.4

    campaign = run_campaign(curve, Slowdown(bound), reference_watts=300, min_watts=100.0)
    exactly = 300 / bound ** (1 / 0.4)

    assert MOST_PROBES >= len(campaign.probes)
    assert exactly <= campaign.held_watts <= exactly + 15


def test_a_campaign_does_not_go_where_steps_become_unbearable() -> None:
    def cliff(watts: int) -> tuple[float, float]:
        return watts**0.5, 1.0 if watts >= 180 else (180 / watts) ** 6

    campaign = run_campaign(cliff, Cost(1.0), reference_watts=300, min_watts=50.0)

    assert min(campaign.probes) >= 0.4 * 300


@given(
    exponent=st.floats(0.05, 1.5),
    floor=st.floats(0.0, 200.0),
    idle=st.floats(0.05, 0.9),
    objective=st.sampled_from([Cost(0.0), Cost(0.25), Cost(1.0), Slowdown(1.05), Slowdown(1.2)]),
    reference=st.integers(150, 700),
)
@settings(deadline=None)
def test_every_campaign_ends_within_its_budget_and_never_above_the_reference(
    exponent: float, floor: float, idle: float, objective: Objective, reference: int
) -> None:
    def curve(watts: int) -> tuple[float, float]:
        seconds = 1.0 + (max(floor, 0.9 * reference) / watts) ** (2 * exponent)
        return (idle * reference + (1 - idle) * watts) * seconds, seconds

    campaign = run_campaign(curve, objective, reference_watts=reference, min_watts=100.0)

    assert MOST_PROBES >= len(set(campaign.probes))
    assert len(campaign.probes) <= len(set(campaign.probes)) + 1, "a close decision is looked at"
    assert all(100 <= watts < reference and watts % 5 == 0 for watts in campaign.probes)
