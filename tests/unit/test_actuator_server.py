"""The actuator's socket: its verbs, who may speak, and what a bad client costs the others."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from fakes.actuator import Socket, read_line, send, served
from fakes.host import BASELINE_WATTS, GPU, Host
from fakes.patience import eventually
from joulestat.actuator.client import ActuatorClient
from joulestat.actuator.peers import Peer, PeerRule
from joulestat.actuator.server import ServerLimits
from joulestat.config import ListenAddress
from joulestat.domain.errors import (
    ConfigError,
    ControlReadOnly,
    InvalidLease,
    LeaseHeld,
    LeaseLost,
    TooManyWrites,
    UnknownDevice,
)
from joulestat.domain.limit import GrantOutcome, LeaseRequest, Revert, RevertOutcome
from joulestat.loops.listening import bind
from joulestat.power.audit import AuditPhase
from joulestat.power.authority import LimitAuthority
from joulestat.power.request_rate import REQUEST_BURST, REQUEST_INTERVAL_SECONDS

LIST = b'{"protocol":1,"verb":"list"}\n'
REQUEST = LeaseRequest(250.0, 60.0, "optimizer", "probe")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.stop()


@pytest.fixture
def actuator(host: Host, tmp_path: Path) -> Iterator[Socket]:
    with served(host, tmp_path) as actuator:
        yield actuator


def listed(actuator: Socket) -> bool:
    """Whether ``list`` is answered."""
    return "result" in msgspec.json.decode(actuator.ask(LIST))


def test_a_lease_lives_through_the_socket_as_it_does_without(host: Host, actuator: Socket) -> None:
    authority: LimitAuthority = actuator.client
    granted = authority.grant(GPU, REQUEST, principal="alice")
    renewed = authority.grant(GPU, REQUEST, principal="alice", if_match=granted.revision)

    assert (GrantOutcome.GRANTED, GrantOutcome.RENEWED) == (granted.outcome, renewed.outcome)
    assert host.governor.controls() == authority.controls()
    assert host.governor.lease(GPU) == authority.lease(GPU)
    assert Revert(RevertOutcome.RESTORED, BASELINE_WATTS) == authority.release(
        GPU, principal="alice", fencing_token=granted.lease.fencing_token
    )
    assert authority.lease(GPU) is None
    assert {GPU: RevertOutcome.NONE} == {
        uuid: revert.outcome for uuid, revert in authority.revert_all(principal="alice").items()
    }


def test_a_refusal_comes_out_as_the_governor_made_it(actuator: Socket) -> None:
    client = actuator.client
    held = client.grant(GPU, REQUEST, principal="alice")

    with pytest.raises(LeaseHeld) as other:
        client.grant(GPU, LeaseRequest(200.0, 60.0, "other", "r"), principal="bob")
    with pytest.raises(InvalidLease) as outside:
        client.grant(GPU, LeaseRequest(9999.0, 60.0, "optimizer", "r"), principal="alice")
    with pytest.raises(LeaseLost):
        client.release(GPU, principal="alice", if_match=held.revision - 1)
    with pytest.raises(UnknownDevice):
        client.release("GPU-zzz", principal="alice")

    assert "optimizer" == other.value.holder
    assert "100..400" == outside.value.allowed


def test_a_request_under_one_key_is_done_once(host: Host, actuator: Socket) -> None:
    first = actuator.client.grant(GPU, REQUEST, principal="alice", idempotency_key="k")
    again = actuator.client.grant(GPU, REQUEST, principal="alice", idempotency_key="k")

    assert first == again
    assert [250.0] == host.card.written


def test_who_asks_without_end_is_held_up_and_may_still_end_its_lease(
    host: Host, actuator: Socket
) -> None:
    host.governor.grant(GPU, REQUEST, principal="alice")
    for _ in range(REQUEST_BURST - 1):
        host.governor.grant(GPU, REQUEST, principal="alice", dry_run=True)

    with pytest.raises(TooManyWrites) as refused:
        actuator.client.grant(GPU, REQUEST, principal="alice", dry_run=True)
    ended = actuator.client.revert_all(principal="alice")

    assert 0 < refused.value.retry_after_seconds <= REQUEST_INTERVAL_SECONDS
    assert RevertOutcome.RESTORED is ended[GPU].outcome


def test_the_audit_log_is_read_to_the_end(host: Host, actuator: Socket) -> None:
    texts = {f"text_{number}": "\N{SNOWMAN}" * 500 for number in range(20)}
    for _ in range(60):
        host.audit.record(AuditPhase.EVENT, "padding", **texts)

    records = actuator.client.audit_records(0, 1000)

    assert list(range(1, 61)) == [record["seq"] for record in records]
    assert records == host.audit.read(0, 1000)
    assert 10 == len(actuator.client.audit_records(5, 10))


def test_the_sampler_hears_of_a_write_before_it_is_made_and_of_an_end_it_did_not_ask_for(
    host: Host, actuator: Socket
) -> None:
    actuator.client.refresh()
    actuator.client.grant(GPU, REQUEST, principal="alice")
    asked = len(actuator.written)
    host.pass_time(61.0)
    actuator.client.refresh()

    assert GPU == actuator.written[0]
    assert asked + 1 == len(actuator.written)


@pytest.mark.parametrize(
    "sent",
    [
        b"\n",
        b"GET /metrics HTTP/1.1\r\n\r\n",
        b"\x00" * 100 + b"\n",
        b'{"protocol":1,"verb":"list","x":1}\n',
        b"[" * 8000 + b"\n",
        b"x" * 8193 + b"\n",
        b"x" * 200_000,
    ],
)
def test_garbage_is_refused_and_its_connection_closed(actuator: Socket, sent: bytes) -> None:
    with actuator.connect() as connection:
        send(connection, sent)
        answer = read_line(connection)
        closed = read_line(connection)

    # Where more is sent than is read, the kernel may take the answer along as it closes.
    assert answer == b"" or "NoRequest" == msgspec.json.decode(answer)["failure"]["name"]
    assert b"" == closed
    assert listed(actuator)


def test_half_a_request_is_waited_for_only_so_long(host: Host, tmp_path: Path) -> None:
    with (
        served(host, tmp_path, limits=ServerLimits(request_seconds=0.2)) as actuator,
        actuator.connect() as half,
    ):
        half.sendall(LIST[:10])

        assert b"" == read_line(half)
        assert listed(actuator)


def test_idle_connections_make_room_for_whoever_comes(host: Host, tmp_path: Path) -> None:
    limits = ServerLimits(connections=8, request_seconds=60.0)
    with served(host, tmp_path, limits=limits) as actuator, ExitStack() as idle:
        first, *_ = [idle.enter_context(actuator.connect()) for _ in range(100)]

        assert all(listed(actuator) for _ in range(20))
        assert b"" == read_line(first)


def test_a_peer_that_reads_nothing_is_given_up(host: Host, tmp_path: Path) -> None:
    for _ in range(100):
        host.audit.record(AuditPhase.EVENT, "padding", detail="x" * 500)
    audit = b'{"protocol":1,"verb":"audit","after_seq":0,"limit":1000}\n'
    limits = ServerLimits(connections=1, answer_seconds=0.2)
    with (
        served(host, tmp_path, limits=limits) as actuator,
        actuator.connect() as stuck,
    ):
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        stuck.sendall(audit * 50)

        # While it is busy there is no room for a second one, then there is.
        assert eventually(lambda: listed_or_busy(actuator))


def listed_or_busy(actuator: Socket) -> bool:
    answer = msgspec.json.decode(actuator.ask(LIST))
    assert "result" in answer or "Busy" == answer["failure"]["name"]
    return "result" in answer


def test_a_driver_that_hangs_keeps_nobody_else_waiting(host: Host, actuator: Socket) -> None:
    host.card.fault = "hang"
    grant = (
        b'{"protocol":1,"verb":"grant","gpu_uuid":"GPU-a","principal":"p","request":'
        b'{"power_limit_watts":250,"ttl_seconds":60,"holder":"h","reason":"r"}}\n'
    )
    with actuator.connect() as hanging:
        hanging.sendall(grant)
        assert host.card.hanging.wait(10)

        assert listed(actuator)
        host.card.wake.set()
        assert b'"granted"' in read_line(hanging)


def test_nobody_speaks_whom_the_policy_does_not_name(host: Host, tmp_path: Path) -> None:
    others = PeerRule(frozenset({os.geteuid() + 1}))
    with served(host, tmp_path, others) as actuator:
        with pytest.raises(ControlReadOnly, match=r"may not speak .* allowed-users") as refused:
            actuator.client.grant(GPU, REQUEST, principal="alice")

        assert str(os.geteuid()) in str(refused.value)
        assert [] == host.card.written


def test_a_peer_may_be_named_by_any_of_its_groups(host: Host, tmp_path: Path) -> None:
    rule = PeerRule(frozenset(), frozenset({os.getegid()}))
    with served(host, tmp_path, rule) as actuator:
        assert listed(actuator)

    assert PeerRule(frozenset({0}), frozenset({9})).admits(Peer(1, 5, frozenset({7, 9})))
    assert not PeerRule(frozenset({0}), frozenset({9})).admits(Peer(1, 9, frozenset({0})))


def test_the_socket_is_for_its_owner_and_group_and_never_replaced_while_it_answers(
    actuator: Socket,
) -> None:
    assert 0o660 == stat.S_IMODE(actuator.path.stat().st_mode)
    with pytest.raises(ConfigError, match="another process listens there"):
        bind(ListenAddress(unix_path=actuator.path), unix_mode=0o660)


def test_without_an_actuator_nothing_is_known_of_leases_and_the_counts_stay(
    host: Host, tmp_path: Path
) -> None:
    clock = host.clock
    with served(host, tmp_path) as actuator:
        client = ActuatorClient(actuator.path, clock)
        assert {} == client.controls()
        client.grant(GPU, REQUEST, principal="alice")
        fresh = client.controls()[GPU]
    clock.advance(2.1)
    client.refresh()
    gone = client.controls()[GPU]

    assert (True, True) == (fresh.lease is not None, fresh.writable)
    assert (None, False, None) == (gone.lease, gone.writable, gone.baseline_watts)
    assert fresh.changes == gone.changes
    assert "does not answer" in (client.read_only_reason or "")
    with pytest.raises(ControlReadOnly, match="nothing was changed"):
        client.grant(GPU, REQUEST, principal="alice")


def test_an_actuator_that_was_started_again_is_asked_again(host: Host, tmp_path: Path) -> None:
    with served(host, tmp_path) as actuator:
        client = actuator.client
        client.refresh()
    client.refresh()
    with served(host, tmp_path):
        client.refresh()

        assert client.read_only_reason is None
        assert client.grant(GPU, REQUEST, principal="alice").applied_watts == 250.0


def test_a_read_only_governor_is_one_for_the_exporter_too(host: Host, actuator: Socket) -> None:
    host.governor.close()
    actuator.client.refresh()

    assert "the service is stopping" == actuator.client.read_only_reason
