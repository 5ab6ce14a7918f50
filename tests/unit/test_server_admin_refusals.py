"""Requests to the admin listener that are refused, by name, with nothing done."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.admin import AdminRig, admin_rig, lease
from joulestat.server.admin import MAX_ADMIN_BYTES


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[AdminRig]:
    with admin_rig(tmp_path) as rig:
        yield rig


@pytest.mark.parametrize("query", ["?dry_run=maybe", "?dry_run=", "?dry_run=true&dry_run=false"])
def test_an_unclear_dry_run_is_not_a_real_run(rig: AdminRig, query: str) -> None:
    answer = rig.put(lease(250), query=query)

    assert (422, "dry_run", 300.0) == (answer.status, answer.json()["field"], rig.limit_watts())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/gpus/{gpu}/lease?dryrun=true"),
        ("DELETE", "/v1/gpus/{gpu}/lease?dry_run=true"),
        ("POST", "/v1/revert-all?dry_run=true"),
        ("GET", "/v1/gpus?verbose=1"),
    ],
)
def test_an_unknown_query_parameter_is_refused(rig: AdminRig, method: str, path: str) -> None:
    rig.put(lease(250))

    answer = rig.ask(method, path.format(gpu=rig.gpu))

    assert (400, 250.0) == (answer.status, rig.limit_watts())


def test_two_holders_are_not_one(rig: AdminRig) -> None:
    rig.put(lease(250))

    answer = rig.ask("DELETE", f"/v1/gpus/{rig.gpu}/lease?holder=kim&holder=optimizer")

    assert (422, "holder", 250.0) == (answer.status, answer.json()["field"], rig.limit_watts())


@pytest.mark.parametrize(
    "query", ["?after=-1", "?after=x", "?limit=0", "?limit=1001", "?limit=1_0", "?after=1e3"]
)
def test_an_unclear_part_of_the_audit_log_is_not_guessed(rig: AdminRig, query: str) -> None:
    assert 422 == rig.ask("GET", f"/v1/audit{query}").status


@pytest.mark.parametrize(
    "path", ["/v1/gpus/GPU-9", "/v1/gpus/GPU-9/lease", "/v1/gpus/0/lease", "/v1/gpus/é%00"]
)
def test_an_unknown_gpu_is_not_found(rig: AdminRig, path: str) -> None:
    method = "DELETE" if path.endswith("lease") else "GET"

    answer = rig.ask(method, path)

    assert (404, "gpu_uuid") == (answer.status, answer.json()["field"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"power_limit_watts": "250"}, "power_limit_watts"),
        ({"power_limit_watts": None}, "power_limit_watts"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"ttl_seconds": 1e9}, "ttl_seconds"),
        ({"holder": ""}, "holder"),
        ({"holder": "a\nb"}, "holder"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 257}, "reason"),
        ({"reason": "\u2028"}, "reason"),
        ({"takeover": "no"}, "takeover"),
        ({"power_limit_milliwatts": 250000}, "power_limit_milliwatts"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_name(
    rig: AdminRig, change: dict[str, Any], field: str
) -> None:
    answer = rig.put({**lease(), **change})

    assert (422, field) == (answer.status, answer.json()["field"])
    assert 300.0 == rig.limit_watts()


def test_a_long_body_is_refused(rig: AdminRig) -> None:
    assert 413 == rig.put(lease(reason="x" * MAX_ADMIN_BYTES)).status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def test_no_document_is_an_internal_error_and_none_leaves_the_range(rig: AdminRig) -> None:
    @settings(deadline=None, max_examples=150)
    @given(
        document=JSON
        | st.fixed_dictionaries(
            {}, optional={key: st.just(value) | JSON for key, value in lease().items()}
        )
    )
    def check(document: Any) -> None:
        rig.clock.advance(60)
        answer = rig.put(document)
        assert answer.status in {200, 201, 400, 409, 415, 422}
        assert 100.0 <= rig.limit_watts() <= 300.0

    check()
