"""Every query of every board finds something in twelve hours of a fleet, in a real Prometheus."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from dashboards.fleet_schedule import (
    ENDED,
    ENDED_LEASE,
    MINUTES,
    RUNS,
    SCRAPE_SECONDS,
    STEERED,
    TRUTH,
    label_of,
)
from dashboards.shown import (
    ALERT_RULES,
    BOARDS,
    MAY_BE_EMPTY,
    RULES,
    Json,
    Shown,
    annotations,
    filled_in,
    queries,
)
from dashboards.simulated_fleet import SimulatedFleet
from servers.prometheus import PrometheusServer

pytestmark = pytest.mark.prometheus

RULES_TIMEOUT_SECONDS = 30.0
LAST_RULE = "budget:joulestat_energy_projected:ratio1d"
FIRST_ALERT = 'ALERTS{alertname="JoulestatBudgetExhausted"}'
"""It alone waits for nothing."""
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}

MAY_BE_NAN: dict[tuple[str, str, str], str] = {}
"""(board, panel, refId) and why there is no number."""


@dataclass(frozen=True)
class Fleet:
    """A Prometheus that holds the fleet's history, and its last moment, Unix time."""

    client: httpx.Client
    end_seconds: float

    def ask(self, path: str, **parameters: str | float) -> Json:
        answer = self.client.post(f"/api/v1/{path}", data=parameters)
        assert answer.is_success, answer.text
        found: Json = answer.json()
        assert "warnings" not in found, found["warnings"]
        return found

    def values(self, shown: Shown, expr: str, range_seconds: int, step_seconds: int) -> list[float]:
        if shown.instant:
            found = self.ask("query", query=expr, time=self.end_seconds)["data"]["result"]
            return [float(series["value"][1]) for series in found]
        # The last point is the end itself: what rules record is there alone.
        begin = self.end_seconds - range_seconds
        found = self.ask(
            "query_range", query=expr, start=begin, end=self.end_seconds, step=step_seconds
        )["data"]["result"]
        return [float(value) for series in found for _, value in series["values"]]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The history ends now: rules are evaluated now and never for the past."""
    server = PrometheusServer(tmp_path_factory.mktemp("fleet"), rules=[RULES, *ALERT_RULES])
    server.backfill(SimulatedFleet(int(time.time())).openmetrics())
    with server, httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        deadline = time.monotonic() + RULES_TIMEOUT_SECONDS
        for last in (LAST_RULE, FIRST_ALERT):
            while not Fleet(client, time.time()).ask("query", query=last)["data"]["result"]:
                assert time.monotonic() < deadline, f"{last} was never recorded"
                time.sleep(0.1)
        yield Fleet(client, time.time())


def seconds(duration: str) -> int:
    return int(duration[:-1]) * UNIT_SECONDS[duration[-1]]


def variables(
    board: Json, range_seconds: int, step_seconds: int, run: str = STEERED.name
) -> dict[str, str]:
    """Return what Grafana fills in, with everything chosen and one run."""
    return {
        "__range": f"{range_seconds}s",
        "__rate_interval": f"{max(step_seconds + SCRAPE_SECONDS, 4 * SCRAPE_SECONDS)}s",
        "job": ".+",
        "gpu": ".+",
        "scope": ".+",
        "budget": ".+",
        "run": run,
        "instance": STEERED.gpus[-1][0] if board["uid"] == "joulestat-gpu" else ".+",
    }


def found(fleet: Fleet, shown: Shown, run: str = STEERED.name, time_range: str = "") -> list[float]:
    board = BOARDS[shown.board]
    range_seconds = seconds(time_range or board["time"]["from"].removeprefix("now-"))
    step_seconds = max(SCRAPE_SECONDS, seconds(shown.step) if shown.step else 0)
    expr = filled_in(shown.expr, variables(board, range_seconds, step_seconds, run))
    return fleet.values(shown, expr, range_seconds, step_seconds)


@pytest.fixture(scope="module")
def answers(fleet: Fleet) -> dict[Shown, list[float]]:
    return {shown: found(fleet, shown) for shown in [*queries(), *annotations()]}


def test_every_query_finds_something(answers: dict[Shown, list[float]]) -> None:
    empty = [shown for shown, values in answers.items() if not values]

    assert [] == [
        (shown.place, shown.expr)
        for shown in empty
        if (shown.board, shown.panel, shown.ref_id) not in MAY_BE_EMPTY
    ]


def test_every_answer_is_a_number(answers: dict[Shown, list[float]]) -> None:
    odd = [
        shown
        for shown, values in answers.items()
        if not all(math.isfinite(value) for value in values)
    ]

    assert [] == [
        (shown.place, shown.expr)
        for shown in odd
        if (shown.board, shown.panel, shown.ref_id) not in MAY_BE_NAN
    ]


def test_every_exclusion_is_needed(answers: dict[Shown, list[float]]) -> None:
    empty = {(s.board, s.panel, s.ref_id) for s, values in answers.items() if not values}
    odd = {
        (s.board, s.panel, s.ref_id)
        for s, values in answers.items()
        if any(not math.isfinite(value) for value in values)
    }

    assert (set(), set()) == (MAY_BE_EMPTY.keys() - empty, MAY_BE_NAN.keys() - odd)


def test_every_variable_offers_something(fleet: Fleet) -> None:
    offered = {}
    for uid, board in BOARDS.items():
        for variable in board["templating"]["list"][1:]:
            inside = variable["definition"].removeprefix("label_values(").removesuffix(")")
            metric, _, label = inside.rpartition(", ")
            parameters = {"match[]": filled_in(metric, variables(board, 1, 1))}
            begin = fleet.end_seconds - MINUTES * SCRAPE_SECONDS
            answer = fleet.client.get(
                f"/api/v1/label/{label}/values", params={**parameters, "start": begin}
            )
            offered[uid, variable["name"]] = len(answer.json()["data"])

    assert {} == {where: count for where, count in offered.items() if not count}


def numbers(
    fleet: Fleet, panel: str, run: str = STEERED.name, time_range: str = "", ref_id: str = "A"
) -> list[float]:
    """Return an answer of a panel of the optimizer's board, by default in its range."""
    place = ("joulestat-optimizer", panel, ref_id)
    shown = next(s for s in queries() if (s.board, s.panel, s.ref_id) == place)
    return found(fleet, shown, run, time_range)


