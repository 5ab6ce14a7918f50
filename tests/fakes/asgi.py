"""What a server says to an application and hears back, without sockets (ASGI 3.0)."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

TCP = ("127.0.0.1", 10400)
UNIX = ("/run/joulestat/admin.sock", None)
"""How uvicorn names the local end: an address and a port, or a path and none."""

PEER = ("127.0.0.1", 54321)


@dataclass(frozen=True)
class Answer:
    """What the application sent, and how many chunks of the request's body it asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    chunks_read: int

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


def call(app: Any, method: str, target: str, **how: Any) -> Answer:
    """Send one request and return the answer; see ``ask``."""
    return asyncio.run(ask(app, method, target, **how))


async def ask(
    app: Any,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes | Iterable[bytes] = b"",
    json_body: object = None,
    client: tuple[str, int] | None = PEER,
    server: tuple[str, int | None] | None = TCP,
    host: str | None = "127.0.0.1:10400",
    raises: type[Exception] | None = None,
) -> Answer:
    """Send one request and return the answer.

    ``host`` None sends no Host; ``json_body`` sets body, Content-Type and Content-Length; a body
    of several chunks is sent without a length, as with chunked transfer. ``raises``: what the
    application raises besides answering, for the server to log.
    """
    named = list(headers.items() if isinstance(headers, Mapping) else headers)
    if json_body is not None:
        body = json.dumps(json_body).encode()
        named = [("content-type", "application/json"), *named]
    if isinstance(body, bytes):
        if body:
            named = [("content-length", str(len(body))), *named]
        chunks = [body]
    else:
        chunks = list(body)
    if host is not None:
        named = [("host", host), *named]
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in named],
        "client": client,
        "server": server,
        "state": {},
    }
    return await _exchange(app, scope, chunks, raises)


async def _exchange(
    app: Any, scope: dict[str, Any], chunks: list[bytes], raises: type[Exception] | None
) -> Answer:
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": at + 1 < len(chunks)}
        for at, chunk in enumerate(chunks)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("nothing more is sent")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    with nullcontext() if raises is None else suppress(raises):
        await app(scope, receive, send)
    start = sent[0]
    return Answer(
        status=start["status"],
        headers={n.decode("latin-1"): v.decode("latin-1") for n, v in start["headers"]},
        body=b"".join(message.get("body", b"") for message in sent[1:]),
        chunks_read=len(chunks) - len(waiting),
    )
