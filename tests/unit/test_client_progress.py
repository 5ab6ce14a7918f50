from itertools import count

import pytest

from joulestat.client.arguments import Arguments
from joulestat.client.joules import Joules
from joulestat.client.notices import Notices
from joulestat.client.progress import NO_PAST, Progress
from joulestat.client.run import Run
from joulestat.client.tally import Tally
from joulestat.domain.run import PushAnswer

CHECKPOINT = {"version": 1, "energy_joules": {"g0": 500.0}, "steps": 100}


class Heard:
    """A run without a thread, and what an exporter answers it."""

    def __init__(self, rank: int = 0) -> None:
        self.joules = Joules()
        self.run = Run(
            "r",
            rank,
            tally=Tally(count(1).__next__),
            joules=self.joules,
            arguments=Arguments(Notices()),
        )
        self.progress = Progress(self.run)

    def answer(self, **joules: float) -> None:
        self.joules.take(PushAnswer(True, 1, "a", joules, {}))

    def steps(self, number: int) -> None:
        for _ in range(number):
            self.progress.step()


def test_nothing_is_logged_before_the_exporter_has_named_joules() -> None:
    heard = Heard()
    heard.steps(3)
    assert ({}, {}) == (heard.progress.logs(), heard.progress.results())

    heard.answer()
    heard.steps(1)
    assert ({}, {}) == (heard.progress.logs(), heard.progress.results())


def test_joules_per_step_are_an_answers_over_the_steps_made_by_then() -> None:
    heard = Heard()
    heard.answer()
    heard.steps(9)
    heard.answer(g0=60.0, g1=40.0)
    heard.steps(1)
    heard.steps(5)

    assert {"energy_joules": 100.0, "energy_joules_per_step": 10.0} == heard.progress.logs()


def test_results_say_how_many_steps_they_are_of_and_what_was_spent_in_all() -> None:
    heard = Heard()
    heard.answer(g0=300.0)
    heard.progress.load_state_dict(CHECKPOINT)
    heard.steps(10)
    heard.answer(g0=360.0)

    assert {
        "energy_joules": 560.0,
        "energy_joules_per_step": pytest.approx(560 / 110),
        "energy_steps": 110,
        "energy_spent_joules": 360.0,
    } == heard.progress.results()


def test_gpus_are_in_the_order_of_their_uuids_whatever_the_checkpoints() -> None:
    heard = Heard()
    heard.answer(g2=0.0, g1=0.0)
    heard.progress.load_state_dict(CHECKPOINT)
    heard.answer(g2=1.0, g1=2.0)

    assert [("g0", 500.0), ("g1", 2.0), ("g2", 1.0)] == list(heard.progress.joules_by_gpu().items())


def test_steps_whose_energy_was_lost_before_the_first_answer_are_left_out() -> None:
    heard = Heard()
    heard.progress.load_state_dict(CHECKPOINT)
    heard.steps(30)
    heard.joules.late = True
    heard.answer(g0=0.0)
    heard.steps(1)
    heard.steps(20)
    heard.answer(g0=200.0)

    assert 120 == heard.progress.results()["energy_steps"]


def test_a_checkpoint_carries_joules_and_their_steps_on() -> None:
    heard = Heard()
    heard.answer(g0=0.0)
    heard.steps(10)
    heard.answer(g0=50.0)
    state = heard.progress.state_dict()

    assert {"version": 1, "energy_joules": {"g0": 50.0}, "steps": 10} == state


def test_without_an_exporter_the_checkpoints_joules_are_carried_on_and_not_claimed() -> None:
    heard = Heard()
    heard.progress.load_state_dict(CHECKPOINT)
    heard.steps(10)

    assert {} == heard.progress.results()
    assert CHECKPOINT == heard.progress.state_dict()


def test_rank_0_alone_adopts_a_checkpoint() -> None:
    heard = Heard(rank=1)
    heard.progress.load_state_dict(CHECKPOINT)
    heard.answer(g0=0.0)
    heard.steps(2)
    heard.answer(g0=10.0)

    assert {"version": 1, "energy_joules": {"g0": 10.0}, "steps": 2} == heard.progress.state_dict()


@pytest.mark.parametrize("steps", [-1, 2**60, "7", None])
def test_steps_that_are_none_count_as_none(steps: object) -> None:
    heard = Heard()
    heard.progress.load_state_dict({**CHECKPOINT, "steps": steps})
    heard.answer(g0=0.0)
    heard.steps(4)
    heard.answer(g0=10.0)

    assert 4 == heard.progress.results()["energy_steps"]


def test_a_model_without_a_past_begins_at_nothing() -> None:
    heard = Heard()
    heard.answer(g0=100.0)
    heard.steps(7)
    heard.progress.load_state_dict(NO_PAST)
    heard.steps(2)
    heard.answer(g0=110.0)

    assert (10.0, 2) == (
        heard.progress.results()["energy_joules"],
        heard.progress.results()["energy_steps"],
    )
