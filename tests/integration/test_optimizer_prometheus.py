"""The optimizer against a real Prometheus that holds runs whose truth is known."""

from collections.abc import Iterator

import pytest

from joulestat.client.admin import AdminClient
from joulestat.domain.errors import HistoryError
from joulestat.domain.plan import Action, Decision
from joulestat.optimizer.addresses.given import GivenAddresses
from joulestat.optimizer.addresses.template import AddressTemplate
from joulestat.optimizer.evidence.profile import Minimum, Profile, build_profile
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.history.prometheus import PrometheusHistory
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import equals
from joulestat.optimizer.publish import LeasePublisher
from joulestat.optimizer.rounds import Optimizer, Question
from joulestat.optimizer.search.choose import choose
from joulestat.optimizer.search.objective import Cost, Objective, Slowdown
from servers.known_runs import (
    BRIEF,
    BROKEN,
    COARSE,
    ENDED,
    FIRST_QUEUE,
    HOSTILE,
    PLAIN,
    REPLICAS,
    RESET,
    RUNS,
    SECOND_QUEUE,
    TRUTH,
    TWO_NODES,
)
from servers.prometheus import PrometheusServer
from servers.training_history import START_SECONDS, TrainingHistory, Truth, openmetrics

MINIMUM = Minimum(steps=30, seconds=60.0)
ACCURACY = 1e-6
"""Far better than the 0.1 % wanted: stored values are not extrapolated."""

pytestmark = pytest.mark.prometheus


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusHistory]:
    """Read from one server that holds all runs at once."""
    histories = (*RUNS, HOSTILE, BRIEF, FIRST_QUEUE, SECOND_QUEUE)
    server = PrometheusServer(tmp_path_factory.mktemp("prometheus"))
    server.backfill(openmetrics(*histories))
    server.backfill("\n".join([*BROKEN, "# EOF\n"]))
    with server, PrometheusClient(server.url) as client:
        yield PrometheusHistory(client)


def profile_of(history: RunHistory) -> Profile:
    return build_profile(history.slices, MINIMUM)


def decide(history: RunHistory, objective: Objective, *, explore: bool = False) -> Decision:
    return choose(history, profile_of(history), objective, minimum=MINIMUM, explore=explore)


def read(reader: PrometheusHistory, run: TrainingHistory) -> RunHistory:
    return reader.read(run.run, run.end_seconds - 0.5)


def assert_true(profile: Profile, truth: dict[int, Truth], n_nodes: int) -> None:
    assert sorted(truth) == [point.power_limit_watts for point in profile.points]
    for point in profile.points:
        known = truth[point.power_limit_watts]
        assert n_nodes * known.joules == pytest.approx(point.joules_per_step, rel=ACCURACY)
        assert known.seconds == pytest.approx(point.seconds_per_step, rel=ACCURACY)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.run)
def test_joules_and_seconds_per_step_of_every_limit_are_the_truth(
    reader: PrometheusHistory, run: TrainingHistory
) -> None:
    history = read(reader, run)

    assert () == history.problems
    assert_true(profile_of(history), TRUTH, run.n_nodes)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.run)
def test_no_step_is_lost_or_counted_twice(reader: PrometheusHistory, run: TrainingHistory) -> None:
    """All is there but 2 to 4 s of transition, and what no scrape saw."""
    in_force = run.schedule[0][1]
    unseen = 6 + (run.scrape_seconds if run is COARSE else 0)
    for point in profile_of(read(reader, run)).points:
        assert in_force - unseen <= point.steps * point.seconds_per_step <= in_force


@pytest.mark.parametrize("run", [PLAIN, TWO_NODES, RESET, REPLICAS], ids=lambda run: run.run)
@pytest.mark.parametrize("eta", [0.25, 0.5, 1.0])
def test_the_cheapest_limit_is_the_truths(
    reader: PrometheusHistory, run: TrainingHistory, eta: float
) -> None:
    decision = decide(read(reader, run), Cost(eta))
    costs = {watts: eta * at.joules + (1 - eta) * 300 * at.seconds for watts, at in TRUTH.items()}

    assert Action.HOLD is decision.action
    assert 300 == decision.reference_power_limit_watts
    assert min(costs, key=costs.__getitem__) == decision.power_limit_watts


