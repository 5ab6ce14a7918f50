"""History read from real servers, Prometheus and VictoriaMetrics alike, against the truth."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from joulestat.domain.tariff import Tariff
from joulestat.optimizer.history.facts import RunHistory, Slice, Unread
from joulestat.optimizer.history.prometheus import PrometheusHistory
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.query_record import QueryRecord
from servers import victoria
from servers.known_runs import (
    BROKEN,
    COARSE,
    ENDED,
    HOSTILE,
    LONG,
    LONG_MOVED,
    LONG_RESET,
    MISSED,
    MOVED,
    PLAIN,
    REPLICAS,
    RESET,
    SIBLING,
    STRANGER,
    TALKATIVE,
    TRUTH,
    TWO_NODES,
    UNLIKE_NODES,
)
from servers.prometheus import PrometheusServer
from servers.training_history import START_SECONDS, TrainingHistory, openmetrics

SHORT = (PLAIN, TWO_NODES, MISSED, COARSE, RESET, ENDED, MOVED, REPLICAS, TALKATIVE)
LONGER = (LONG, LONG_RESET, LONG_MOVED)
WHOLE = (PLAIN, TWO_NODES, MISSED, COARSE, MOVED, REPLICAS, TALKATIVE, LONG, LONG_MOVED)
"""Of these no step is lost: no exporter forgot anything."""

ACCURACY = 1e-6
"""Far better than the 0.1 % wanted: stored values are not extrapolated."""

pytestmark = pytest.mark.prometheus


@pytest.fixture(scope="module")
def asked() -> list[QueryRecord]:
    """What was asked of the servers."""
    return []


@pytest.fixture(scope="module")
def samples() -> str:
    """All that the servers hold, as OpenMetrics."""
    return openmetrics(*SHORT, HOSTILE, SIBLING, STRANGER, UNLIKE_NODES, *LONGER)


@pytest.fixture(scope="module", params=["prometheus", "victoria"])
def reader(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[QueryRecord],
    samples: str,
) -> Iterator[PrometheusHistory]:
    """Read from one server that holds all runs at once."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "victoria":
        if victoria.missing():
            pytest.skip(victoria.missing())
        server: victoria.VictoriaServer | PrometheusServer = victoria.VictoriaServer(folder)
    else:
        server = PrometheusServer(folder)
        server.backfill(samples)
        server.backfill("\n".join([*BROKEN, "# EOF\n"]))
    with server:
        if isinstance(server, victoria.VictoriaServer):
            server.import_openmetrics(samples)
            server.flush()
        ticks = iter(range(10**9))
        with PrometheusClient(
            server.url, on_query=asked.append, monotonic=lambda: float(next(ticks))
        ) as client:
            yield PrometheusHistory(client)


def read(reader: PrometheusHistory, run: TrainingHistory) -> RunHistory:
    return reader.read(run.run, run.end_seconds - 0.5)


def sums(slices: Sequence[Slice]) -> dict[tuple[str, int], list[float]]:
    """Steps, joules, seconds, samples and tokens by node and limit."""
    found: dict[tuple[str, int], list[float]] = {}
    for item in slices:
        total = found.setdefault((item.node, item.power_limit_watts), [0.0] * 5)
        parts = (item.steps, item.joules, item.step_seconds, item.samples, item.tokens)
        for index, part in enumerate(parts):
            total[index] += part or 0.0
    return found


@pytest.mark.parametrize("run", [*SHORT, *LONGER], ids=lambda run: run.run)
def test_joules_and_seconds_per_step_of_every_limit_are_the_truth(
    reader: PrometheusHistory, run: TrainingHistory
) -> None:
    history = read(reader, run)
    found = sums(history.slices)

    assert () == history.problems
    assert run.n_nodes * len({watts for watts, _ in run.schedule}) == len(found)
    for (_, watts), (steps, joules, seconds, *_) in found.items():
        assert TRUTH[watts].joules == pytest.approx(joules / steps, rel=ACCURACY)
        assert TRUTH[watts].seconds == pytest.approx(seconds / steps, rel=ACCURACY)


@pytest.mark.parametrize("run", WHOLE, ids=lambda run: run.run)
def test_no_step_is_lost_or_counted_twice(reader: PrometheusHistory, run: TrainingHistory) -> None:
    """Exactly those that were made until the last scrape of each node before the end."""
    for (node, watts), (steps, *_) in sums(read(reader, run).slices).items():
        index = int(node.removeprefix("node").split(":")[0].removesuffix("b"))
        counted = run.counted(run.last_scrape(index, run.duration_seconds - 0.5))
        assert counted[str(watts)][0] == pytest.approx(steps, rel=1e-12), node


@pytest.mark.parametrize("run", LONGER, ids=lambda run: run.run)
def test_what_was_brief_in_a_long_run_is_looked_at_closely(
    reader: PrometheusHistory, run: TrainingHistory
) -> None:
    history = read(reader, run)
    alone = Counter((item.node, item.power_limit_watts) for item in history.slices if item.steps)
    lengths = {
        watts: max(
            item.end_seconds - item.start_seconds
            for item in history.slices
            if item.power_limit_watts == watts and item.steps
        )
        for watts, _ in run.schedule
    }

    assert min(alone.values()) >= 8
    assert {200: 15.0, 265: 15.0, 165: 15.0} == {watts: lengths[watts] for watts in (200, 265, 165)}
    recent = [item for item in history.slices if item.start_seconds > run.end_seconds - 3_600]
    assert {15.0} == {item.end_seconds - item.start_seconds for item in recent}


