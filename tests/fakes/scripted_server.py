"""A little HTTP server over real sockets, whose answers and misbehaviour a test writes itself."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        document: Json = json.loads(self.body)
        return document


def answer_bytes(status: int, document: object = None, **headers: str) -> bytes:
    """Return an HTTP answer; header names have ``_`` for ``-``."""
    body = b"" if document is None else json.dumps(document).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class ScriptedServer:
    """Answers each request with what ``script`` does to the connection.

    ``script`` gets the request and the connection, and returns the bytes to send, or None once
    it has sent or broken whatever it wanted; then the connection is closed.
    """

    script: Callable[[Received, socket.socket], bytes | None]
    unix_path: Path | None = None
    port: int = 0
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        if self.unix_path is not None:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(str(self.unix_path))
        else:
            self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
        self._listener.listen(16)
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for each in [self._listener, *list(self._open)]:
            # Closing alone does not wake a thread that waits in accept() or recv().
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)

    @property
    def url(self) -> str:
        return f"unix:{self.unix_path}" if self.unix_path else f"http://127.0.0.1:{self.port}"

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True, name="scripted-server")
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            stream = connection.makefile("rb")
            with connection, stream:
                while (request := _read(stream)) is not None:
                    self.received.append(request)
                    reply = self.script(request, connection)
                    if reply is None:
                        return
                    connection.sendall(reply)
        except OSError:
            return
        finally:
            self._open.remove(connection)


def _read(stream: Any) -> Received | None:
    head = stream.readline().decode().split()
    if len(head) != 3:
        return None
    headers: dict[str, str] = {}
    while line := stream.readline().strip().decode():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    return Received(head[0], head[1], headers, body)


@dataclass
class ScriptedExporter:
    """Answers pushes as an exporter does, and keeps them.

    Attributes:
        instance: Identity that it answers with.
        energy_joules: Totals that it answers with.
        statuses: Taken one by one for the next answers instead of 200.
        pushes: What was accepted, in order of arrival.
    """

    instance: str = "instance-1"
    energy_joules: dict[str, float] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    pushes: list[Json] = field(default_factory=list)

    def __call__(self, request: Received, _: socket.socket) -> bytes:
        if request.method != "POST":
            return answer_bytes(404)
        if self.statuses:
            status = self.statuses.pop(0)
            return answer_bytes(status, {"detail": f"scripted {status}", "title": "No"})
        push = request.json
        self.pushes.append(push)
        answer = {
            "accepted": True,
            "seq": push["seq"],
            "instance": self.instance,
            "energy_joules": self.energy_joules,
            "power_limit_watts": dict.fromkeys(self.energy_joules, 250.0),
        }
        return answer_bytes(200, answer)