@pytest.mark.parametrize("run", [PLAIN, TWO_NODES, RESET, REPLICAS], ids=lambda run: run.run)
@pytest.mark.parametrize("bound", [1.05, 1.1])
def test_the_least_energy_within_a_slowdown_is_the_truths(
    reader: PrometheusHistory, run: TrainingHistory, bound: float
) -> None:
    decision = decide(read(reader, run), Slowdown(bound))
    within = {
        watts: at.joules for watts, at in TRUTH.items() if at.seconds <= bound * TRUTH[300].seconds
    }

    assert Action.HOLD is decision.action
    assert min(within, key=within.__getitem__) == decision.power_limit_watts


def test_a_name_shaped_like_a_query_selects_its_own_run_alone(reader: PrometheusHistory) -> None:
    history = read(reader, HOSTILE)

    assert_true(profile_of(history), dict(HOSTILE.truth), 1)
    assert (f"GPU-{HOSTILE.run}-0",) == history.gpu_uuids


def test_a_name_that_nobody_has_gets_no_advice(reader: PrometheusHistory) -> None:
    for name in ("", ".*", 'plain"}', "no-such-run"):
        decision = decide(reader.read(name, PLAIN.end_seconds), Cost(0.5))
        assert (Action.NONE, None) == (decision.action, decision.window)


def test_the_runs_of_a_moment_are_listed(reader: PrometheusHistory) -> None:
    shown = reader.runs(PLAIN.end_seconds - 1)

    assert sorted([*(run.run for run in RUNS), "requeued"]) == shown
    assert HOSTILE.run in reader.runs(HOSTILE.end_seconds - 1)


def test_a_limit_that_was_hardly_measured_gets_no_advice(reader: PrometheusHistory) -> None:
    history = read(reader, BRIEF)
    decision = decide(history, Cost(0.5))

    assert [300] == [point.power_limit_watts for point in decision.points]
    assert [200] == [point.power_limit_watts for point in profile_of(history).thin]
    assert Action.NONE is decision.action


def test_exploring_goes_on_with_the_probe_in_force(reader: PrometheusHistory) -> None:
    decision = decide(read(reader, BRIEF), Cost(0.5), explore=True)

    assert (Action.PROBE, 200) == (decision.action, decision.power_limit_watts)
    assert "still measuring" in decision.reason


def test_a_decision_of_the_past_does_not_know_what_came_later(reader: PrometheusHistory) -> None:
    then = reader.read(PLAIN.run, START_SECONDS + 149.0)

    assert_true(profile_of(then), {watts: TRUTH[watts] for watts in (300, 265)}, 1)
    assert then.live
    assert 265 == then.limits.current_watts
    assert then.window is not None
    assert then.window.end_seconds <= START_SECONDS + 149.0


def test_limits_are_those_of_the_runs_devices(reader: PrometheusHistory) -> None:
    limits = read(reader, TWO_NODES).limits

    assert (300, 130, True) == (
        limits.reference_watts,
        limits.current_watts,
        limits.leased,
    )
    assert (100.0, 350.0, False) == (limits.min_watts, limits.max_watts, limits.unequal_reference)


def test_the_devices_are_those_that_the_run_holds(reader: PrometheusHistory) -> None:
    assert ("GPU-two-nodes-0", "GPU-two-nodes-1") == read(reader, TWO_NODES).gpu_uuids


def test_a_run_that_ended_is_known_as_such_and_still_judged(reader: PrometheusHistory) -> None:
    for later in (30.0, 3_600.0, 86_400.0):
        history = reader.read(ENDED.run, ENDED.end_seconds + later)
        assert not history.live
        assert history.ended is (later == 30.0)
        assert ("GPU-ended-0",) == history.gpu_uuids
        assert_true(profile_of(history), TRUTH, 1)
        assert Action.HOLD is decide(history, Cost(0.5), explore=True).action


def test_what_is_not_scraped_any_more_is_not_fresh(reader: PrometheusHistory) -> None:
    seen = reader.read(PLAIN.run, PLAIN.end_seconds + 40)
    late = reader.read(PLAIN.run, PLAIN.end_seconds + 90)
    gone = reader.read(PLAIN.run, PLAIN.end_seconds + 900)

    assert [(True, True), (False, False), (False, False)] == [
        (history.fresh, history.live) for history in (seen, late, gone)
    ]
    assert 90.9 == pytest.approx(late.sample_age_seconds or 0.0, abs=0.2)
    assert gone.sample_age_seconds is None


