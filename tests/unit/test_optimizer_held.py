"""How the optimizer asks for a lease where answers get lost."""

import pytest

from fakes.scripted_server import ScriptedServer, answer_bytes
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from joulestat.domain.plan import Action
from joulestat.optimizer.held import Held, put_held


def test_a_lost_answer_is_asked_for_again_under_the_same_key() -> None:
    answers = [None, answer_bytes(201, {"outcome": "granted"})]
    with ScriptedServer(lambda *_: answers.pop(0)) as server:
        wanted = Held("llama", Action.HOLD, 250, AdminClient(server.url))
        assert {"outcome": "granted"} == put_held("GPU-1", wanted, 60.0, if_match=7)

    first, second = server.received
    assert first.json == second.json
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert '"7"' == first.headers["if-match"] == second.headers["if-match"]


def test_a_refusal_is_not_asked_for_again_and_two_leases_have_two_keys() -> None:
    with ScriptedServer(lambda *_: answer_bytes(412, {"title": "no"})) as server:
        wanted = Held("llama", Action.HOLD, 250, AdminClient(server.url))
        for _ in range(2):
            with pytest.raises(AdminError, match="412"):
                put_held("GPU-1", wanted, 60.0, fencing_token=3)

    first, second = server.received
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]
    assert 3 == first.json["fencing_token"]
    assert "if-match" not in first.headers


def test_silence_twice_is_an_error() -> None:
    with ScriptedServer(lambda *_: b"") as server:
        wanted = Held("llama", Action.HOLD, 250, AdminClient(server.url, timeout_seconds=0.2))
        with pytest.raises(AdminError) as caught:
            put_held("GPU-1", wanted, 60.0)
    assert (None, 2) == (caught.value.status, len(server.received))
