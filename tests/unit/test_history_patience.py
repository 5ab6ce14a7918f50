"""A server that answers late, never or too much costs a bounded time and few requests."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from fakes.scripted_server import Received, ScriptedServer, answer_bytes
from joulestat.cli.optimize import optimize
from joulestat.domain.errors import HistoryError, HistoryUnreachable, QueryTooLarge
from joulestat.optimizer.history import wire
from joulestat.optimizer.history.promql import PrometheusClient

Script = Callable[[Received, socket.socket], bytes | None]
TIMEOUT_SECONDS = 0.3
YEAR = str(365 * 86_400)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

pytestmark = pytest.mark.promise("patience")


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set at the end of a test: whatever hangs or drips gives up."""
    event = threading.Event()
    yield event
    event.set()


def ask(script: Script, **options: Any) -> tuple[HistoryError, int, list[float]]:
    """Ask once; return the error, how many requests it took, and the pauses between them."""
    pauses: list[float] = []
    given = {"timeout_seconds": TIMEOUT_SECONDS, "monotonic": time.monotonic, **options}
    with (
        ScriptedServer(script) as server,
        PrometheusClient(server.url, sleep=pauses.append, **given) as asked,
    ):
        with pytest.raises(HistoryError) as caught:
            asked.query("up", 1.0)
        return caught.value, len(server.received), pauses


def dripping(over: threading.Event, head: bytes) -> Script:
    """Send a byte now and then, far within the time-out, for ever."""

    def script(_: Received, connection: socket.socket) -> None:
        connection.sendall(head)
        while not over.wait(TIMEOUT_SECONDS / 10):
            connection.sendall(b"x")

    return script


def silent(_: Received, connection: socket.socket) -> None:
    """Wait until the client gives up."""
    connection.recv(1)


def test_a_server_that_never_answers_is_asked_once(record_property: Any) -> None:
    error, n_asked, pauses = ask(silent)

    assert (QueryTooLarge, 1, []) == (type(error), n_asked, pauses)
    assert "gave no answer in time" in str(error)
    record_property("measured", f"silence: {n_asked} request, one time-out")


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX-Slow: ", HEAD + b"Content-Length: 1000000\r\n\r\n", HEAD + b"\r\n"],
    ids=["headers", "body", "body-without-a-length"],
)
def test_a_server_that_drips_gets_two_time_outs_and_no_more(
    over: threading.Event, head: bytes, record_property: Any
) -> None:
    error, n_asked, _ = ask(dripping(over, head))

    assert (QueryTooLarge, 1) == (type(error), n_asked)
    assert "gave no answer in time" in str(error)
    record_property("measured", f"a byte now and then: {n_asked} request, two time-outs")


def test_a_server_that_breaks_off_is_asked_four_times(record_property: Any) -> None:
    def reset(_: Received, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    error, n_asked, pauses = ask(reset)

    assert (HistoryUnreachable, 4) == (type(error), n_asked)
    assert list(wire.RETRY_AFTER_SECONDS) == pauses
    record_property("measured", f"resets: {n_asked} requests, {sum(pauses):g} s of pauses")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("asked_for", [YEAR, "1e300", "inf", "nan", "-5", "Sun, 1 Jan 2090"])
def test_a_pause_of_a_year_is_not_waited_for(
    status: int, asked_for: str, record_property: Any
) -> None:
    busy = answer_bytes(status, {"status": "error", "error": "busy"}, Retry_After=asked_for)
    error, n_asked, pauses = ask(lambda *_: busy)

    assert (4, 3) == (n_asked, len(pauses))
    assert all(0 <= pause <= wire.LONGEST_PAUSE_SECONDS for pause in pauses)
    assert f"HTTP {status}" in str(error)
    record_property("measured", f"Retry-After of a year: {sum(pauses):g} s waited in all")


def test_an_endless_answer_is_read_up_to_a_bound(
    over: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MOST_ANSWER_BYTES", 2**20)
    sent = [0]

    def endless(_: Received, connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\n")
        while not over.is_set():
            connection.sendall(b" " * 65_536)
            sent[0] += 65_536

    error, n_asked, _ = ask(endless, timeout_seconds=30.0)

    assert (QueryTooLarge, 1) == (type(error), n_asked)
    assert "answered more than 1048576 bytes" in str(error)
    assert sent[0] < 2**26


def test_what_unpacks_to_too_much_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_ANSWER_BYTES", 2**20)
    packed = gzip.compress(b" " * 2**23)
    head = HEAD + f"Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    error, n_asked, _ = ask(lambda *_: head + packed, timeout_seconds=30.0)

    assert (QueryTooLarge, 1) == (type(error), n_asked)
    assert len(packed) < 2**16


@pytest.mark.parametrize("how", ["silent", "dripping"])
def test_the_command_ends_with_a_sentence_after_one_request(
    over: threading.Event, how: str
) -> None:
    script: Script = silent if how == "silent" else dripping(over, HEAD + b"\r\n")
    with ScriptedServer(script) as server:
        done = CliRunner().invoke(
            optimize,
            ["--prometheus.url", server.url, "--all-runs", "--prometheus.timeout", "1s"],
        )

    assert (1, "", 1) == (done.exit_code, done.stdout, len(server.received))
    assert "gave no answer in time" in done.stderr
