import copy
import pickle
from collections.abc import Iterator

import pytest

import joulestat
from fakes.patience import client_threads, eventually
from fakes.priced_exporter import GPU, JOULES_PER_STEP, PricedExporter
from fakes.scripted_server import ScriptedServer
from joulestat.client.held_run import HeldRun


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[PricedExporter]:
    exporter = PricedExporter()
    with ScriptedServer(exporter) as server:
        monkeypatch.setenv("JOULESTAT_URL", server.url)
        yield exporter
    assert eventually(lambda: client_threads() == [])


def test_nothing_is_opened_before_it_begins(exporter: PricedExporter) -> None:
    held = HeldRun("r", {"gpus": [0]})

    assert [] == client_threads()
    assert not held.run.active
    assert {} == held.state_dict() == held.figures()


def test_what_the_caller_said_comes_before_what_the_framework_found(
    exporter: PricedExporter,
) -> None:
    held = HeldRun("r", {"gpus": [0], "planned_steps": 7})
    held.begin(rank=3, planned_steps=99, team=None)
    held.end()

    assert (3, 7) == (exporter.pushes[-1]["rank"], exporter.pushes[-1]["planned_steps"])


def test_to_begin_twice_or_to_end_twice_is_to_do_it_once(exporter: PricedExporter) -> None:
    held = HeldRun("r", {"gpus": [0]})
    held.end()
    for _ in range(2):
        held.begin()
    for _ in range(2):
        held.end()

    assert 1 == len({push["incarnation"] for push in exporter.pushes})
    assert 1 == sum(push["final"] for push in exporter.pushes)


def test_steps_and_joules_go_on_when_it_begins_again(exporter: PricedExporter) -> None:
    held = HeldRun("r", {"gpus": [0]})
    for _ in range(2):
        held.begin()
        held.run.flush()
        held.run.set_phase("train")
        held.count(3, n_samples=4)
        held.count(0, n_samples=4)
        held.end()

    expected = {"energy_joules": 6 * JOULES_PER_STEP, "energy_joules_per_step": JOULES_PER_STEP}
    assert expected == held.figures()
    assert (3, 8) == tuple(exporter.totals()["train"][name] for name in ("steps", "samples"))


def test_a_checkpoint_may_be_loaded_before_or_after_it_begins(exporter: PricedExporter) -> None:
    saved = {"version": 1, "energy_joules": {GPU: 100.0}, "steps": 20}
    for begin_first in (False, True):
        held = HeldRun("r", {"gpus": [0]})
        if begin_first:
            held.begin()
        held.load_state_dict(saved)
        held.begin()
        held.end()

        assert {GPU: 100.0} == held.state_dict()["energy_joules"]


def test_a_run_that_was_made_before_stays_the_makers(exporter: PricedExporter) -> None:
    with joulestat.init(run="mine", gpus=[0]) as run:
        held = HeldRun(run, {})
        held.begin(rank=5)
        held.count(1)
        held.end()

        assert run.active
        assert held.run is run
        assert 0 == exporter.pushes[-1]["rank"]


def test_a_copy_holds_nothing_of_what_was_begun(exporter: PricedExporter) -> None:
    held = HeldRun("r", {"gpus": [0]})
    held.begin()
    for other in (copy.deepcopy(held), pickle.loads(pickle.dumps(held))):
        other.count(1)
        other.end()
    held.end()

    assert {} == exporter.totals()
