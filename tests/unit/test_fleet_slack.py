"""How long a GPU waits, seen from what it draws; and what makes a stretch of looks."""

import random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulestat.domain.plan import FittedPoint
from joulestat.optimizer.fleet.gpu_facts import Stretch
from joulestat.optimizer.fleet.gpu_stretches import GpuSlice, stretches_of
from joulestat.optimizer.fleet.slack import Slack, carried, slacks

COMMON_WATTS = 300
ACTING = tuple(
    FittedPoint(watts, 2 * watts * seconds, seconds, 0.0, 0.0)
    for watts, seconds in ((150, 1.6), (200, 1.3), (250, 1.1), (300, 1.0))
)
"""Two GPUs that draw whatever the limit is."""


def stretch(limits: list[int], powers: list[float], stderr_watts: float | None = 0.5) -> Stretch:
    names = [f"GPU-{number}" for number in range(len(limits))]
    return Stretch(
        0.0,
        900.0,
        dict(zip(names, limits, strict=True)),
        dict(zip(names, powers, strict=True)),
        None if stderr_watts is None else dict.fromkeys(names, stderr_watts),
        1.0,
        0.001,
        900.0,
    )


def test_slack_is_seen_from_what_a_gpu_does_not_draw() -> None:
    seen = slacks(stretch([300, 300], [300.0, 270.0]), ACTING, COMMON_WATTS)

    assert Slack(0.0, 0.0) == seen["GPU-0"]
    assert 0.1 == pytest.approx(seen["GPU-1"].ratio)
    # Each draw is off by 0.5 of 300 W, and the other one's counts 0.9 times.
    assert (0.5 / 300) * (1 + 0.9**2) ** 0.5 == pytest.approx(seen["GPU-1"].stderr)


def test_what_waiting_draws_makes_the_slack_larger() -> None:
    # Waiting at 120 W: 270 = 120 + 180 * b, so b = 5/6.
    seen = slacks(stretch([300, 300], [300.0, 270.0]), ACTING, COMMON_WATTS, waiting_watts=120.0)

    assert 1 / 6 == pytest.approx(seen["GPU-1"].ratio)


@settings(deadline=None, derandomize=True)
@given(
    busy=st.floats(0.3, 1.0),
    waiting=st.floats(0.0, 0.6),
    common=st.sampled_from([200, 250, 300]),
)
def test_under_a_common_limit_slack_is_never_overstated(
    busy: float, waiting: float, common: int
) -> None:
    waiting_watts = waiting * common
    drawn_watts = waiting_watts + busy * (common - waiting_watts)
    seen = slacks(stretch([common, common], [float(common), drawn_watts]), ACTING, common)

    assert seen["GPU-1"].ratio <= 1 - busy + 1e-9


@settings(deadline=None, derandomize=True)
@given(
    busy=st.floats(0.3, 1.0), waiting=st.floats(0.0, 0.6), limit=st.sampled_from([150, 200, 250])
)
def test_under_a_lowered_limit_slack_is_never_overstated(
    busy: float, waiting: float, limit: int
) -> None:
    waiting_watts = min(waiting * COMMON_WATTS, limit)
    drawn_watts = waiting_watts + busy * (limit - waiting_watts)
    seen = slacks(stretch([300, limit], [300.0, drawn_watts]), ACTING, COMMON_WATTS)

    assert seen["GPU-1"].ratio <= 1 - busy + 1e-9


def test_a_mean_draw_with_waiting_in_it_does_not_make_slack() -> None:
    """Busy 300 W and 180 W, at 135 W for 30 % of the time: the run's mean hides how far it fell."""
    mean = {300: 0.3 * 135 + 0.7 * 300, 200: 0.3 * 135 + 0.7 * 180}
    curve = tuple(FittedPoint(watts, 2 * mean[watts], 1.0, 0.0, 0.0) for watts in (200, 300))
    seen = slacks(stretch([300, 200], [300.0, 180.0]), curve, COMMON_WATTS)

    assert seen["GPU-1"].ratio <= 1e-9


@pytest.mark.parametrize(
    "unknown",
    [
        stretch([300, 300], [300.0, 270.0], stderr_watts=None),
        stretch([300, 100], [300.0, 90.0]),
        stretch([200, 200], [200.0, 190.0]),
    ],
    ids=["no errors", "below the curve", "none at the common limit"],
)
def test_no_slack_is_told_where_it_cannot_be(unknown: Stretch) -> None:
    assert {} == slacks(unknown, ACTING, COMMON_WATTS)


def test_slack_is_carried_along_the_curve_while_some_is_seen() -> None:
    left = carried(Slack(0.2, 0.01), Slack(0.03, 0.01), ACTING, COMMON_WATTS, 250)

    assert 1 - 0.8 * 1.1 == pytest.approx(left.ratio)
    assert Slack(-0.01, 0.0) == carried(
        Slack(0.2, 0.01), Slack(-0.01, 0.0), ACTING, COMMON_WATTS, 250
    )


def looks(
    limits: list[int], seconds_each: float = 15.0, scatter: random.Random | None = None
) -> list[GpuSlice]:
    """Return one slice per limit, of 100 steps at 150 W."""
    slices = []
    for number, watts in enumerate(limits):
        off = 1.0 if scatter is None else 1.0 + scatter.gauss(0, 0.02)
        slices.append(
            GpuSlice(
                number * seconds_each,
                (number + 1) * seconds_each,
                {"GPU-0": watts},
                {"GPU-0": 150.0 * seconds_each * off},
                {"GPU-0": seconds_each},
                100.0 / off,
                seconds_each,
            )
        )
    return slices


def test_a_stretch_ends_where_a_limit_changes() -> None:
    found = stretches_of(looks([300] * 8 + [250] * 8))

    assert [300, 250] == [one.limits_watts["GPU-0"] for one in found]
    assert [800.0, 800.0] == [one.steps for one in found]
    assert 150.0 == found[0].power_watts["GPU-0"]
    assert 0.15 == found[0].step_seconds


def test_a_short_stretch_counts_only_as_the_present_one() -> None:
    found = stretches_of(looks([300] * 8 + [250] * 2 + [200] * 2))

    assert [300, 200] == [one.limits_watts["GPU-0"] for one in found]
    assert found[-1].power_stderr_watts is None
    assert found[-1].step_stderr_seconds is None


def test_a_long_stretch_is_cut_so_that_the_last_piece_is_whole() -> None:
    found = stretches_of(looks([300] * 130))

    assert [150.0, 900.0, 900.0] == [one.end_seconds - one.start_seconds for one in found]


def test_the_stated_errors_are_the_scatter_of_the_means() -> None:
    scatter = random.Random(5)
    found = [stretches_of(looks([300] * 40, scatter=scatter))[-1] for _ in range(300)]
    stated = fmean(one.power_stderr_watts["GPU-0"] for one in found if one.power_stderr_watts)

    assert stated == pytest.approx(150.0 * 0.02 / 40**0.5, rel=0.1)
    assert stated**2 == pytest.approx(
        fmean((one.power_watts["GPU-0"] - 150.0) ** 2 for one in found), rel=0.25
    )
