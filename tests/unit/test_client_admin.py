import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fakes.scripted_server import Received, ScriptedServer, answer_bytes
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError

TOKEN = "secret-token"


@contextmanager
def admin(
    *answers: bytes, unix_path: Path | None = None
) -> Iterator[tuple[AdminClient, list[Received]]]:
    """Yield a client of a server that gives these answers in turn, and what the server got."""
    remaining = list(answers)
    with ScriptedServer(lambda *_: remaining.pop(0), unix_path) as server:
        yield AdminClient(server.url, TOKEN), server.received


def test_gpus_are_listed_with_the_token(tmp_path: Path) -> None:
    gpus = [{"gpu_uuid": "GPU-1", "lease": None}]
    for path in (None, tmp_path / "admin.sock"):
        with admin(answer_bytes(200, {"gpus": gpus}), unix_path=path) as (client, received):
            assert gpus == client.gpus()
        assert ("GET", "/v1/gpus") == (received[0].method, received[0].path)
        assert f"Bearer {TOKEN}" == received[0].headers["authorization"]


def test_one_gpu_is_asked_for_by_its_uuid_whatever_is_in_it() -> None:
    with admin(answer_bytes(200, {"gpu_uuid": "a/b"})) as (client, received):
        assert {"gpu_uuid": "a/b"} == client.gpu("a/b")
    assert "/v1/gpus/a%2Fb" == received[0].path


def test_a_lease_is_put_with_all_that_was_said() -> None:
    granted = {"outcome": "granted"}
    with admin(answer_bytes(201, granted), answer_bytes(200, granted)) as (client, received):
        assert granted == client.put_lease(
            "GPU-1", power_limit_watts=250, ttl_seconds=900, holder="optimizer", reason="probe"
        )
        client.put_lease(
            "GPU-1",
            power_limit_watts=250.5,
            ttl_seconds=900,
            holder="optimizer",
            reason="probe",
            takeover=True,
            dry_run=True,
            idempotency_key="k1",
            fencing_token=7,
            if_match=12,
        )

    plain, full = received
    assert {
        "power_limit_watts": 250,
        "ttl_seconds": 900,
        "holder": "optimizer",
        "reason": "probe",
        "takeover": False,
    } == plain.json
    assert ("PUT", "/v1/gpus/GPU-1/lease") == (plain.method, plain.path)
    assert "idempotency-key" not in plain.headers
    assert "application/json" == plain.headers["content-type"]
    assert "/v1/gpus/GPU-1/lease?dry_run=true" == full.path
    assert (7, '"12"') == (full.json["fencing_token"], full.headers["if-match"])
    assert "if-match" not in plain.headers
    assert ("k1", True) == (full.headers["idempotency-key"], full.json["takeover"])


def test_a_lease_is_ended_by_its_holder_or_by_anyone() -> None:
    restored = {"outcome": "restored"}
    answers = (answer_bytes(200, restored), answer_bytes(204), answer_bytes(204))
    with admin(*answers) as (client, received):
        assert restored == client.delete_lease("GPU-1", holder="a b")
        assert client.delete_lease("GPU-1") is None
        client.delete_lease("GPU-1", fencing_token=7, if_match=12)
    assert [
        "/v1/gpus/GPU-1/lease?holder=a+b",
        "/v1/gpus/GPU-1/lease",
        "/v1/gpus/GPU-1/lease?fencing_token=7",
    ] == [request.path for request in received]
    assert [None, None, '"12"'] == [request.headers.get("if-match") for request in received]
    assert {"DELETE"} == {request.method for request in received}


def test_everything_is_reverted() -> None:
    reverted = {"gpus": [{"gpu_uuid": "GPU-1", "outcome": "restored"}]}
    with admin(answer_bytes(200, reverted)) as (client, received):
        assert reverted == client.revert_all()
    assert ("POST", "/v1/revert-all") == (received[0].method, received[0].path)


def test_the_history_is_asked_for_by_run_and_time_whatever_its_name() -> None:
    page = {"rows": []}
    with admin(answer_bytes(200, page), answer_bytes(200, page)) as (client, received):
        assert page == client.history(
            "a&b", start_seconds=-5.0, end_seconds=1_795_000_020.1, window_seconds=60.0
        )
        assert page == client.history_runs(at_seconds=1_795_000_020.0, after="x y")
    assert [
        "/v1/history?run=a%26b&start=0.000&end=1795000020.100&window=60",
        "/v1/history/runs?at=1795000020.000&after=x+y",
    ] == [request.path for request in received]