def test_a_long_run_takes_few_queries(reader: PrometheusHistory, asked: list[QueryRecord]) -> None:
    asked.clear()
    read(reader, LONG)

    assert len(asked) <= 36
    assert sum(record.n_points for record in asked) <= 60_000
    assert all(record.seconds > 0 for record in asked)


def test_samples_and_tokens_are_counted_with_the_steps(reader: PrometheusHistory) -> None:
    for steps, _, _, samples, tokens in sums(read(reader, TALKATIVE).slices).values():
        assert (32 * steps, 4096 * steps) == pytest.approx((samples, tokens), rel=1e-12)
    assert {(None, None)} == {(item.samples, item.tokens) for item in read(reader, PLAIN).slices}


def test_slices_tell_for_how_long_heat_slowed_a_gpu(reader: PrometheusHistory) -> None:
    slices = read(reader, TALKATIVE).slices
    begin, end = (START_SECONDS + second for second in (150.0, 187.5))

    assert {0.0} == {item.thermal_ratio for item in slices if item.end_seconds < begin - 1}
    assert {0.0} == {item.thermal_ratio for item in slices if item.start_seconds > end + 61}
    hot = [item.thermal_ratio or 0.0 for item in slices if begin < item.start_seconds < end]
    assert 0.6 < max(hot) <= 1.0
    assert {None} == {item.thermal_ratio for item in read(reader, PLAIN).slices}


def test_what_a_run_says_of_itself_is_read(reader: PrometheusHistory) -> None:
    history = read(reader, TALKATIVE)

    assert ("llama", "Simulated GPU") == (history.job, history.gpu_model)
    assert (5000.0, 2.5e6) == (history.planned_steps, history.energy_budget_joules)
    assert Tariff(0.31, "EUR", pue_ratio=1.2) == history.tariff
    silent = read(reader, PLAIN)
    assert ("", "", None, None, Tariff()) == (
        silent.job,
        silent.gpu_model,
        silent.planned_steps,
        silent.energy_budget_joules,
        silent.tariff,
    )


def test_a_limit_that_somebody_else_set_is_told(reader: PrometheusHistory) -> None:
    limits = read(reader, TALKATIVE).limits

    assert ("GPU-talkative-20", "GPU-talkative-21") == limits.foreign
    assert (250, False) == (limits.current_watts, limits.leased)


@pytest.mark.parametrize("run", [TWO_NODES, REPLICAS, MOVED, LONG], ids=lambda run: run.run)
def test_totals_are_of_all_the_runs_time(reader: PrometheusHistory, run: TrainingHistory) -> None:
    """The simulated exporters count 7 steps and joules a second as "mixed", and as "eval", too."""
    history = read(reader, run)
    nodes = range(run.first_node, run.first_node + run.n_nodes)
    lasts = [run.last_scrape(index, run.duration_seconds - 0.5) for index in nodes]
    counted = [run.counted(last).values() for last in lasts]
    steps = [
        7 * last + sum(parts[0] for parts in of) for last, of in zip(lasts, counted, strict=True)
    ]
    joules = [
        14 * last + sum(parts[2] for parts in of) for last, of in zip(lasts, counted, strict=True)
    ]

    assert max(steps) == pytest.approx(history.steps_done)
    assert sum(joules) == pytest.approx(history.joules_spent)
    assert 7 / 15 == pytest.approx(history.other_phase_ratio, rel=0.03)


def test_steps_before_a_reset_are_in_the_total(reader: PrometheusHistory) -> None:
    history = read(reader, LONG_RESET)
    last = LONG_RESET.last_scrape(LONG_RESET.first_node, LONG_RESET.duration_seconds)
    made = sum(parts[0] for parts in LONG_RESET.counted(last).values())

    assert made + 7 * last == pytest.approx(history.steps_done, rel=0.01)


def test_limits_of_unlike_nodes_are_on_one_scale(reader: PrometheusHistory) -> None:
    history = read(reader, UNLIKE_NODES)
    found = sums(history.slices)

    assert {watts for _, watts in found} == set(TRUTH)
    assert 2 * len(TRUTH) == len(found)
    assert (300, 130) == (history.limits.reference_watts, history.limits.current_watts)
    assert {"GPU-unlike-50": 300, "GPU-unlike-51": 200} == history.limits.reference_by_gpu


def test_many_runs_are_read_as_each_of_them_is(reader: PrometheusHistory) -> None:
    names = [HOSTILE.run, *(run.run for run in SHORT), "no-such-run"]
    at_seconds = START_SECONDS + 440.0
    together = list(reader.read_all(names, at_seconds))

    assert [reader.read(name, at_seconds) for name in names] == together


def test_one_run_that_cannot_be_read_is_no_others_failure(reader: PrometheusHistory) -> None:
    """VictoriaMetrics takes what is no number for the end of a series."""
    broken, plain = reader.read_all(["nan", PLAIN.run], START_SECONDS + 200.0)

    assert isinstance(plain, RunHistory)
    assert reader.read(PLAIN.run, START_SECONDS + 200.0) == plain
    assert isinstance(broken, Unread) or not broken.slices


def test_earlier_runs_are_those_of_the_job_on_the_same_gpus(reader: PrometheusHistory) -> None:
    history = read(reader, TALKATIVE)

    assert [SIBLING.run] == reader.earlier_runs(history, TALKATIVE.end_seconds)
    assert [] == reader.earlier_runs(read(reader, PLAIN), PLAIN.end_seconds)
