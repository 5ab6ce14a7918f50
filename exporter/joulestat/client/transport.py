"""HTTP/1.1 over TCP or a Unix socket: keep-alive, bounded answers, one deadline per exchange.

The standard library's HTTP client takes a timeout per socket operation, so that a peer that
drips one byte at a time can hold it for hours. Here one deadline covers connecting, sending and
the last byte of the answer.
"""

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from joulestat.client.target import Target
from joulestat.domain.units import ns_to_seconds

HEAD_LIMIT_BYTES = 16_384
BODY_LIMIT_BYTES = 262_144
"""A push's answer is below 1 KiB for a node of eight GPUs; more than this is no answer of ours."""

_RECEIVE_BYTES = 65_536
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)  # macOS has none
_NO_CONTENT = (204, 304)
_TOO_LATE = "no complete answer within the deadline"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """One connection to one target, opened when it is needed and kept while both sides agree.

    One thread at a time. Redirects are not followed. Failures are ``OSError``: the system's own,
    ``TimeoutError`` past the deadline, ``ConnectionError`` for what is not HTTP.
    """

    def __init__(
        self,
        target: Target,
        now_ns: Callable[[], int],
        *,
        body_limit_bytes: int = BODY_LIMIT_BYTES,
    ) -> None:
        self.target = target
        self._now_ns = now_ns
        self._body_limit_bytes = body_limit_bytes
        self._socket: socket.socket | None = None

    def exchange(
        self,
        method: str,
        path: str,
        *,
        timeout_ns: int,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        """Send a request and return the answer, whatever its status.

        A connection that was kept and turns out to be closed is replaced once: the server may
        close it at any time, and then never saw the request.

        Raises:
            OSError: No answer, or none that can be read; the connection is closed.
        """
        deadline_ns = self._now_ns() + timeout_ns
        request = self._request(method, path, headers or {}, body)
        if self._socket is not None:
            try:
                return self._try(self._socket, request, deadline_ns)
            except _ClosedBeforeAnswer:
                pass
        return self._try(self._connect(deadline_ns), request, deadline_ns)

    def close(self) -> None:
        """Close this process's end. A forked child may call it: the parent's stays open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _try(self, sock: socket.socket, request: bytes, deadline_ns: int) -> Reply:
        stream = _Stream(sock, lambda: deadline_ns - self._now_ns())
        try:
            stream.send(request)
            reply, keep = _read_reply(stream, self._body_limit_bytes)
        except BaseException:
            self.close()
            raise
        if not keep:
            self.close()
        return reply

    def _connect(self, deadline_ns: int) -> socket.socket:
        if self.target.path:
            return self._open(socket.AF_UNIX, self.target.path, deadline_ns)
        failure = OSError(f"{self.target.host!r} has no address")
        try:
            found = socket.getaddrinfo(self.target.host, self.target.port, type=socket.SOCK_STREAM)
        except UnicodeError:  # a label of more than 63 characters
            raise failure from None
        for family, _, _, _, address in found:
            try:
                sock = self._open(family, address, deadline_ns)
            except OSError as error:
                failure = error
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
        raise failure

    def _open(
        self, family: socket.AddressFamily, address: tuple[Any, ...] | str, deadline_ns: int
    ) -> socket.socket:
        remaining_ns = deadline_ns - self._now_ns()
        if remaining_ns <= 0:
            raise TimeoutError(_TOO_LATE)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(ns_to_seconds(remaining_ns))
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        return sock

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.target.host_header}",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if any("\r" in line or "\n" in line for line in lines):
            msg = f"a line break in the head of {method} {path[:80]!r}; nothing was sent"
            raise ConnectionError(msg)
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


class _ClosedBeforeAnswer(ConnectionError):
    """The peer closed the connection before the first byte of an answer."""


class _Stream:
    """A socket's bytes, until the deadline."""

    def __init__(self, sock: socket.socket, remaining_ns: Callable[[], int]) -> None:
        self._socket = sock
        self._remaining_ns = remaining_ns
        self._buffer = bytearray()
        self._heard = False

    def send(self, data: bytes) -> None:
        self._arm()
        try:
            # Training code may have given SIGPIPE its default action back, which is to die.
            self._socket.sendall(data, _NO_SIGNAL)
        except ConnectionError as error:
            raise _ClosedBeforeAnswer(str(error)) from error

    def until(self, mark: bytes, limit_bytes: int) -> bytes:
        """Return what comes before ``mark``."""
        while mark not in self._buffer:
            if len(self._buffer) > limit_bytes:
                msg = f"the answer's head is longer than {limit_bytes} bytes: this is no exporter"
                raise ConnectionError(msg)
            self._more_or_fail()
        found, _, self._buffer = self._buffer.partition(mark)
        return bytes(found)

    def exactly(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        while len(self._buffer) < size:
            self._more_or_fail()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def rest(self, limit_bytes: int) -> bytes:
        """Return everything until the peer closes."""
        while self._more():
            if len(self._buffer) > limit_bytes:
                msg = f"the answer is longer than {limit_bytes} bytes: this is no exporter"
                raise ConnectionError(msg)
        return bytes(self._buffer)

    @property
    def drained(self) -> bool:
        """Whether nothing came after what was asked for."""
        return not self._buffer

    def _more_or_fail(self) -> None:
        try:
            more = self._more()
        except ConnectionError as error:
            if self._heard:
                raise
            raise _ClosedBeforeAnswer(str(error)) from error
        if not more:
            msg = "the connection was closed before the answer was complete"
            raise ConnectionError(msg) if self._heard else _ClosedBeforeAnswer(msg)

    def _more(self) -> bool:
        self._arm()
        data = self._socket.recv(_RECEIVE_BYTES)
        self._heard = self._heard or bool(data)
        self._buffer += data
        return bool(data)

    def _arm(self) -> None:
        remaining_ns = self._remaining_ns()
        if remaining_ns <= 0:
            raise TimeoutError(_TOO_LATE)
        self._socket.settimeout(ns_to_seconds(remaining_ns))


def _read_reply(stream: _Stream, body_limit_bytes: int) -> tuple[Reply, bool]:
    """Read one answer; also tell whether the connection may be kept."""
    head = stream.until(b"\r\n\r\n", HEAD_LIMIT_BYTES).decode("latin-1").split("\r\n")
    match = _STATUS_LINE.fullmatch(head[0])
    if match is None:
        msg = f"the answer is not HTTP/1.1; it begins with {head[0][:60]!r}"
        raise ConnectionError(msg)
    status = int(match[2])
    headers = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if "transfer-encoding" in headers:
        msg = "the answer comes in chunks, which joulestat never sends: is there a proxy between?"
        raise ConnectionError(msg)
    length = headers.get("content-length")
    if status in _NO_CONTENT:
        body = b""
    elif length is None:
        return Reply(status, headers, stream.rest(body_limit_bytes)), False
    else:
        body = stream.exactly(_checked_length(length, body_limit_bytes))
    keep = match[1] == "1" and headers.get("connection", "").lower() != "close" and stream.drained
    return Reply(status, headers, body), keep


def _checked_length(text: str, limit_bytes: int) -> int:
    if re.fullmatch(r"[0-9]{1,18}", text) is None or int(text) > limit_bytes:
        msg = f"the answer announces {text[:30]!r} bytes; at most {limit_bytes} are read"
        raise ConnectionError(msg)
    return int(text)
