"""What the demo says at its end, for people and for programs."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from joulestat.demo.options import DemoOptions
from joulestat.demo.result import Result, cost_joules, points_table, reference_of
from joulestat.demo.scene import Addresses, still_limited
from joulestat.demo.show import Show
from joulestat.domain.plan import Action, Decision, Expected, OperatingPoint, Window


def point(limit_watts: int, joules: float, seconds: float) -> OperatingPoint:
    return OperatingPoint(limit_watts, joules, seconds, 100, None, None)


def decision(action: Action = Action.HOLD) -> Decision:
    return Decision(
        run="demo",
        action=action,
        power_limit_watts=200,
        reason="Best of those measured.",
        objective={"name": "slowdown", "max_slowdown": 1.05},
        reference_power_limit_watts=300,
        points=(point(200, 40.0, 0.11), point(300, 50.0, 0.1)),
        expected=Expected(energy_saving_ratio=0.2, slowdown_ratio=1.1),
        window=Window(1.0, 2.0),
        gpu_uuids=("GPU-1", "GPU-2"),
    )


def result(**left_behind_watts: float) -> Result:
    return Result(decision(), 80.04, 1234.5, {"GPU-1": 300.0, "GPU-2": 300.0}, left_behind_watts)


def told(to: Show, buffer: io.StringIO, ended: Result) -> str:
    with to:
        to.ended(ended)
    return buffer.getvalue()


@pytest.fixture
def buffer() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def show(buffer: io.StringIO) -> Show:
    return Show(Console(file=buffer, width=120, force_terminal=False), DemoOptions())


def test_the_cost_of_a_step_weighs_its_energy_against_the_time_of_all_gpus() -> None:
    reference = reference_of(decision())

    # 0.5 * 40 J + 0.5 * (300 W * 2 GPUs) * 0.11 s = 20 J + 33 J
    assert 53.0 == pytest.approx(cost_joules(point(200, 40.0, 0.11), reference))
    assert cost_joules(point(200, 40.0, 0.11), None) is None


def test_the_json_is_the_optimizers_with_costs_and_what_became_of_the_limits() -> None:
    document = json.loads(json.dumps(result().as_json_object(), allow_nan=False))

    assert "hold" == document["decision"]["decision"]
    assert [53.0, 55.0] == [
        pytest.approx(each["cost_joules_per_step"]) for each in document["decision"]["points"]
    ]
    assert (True, True, 80.0) == (
        document["held"],
        document["limits_restored"],
        document["elapsed_seconds"],
    )


def test_the_table_starts_with_the_highest_limit_and_marks_the_chosen_one(
    show: Show, buffer: io.StringIO
) -> None:
    table = points_table(decision())
    Console(file=buffer, width=120).print(table)
    lines = buffer.getvalue().splitlines()

    assert lines[1].startswith("300 W")
    assert "reference" in lines[1]
    assert "-20.0 %" in lines[2]
    assert "+10.0 %" in lines[2]
    assert "<- hold" in lines[2]


def test_what_is_back_is_said_and_what_is_not_is_said_louder(
    show: Show, buffer: io.StringIO
) -> None:
    assert "all 2 power limits are back at 300 W" in told(show, buffer, result())
    assert "Limits were left behind: GPU-2: 200 W" in told(show, buffer, result(**{"GPU-2": 200.0}))


def test_without_a_screen_a_decision_repeated_is_one_line(show: Show, buffer: io.StringIO) -> None:
    with show:
        for elapsed_seconds in (1.0, 2.0, 3.0):
            show.decided(decision(), {"GPU-1": 200.0}, elapsed_seconds)

    assert 1 == buffer.getvalue().count("Best of those measured.")


def test_the_addresses_are_shown_as_soon_as_they_can_be_opened(buffer: io.StringIO) -> None:
    addresses = Addresses("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3", Path())
    show = Show(Console(file=buffer, width=80), DemoOptions(objective="cost", keep=True))
    show.opened(addresses)
    early = buffer.getvalue()
    show.kept(addresses, None)
    late = buffer.getvalue().removeprefix(early)

    assert "  exporter    http://127.0.0.1:1\n" in early
    assert "  Prometheus  http://127.0.0.1:3/graph?" in early
    assert early.splitlines()[1:] == late.splitlines()[2:4]
    # The advice is an answer to the question that the demo asks.
    assert "--objective cost " in late


def test_limits_within_the_drivers_rounding_count_as_back() -> None:
    before = {"GPU-1": 300.0, "GPU-2": 300.0}

    assert {"GPU-2": 225.0} == still_limited(before, {"GPU-1": 299.6, "GPU-2": 225.0})


def test_more_time_means_more_evidence_per_limit() -> None:
    # (90 - 12 - 5 - 3 * 3) / (4 + 3) = 9.1
    assert 9.0 == DemoOptions(seconds=90).minimum.seconds
    assert 4.0 == DemoOptions(seconds=40).minimum.seconds
