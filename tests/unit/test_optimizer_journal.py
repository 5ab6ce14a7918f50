"""What the optimizer makes of the exporters' own histories, from files and over the admin API."""

from pathlib import Path
from typing import Any

import pytest

from fakes.histories import BEGIN_SECONDS, KeptNode
from fakes.node import gpu_uuid
from joulestat.domain.errors import HistoryError
from joulestat.domain.run import Phase
from joulestat.optimizer.history.facts import RunHistory, Unread
from joulestat.optimizer.history.journal import JournalHistory
from joulestat.optimizer.history.journal_source import FileSource
from joulestat.runs.history.reader import HistoryReader


@pytest.fixture
def node(tmp_path: Path) -> KeptNode:
    node = KeptNode(tmp_path)
    node.look(0)
    node.begin("r", 0.5)
    return node


def journal(*nodes: KeptNode, rows_per_page: int = 10_000) -> JournalHistory:
    """Return the history of nodes, after a minute that began with them."""
    for node in nodes:
        node.keeper.flush()
    sources = [FileSource(HistoryReader(node.path, rows_per_page)) for node in nodes]
    return JournalHistory(sources, lambda: BEGIN_SECONDS + 60)


def read(*nodes: KeptNode, at: float, run: str = "r", **how: Any) -> RunHistory:
    return journal(*nodes).read(run, BEGIN_SECONDS + at, **how)


def test_slices_are_what_training_did_under_one_limit_in_each_window(node: KeptNode) -> None:
    node.train("r", range(1, 20), joules=90.0, seconds=0.9)
    node.train("r", [20, 21], limit="transition")
    node.train("r", range(22, 40), limit="200", joules=70.0)
    node.grow("r", "200", phase=Phase.EVAL, seconds=4.0)
    node.look(40)

    history = read(node, at=40)

    at = BEGIN_SECONDS
    assert [
        (250, at, at + 15, 14.0),
        (250, at + 15, at + 30, 5.0),
        (200, at + 15, at + 30, 8.0),
        (200, at + 30, at + 40, 10.0),
    ] == [(s.power_limit_watts, s.start_seconds, s.end_seconds, s.steps) for s in history.slices]
    first = history.slices[0]
    assert (14 * 90.0, 14 * 0.9, 14 * 32, None, 0.0) == (
        pytest.approx(first.joules),
        pytest.approx(first.step_seconds),
        first.samples,
        first.tokens,
        first.thermal_ratio,
    )
    assert (39, 19 * 90 + 2 * 100 + 18 * 70 + 100) == (history.steps_done, history.joules_spent)
    assert 100 == history.other_joules_spent
    assert pytest.approx(4 / (19 * 0.9 + 2 + 18 + 4)) == history.other_phase_ratio


def test_a_live_run_is_fresh_leased_and_knows_its_reference(node: KeptNode) -> None:
    node.train("r", range(1, 30))
    node.leased.add(0)
    node.limits_watts[0] = 200.0
    node.train("r", range(30, 60), limit="200")

    history = read(node, at=62)

    assert (True, True, False, 3.0) == (
        history.live,
        history.fresh,
        history.ended,
        history.sample_age_seconds,
    )
    limits = history.limits
    assert (250, False, 200, True, (), 100.0, 300.0) == (
        limits.reference_watts,
        limits.unequal_reference,
        limits.current_watts,
        limits.leased,
        limits.foreign,
        limits.min_watts,
        limits.max_watts,
    )
    assert ((gpu_uuid(0),), "Tesla V100", "llama", "EUR") == (
        history.gpu_uuids,
        history.gpu_model,
        history.job,
        history.tariff.currency,
    )
    assert (BEGIN_SECONDS + 0.5, BEGIN_SECONDS + 59) == (
        history.window.start_seconds,
        history.window.end_seconds,
    )


def test_a_file_whose_exporter_stopped_does_not_look_live(node: KeptNode) -> None:
    node.train("r", range(1, 60))

    soon, later, much_later = (read(node, at=at) for at in (100, 130, 500))

    assert [(True, True), (False, False), (False, False)] == [
        (each.live, each.fresh) for each in (soon, later, much_later)
    ]
    assert (250, None, None) == (
        soon.limits.current_watts,
        much_later.limits.current_watts,
        much_later.sample_age_seconds,
    )
    # What it did is known for ever.
    assert 59 == sum(item.steps for item in much_later.slices)


def test_a_run_that_is_over_is_ended_and_shown_for_a_while(node: KeptNode) -> None:
    node.train("r", range(1, 60))
    node.end("r", 60)
    node.look(60)

    history = read(node, at=61)

    assert (True, False, True) == (history.ended, history.live, history.fresh)
    assert (gpu_uuid(0),) == history.gpu_uuids
    names = journal(node)
    assert [["r"], ["r"], []] == [names.runs(BEGIN_SECONDS + at) for at in (61, 950, 970)]
    assert [] == names.runs(BEGIN_SECONDS - 1)


def test_a_decision_can_be_repeated_as_of_any_moment(node: KeptNode) -> None:
    node.train("r", range(1, 31))
    then = read(node, at=30)
    node.leased.add(0)
    node.limits_watts[0] = 200.0
    node.train("r", range(31, 200), limit="200")

    assert then == read(node, at=30)


