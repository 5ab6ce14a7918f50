"""Requests over HTTP that say which lease, or which revision, they are meant for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.admin import AdminRig, admin_rig, lease
from fakes.asgi import Answer


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[AdminRig]:
    with admin_rig(tmp_path) as rig:
        yield rig


def get(rig: AdminRig) -> Answer:
    return rig.ask("GET", f"/v1/gpus/{rig.gpu}")


def release(rig: AdminRig, query: str = "", **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return rig.ask("DELETE", f"/v1/gpus/{rig.gpu}/lease{query}", headers=sent)


def test_every_change_of_the_lease_is_a_new_revision_and_entity_tag(rig: AdminRig) -> None:
    seen = [get(rig)]
    for watts in (250, 250, 200):
        granted = rig.put(lease(watts)).json()
        seen.append(get(rig))
        assert granted["revision"] == seen[-1].json()["revision"]
    release(rig)
    seen.append(get(rig))

    assert [0, 1, 2, 3, 4] == [answer.json()["revision"] for answer in seen]
    assert ['"0"', '"1"', '"2"', '"3"', '"4"'] == [answer.headers["etag"] for answer in seen]
    assert 0 == rig.ask("GET", "/v1/gpus").json()["gpus"][1]["revision"]


def test_a_lease_keeps_its_token_and_the_next_one_has_a_higher(rig: AdminRig) -> None:
    tokens = [
        rig.put(lease(watts, holder=holder, takeover=True)).json()["lease"]["fencing_token"]
        for watts, holder in ((250, "one"), (250, "one"), (200, "one"), (200, "other"))
    ]
    release(rig)
    tokens.append(rig.put(lease(300)).json()["lease"]["fencing_token"])

    assert [1, 1, 1, 2, 3] == tokens
    assert 3 == get(rig).json()["lease"]["fencing_token"]


def test_a_write_that_was_decided_upon_an_older_revision_is_refused(rig: AdminRig) -> None:
    read = get(rig).headers["etag"]
    rig.put(lease(250, holder="other"))
    rig.ask("DELETE", f"/v1/gpus/{rig.gpu}/lease")

    late = rig.put(lease(150), headers={"if-match": read})

    assert (412, 300.0) == (late.status, rig.limit_watts())
    problem = late.json()
    assert "urn:joulestat:problem:lease-lost" == problem["type"]
    assert (
        f"{rig.gpu} is at revision 2, no longer at 0 that If-Match names; nothing was changed: "
        "read the GPU again and decide anew"
    ) == problem["detail"]
    assert 201 == rig.put(lease(150), headers={"if-match": get(rig).headers["etag"]}).status


def test_a_write_of_a_lease_that_is_over_is_refused(rig: AdminRig) -> None:
    mine = rig.put(lease(250, ttl_seconds=60)).json()["lease"]["fencing_token"]
    assert 200 == rig.put(lease(250, ttl_seconds=60, fencing_token=mine)).status
    rig.clock.advance(61)
    rig.governor.expire()
    alone = rig.put(lease(150, fencing_token=mine))
    rig.put(lease(200, holder="other"))
    late = rig.put(lease(150, fencing_token=mine, takeover=True))

    assert (412, 412, 200.0) == (alone.status, late.status, rig.limit_watts())
    assert "with fencing token 1 is over; nobody holds one now" in alone.json()["detail"]
    assert "'other' holds one with fencing token 2" in late.json()["detail"]


def test_a_lease_is_ended_only_if_it_is_the_one_meant(rig: AdminRig) -> None:
    rig.put(lease(250))
    assert 412 == release(rig, "?fencing_token=7").status
    assert 412 == release(rig, if_match='"7"').status
    assert 250.0 == rig.limit_watts()

    assert 200 == release(rig, "?fencing_token=1", if_match='"1"').status
    assert 412 == release(rig, "?fencing_token=1").status
    assert 204 == release(rig).status


@pytest.mark.parametrize(
    "given", ["7", "*", 'W/"7"', '"7", "8"', '"-7"', '"07"', '""', '"7', '"\xb2"', '"7" x', ""]
)
def test_an_if_match_that_names_no_revision_is_refused_with_what_would(
    rig: AdminRig, given: str
) -> None:
    put = rig.put(lease(250), headers={"if-match": given})

    assert (422, "If-Match") == (put.status, put.json()["field"])
    assert 'a revision in quotes, such as "7"' == put.json()["allowed"]
    assert 422 == release(rig, if_match=given).status
    assert 300.0 == rig.limit_watts()


@pytest.mark.parametrize("token", [-1, 1.5, "1", True, 2**53 + 1])
def test_a_fencing_token_that_is_none_is_refused(rig: AdminRig, token: object) -> None:
    answer = rig.put(lease(250, fencing_token=token))

    assert (422, "fencing_token") == (answer.status, answer.json()["field"])
    assert 422 == release(rig, f"?fencing_token={token}x").status


def test_refusals_of_late_writes_are_audited_and_counted(rig: AdminRig) -> None:
    rig.put(lease(250))
    rig.put(lease(150, fencing_token=9), headers={"if-match": '"1"'})
    release(rig, if_match='"0"')

    put, delete = rig.audit.read(2, 10)
    assert ("grant", "refused", "LeaseLost") == (put["action"], put["outcome"], put["error"])
    assert (9, 1) == (put["asked_fencing_token"], put["asked_revision"])
    assert ("release", "refused", 0) == (
        delete["action"],
        delete["outcome"],
        delete["asked_revision"],
    )
    counts = rig.governor.controls()[rig.gpu].changes
    assert 2 == counts["refused"]


def test_a_repeated_request_is_answered_as_before_though_its_revision_is_over(
    rig: AdminRig,
) -> None:
    headers = {"if-match": '"0"', "idempotency-key": "k1"}
    first = rig.put(lease(250), headers=headers)
    release(rig)

    again = rig.put(lease(250), headers=headers)

    assert (201, 201, first.json()) == (first.status, again.status, again.json())
    assert 300.0 == rig.limit_watts()
    assert 412 == rig.put(lease(250), headers={"if-match": '"0"'}).status


def test_a_dry_run_says_that_it_would_be_too_late(rig: AdminRig) -> None:
    rig.put(lease(250))

    late = rig.put(lease(200), query="?dry_run=true", headers={"if-match": '"0"'})
    right = rig.put(lease(200), query="?dry_run=true", headers={"if-match": '"1"'})

    assert (412, 200, 1) == (late.status, right.status, right.json()["revision"])
