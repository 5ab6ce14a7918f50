"""What teams consumed of their budgets, through restarts, new periods and other terms."""

import json
import logging
from dataclasses import replace

import pytest

from fakes.gpus import WALL, Node, started, steps
from joulestat.domain.units import UJ_PER_JOULE
from joulestat.runs.budgets import Budgets, BudgetTerms
from joulestat.runs.ledger import LedgerPolicy
from joulestat.runs.memory import changed_documents, restored_ledger

DAY_SECONDS = 86_400.0
NOVEMBER = BudgetTerms("monthly", "nlp", 1e6, WALL - DAY_SECONDS, WALL + DAY_SECONDS)
DECEMBER = replace(
    NOVEMBER, start_seconds=NOVEMBER.end_seconds, end_seconds=NOVEMBER.end_seconds + DAY_SECONDS
)
USED_UJ = 1_000 * UJ_PER_JOULE


def restarted(node: Node, *terms: BudgetTerms) -> None:
    """Kill the exporter and start it again with these budgets in its configuration."""
    documents = {key: text for key, text in changed_documents(node.ledger).items() if text}
    node.ledger = restored_ledger(
        documents,
        policy=LedgerPolicy(),
        budgets=Budgets(terms),
        instance="memory-1",
        now_ns=node.now_ns,
        same_boot=True,
    )


def after_five_seconds_of_training() -> Node:
    """200 W of team nlp, charged to its budget for November."""
    node = Node({"GPU-a": 200.0})
    restarted(node, NOVEMBER)
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50))
    node.run_to(15.1)
    return node


def consumed_uj(node: Node) -> list[int]:
    return [state.consumed_uj for state in node.ledger.budget_states()]


@pytest.mark.parametrize(
    "terms",
    [
        NOVEMBER,
        replace(NOVEMBER, limit_joules=5.0),
        replace(NOVEMBER, end_seconds=NOVEMBER.end_seconds + 7 * DAY_SECONDS),
    ],
    ids=["the same", "another amount", "a later end"],
)
def test_a_budget_goes_on_through_restarts_also_with_another_amount_or_end(
    terms: BudgetTerms,
) -> None:
    node = after_five_seconds_of_training()
    restarted(node, terms)

    assert [USED_UJ] == consumed_uj(node)


@pytest.mark.parametrize(
    "terms",
    [DECEMBER, replace(NOVEMBER, team="cv"), replace(NOVEMBER, name="weekly")],
    ids=["a new period", "another team", "another name"],
)
def test_what_was_consumed_of_one_budget_is_not_of_another_of_its_name_or_time(
    terms: BudgetTerms,
) -> None:
    node = after_five_seconds_of_training()
    restarted(node, terms)

    assert [0] == consumed_uj(node)


def test_a_new_period_under_an_old_name_counts_from_its_start_through_restarts() -> None:
    node = after_five_seconds_of_training()
    today = replace(NOVEMBER, start_seconds=WALL)
    restarted(node, today)
    node.run_to(20)
    node.push("r", at=20, seq=3, train=steps(100))
    node.run_to(20.1)
    before = consumed_uj(node)
    restarted(node, today)

    assert before == consumed_uj(node) == [USED_UJ]


def test_a_period_that_is_over_or_still_to_come_stands_where_it_is() -> None:
    budgets = Budgets([NOVEMBER, replace(DECEMBER, name="next")])
    ends = (NOVEMBER.start_seconds, NOVEMBER.end_seconds, DECEMBER.end_seconds)
    for at in (ends[0] - 1, ends[0], ends[1] - 1):
        budgets.spend("nlp", 1, at)
    in_november = [state.consumed_uj for state in budgets.states()]
    for at in (ends[1], ends[2]):
        budgets.spend("nlp", 1, at)

    assert [2, 0] == in_november
    assert [2, 1] == [state.consumed_uj for state in budgets.states()]


def test_a_record_without_a_start_is_of_the_budget_of_its_name() -> None:
    budgets = Budgets([NOVEMBER])
    budgets.restore({"monthly": "123"})

    assert [123] == [state.consumed_uj for state in budgets.states()]
    assert 123 == json.loads(budgets.record["monthly"])["consumed_uj"]


def test_a_budget_that_begins_anew_is_logged_with_what_was_consumed_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = after_five_seconds_of_training()
    with caplog.at_level(logging.INFO):
        restarted(node, DECEMBER)
        restarted(node, DECEMBER)

    assert ["event=budget_begins_anew budget='monthly' team='nlp' consumed_before_joules=1000"] == [
        record.message for record in caplog.records
    ]
