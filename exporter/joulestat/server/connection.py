"""One connection: who the peer is, and bounds on what it may send around its requests.

uvicorn waits for the end of a request's head for ever and keeps all of it: half-open connections
would use up the file descriptors, and an endless header the memory, of whatever is scraped.
"""

import asyncio
import socket
import struct
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from joulestat.server.problems import MEDIA_TYPE, Problem

HEAD_SECONDS = 10.0
"""A request line with its headers is one packet; whoever takes longer holds back on purpose."""

MAX_UNASKED_BYTES = 16 * 1024
"""Of a head that does not end, or of a body that nobody reads any more: twice what headers may
have, so that the usual answer to too many of them comes from the application."""

_PEER_PID = "joulestat.peer_pid"
_CREDENTIALS = struct.Struct("3i")
"""Linux's ``struct ucred``: process, user and group."""


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's protocol with a limit on time and size wherever no handler reads.

    Attributes:
        head_seconds: How long a head may take.
    """

    head_seconds = HEAD_SECONDS
    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _unasked_bytes = 0
    _peer_pid: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._peer_pid = _pid_behind(transport.get_extra_info("socket"))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what arrived, and judge how much of it nobody asked for."""
        if self._nobody_reads():
            self._await_head()
        super().data_received(data)
        if self.transport.is_closing() or not (self._in_head or self._nobody_reads()):
            return
        self._unasked_bytes += len(data)
        if self._unasked_bytes > MAX_UNASKED_BYTES:
            self._refuse()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self.scope["state"][_PEER_PID] = self._peer_pid
        self._in_head = True
        self._unasked_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; drop trailers, which would be kept without bound."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note that the head is whole: from here on the handler has its own limits."""
        self._in_head = False
        self._unasked_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def _nobody_reads(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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


def _too_large() -> bytes:
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    body = msgspec.json.encode(
        Problem(
            type="about:blank",
            title=status.phrase,
            status=status,
            detail=f"request line and headers are longer than {MAX_UNASKED_BYTES} bytes",
        )
    )
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


_TOO_LARGE = _too_large()
