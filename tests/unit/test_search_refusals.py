"""When there is no advice whatever was measured, and why."""

from dataclasses import replace

from joulestat.domain.plan import OperatingPoint
from joulestat.optimizer.evidence.profile import Profile
from joulestat.optimizer.history.facts import Limits, RunHistory
from joulestat.optimizer.search.refusals import obstacle

LIMITS = Limits(reference_watts=300, current_watts=300, min_watts=100.0, max_watts=350.0)
LIVE = RunHistory("llama", gpu_uuids=("GPU-0", "GPU-1"), limits=LIMITS, live=True, fresh=True)
MEASURED = Profile((OperatingPoint(300, 200.0, 0.5, 1000, 0.1, 0.001),))


def test_sound_evidence_meets_no_obstacle() -> None:
    assert "" == obstacle(LIVE, MEASURED)


def test_a_history_that_contradicts_itself_is_named() -> None:
    history = replace(LIVE, problems=("node1 went dark",))
    profile = replace(MEASURED, problems=("no energy at 300 W",))

    assert "The evidence contradicts itself: node1 went dark." == obstacle(history, MEASURED)
    assert "The evidence contradicts itself: no energy at 300 W." == obstacle(LIVE, profile)


def test_a_run_slowed_by_heat_most_of_the_time_says_nothing_about_limits() -> None:
    said = obstacle(LIVE, replace(MEASURED, thermal_ratio=0.6))

    assert "Heat slowed the run's GPUs in 60 % of the time" in said
    assert "" == obstacle(LIVE, replace(MEASURED, thermal_ratio=0.4))


def test_a_live_run_without_steps_is_waited_for() -> None:
    assert "Waiting for training steps: the run 'llama' is live" in obstacle(LIVE, Profile(()))


def test_a_run_that_is_over_and_has_no_steps_is_not_known() -> None:
    said = obstacle(replace(LIVE, live=False), Profile(()))

    assert "No training step of the run 'llama'" in said
    assert "check the run's name" in said


def test_steps_still_being_measured_are_no_obstacle() -> None:
    assert "" == obstacle(LIVE, Profile((), thin=MEASURED.points))


def test_without_knowing_its_gpus_no_limit_can_be_advised() -> None:
    assert "joulestat_run_gpu is missing" in obstacle(replace(LIVE, gpu_uuids=()), MEASURED)


def test_runs_that_share_a_gpu_are_named() -> None:
    said = obstacle(replace(LIVE, shared_with=("other", "third")), MEASURED)

    assert "shares GPUs with 'other', 'third'" in said


def test_somebody_elses_change_of_a_leased_limit_stops_the_advice() -> None:
    history = replace(LIVE, limits=replace(LIMITS, foreign=("GPU-1",)))

    assert "Somebody else changed the limit of GPU-1" in obstacle(history, MEASURED)


def test_somebody_elses_change_does_not_matter_to_a_run_that_is_over() -> None:
    history = replace(LIVE, live=False, limits=replace(LIMITS, foreign=("GPU-1",)))

    assert "" == obstacle(history, MEASURED)


def test_without_one_reference_limit_there_is_nothing_to_compare_with() -> None:
    unequal = replace(LIVE, limits=Limits(unequal_reference=True))
    unknown = replace(LIVE, limits=Limits())

    assert "different power limits before any lease" in obstacle(unequal, MEASURED)
    assert "limit before any lease is not known" in obstacle(unknown, MEASURED)


def test_more_power_than_the_limits_allow_is_a_wrong_sum() -> None:
    """Two GPUs at 200 W can overshoot to 500 W together, not to 800 W."""
    twice = Profile((OperatingPoint(200, 400.0, 0.5, 1000, None, None),))

    assert "at 200 W per GPU the run's 2 GPU(s) seem to draw 800 W" in obstacle(LIVE, twice)
    assert "is a node scraped twice?" in obstacle(LIVE, twice)
