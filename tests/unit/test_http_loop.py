"""The loop that serves: whom it lets in, whom it sends away, and whether it comes round."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from fakes.certificates import make_certificates
from joulestat.config import ListenAddress
from joulestat.loops.http import HttpLoop, Listener
from joulestat.loops.listening import bind
from joulestat.server.connection import BoundedConnection

GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE_SECONDS = 30.0

Connect = Callable[[tuple[str, int]], socket.socket]


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("a page\n")(scope, receive, send)


@contextmanager
def served(
    app: Any = page,
    *,
    most: int = 8,
    protocol: type[BoundedConnection] = BoundedConnection,
    tls: Callable[[], ssl.SSLContext] | None = None,
) -> Iterator[tuple[HttpLoop, tuple[str, int]]]:
    """Serve an application; yield the loop and where."""
    with bind(ListenAddress("127.0.0.1", 0), unix_mode=0o600) as listening:
        address = listening.getsockname()
        loop = HttpLoop([Listener(app, [listening], protocol, tls, most_connections=most)])
        loop.start()
        try:
            yield loop, address
        finally:
            loop.stop()


@pytest.fixture
def connected() -> Iterator[Connect]:
    """Opens connections that are closed at the end."""
    with ExitStack() as closing:
        yield lambda address: closing.enter_context(
            socket.create_connection(address, timeout=PATIENCE_SECONDS)
        )


def asked(connection: socket.socket) -> bytes:
    """Ask for the page over a connection that stays open; return the answer's status."""
    connection.sendall(GET)
    answer = b""
    while not answer.endswith(b"a page\n"):
        some = connection.recv(65536)
        assert some, answer
        answer += some
    return answer.partition(b"\r\n")[0]


def all_of(connection: socket.socket) -> bytes:
    """Everything until the other end closes; a reset is an error."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def answer_to(address: tuple[str, int], request: bytes = GET) -> bytes:
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return all_of(connection)


def test_whoever_asks_gets_in_though_others_hold_every_place(connected: Connect) -> None:
    with served() as (_, address):
        for _ in range(50):
            connected(address).sendall(b"GET /met")

        assert b"a page\n" in answer_to(address)


def test_the_one_that_waits_longest_makes_room_and_is_told_to_come_again(
    connected: Connect,
) -> None:
    with served(most=8) as (_, address):
        first = connected(address)
        first.sendall(b"GET /met")
        others = [connected(address) for _ in range(8)]

        # Twice, because the first time some may not have been let in yet.
        assert 2 * 8 * [b"HTTP/1.1 200 OK"] == [asked(each) for each in 2 * others]
        sent_away = all_of(first)
        assert sent_away.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in sent_away


def test_an_idle_connection_that_makes_room_is_closed_without_a_word(connected: Connect) -> None:
    with served(most=8) as (_, address):
        idle = connected(address)
        asked(idle)
        for _ in range(8):
            asked(connected(address))

        assert b"" == all_of(idle)


def test_a_host_with_many_connections_takes_its_own_places_not_anothers() -> None:
    with served(most=8) as (_, address), ExitStack() as closing:

        def connected_from(host: str) -> socket.socket:
            return closing.enter_context(
                socket.create_connection(address, PATIENCE_SECONDS, (host, 0))
            )

        quiet = connected_from("127.0.0.1")
        asked(quiet)
        crowd = []
        for _ in range(8):
            crowd.append(connected_from("127.0.0.2"))
            asked(crowd[-1])

        assert b"" == all_of(crowd[0])
        assert b"HTTP/1.1 200 OK" == asked(quiet)


def test_whoever_does_not_ask_takes_nobodys_place(connected: Connect) -> None:
    with served(most=8) as (_, address):
        asking = [connected(address) for _ in range(8)]
        for each in asking:
            asked(each)
        excess = connected(address)
        excess.sendall(b"GET /met")
        told = all_of(excess)

        # Or it was let in before it had said a word; then it is the one idle longest that left.
        assert told.startswith(b"HTTP/1.1 503 ") or b"" == all_of(asking[0])


def test_requests_that_are_worked_on_stay_and_the_excess_is_refused(connected: Connect) -> None:
    let_go, at_work = threading.Event(), threading.Semaphore(0)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        at_work.release()
        await asyncio.to_thread(let_go.wait, PATIENCE_SECONDS)
        await page(scope, receive, send)

    with served(slow, most=8) as (_, address):
        working = [connected(address) for _ in range(8)]
        for each in working:
            each.sendall(GET)
        for _ in working:
            assert at_work.acquire(timeout=PATIENCE_SECONDS)

        excess = answer_to(address)
        let_go.set()

        assert excess.startswith(b"HTTP/1.1 503 ")
        assert 8 * [True] == [b"200 OK" in each.recv(65536) for each in working]


def test_a_loop_that_stands_still_does_not_answer_until_it_goes_on(connected: Connect) -> None:
    stands, let_go = threading.Event(), threading.Event()

    async def stand(scope: Scope, receive: Receive, send: Send) -> None:
        stands.set()
        let_go.wait(PATIENCE_SECONDS)
        await page(scope, receive, send)

    with served(stand) as (loop, address):
        assert loop.answers(PATIENCE_SECONDS)
        connected(address).sendall(GET)
        assert stands.wait(PATIENCE_SECONDS)

        assert not loop.answers(0.01)
        let_go.set()
        assert loop.answers(PATIENCE_SECONDS)
    assert not loop.answers(0.01)


def test_the_end_closes_who_waits_and_lets_nobody_in(connected: Connect) -> None:
    with served() as (loop, address):
        half_open = connected(address)
        half_open.sendall(b"GET /met")
        assert b"a page\n" in answer_to(address)

        loop.stop()

        assert b"" == all_of(half_open)
        with socket.socket() as late:
            assert late.connect_ex(address) != 0


def test_a_tls_handshake_that_never_ends_is_given_up_and_holds_no_place(
    tmp_path: Path, connected: Connect
) -> None:
    class Hasty(BoundedConnection):
        head_seconds = 0.2

    made = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server, made.server_key)
    client = ssl.create_default_context(cafile=str(made.authority))
    with served(protocol=Hasty, tls=lambda: context) as (_, address):
        silent = connected(address)
        assert b"" == all_of(silent)

    with served(most=8, tls=lambda: context) as (_, address):
        for _ in range(20):
            connected(address)
        with client.wrap_socket(connected(address), server_hostname="127.0.0.1") as speaking:
            assert b"HTTP/1.1 200 OK" == asked(speaking)


def test_a_connection_that_no_certificate_is_there_for_is_closed(connected: Connect) -> None:
    def none() -> ssl.SSLContext:
        raise ssl.SSLError("the certificate cannot be read")

    with served(tls=none) as (_, address):
        assert b"" == all_of(connected(address))