def test_only_the_window_asked_for_is_read(node: KeptNode) -> None:
    node.train("r", range(1, 120))

    history = read(node, at=119, window_seconds=30)

    assert 45 >= sum(item.steps for item in history.slices) >= 30
    assert 119 == history.steps_done


def test_many_pages_are_one_history(node: KeptNode) -> None:
    for at in range(1, 600):
        node.train("r", [at], limit="250" if at % 40 < 20 else "200")

    whole, paged = (
        journal(node, rows_per_page=n).read("r", BEGIN_SECONDS + 600) for n in (10_000, 7)
    )

    assert whole == paged


def test_the_nodes_of_one_run_are_looked_at_together(tmp_path: Path) -> None:
    nodes = [KeptNode(tmp_path / f"{index}", f"node-{index}") for index in range(2)]
    for index, each in enumerate(nodes):
        each.path.parent.mkdir()
        each.look(0)
        each.begin("r", 0.5)
        each.held["r"] = (index,)
        each.train("r", [at + 0.3 * index for at in range(1, 45)], joules=90.0 + index)

    history = read(*nodes, at=45)

    assert {"node-0": 44, "node-1": 44} == {
        node: sum(item.steps for item in history.slices if item.node == node)
        for node in ("node-0", "node-1")
    }
    ends = [{s.end_seconds for s in history.slices if s.node == f"node-{n}"} for n in (0, 1)]
    assert ends[0] == ends[1]
    assert (44, 44 * 181.0) == (history.steps_done, history.joules_spent)
    assert (gpu_uuid(0), gpu_uuid(1)) == history.gpu_uuids
    assert history.live


def test_steps_on_nodes_one_after_the_other_add_up(tmp_path: Path) -> None:
    first, second = (KeptNode(tmp_path / name, name) for name in ("a", "b"))
    for each, begin in ((first, 0), (second, 2_000)):
        each.path.parent.mkdir()
        each.look(begin)
        each.begin("r", begin + 0.5)
        each.train("r", range(begin + 1, begin + 50))
        each.end("r", begin + 50)
        each.look(begin + 50)

    history = read(first, second, at=2_050)

    assert (98, {"b"}) == (history.steps_done, {item.node for item in history.slices})


def test_a_node_that_went_dark_is_a_problem(tmp_path: Path) -> None:
    nodes = [KeptNode(tmp_path / name, name) for name in ("a", "b")]
    for each, until in zip(nodes, (50, 450), strict=True):
        each.path.parent.mkdir()
        each.look(0)
        each.begin("r", 0.5)
        each.train("r", range(1, until))

    history = read(*nodes, at=450)

    assert ("a has written no history for 400 s although the run goes on",) == history.problems
    assert not history.fresh or history.problems


def test_devices_that_differ_have_no_common_limit(node: KeptNode) -> None:
    node.held["r"] = (0, 1)
    node.limits_watts[1] = 200.0
    node.train("r", range(1, 30), limit="mixed")

    history = read(node, at=30)

    assert (None, True, None) == (
        history.limits.reference_watts,
        history.limits.unequal_reference,
        history.limits.current_watts,
    )
    assert () == history.slices


def test_a_limit_that_is_not_its_leases_is_foreign(node: KeptNode) -> None:
    node.leased.add(0)
    node.train("r", range(1, 5))
    node.targets_watts[0] = 150.0
    node.train("r", range(5, 70))

    being_written, limits = (read(node, at=at).limits for at in (50, 69))

    assert (False, ()) == (being_written.leased, being_written.foreign)

    assert (False, (gpu_uuid(0),), 250) == (limits.leased, limits.foreign, limits.current_watts)


def test_earlier_runs_are_those_of_the_same_job_on_the_same_model(node: KeptNode) -> None:
    node.train("r", [1, 2])
    for at, name, job in ((3, "older", "llama"), (9, "newer", "llama"), (9.5, "other", "bert")):
        node.begin(name, at, gpus=(1,), job=job)
        node.train(name, [at + 0.1, at + 0.2])

    history = read(node, at=20)

    assert ["newer", "older"] == journal(node).earlier_runs(history, BEGIN_SECONDS + 20)
    assert ["older"] == journal(node).earlier_runs(history, BEGIN_SECONDS + 5)
    assert [] == journal(node).earlier_runs(RunHistory("r"), BEGIN_SECONDS + 20)


def test_one_exporter_named_twice_is_refused(node: KeptNode) -> None:
    node.train("r", [1])

    with pytest.raises(HistoryError, match="two of the histories are of one exporter"):
        read(node, node, at=2)


def test_a_file_that_cannot_be_read_is_an_error_and_no_empty_answer(
    node: KeptNode, tmp_path: Path
) -> None:
    node.train("r", [1])
    node.keeper.flush()
    missing = HistoryReader(tmp_path / "nowhere" / "history.sqlite")
    both = JournalHistory([FileSource(HistoryReader(node.path)), FileSource(missing)], lambda: 0.0)

    with pytest.raises(HistoryError, match="cannot be read"):
        both.runs(BEGIN_SECONDS)
    (unread,) = both.read_all(["r"], BEGIN_SECONDS + 2)
    assert isinstance(unread, Unread)


def test_an_unknown_run_is_an_empty_history(node: KeptNode) -> None:
    node.train("r", [1])

    assert RunHistory("nobody") == read(node, run="nobody", at=2)
