import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fakes.scripted_server import Received, ScriptedServer, answer_bytes
from joulestat.client.outbox import monotonic_ns
from joulestat.client.target import parse_target
from joulestat.client.transport import Transport

SECOND_NS = 1_000_000_000

Script = Callable[[Received, socket.socket], bytes | None]


def ask(transport: Transport, timeout_ns: int = 5 * SECOND_NS) -> tuple[int, bytes]:
    reply = transport.exchange(
        "POST", "/v1/push", timeout_ns=timeout_ns, headers={"X-Test": "1"}, body=b'{"a": 1}'
    )
    return reply.status, reply.body


def sending(data: bytes) -> Script:
    return lambda _request, _connection: data


def then_closing(data: bytes) -> Script:
    def script(_: Received, connection: socket.socket) -> None:
        connection.sendall(data)

    return script


def transport_to(server: ScriptedServer) -> "closing[Transport]":
    return closing(Transport(parse_target(server.url), monotonic_ns))


@pytest.fixture(params=["tcp", "unix"])
def socket_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "j.sock" if request.param == "unix" else None


def test_a_request_and_its_answer_over_tcp_and_unix(socket_path: Path | None) -> None:
    with (
        ScriptedServer(sending(answer_bytes(200, {"ok": 1})), socket_path) as server,
        transport_to(server) as transport,
    ):
        assert (200, b'{"ok": 1}') == ask(transport)

        request = server.received[0]
        assert ("POST", "/v1/push", b'{"a": 1}') == (request.method, request.path, request.body)
        assert "1" == request.headers["x-test"]
        assert request.headers["host"] == parse_target(server.url).host_header


def test_the_connection_is_kept(socket_path: Path | None) -> None:
    with (
        ScriptedServer(sending(answer_bytes(200, {})), socket_path) as server,
        transport_to(server) as transport,
    ):
        for _ in range(3):
            ask(transport)
        assert 1 == server.connections


def test_a_server_that_wants_to_close_is_asked_again_on_a_new_connection() -> None:
    with (
        ScriptedServer(sending(answer_bytes(200, {}, Connection="close"))) as server,
        transport_to(server) as transport,
    ):
        ask(transport)
        ask(transport)
        assert 2 == server.connections


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced() -> None:
    with (
        ScriptedServer(then_closing(answer_bytes(200, {}))) as server,
        transport_to(server) as transport,
    ):
        for _ in range(3):
            assert (200, b"{}") == ask(transport)
        assert 3 == server.connections


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    with (
        ScriptedServer(then_closing(b"HTTP/1.0 200 OK\r\n\r\nall of it")) as server,
        transport_to(server) as transport,
    ):
        assert (200, b"all of it") == ask(transport)


def test_no_content_is_an_empty_body() -> None:
    with (
        ScriptedServer(sending(b"HTTP/1.1 204 No Content\r\n\r\n")) as server,
        transport_to(server) as transport,
    ):
        assert (204, b"") == ask(transport)
        assert (204, b"") == ask(transport)
        assert 1 == server.connections


def test_a_redirect_is_an_answer_like_any_other() -> None:
    with (
        ScriptedServer(sending(answer_bytes(307, Location="http://127.0.0.1:1/"))) as server,
        transport_to(server) as transport,
    ):
        assert (307, b"") == ask(transport)
        assert 1 == len(server.received)


def test_what_came_after_an_answer_does_not_become_the_next_one() -> None:
    with (
        ScriptedServer(sending(answer_bytes(200, {"n": 1}) + b"HTTP/1.1 500 X")) as server,
        transport_to(server) as transport,
    ):
        assert (200, b'{"n": 1}') == ask(transport)
        assert (200, b'{"n": 1}') == ask(transport)


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"\x00\xff" * 5000,
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 300_000,
        b"HTTP/1.1 200 OK\r\nCont",
        b"",
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_is_no_answer_is_a_connection_error_and_closes(data: bytes) -> None:
    with ScriptedServer(then_closing(data)) as server, transport_to(server) as transport:
        for connections in (1, 2):
            with pytest.raises(ConnectionError):
                ask(transport)
            assert connections == server.connections


def test_a_refused_connection_says_so(tmp_path: Path) -> None:
    with ScriptedServer(sending(b"")) as server:
        url = server.url
    with pytest.raises(ConnectionRefusedError):
        ask(Transport(parse_target(url), monotonic_ns))
    with pytest.raises(FileNotFoundError):
        ask(Transport(parse_target(f"unix:{tmp_path}/none"), monotonic_ns))


def test_a_name_without_an_address_is_an_os_error() -> None:
    with pytest.raises(OSError, match="has no address"):
        ask(Transport(parse_target(f"http://{'a' * 70}:1"), monotonic_ns))


def test_a_server_that_says_nothing_costs_the_deadline_and_no_more() -> None:
    done = threading.Event()

    def hang(_: Received, __: socket.socket) -> None:
        done.wait(10)

    with ScriptedServer(hang) as server, transport_to(server) as transport:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(transport, SECOND_NS // 5)
        assert time.monotonic() - start < 1
        done.set()


def test_a_server_that_drips_costs_the_deadline_and_no_more() -> None:
    # A timeout per socket operation would never fire here.
    done = threading.Event()

    def drip(_: Received, connection: socket.socket) -> None:
        for byte in answer_bytes(200, {"long": "x" * 1000}):
            if done.wait(0.02):
                return
            connection.sendall(bytes([byte]))

    with ScriptedServer(drip) as server, transport_to(server) as transport:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(transport, SECOND_NS // 5)
        assert time.monotonic() - start < 1
        done.set()


def test_a_timeout_is_not_answered_by_sending_again() -> None:
    done = threading.Event()
    replies = iter([answer_bytes(200, {})])

    def answer_once(_: Received, __: socket.socket) -> bytes | None:
        reply = next(replies, None)
        if reply is None:
            done.wait(10)
        return reply

    with ScriptedServer(answer_once) as server, transport_to(server) as transport:
        ask(transport)
        with pytest.raises(TimeoutError):
            ask(transport, SECOND_NS // 5)
        assert 2 == len(server.received)
        done.set()


def test_a_header_cannot_carry_another_one() -> None:
    with (
        ScriptedServer(sending(answer_bytes(200, {}))) as server,
        transport_to(server) as transport,
    ):
        with pytest.raises(ConnectionError, match="line break"):
            transport.exchange("GET", "/", timeout_ns=SECOND_NS, headers={"A": "b\r\nC: d"})
        assert [] == server.received
