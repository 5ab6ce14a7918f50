"""What people see of many runs at once, of the queries behind a decision, and while they run."""

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from fakes.decisions import QUERIES, decision, history, no_advice
from joulestat.domain.plan import Action, BudgetForecast, Decision, Expected
from joulestat.domain.tariff import UNKNOWN_TARIFF, Tariff
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.show.explain import explain
from joulestat.optimizer.show.progress import Progress
from joulestat.optimizer.show.summary import as_summary_table

HOSTILE = "[red]a\x1b[2Jb\r\n[/]"


def shown(renderable: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, emoji=False)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def lines(renderable: RenderableType) -> list[str]:
    return [line.rstrip() for line in shown(renderable).splitlines()]


def saving(run: str, ratio: float) -> Decision:
    return replace(decision(run), expected=Expected(ratio, 1.0))


def test_what_saves_most_comes_first_and_what_has_no_advice_says_why() -> None:
    table = lines(
        as_summary_table(
            [
                no_advice("silent", "It is not live."),
                saving("small", 0.01),
                replace(decision("seeking"), action=Action.PROBE, power_limit_watts=210),
                saving("large", 0.2),
            ]
        )
    )

    assert [
        "run      decision      from   energy     time  kWh/day",
        "large    hold 230 W   300 W  -20.0 %    0.0 %     2.80",
        "small    hold 230 W   300 W   -1.0 %    0.0 %    0.140",
        "seeking  probe 210 W  300 W   -6.1 %  +11.0 %",
    ] == table[:4]
    assert "4 runs: 2 to hold, 1 to probe, 1 without advice. Saved per day: 2.94 kWh, 1.19" in table
    assert ["Without advice:", "silent: It is not live."] == table[-2:]


def test_a_run_that_is_not_live_saves_nothing_now() -> None:
    table = shown(as_summary_table([saving("over", 0.2)], {"over": history("over", live=False)}))

    assert "not live" in table
    assert "Saved per day" not in table


def test_money_of_different_currencies_is_not_added_up() -> None:
    dollars = replace(saving("b", 0.1), tariff=Tariff(0.2, "USD"))
    table = " ".join(shown(as_summary_table([saving("a", 0.1), dollars])).split())

    assert " EUR, 0." in table
    assert " USD" in table


def test_totals_of_what_nobody_priced_are_energy_alone() -> None:
    table = shown(as_summary_table([replace(saving("a", 0.1), tariff=UNKNOWN_TARIFF)]))

    assert "Saved per day: 1.40 kWh." in table


def test_many_runs_fit_80_columns_and_every_name_is_whole() -> None:
    names = [f"team-{index % 7}-experiment-with-a-long-name-{index}" for index in range(200)]
    histories: dict[str, RunHistory] = {}
    by_gpu = {"GPU-a": 220, "GPU-b": 300}
    runs = [replace(saving(name, 0.1), gpu_power_limits_watts=by_gpu) for name in names]
    table = shown(as_summary_table(runs, histories))

    assert max(map(len, table.splitlines())) <= 80
    assert "…" not in table
    assert "hold 220 to 300 W" in table


def test_no_run_at_all_is_said() -> None:
    assert ["0 runs: 0 to hold, 0 to probe, 0 without advice."] == lines(as_summary_table([]))


def test_a_name_cannot_steer_the_terminal() -> None:
    for decisions in ([saving(HOSTILE, 0.1)], [no_advice(HOSTILE, HOSTILE)]):
        table = shown(as_summary_table(decisions))

        assert "\x1b" not in table
        assert "\r" not in table
        assert "[red]a\\x1b[2Jb\\r\\n[/]" in table


def test_every_query_and_number_is_explained_and_none_is_cut_short() -> None:
    text = lines(explain(decision(), QUERIES))

    assert [
        "The numbers behind llama",
        "   - Reference: 300 W, 1,200 steps.",
        "",
        "2 queries: 3,601 points, 81.3 kB, 0.0133 s",
        "1. /api/v1/query, over 2 h, as stored: 6 series, 3,600 points, 81.2 kB, 0.0123 s",
        '   joulestat_run_steps_total{run="llama",power_limit_watts=~"[0-9]+"}[2h]',
        "2. /api/v1/query, one moment: 1 series, 1 point, 80 B, 0.001 s",
        "   time()",
    ] == text


def test_a_query_cannot_steer_the_terminal() -> None:
    text = shown(explain(no_advice(HOSTILE), [replace(QUERIES[0], expression=HOSTILE)]))

    assert "\x1b" not in text
    assert "[red]a\\x1b[2Jb" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_alone(terminal: bool) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal)
    with Progress(console, n_runs=2) as progress:
        progress.on_run("llama [red]")
        for query in QUERIES:
            progress.on_query(query)
    assert isinstance(console.file, io.StringIO)

    assert (
        "reading history llama [red], run 1 of 2, 2 queries, 3,601 points, 81.3 kB"
        == progress.text()
    )
    assert terminal == ("reading history" in console.file.getvalue())


def test_budgets_of_many_runs_are_told_where_they_may_not_suffice() -> None:
    budget = BudgetForecast(1.0, "run", 0.5, 1.0, 230, 0.9, 0.0, True, None, "It finishes.")
    over = replace(budget, finishes=False, reason="It needs more.")
    unsure = replace(budget, finishes=None, reason="It is not known.")
    table = lines(
        as_summary_table(
            [
                replace(decision("fine"), budget=budget),
                replace(decision("over"), budget=over),
                replace(decision("un\x1bsure"), budget=unsure),
                decision("without"),
            ]
        )
    )

    assert [
        "Energy budgets that may not suffice:",
        "over: It needs more.",
        r"un\x1bsure: It is not known.",
    ] == table[-3:]
