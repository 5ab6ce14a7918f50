"""One connection: who the peer is, and bounds on what it may send around its requests.

uvicorn waits for the end of a request's head for ever and keeps all of it: half-open connections
would use up the file descriptors, and an endless header the memory, of whatever is scraped. It
also waits for ever for a peer to take its answer, and queues as many requests as it is sent.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from joulestat.server.problems import whole_answer

HEAD_SECONDS = 7.0
"""A request line with its headers is one packet, and an answer is some kilobytes; whoever takes
longer holds back on purpose, and is gone before 10 s are over."""

LOOKS = 4
"""How often within that time is looked; one that is over is noticed so much later at most."""

MAX_UNASKED_BYTES = 16 * 1024
"""Of a head that does not end, of a body that nobody reads any more, or of what a chunked body
has around its chunks: twice what headers may have, so that the usual answer to too many of them
comes from the application."""

MOST_HEADERS = 128
"""Ours need a dozen. Each takes a hundred times the memory that it takes on the wire."""

MOST_PIPELINED = 8
"""Requests sent ahead, before the answer to the first; no client of ours sends any."""

_PEER_PID = "joulestat.peer_pid"
_CREDENTIALS = struct.Struct("3i")
"""Linux's ``struct ucred``: process, user and group."""

_TOO_LARGE = whole_answer(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"request line and headers are longer than {MAX_UNASKED_BYTES} bytes, or more than "
    f"{MOST_HEADERS} headers",
)
_NO_ROOM = whole_answer(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "too many connections are open, and this one had to make room; ask again",
    retry_after_seconds=1,
)


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's protocol with a limit on time and size wherever no handler reads.

    Attributes:
        head_seconds: How long a head may take, and how long the peer may take its answer.
        when_lost: Called when the connection is gone.
    """

    head_seconds = HEAD_SECONDS
    when_lost: Callable[[], None] = staticmethod(lambda: None)
    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _in_message = True
    _is_refused = False
    _unasked_bytes = 0
    _head_bytes = 0
    _peer_pid: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._owing_since = self.loop.time()

    @property
    def waiting_since(self) -> float | None:
        """Since when it is for the peer to do something, in the loop's time.

        None while a handler works on a whole request; else the connection may be taken away.
        """
        if self._nobody_reads() or self._in_message or self._is_sending():
            return self._owing_since
        return None

    def dismiss(self) -> None:
        """Make room for another; where the peer hopes for an answer, tell it to come again."""
        cycle = self.cycle
        if self._is_sending() or not (self._nobody_reads() or not cycle.response_started):
            self.transport.abort()
            return
        if self._in_message or self._is_refused:
            self.transport.write(_NO_ROOM)
        self.transport.close()

    @staticmethod
    def farewell(beginning: bytes) -> bytes | None:
        """Return what to tell a peer that there is no room for; None if it should have some.

        Whoever asks sends a whole head, and in one packet.

        Args:
            beginning: What it has sent so far.
        """
        return None if b"\r\n\r\n" in beginning else _NO_ROOM

    def refuse(self) -> None:
        """Answer the first request that there is no room.

        Not before it was read: whoever is closed upon unread sees a reset instead of the answer.
        """
        self._is_refused = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._peer_pid = _pid_behind(transport.get_extra_info("socket"))
        self._owing_since = self.loop.time()
        self._timer = self.loop.call_later(self.head_seconds / LOOKS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._timer is not None:
            self._timer.cancel()
        self.when_lost()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what arrived, and judge how much of it nobody asked for."""
        if self._nobody_reads() and not self._in_message:
            self._in_message = True
            self._owing_since = self.loop.time()
        super().data_received(data)
        self._unasked_bytes += len(data)
        if self.transport.is_closing() or not self._in_message:
            return
        if self._unasked_bytes > MAX_UNASKED_BYTES:
            self._refuse()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self.scope["state"][_PEER_PID] = self._peer_pid
        self._in_head = self._in_message = True
        self._unasked_bytes = self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; drop trailers, which would be kept without bound.

        Raises:
            ValueError: These are too many. It ends the parsing of what arrived, of which there
                may be thousands more.
        """
        if not self._in_head:
            return
        self._head_bytes += len(name) + len(value)
        if self._is_head_too_large():
            raise ValueError(_TOO_LARGE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note that the head is whole: from here on the handler has its own limits.

        Raises:
            ValueError: There is no room, or too many requests wait for their answers already.
        """
        self._in_head = False
        self._unasked_bytes = 0
        if self._is_refused or len(self.pipeline) >= MOST_PIPELINED:
            raise ValueError(self.pipeline)
        if not self.url.startswith(b"/"):
            self._heed_target()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on a part of the body, which is asked for while a handler reads."""
        if not self._nobody_reads():
            self._unasked_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self._in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note from when on it is for the peer to take its answer."""
        self._owing_since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, or what the parsing was stopped for."""
        if self._in_head and self._is_head_too_large():
            self._refuse()
        elif self._is_refused:
            self.dismiss()
        elif self._nobody_reads():
            super().send_400_response(msg)
        else:
            # It would end up in the middle of another answer.
            self.transport.close()

    def _heed_target(self) -> None:
        """Let the host that a whole URL names stand for that of the header (RFC 9112, 3.2.2)."""
        target = httptools.parse_url(self.url)
        host = target.host or b""
        named = b"[%b]" % host if b":" in host else host
        named += b":%d" % target.port if target.port is not None else b""
        self.headers[:] = [each for each in self.headers if each[0] != b"host"]
        self.headers.append((b"host", named))

    def _nobody_reads(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _is_head_too_large(self) -> bool:
        return self._head_bytes > MAX_UNASKED_BYTES or len(self.headers) >= MOST_HEADERS

    def _is_sending(self) -> bool:
        return self.transport.is_closing() or self.transport.get_write_buffer_size() > 0

    def _look(self) -> None:
        """Give a peer up that owes us something, a request or to take its answer, for too long.

        While a handler reads or works, that is its own matter.
        """
        owes = self._is_sending() or (self._nobody_reads() and self._in_message)
        if owes and self.loop.time() - self._owing_since >= self.head_seconds:
            # Not close(), which would wait until the rest of the answer was taken.
            self.transport.abort()
            return
        self._timer = self.loop.call_later(self.head_seconds / LOOKS, self._look)

    def _refuse(self) -> None:
        """Close; where the peer still waits for its answer, say why."""
        if self._in_head and self._nobody_reads():
            self.transport.write(_TOO_LARGE)
        self.transport.close()


def peer_pid(scope: Mapping[str, Any]) -> int | None:
    """Return the id of the process that opened a request's connection, in our own namespace.

    None over TCP, and for a process that our namespace of process ids does not show.
    """
    pid: int | None = scope.get("state", {}).get(_PEER_PID)
    return pid


def _pid_behind(sock: Any) -> int | None:
    """Ask the kernel who opened a Unix socket (SO_PEERCRED)."""
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    try:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return None
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return pid or None