def test_slow_scrapes_are_given_longer(reader: PrometheusHistory) -> None:
    late = reader.read(COARSE.run, COARSE.end_seconds + 50)

    assert (True, True) == (late.fresh, (late.sample_age_seconds or 0.0) > 60)


def test_a_window_limits_how_far_back_is_looked(reader: PrometheusHistory) -> None:
    history = reader.read(PLAIN.run, PLAIN.end_seconds - 0.5, window_seconds=160.0)
    points = profile_of(history).points

    assert [130, 165] == [point.power_limit_watts for point in points]
    assert_true(profile_of(history), {watts: TRUTH[watts] for watts in (130, 165)}, 1)


def test_a_run_queued_again_on_another_node_is_judged_there_alone(
    reader: PrometheusHistory,
) -> None:
    history = read(reader, SECOND_QUEUE)

    assert ("GPU-requeued-1",) == history.gpu_uuids
    assert_true(profile_of(history), TRUTH, 1)


def test_of_runs_with_one_name_a_label_selects_one(reader: PrometheusHistory) -> None:
    chosen = PrometheusHistory(reader._client, [equals("instance", "node1:9400")])
    history = chosen.read(TWO_NODES.run, TWO_NODES.end_seconds - 0.5)

    assert_true(profile_of(history), TRUTH, 1)
    assert ("GPU-two-nodes-1",) == history.gpu_uuids


@pytest.mark.parametrize(
    ("run", "later", "errors"),
    [(ENDED, 30.0, 0), (ENDED, 3_600.0, 1), (PLAIN, 90.0, 1), (PLAIN, 900.0, 1)],
)
def test_only_what_is_seen_live_is_acted_on(
    reader: PrometheusHistory, run: TrainingHistory, later: float, errors: int
) -> None:
    """An ended run has nothing left to limit; one that is not seen may go on unseen."""
    publisher = LeasePublisher(GivenAddresses([AdminClient("unix:/nonexistent/admin.sock")]), 60.0)
    optimizer = Optimizer(reader, Question(Cost(0.5), MINIMUM), publisher)
    (outcome,) = optimizer.round([run.run], run.end_seconds + later)

    assert errors == len(outcome.errors)
    assert all("too old to act on" in error for error in outcome.errors)
    assert outcome.decision is not None
    assert Action.HOLD is outcome.decision.action


def test_each_gpus_instance_is_known_and_leads_to_its_nodes_admin_api(
    reader: PrometheusHistory,
) -> None:
    addresses = AddressTemplate("unix:/nonexistent/{host}.sock", AdminClient)
    optimizer = Optimizer(reader, Question(Cost(0.5), MINIMUM), LeasePublisher(addresses, 60.0))
    (outcome,) = optimizer.round([TWO_NODES.run], TWO_NODES.end_seconds - 0.5)

    assert {f"GPU-two-nodes-{n}": {f"node{n}:9400"} for n in (0, 1)} == read(
        reader, TWO_NODES
    ).instances_by_gpu
    assert {f"GPU-replicas-{n}": {f"node{n}:9400"} for n in (0, 1)} == read(
        reader, REPLICAS
    ).instances_by_gpu
    assert (
        "GPU-two-nodes-0: no answer from the admin API at unix:/nonexistent/node0.sock"
        in (outcome.errors[0])
    )


def test_one_run_that_cannot_be_read_is_no_others_failure(reader: PrometheusHistory) -> None:
    outcomes = Optimizer(reader, Question(Cost(0.5), MINIMUM)).round(
        ["nan", PLAIN.run], START_SECONDS + 200.0
    )

    assert [(True, 1), (False, 0)] == [
        (outcome.decision is None, len(outcome.errors)) for outcome in outcomes
    ]


def test_a_value_that_is_no_number_is_an_error(reader: PrometheusHistory) -> None:
    with pytest.raises(HistoryError, match="nan"):
        reader.read("nan", START_SECONDS + 20)
