"""The search on measured trainings, beside a full sweep: a short version of optimizer_replay.py."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.replay_campaign import Campaign, Trial, search_in_memory
from benchmarks.replay_lockstep import live_in_lockstep
from fakes.traced_runs import NO_TRACES, TracedRun, read_traced_runs, traces_are_there
from joulestat.optimizer.search.objective import Cost, Objective, Slowdown
from servers.prometheus import PrometheusServer

EVERY = 12
OBJECTIVES: tuple[Objective, ...] = (Cost(0.5), Slowdown(1.05), Cost(1.0))
VIOLATION_RATIO = 0.01

pytestmark = pytest.mark.skipif(not traces_are_there(), reason=NO_TRACES)

Trials = list[tuple[TracedRun, Trial]]


@pytest.fixture(scope="module")
def runs() -> list[TracedRun]:
    """Every twelfth set-up, of both cards."""
    return read_traced_runs()[::EVERY]


def search_all(runs: list[TracedRun], noise_ratio: float, n_objectives: int) -> Trials:
    return [
        (traced, search_in_memory(traced, objective, noise_ratio, (1, number, index)))
        for number, objective in enumerate(OBJECTIVES[:n_objectives])
        for index, traced in enumerate(runs)
    ]


@pytest.fixture(scope="module")
def exact(runs: list[TracedRun]) -> Trials:
    """Every search without noise."""
    return search_all(runs, 0.0, 3)


@pytest.fixture(scope="module")
def noisy(runs: list[TracedRun]) -> Trials:
    """Every search where windows of 40 steps scatter by 1 %."""
    return search_all(runs, 0.01, 2)


def p95(trials: Trials) -> float:
    return float(np.quantile([trial.regret_ratio for _, trial in trials], 0.95))


def test_the_traces_are_those_that_the_bounds_below_were_set_on() -> None:
    runs = read_traced_runs()

    assert (96, 12) == (len(runs), sum(run.insensitive for run in runs))


def test_without_noise_a_search_is_nearly_as_good_as_a_full_sweep(exact: Trials) -> None:
    """Measured: 0.6 %."""
    assert p95(exact) <= 0.012


def test_with_noise_of_one_percent_it_is_hardly_worse(noisy: Trials) -> None:
    """Measured: 2.0 %."""
    assert p95(noisy) <= 0.03


def test_a_search_tries_few_limits(exact: Trials) -> None:
    limits = [trial.n_limits for _, trial in exact]

    assert max(limits) <= 5
    assert sum(limits) / len(limits) <= 4


def test_a_search_takes_less_time_than_a_full_sweep(exact: Trials, noisy: Trials) -> None:
    assert max(trial.probing_share for _, trial in exact) <= 0.6
    # A probe more may be under way when a sweep's time is spent.
    assert max(trial.probing_share for _, trial in noisy) <= 1.1


def test_no_held_limit_breaks_the_bound(exact: Trials, noisy: Trials) -> None:
    assert max(trial.excess_ratio for _, trial in exact) <= 1e-9
    assert max(trial.excess_ratio for _, trial in noisy) <= VIOLATION_RATIO


def test_no_effect_is_said_only_where_the_limit_has_none(exact: Trials, noisy: Trials) -> None:
    said = [traced.insensitive for traced, trial in exact if trial.no_effect]
    said_in_noise = [traced.insensitive for traced, trial in noisy if trial.no_effect]

    assert [True] * 3 == said
    assert all(said_in_noise)


@pytest.mark.prometheus
def test_through_prometheus_a_search_is_as_good(runs: list[TracedRun], tmp_path: Path) -> None:
    """Written by remote write every 30 s of the runs' time, and read back by PromQL."""
    campaigns = {
        f"{number}-{index}": Campaign.begin(traced, objective, 0.0, (1, number, index))
        for number, objective in enumerate((Cost(0.5), Slowdown(1.05)))
        for index, traced in enumerate(runs[::4])
    }
    with PrometheusServer(tmp_path) as server:
        live_in_lockstep(server.url, campaigns)
    trials = [campaign.trial() for campaign in campaigns.values()]

    assert max(trial.regret_ratio for trial in trials) <= 0.015
    assert max(trial.excess_ratio for trial in trials) <= 1e-9
    assert max(trial.n_limits for trial in trials) <= 5
