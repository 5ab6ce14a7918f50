"""Energy budgets on the command line, from an exporter's own history."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from fakes.histories import BEGIN_SECONDS, KeptNode
from joulestat.cli.optimize import optimize

BUDGET_JOULES = 90_000.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> KeptNode:
    """600 of 1,000 steps are made, with 90 J each at 250 W and then 70 J at 200 W, 3 % slower."""
    node = KeptNode(tmp_path_factory.mktemp("node"))
    node.begin("r", 0)
    node.plan("r", 1_000, BUDGET_JOULES)
    node.train("r", range(1, 301), joules=90.0)
    node.leased.add(0)
    node.limits_watts[0] = 200.0
    node.train("r", range(301, 601), limit="200", joules=70.0, seconds=1.03)
    node.keeper.flush()
    return node


def answer(node: KeptNode, *arguments: str, at: float = 600.0) -> dict[str, Any]:
    moment = ("--at", str(BEGIN_SECONDS + at))
    given = ["--history.file", str(node.path), *moment, "--output", "json", *arguments]
    result = CliRunner().invoke(optimize, given)
    assert result.exit_code in (0, 3), result.output
    decided = json.loads(result.stdout)
    return decided if isinstance(decided, dict) else decided[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("runs", [("--run", "r"), ("--all-runs",)])
def test_the_budget_that_the_run_pushed_is_taken_from_the_exporters_own_history(
    node: KeptNode, runs: tuple[str, ...]
) -> None:
    decision = answer(node, *runs)
    budget = decision["budget"]

    assert ("hold", 200) == (decision["decision"], decision["power_limit_watts"])
    assert (BUDGET_JOULES, "run", True) == (budget["joules"], budget["source"], budget["finishes"])
    assert 400 == pytest.approx(budget["steps_left"], abs=2)
    assert 300 * 90 + 700 * 70 == pytest.approx(budget["expected_joules"], rel=0.01)


def test_at_an_earlier_moment_it_is_told_what_was_known_then(node: KeptNode) -> None:
    """Only 250 W was measured: 90 J for each of 1,000 steps are just too close to 90 kJ."""
    decision = answer(node, "--run", "r", at=290.0)
    budget = decision["budget"]

    assert ("none", 250) == (decision["decision"], budget["power_limit_watts"])
    assert BUDGET_JOULES == pytest.approx(budget["expected_joules"], rel=0.01)
    assert 300 * 90 > budget["spent_joules"]


def test_a_budget_on_the_command_line_counts_instead_of_the_runs_own(node: KeptNode) -> None:
    budget = answer(node, "--run", "r", "--energy-budget-kwh", "0.02")["budget"]

    assert (72_000.0, "option", False) == (budget["joules"], budget["source"], budget["finishes"])
    assert "needs more than its energy budget" in budget["reason"]
