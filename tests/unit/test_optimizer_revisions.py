"""Exporters are read side by side at the start of a round: those that are named now, no others."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.scripted_server import Received, ScriptedServer, answer_bytes
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from joulestat.domain.plan import Action, Decision
from joulestat.optimizer.addresses.file import AddressFile
from joulestat.optimizer.publish import LeasePublisher
from joulestat.optimizer.revisions import Revisions

GPUS = {"gpus": [{"gpu_uuid": "GPU-1", "revision": 7}]}
ANSWER = answer_bytes(200, GPUS)
LATE_SECONDS = 30.0
"""Longer than any of these tests takes."""


def test_all_exporters_are_read_at_the_same_time() -> None:
    """Each answers once all have been asked; one after the other, none ever would."""
    n_exporters = 8
    all_asked = threading.Barrier(n_exporters)

    def answer(*_: object) -> bytes:
        all_asked.wait(LATE_SECONDS)
        return ANSWER

    revisions = Revisions(LATE_SECONDS)
    with contextlib.ExitStack() as servers:
        started = [servers.enter_context(ScriptedServer(answer)) for _ in range(n_exporters)]
        clients = [AdminClient(server.url, timeout_seconds=LATE_SECONDS) for server in started]
        revisions.begin_round(clients)

        assert [7] * n_exporters == [revisions.of(client, "GPU-1") for client in clients]
        assert [1] * n_exporters == [len(server.received) for server in started]


@pytest.fixture
def silent() -> Iterator[ScriptedServer]:
    """Takes requests, and answers none for as long as a test lasts."""
    over = threading.Event()

    def answer(*_: object) -> None:
        over.wait(LATE_SECONDS)

    with ScriptedServer(answer) as server:
        yield server
        over.set()


def test_a_silent_exporter_costs_no_other_its_answer(silent: ScriptedServer) -> None:
    revisions = Revisions(LATE_SECONDS)
    with ScriptedServer(lambda *_: ANSWER) as server:
        good, bad = AdminClient(server.url), AdminClient(silent.url, timeout_seconds=0.2)
        revisions.begin_round([bad, good])

        assert 7 == revisions.of(good, "GPU-1")
        with pytest.raises(AdminError, match="timed out"):
            revisions.of(bad, "GPU-1")


def test_a_round_waits_for_all_of_them_no_longer_than_it_may(silent: ScriptedServer) -> None:
    revisions = Revisions(patience_seconds=0.2)
    clients = [AdminClient(silent.url, timeout_seconds=LATE_SECONDS) for _ in range(40)]
    revisions.begin_round(clients)

    for client in clients:
        with pytest.raises(AdminError, match=r"within the 0\.2 s that a round waits for all"):
            revisions.of(client, "GPU-1")
    # Those that had to wait for their turn are not asked afterwards.
    assert len(silent.received) <= 32


def a_decision(uuid: str = "GPU-1") -> Decision:
    return Decision(
        run="llama",
        action=Action.HOLD,
        power_limit_watts=250,
        reason="because",
        objective={"name": "energy"},
        reference_power_limit_watts=300,
        points=(),
        expected=None,
        window=None,
        gpu_uuids=(uuid,),
    )


def exporter(request: Received, _: socket.socket) -> bytes:
    if request.method == "GET":
        return ANSWER
    lease = {"lease": {"fencing_token": 3}, "revision": 8}
    return answer_bytes(200, lease)


def tokens(server: ScriptedServer) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.received]


def test_after_a_token_was_replaced_only_the_new_one_is_sent(tmp_path: Path) -> None:
    token, path = tmp_path / "token", tmp_path / "addresses.yaml"
    where = {"GPU-1": {"node-1:10400"}}
    with ScriptedServer(exporter) as server:
        token.write_text("old")
        path.write_text(
            f"addresses: {{'node-1:10400': {{url: '{server.url}', token-file: token}}}}"
        )
        addresses = AddressFile(path, AdminClient)
        publisher = LeasePublisher(addresses, 60.0)
        publisher.begin_round()
        publisher.look(["GPU-1"], where)
        assert ("GPU-1",) == publisher.publish(a_decision(), where).leased
        assert {"old"} == set(tokens(server))

        token.write_text("new")
        n_before = len(server.received)
        publisher.begin_round()
        publisher.look(["GPU-1"], where)
        assert ("GPU-1",) == publisher.publish(a_decision(), where).leased
        assert ("GPU-1",) == publisher.renew().leased
        assert ("GPU-1",) == publisher.release().released

        assert {"new"} == set(tokens(server)[n_before:])
        # One look for all of the round, whoever asked for it.
        methods = [request.method for request in server.received[n_before:]]
        assert ["GET", "PUT", "PUT", "DELETE", "GET"] == methods


def test_an_exporter_that_is_named_no_more_is_asked_no_more(tmp_path: Path) -> None:
    path = tmp_path / "addresses.yaml"
    with ScriptedServer(exporter) as kept, ScriptedServer(exporter) as gone:
        path.write_text(f"addresses: {{a: '{kept.url}', b: '{gone.url}'}}")
        publisher = LeasePublisher(AddressFile(path, lambda url, _: AdminClient(url)), 60.0)
        both = {"GPU-1": {"a"}, "GPU-2": {"b"}}
        for _ in range(2):
            publisher.begin_round()
            publisher.look(list(both), both)
        assert (2, 2) == (len(kept.received), len(gone.received))

        path.write_text(f"addresses: {{a: '{kept.url}'}}")
        for _ in range(3):
            publisher.begin_round()
            publisher.look(list(both), both)

    assert (5, 2) == (len(kept.received), len(gone.received))


def test_an_exporter_that_no_run_was_on_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "addresses.yaml"
    with ScriptedServer(exporter) as server:
        path.write_text(f"addresses: {{a: '{server.url}'}}")
        publisher = LeasePublisher(AddressFile(path, lambda url, _: AdminClient(url)), 60.0)
        publisher.begin_round()
        publisher.look(["GPU-1"], {"GPU-1": {"a"}})
        for _ in range(3):
            publisher.begin_round()

    assert 2 == len(server.received)
