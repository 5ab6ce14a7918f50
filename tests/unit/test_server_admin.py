"""Leasing power limits over HTTP, on simulated GPUs with the real governor behind."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.admin import AdminRig, admin_rig, lease
from fakes.asgi import call
from joulestat.devices.world import Fault
from joulestat.domain.errors import StateError


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[AdminRig]:
    with admin_rig(tmp_path) as rig:
        yield rig


def test_a_lease_is_granted_renewed_changed_and_released(rig: AdminRig) -> None:
    granted = rig.put(lease(250))
    renewed = rig.put(lease(250))
    changed = rig.put(lease(200))

    assert (201, 200, 200) == (granted.status, renewed.status, changed.status)
    outcomes = [answer.json()["outcome"] for answer in (granted, renewed, changed)]
    assert ["granted", "renewed", "changed"] == outcomes
    assert 200.0 == rig.limit_watts()

    released = rig.ask("DELETE", f"/v1/gpus/{rig.gpu}/lease")

    assert 200 == released.status
    assert {
        "gpu_uuid": rig.gpu,
        "outcome": "restored",
        "power_limit_watts": 300.0,
    } == released.json()
    assert 300.0 == rig.limit_watts()


def test_a_grant_says_what_was_read_back_and_when_it_ends(rig: AdminRig) -> None:
    answer = rig.put(lease(250))

    assert {
        "gpu_uuid": rig.gpu,
        "outcome": "granted",
        "dry_run": False,
        "applied_watts": 250.0,
        "enforced_watts": 250.0,
        "revision": 1,
        "lease": {
            "holder": "optimizer",
            "principal": "kim",
            "reason": "best point of llama-ft-42",
            "power_limit_watts": 250.0,
            "baseline_watts": 300.0,
            "expires_in_seconds": 900.0,
            "expires_timestamp_seconds": rig.clock.wall_seconds() + 900,
            "fencing_token": 1,
        },
    } == answer.json()


def test_a_gpu_shows_its_limits_its_range_and_the_lease_as_it_is_now(rig: AdminRig) -> None:
    before = rig.snapshot()
    rig.put(lease(250))
    rig.clock.advance(60)

    app = rig.application(snapshot=lambda: before)
    answer = rig.ask("GET", f"/v1/gpus/{rig.gpu}", app=app)

    gpu = answer.json()
    held = gpu.pop("lease")
    assert {
        "gpu_uuid": rig.gpu,
        "index": 0,
        "model": "V100 (simulated)",
        "up": True,
        "power_limit_watts": 300.0,
        "enforced_watts": 300.0,
        "default_watts": 300.0,
        "min_watts": 100.0,
        "max_watts": 300.0,
        "allowed_min_watts": 100.0,
        "allowed_max_watts": 300.0,
        "writable": True,
        "drift": False,
        "revision": 1,
    } == gpu
    assert ("optimizer", 250.0, 840.0) == (
        held["holder"],
        held["power_limit_watts"],
        held["expires_in_seconds"],
    )
    listed = rig.ask("GET", "/v1/gpus").json()["gpus"]
    assert [rig.gpu, rig.other_gpu] == [each["gpu_uuid"] for each in listed]
    assert listed[1]["lease"] is None


def test_a_limit_outside_the_range_is_refused_not_clamped(rig: AdminRig) -> None:
    for limit_watts in (99.0, 301.0, 250_000.0, -5.0, 0.0):
        answer = rig.put(lease(limit_watts))

        assert 422 == answer.status
        problem = answer.json()
        assert ("power_limit_watts", "100..300") == (problem["field"], problem["allowed"])
        assert "application/problem+json" == answer.headers["content-type"]
    assert 300.0 == rig.limit_watts()


def test_another_holders_lease_is_a_conflict_unless_taken_over(rig: AdminRig) -> None:
    rig.put(lease(250))

    refused = rig.put(lease(200, holder="somebody"))
    taken = rig.put(lease(200, holder="somebody", takeover=True))

    assert (409, "optimizer") == (refused.status, refused.json()["holder"])
    assert 900.0 == refused.json()["expires_in_seconds"]
    assert (201, 200.0) == (taken.status, rig.limit_watts())


def test_writing_too_often_is_refused_with_a_time_to_come_back(rig: AdminRig) -> None:
    answers = [rig.put(lease(200.0 + 10 * at)) for at in range(4)]

    assert [201, 200, 200, 429] == [answer.status for answer in answers]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 10


@pytest.mark.parametrize("fault", [Fault.NO_PERMISSION, Fault.STICKY, Fault.LOST])
def test_a_driver_that_does_not_do_it_is_a_bad_gateway(rig: AdminRig, fault: Fault) -> None:
    rig.world.set_fault(rig.gpu, fault)

    answer = rig.put(lease(250))

    assert 502 == answer.status
    assert "urn:joulestat:problem:limit-write-failed" == answer.json()["type"]


def test_a_lease_that_cannot_be_recorded_is_not_granted(rig: AdminRig) -> None:
    rig.governor.close()

    answer = rig.put(lease(250))

    assert (503, 300.0) == (answer.status, rig.limit_watts())


def test_a_dry_run_checks_everything_and_changes_nothing(rig: AdminRig) -> None:
    allowed = rig.put(lease(250), query="?dry_run=true")
    refused = rig.put(lease(301), query="?dry_run=true")
    real = rig.put(lease(250), query="?dry_run=false")

    assert (201, 422, 201) == (allowed.status, refused.status, real.status)
    assert (True, None) == (allowed.json()["dry_run"], allowed.json()["applied_watts"])


def test_a_repeated_request_is_done_once(rig: AdminRig) -> None:
    headers = {"idempotency-key": "d1f0-77"}
    first = rig.put(lease(250), headers=headers)
    rig.ask("DELETE", f"/v1/gpus/{rig.gpu}/lease")

    again = rig.put(lease(250), headers=headers)
    other = rig.put(lease(240), headers=headers)
    unusable = rig.put(lease(250), headers={"idempotency-key": "a b"})

    assert (201, 201, 300.0) == (first.status, again.status, rig.limit_watts())
    assert (422, "Idempotency-Key") == (other.status, other.json()["field"])
    assert (422, "Idempotency-Key") == (unusable.status, unusable.json()["field"])


def test_releasing_what_is_not_held_does_nothing(rig: AdminRig) -> None:
    answer = rig.ask("DELETE", f"/v1/gpus/{rig.gpu}/lease")

    assert (204, b"") == (answer.status, answer.body)


def test_a_lease_can_be_released_on_condition_of_its_holder(rig: AdminRig) -> None:
    rig.put(lease(250))

    wrong = rig.ask("DELETE", f"/v1/gpus/{rig.gpu}/lease?holder=somebody")
    right = rig.ask("DELETE", f"/v1/gpus/{rig.gpu}/lease?holder=optimizer")

    assert (409, 200) == (wrong.status, right.status)


def test_a_limit_that_somebody_else_changed_is_left_alone(rig: AdminRig) -> None:
    rig.put(lease(250))
    rig.world.set_limit(rig.gpu, 180.0)

    answer = rig.ask("DELETE", f"/v1/gpus/{rig.gpu}/lease")

    assert (200, "foreign") == (answer.status, answer.json()["outcome"])
    assert 180.0 == answer.json()["power_limit_watts"] == rig.limit_watts()
    assert rig.ask("GET", f"/v1/gpus/{rig.gpu}").json()["drift"] is True


def test_a_release_that_fails_is_a_bad_gateway(rig: AdminRig) -> None:
    rig.put(lease(250))
    rig.world.set_fault(rig.gpu, Fault.LOST)

    answers = [
        rig.ask("DELETE", f"/v1/gpus/{rig.gpu}/lease"),
        rig.ask("POST", "/v1/revert-all"),
    ]

    assert [502, 502] == [answer.status for answer in answers]
    assert rig.gpu in answers[1].json()["detail"]


def test_revert_all_ends_every_lease(rig: AdminRig) -> None:
    rig.put(lease(250))
    rig.put(lease(200, holder="somebody"), gpu=rig.other_gpu)

    answer = rig.ask("POST", "/v1/revert-all")

    assert 200 == answer.status
    assert {rig.gpu: "restored", rig.other_gpu: "restored"} == {
        each["gpu_uuid"]: each["outcome"] for each in answer.json()["gpus"]
    }
    assert (300.0, 300.0) == (rig.limit_watts(), rig.limit_watts(rig.other_gpu))


def test_what_was_done_can_be_read_in_the_audit_log(rig: AdminRig) -> None:
    rig.put(lease(250))
    records = rig.ask("GET", "/v1/audit").json()["records"]
    later = rig.ask("GET", f"/v1/audit?after={records[0]['seq']}&limit=1").json()["records"]

    assert ["intent", "result"] == [record["phase"] for record in records]
    assert "kim" == records[0]["principal"]
    assert records[1:2] == later


def test_an_audit_log_that_cannot_be_read_says_so(rig: AdminRig) -> None:
    def unreadable(_after: int, _limit: int) -> Any:
        raise StateError("cannot read the audit log")

    answer = rig.ask("GET", "/v1/audit", app=rig.application(audit_records=unreadable))

    assert 503 == answer.status


def test_before_the_first_tick_there_is_nothing_to_list(rig: AdminRig) -> None:
    app = rig.application(snapshot=lambda: None)

    assert 503 == rig.ask("GET", "/v1/gpus", app=app).status
    assert 201 == rig.put(lease(250), app=app).status


def test_the_governor_is_asked_on_another_thread_than_the_event_loops(rig: AdminRig) -> None:
    threads: list[int] = []

    def seen(_after: int, _limit: int) -> list[Any]:
        threads.append(threading.get_ident())
        return []

    rig.ask("GET", "/v1/audit", app=rig.application(audit_records=seen))

    assert threads
    assert threading.get_ident() not in threads


def test_the_admin_listener_has_no_metrics_and_no_pushes(rig: AdminRig) -> None:
    for method, path in (("GET", "/metrics"), ("POST", "/v1/push"), ("GET", "/"), ("GET", "/v1")):
        answer = call(rig.app, method, path)
        assert 404 == answer.status
        assert "application/problem+json" == answer.headers["content-type"]