def test_a_step_costs_at_each_limit_what_it_cost_in_truth(fleet: Fleet) -> None:
    joules = numbers(fleet, "Energy and time per step by power limit", ref_id="A")
    seconds = numbers(fleet, "Energy and time per step by power limit", ref_id="B")
    n_gpus = len(STEERED.gpus)

    assert sorted(TRUTH[watts].joules * n_gpus for watts in TRUTH) == pytest.approx(
        sorted(joules), rel=0.01
    )
    assert sorted(TRUTH[watts].seconds for watts in TRUTH) == pytest.approx(sorted(seconds))


@pytest.mark.parametrize("time_range", ["12h", "1h"], ids=["with its begin", "leased all along"])
def test_the_limit_in_force_is_compared_with_the_one_from_before_its_lease(
    fleet: Fleet, time_range: str
) -> None:
    """Some of its cards came with a higher one still, at which it never ran."""
    assert [TRUTH[230].joules / TRUTH[300].joules - 1] == pytest.approx(
        numbers(fleet, "Energy change", time_range=time_range), abs=0.005
    )
    assert [TRUTH[230].seconds / TRUTH[300].seconds - 1] == pytest.approx(
        numbers(fleet, "Time change", time_range=time_range)
    )


def test_of_a_run_that_is_over_the_last_limit_counts_not_what_its_gpus_went_back_to(
    fleet: Fleet,
) -> None:
    (over,) = (run for run in RUNS if run.gpus == (ENDED,))
    _, watts = ENDED_LEASE

    assert [TRUTH[watts].seconds / TRUTH[300].seconds - 1] == pytest.approx(
        numbers(fleet, "Time change", over.name)
    )


def test_what_was_saved_is_what_the_steps_would_have_taken_more(fleet: Fleet) -> None:
    """The run's clock tells how long it trained under each limit, so how many steps it made."""
    (saved,) = numbers(fleet, "Energy saved so far")
    expected_joules = 0.0
    for minute in range(MINUTES + 1):
        label = label_of(STEERED, minute)
        if label.isdigit() and STEERED.phase(minute) == "train":
            steps = SCRAPE_SECONDS / TRUTH[int(label)].seconds
            expected_joules += steps * (TRUTH[300].joules - TRUTH[int(label)].joules)

    assert pytest.approx(expected_joules * len(STEERED.gpus) / 3600, rel=0.03) == saved
