import json

import pytest

from joulestat.client.joules import Joules
from joulestat.client.wire import parse_answer
from joulestat.domain.run import PushAnswer


def answer(instance: str, **joules: float) -> PushAnswer:
    return PushAnswer(True, 1, instance, joules, dict.fromkeys(joules, 250.0))


def test_nothing_is_known_before_the_first_answer() -> None:
    joules = Joules()

    assert {} == joules.spent()
    assert {} == joules.lineage()


def test_the_exporters_word_is_the_runs_energy() -> None:
    joules = Joules()
    joules.take(answer("a", g0=10.0, g1=20.0))
    joules.take(answer("a", g0=15.0, g1=25.0))

    assert {"g0": 15.0, "g1": 25.0} == joules.spent()
    assert {"g0": 250.0, "g1": 250.0} == joules.power_limit_watts


def test_an_exporter_that_forgot_is_added_to_what_the_old_one_said() -> None:
    joules = Joules()
    joules.take(answer("a", g0=1000.0))
    joules.take(answer("b", g0=5.0))
    joules.take(answer("b", g0=7.0))
    joules.take(answer("c", g0=1.0))

    assert {"g0": 1008.0} == joules.spent()


def test_an_exporter_that_remembered_is_not_added() -> None:
    joules = Joules()
    joules.take(answer("a", g0=1000.0))
    joules.take(answer("b", g0=1005.0))

    assert {"g0": 1005.0} == joules.spent()


def test_a_total_does_not_fall_within_one_memory() -> None:
    joules = Joules()
    joules.take(answer("a", g0=1000.0))
    joules.take(answer("a", g0=990.0))
    assert {"g0": 1000.0} == joules.spent()

    joules.take(answer("a", g0=1001.0))
    assert {"g0": 1001.0} == joules.spent()


def test_a_device_that_an_answer_leaves_out_keeps_its_joules() -> None:
    joules = Joules()
    joules.take(answer("a", g0=10.0, g1=20.0))
    joules.take(answer("b", g0=1.0))
    joules.take(answer("b", g0=1.0, g1=2.0))

    assert {"g0": 11.0, "g1": 22.0} == joules.spent()


def test_what_is_handed_out_is_a_copy() -> None:
    joules = Joules()
    joules.take(answer("a", g0=10.0))
    joules.spent()["g0"] = 0.0

    assert {"g0": 10.0} == joules.spent()


def test_the_lineage_counts_from_the_start_of_the_process() -> None:
    joules = Joules()
    joules.take(answer("a", g0=500.0))  # an earlier process of the run spent it
    joules.take(answer("a", g0=530.0))

    assert {"g0": 30.0} == joules.lineage()


def test_the_lineage_goes_on_from_a_checkpoint_through_plain_json() -> None:
    first = Joules()
    first.take(answer("a", g0=0.0))
    first.take(answer("a", g0=100.0))
    checkpoint = json.loads(json.dumps(first.state_dict()))
    first.take(answer("a", g0=140.0))  # lost work: not in the checkpoint

    second = Joules()
    assert second.load_state_dict(checkpoint)
    second.take(answer("a", g0=140.0))
    second.take(answer("a", g0=150.0))

    assert {"g0": 110.0} == second.lineage()
    assert {"g0": 150.0} == second.spent()


def test_a_checkpoint_loaded_in_mid_run_takes_the_lineage_back() -> None:
    joules = Joules()
    joules.take(answer("a", g0=0.0))
    joules.take(answer("a", g0=100.0))
    checkpoint = joules.state_dict()
    joules.take(answer("a", g0=400.0))
    joules.load_state_dict(checkpoint)
    joules.take(answer("a", g0=410.0))

    assert {"g0": 110.0} == joules.lineage()


def test_restored_joules_survive_a_process_without_an_exporter() -> None:
    joules = Joules()
    joules.load_state_dict({"version": 1, "energy_joules": {"g0": 100.0}})

    assert {"version": 1, "energy_joules": {"g0": 100.0}} == joules.state_dict()


@pytest.mark.parametrize("state", [None, [], {}, {"energy_joules": 3}, "text"])
def test_a_state_of_somebody_else_is_not_taken(state: object) -> None:
    joules = Joules()
    joules.load_state_dict({"energy_joules": {"g0": 1.0}})

    assert not joules.load_state_dict(state)
    assert {"g0": 1.0} == joules.lineage()


def test_amounts_that_are_no_amounts_are_unknown_not_zero() -> None:
    body = (
        b'{"accepted": true, "seq": 3, "instance": "a", "energy_joules": '
        b'{"ok": 1, "nan": NaN, "inf": 1e999, "text": "1", "less": -1, "none": null}}'
    )

    parsed = parse_answer(body)
    assert {"ok": 1.0} == parsed.energy_joules
    assert {} == parsed.power_limit_watts


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{}", b'{"instance": 3}', b"\xff\xfe", b'"instance"']
)
def test_what_is_no_answer_of_an_exporter_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"answer|Expecting|decode"):
        parse_answer(body)
