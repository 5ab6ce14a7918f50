"""What may be true at every limit, measured or not."""

import math

import numpy as np
import pytest

from fakes.evidence import levels_of
from joulestat.optimizer.evidence.posterior import believe

MEASURED = {300: (200.0, 1.0), 200: (160.0, 1.1), 150: (156.0, 1.4)}


def test_the_same_evidence_gives_the_same_samples() -> None:
    one = believe(levels_of(MEASURED), [180, 250])
    other = believe(levels_of(MEASURED), [250, 180])

    assert np.array_equal(one.seconds, other.seconds)
    assert np.array_equal(one.joules, other.joules)


def test_it_goes_through_what_was_measured() -> None:
    posterior = believe(levels_of(MEASURED), [180, 250])

    for watts, (joules, seconds) in MEASURED.items():
        index = posterior.index(watts)
        assert seconds == pytest.approx(posterior.seconds[:, index].mean(), rel=1e-4)
        assert joules == pytest.approx(posterior.joules[:, index].mean(), rel=1e-4)


def test_measured_limits_are_told_from_others() -> None:
    posterior = believe(levels_of(MEASURED), [120, 180, 250])

    assert (120, 150, 180, 200, 250, 300) == posterior.limits_watts
    assert [False, True, False, True, False, True] == posterior.measured.tolist()
    assert 1 == posterior.lowest_measured


def test_between_measured_limits_it_stays_between_their_values() -> None:
    posterior = believe(levels_of(MEASURED), range(205, 300, 5))
    seconds = posterior.seconds.mean(axis=0)
    inside = slice(posterior.index(200), posterior.index(300) + 1)

    assert np.all(np.diff(seconds[inside]) < 0)
    assert 1.0 < seconds[posterior.index(250)] < 1.1


def test_power_laws_are_straight_lines() -> None:
    posterior = believe(levels_of({w: (w**0.5, w**-0.25) for w in (100, 200, 400)}), [250])
    index = posterior.index(250)

    assert 250**-0.25 == pytest.approx(math.exp(np.log(posterior.seconds[:, index]).mean()), 1e-3)
    assert 250**0.5 == pytest.approx(math.exp(np.log(posterior.joules[:, index]).mean()), 1e-3)


def test_the_middle_of_a_gap_is_known_worse_than_its_edges() -> None:
    posterior = believe(levels_of(MEASURED), [205, 250, 295])
    error = np.log(posterior.seconds).std(axis=0)
    middle = error[posterior.index(250)]

    assert middle > 2 * error[posterior.index(205)]
    assert middle > 2 * error[posterior.index(295)]


def test_a_wide_gap_is_known_worse_than_a_narrow_one() -> None:
    wide = believe(levels_of({300: (200.0, 1.0), 150: (150.0, 1.4)}), [225])
    narrow = believe(levels_of({300: (200.0, 1.0), 250: (180.0, 1.1)}), [275])

    assert wide.seconds[:, 1].std() > 2 * narrow.seconds[:, 1].std()


def test_below_what_was_measured_little_is_known() -> None:
    posterior = believe(levels_of(MEASURED), [100, 125])
    error = np.log(posterior.seconds).std(axis=0)

    assert error[posterior.index(100)] > error[posterior.index(125)] > 10 * error[2]


def test_time_rises_more_steeply_below_what_was_measured() -> None:
    posterior = believe(levels_of({w: (w**0.5, w**-0.5) for w in (150, 300)}), [100])
    seconds = math.exp(np.log(posterior.seconds[:, posterior.index(100)]).mean())

    assert seconds > 1.05 * 100**-0.5


def test_limits_above_the_highest_measured_are_left_out() -> None:
    assert (150, 200, 300) == believe(levels_of(MEASURED), [310, 350]).limits_watts


def test_from_one_limit_alone_nothing_is_known_of_others_but_their_distance() -> None:
    posterior = believe(levels_of({300: (200.0, 1.0)}), [150, 250])
    error = np.log(posterior.seconds).std(axis=0)

    assert 1.0 == pytest.approx(math.exp(np.log(posterior.seconds[:, 0]).mean()), rel=0.01)
    assert error[0] > error[1] > error[2]


def test_a_lower_limit_that_seems_faster_by_less_than_the_error_is_as_fast() -> None:
    levels = levels_of({300: (200.0, 1.0), 200: (160.0, 0.995)}, seconds_error=0.01)
    posterior = believe(levels, [])

    assert np.all(posterior.seconds[:, 0] >= posterior.seconds[:, 1] - 1e-12)


def test_a_lower_limit_that_is_faster_beyond_doubt_is_believed() -> None:
    levels = levels_of({300: (200.0, 1.0), 200: (160.0, 0.95)}, seconds_error=0.001)
    posterior = believe(levels, [])

    assert 0.95 == pytest.approx(posterior.seconds[:, 0].mean(), rel=1e-3)


def test_many_limits_can_be_believed_at_once() -> None:
    measured = {watts: (float(watts), 300 / watts) for watts in range(100, 301, 5)}
    posterior = believe(levels_of(measured), [])

    assert (128, 41) == posterior.seconds.shape
    assert np.isfinite(posterior.joules).all()