def test_the_audit_log_is_read_on_from_a_sequence_number() -> None:
    records = [{"seq": 8}, {"seq": 9}]
    with admin(answer_bytes(200, {"records": records})) as (client, received):
        assert records == client.audit(after=7, limit=2)
    assert "/v1/audit?after=7&limit=2" == received[0].path


def test_a_refusal_says_which_value_and_what_is_allowed() -> None:
    problem = {
        "type": "urn:joulestat:problem:invalid-lease",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "power_limit_watts is below what this GPU allows",
        "field": "power_limit_watts",
        "value": "50",
        "allowed": "100 to 400",
    }
    with (
        admin(answer_bytes(422, problem)) as (client, _),
        pytest.raises(AdminError) as caught,
    ):
        client.put_lease("G", power_limit_watts=50, ttl_seconds=1, holder="h", reason="r")

    assert 422 == caught.value.status
    for part in ("PUT", "/v1/gpus/G/lease", "422", problem["detail"], "50", "100 to 400"):
        assert str(part) in str(caught.value)


@pytest.mark.parametrize(("status", "advice"), [(401, "expired"), (403, "role"), (404, "UUID")])
def test_common_refusals_come_with_advice_and_never_with_the_token(
    status: int, advice: str
) -> None:
    with admin(answer_bytes(status)) as (client, _), pytest.raises(AdminError) as caught:
        client.gpu("GPU-1")

    assert status == caught.value.status
    assert advice in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_redirect_is_not_followed() -> None:
    with admin(answer_bytes(200, {"gpus": []})) as (elsewhere, got):
        target = f"{elsewhere._target.url}/v1/gpus"
        with (
            admin(answer_bytes(307, Location=target)) as (client, _),
            pytest.raises(AdminError, match="not followed") as caught,
        ):
            client.gpus()
    assert 307 == caught.value.status
    assert [] == got


@pytest.mark.parametrize(
    "answer",
    [
        answer_bytes(200, ["a list"]),
        answer_bytes(200, {"gpus": {}}),
        answer_bytes(200, {"gpus": [1]}),
        answer_bytes(200),
    ],
)
def test_an_answer_of_something_else_is_an_error(answer: bytes) -> None:
    with (
        admin(answer) as (client, _),
        pytest.raises(AdminError, match="something else") as caught,
    ):
        client.gpus()
    assert caught.value.status is None


def test_an_exporter_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AdminError, match=r"unix:.*none\.sock.*no such socket") as caught:
        AdminClient(f"unix:{tmp_path}/none.sock").gpus()
    assert caught.value.status is None
    with ScriptedServer(lambda *_: b"") as server:
        url = server.url
    with pytest.raises(AdminError, match=r"127\.0\.0\.1.*is the exporter running"):
        AdminClient(url).gpus()


def test_an_exporter_that_hangs_costs_the_timeout() -> None:
    def hang(_: Received, connection: socket.socket) -> None:
        connection.recv(1)

    with ScriptedServer(hang) as server, pytest.raises(AdminError, match=r"timed out|deadline"):
        AdminClient(server.url, timeout_seconds=0.1).gpus()


@pytest.mark.parametrize(
    "make",
    [
        lambda: AdminClient("https://127.0.0.1:1", TOKEN),
        lambda: AdminClient("http://10.0.0.1:1", TOKEN),
        lambda: AdminClient("http://gpu-node:1", TOKEN),
        lambda: AdminClient("nonsense", TOKEN),
        lambda: AdminClient("http://127.0.0.1:1", "to\nken"),
        lambda: AdminClient("http://127.0.0.1:1", " "),
    ],
)
def test_a_client_that_could_leak_its_token_or_go_nowhere_is_not_made(
    make: Callable[[], AdminClient],
) -> None:
    with pytest.raises(AdminError) as caught:
        make()
    assert TOKEN not in str(caught.value)


def test_an_idempotency_key_cannot_smuggle_a_header() -> None:
    with (
        admin() as (client, received),
        pytest.raises(AdminError, match="line break"),
    ):
        client.put_lease(
            "G",
            power_limit_watts=1,
            ttl_seconds=1,
            holder="h",
            reason="r",
            idempotency_key="k\r\nX: y",
        )
    assert [] == received
