"""What a peer may send where no handler reads: so much, for so long, then the line is cut."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from joulestat.server.connection import MAX_UNASKED_BYTES, MOST_PIPELINED, BoundedConnection

GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
PATIENCE_SECONDS = 10.0

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Hasty(BoundedConnection):
    head_seconds = 0.05


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the length of the body of a POST, without reading any other body."""
    request = Request(scope, receive)
    body = await request.body() if request.method == "POST" else b""
    await PlainTextResponse(f"{len(body)} bytes\n")(scope, receive, send)


@contextlib.asynccontextmanager
async def served(
    protocol: type[BoundedConnection], app: ASGIApp = page
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(app, http=protocol, lifespan="off", ws="none", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()
        await server.wait_closed()
        await asyncio.gather(*state.tasks)


def talk(
    to: Talk, protocol: type[BoundedConnection] = BoundedConnection, app: ASGIApp = page
) -> None:
    async def conversation() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), served(protocol, app) as (reader, writer):
            await to(reader, writer)

    asyncio.run(conversation())


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head.partition(b"\r\n")[0] + b"|" + await reader.readexactly(length)


@pytest.mark.parametrize(
    "endless",
    [GET + b"X: ", GET + b"X: a\r\n" * 10, b"GET /metrics?"],
    ids=["one header", "many headers", "query"],
)
def test_a_head_that_does_not_end_is_refused_before_it_fills_the_memory(endless: bytes) -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(endless + b"a" * MAX_UNASKED_BYTES)
        refusal = await answer(reader)

        assert refusal.startswith(b"HTTP/1.1 431 ")
        assert str(MAX_UNASKED_BYTES).encode() in refusal
        assert await reader.read() == b""

    talk(to)


@pytest.mark.parametrize("begun", [b"", b"GET /met", GET, b"\r\n"])
def test_a_connection_that_asks_for_nothing_is_closed_in_time(begun: bytes) -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        assert await reader.read() == b""

    talk(to, Hasty)


@pytest.mark.parametrize("begun", [GET, b"\r\n"])
def test_a_later_request_has_no_more_time_than_the_first(begun: bytes) -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GET + b"\r\n")
        assert await answer(reader) == b"HTTP/1.1 200 OK|0 bytes\n"
        writer.write(begun)
        assert await reader.read() == b""

    talk(to, Hasty)


def test_a_body_that_nobody_reads_is_cut_off() -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GET + b"Content-Length: 1000000000\r\n\r\n")
        assert await answer(reader) == b"HTTP/1.1 200 OK|0 bytes\n"
        writer.write(b"a" * (MAX_UNASKED_BYTES + 1))
        assert await reader.read() == b""

    talk(to)


def test_a_body_that_is_read_may_be_long_and_late() -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            half = b"a" * MAX_UNASKED_BYTES
            head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % (2 * len(half)) + half)
            await asyncio.sleep(2 * Hasty.head_seconds)
            writer.write(half)
            assert await answer(reader) == b"HTTP/1.1 200 OK|%d bytes\n" % (2 * len(half))

    talk(to, Hasty)


def test_many_small_requests_share_a_connection() -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n" + b"a" * 2000
        )
        for _ in range(MAX_UNASKED_BYTES // 1000):
            writer.write(request)
            assert await answer(reader) == b"HTTP/1.1 200 OK|2000 bytes\n"

    talk(to)


def test_a_body_that_never_comes_and_nobody_reads_holds_no_connection() -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GET + b"Content-Length: 100\r\n\r\n")
        assert await answer(reader) == b"HTTP/1.1 200 OK|0 bytes\n"
        assert await reader.read() == b""

    talk(to, Hasty)


async def large_page(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with more than any socket's buffers hold."""
    await PlainTextResponse(b"a" * 64_000_000)(scope, receive, send)


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
def test_a_peer_that_does_not_take_its_answer_is_given_up(connection: bytes) -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Without a reader nothing is taken from the socket.
        writer.transport.pause_reading()
        writer.write(GET + b"Connection: " + connection + b"\r\n\r\n")
        await lost.wait()

    class Counted(Hasty):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    lost = asyncio.Event()
    talk(to, Counted, large_page)


def test_requests_sent_ahead_by_the_thousand_are_not_queued() -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((GET + b"\r\n") * 5000)
        with contextlib.suppress(ConnectionError):
            assert (await reader.read()).count(b"HTTP/1.1 200 OK") <= MOST_PIPELINED + 1

    talk(to)


def test_some_requests_sent_ahead_are_answered_in_turn() -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((GET + b"\r\n") * MOST_PIPELINED)
        for _ in range(MOST_PIPELINED):
            assert await answer(reader) == b"HTTP/1.1 200 OK|0 bytes\n"

    talk(to)


@pytest.mark.parametrize("rest", [b"0\r\nX: ", b"0\r\n" + b"X: y\r\n" * 10], ids=["one", "many"])
def test_trailers_that_do_not_end_are_cut_off_though_a_handler_reads(rest: bytes) -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"2\r\nab\r\n" + rest)
        with contextlib.suppress(ConnectionError):
            for _ in range(MAX_UNASKED_BYTES // 1000 + 1):
                writer.write(b"a" * 1000)
                await writer.drain()
            assert await reader.read() == b""

    talk(to)


def test_a_thousand_small_headers_are_refused() -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GET + b"a:b\r\n" * 20_000 + b"\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 431 ")

    talk(to)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"CONNECT evil:443 HTTP/1.1\r\nHost: evil\r\n\r\n",
        GET + b"Content-Length: -1\r\n\r\n",
        GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET \xff HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_400_and_closed(garbage: bytes) -> None:
    async def to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        assert (await answer(reader)).startswith(b"HTTP/1.1 400 ")
        assert await reader.read() == b""

    talk(to)
