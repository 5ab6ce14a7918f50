"""What stands before other people's query servers: a path prefix, a tenant, answers of its own."""

import socket
from collections.abc import Callable
from urllib.parse import parse_qs

import httpx

from fakes.scripted_server import Received, ScriptedServer, answer_bytes

ALWAYS = {"dedup": ["true"], "partial_response": ["false"], "max_source_resolution": ["0s"]}
"""What the optimizer sends with every query, whichever server it is."""

Answer = Callable[[dict[str, list[str]]], bytes | None]
"""Answers a form in place of the Prometheus behind, or None to let that answer."""


def gateway(
    prometheus: str, prefix: str, *, tenant: str | None = None, answer: Answer = lambda _: None
) -> ScriptedServer:
    """Return a server that is below a path, wants a tenant, and may answer by itself."""

    def script(request: Received, _: socket.socket) -> bytes:
        if not request.path.startswith(f"{prefix}/api/v1/"):
            return answer_bytes(404)
        if tenant is not None and request.headers.get("x-scope-orgid") != tenant:
            return answer_bytes(401)
        own = answer(parse_qs(request.body.decode()))
        if own is not None:
            return own
        behind = httpx.post(
            prometheus + request.path.removeprefix(prefix),
            content=request.body,
            headers={"Content-Type": request.headers["content-type"]},
            trust_env=False,
        )
        return answer_bytes(behind.status_code, behind.json())

    return ScriptedServer(script)


def forms(server: ScriptedServer) -> list[dict[str, list[str]]]:
    """Return the forms that were sent there."""
    return [parse_qs(request.body.decode()) for request in server.received]
