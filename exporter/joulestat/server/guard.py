"""What a request must look like before anything believes it: Host, origin, peer, body.

A web page can make a browser on this host send requests to it, and by rebinding its own name
to a loopback address it can even read the answers. Neither gets past these checks: browsers
name their page in ``Origin`` and ``Host``, and cannot send JSON elsewhere without asking.
"""

import asyncio
import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from joulestat.server.problems import Refused, shown

LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})

MAX_HEADER_BYTES = 8 * 1024
"""All request headers together; ours need a few hundred bytes."""

BODY_SECONDS = 5.0
"""A body of 16 KiB that takes longer is held back on purpose."""

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[^\[\]:\s/@]{1,253})(?::[0-9]{1,5})?")

_SAFE_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"))

_CLOSE = {"Connection": "close"}
"""The rest of a refused body is not read, so the connection cannot carry another request."""


@dataclass(frozen=True, slots=True)
class HostRule:
    """Which ``Host`` headers a listener answers to, besides loopback names and its own address.

    Attributes:
        names: Further names or addresses, lower case.
        any_ip: Every address as a literal. A name can be rebound to this host, an address
            cannot; needed where addresses are translated on the way (ports of containers).
    """

    names: frozenset[str] = frozenset()
    any_ip: bool = False

    @classmethod
    def of_names(cls, names: Collection[str], *, any_ip: bool = False) -> "HostRule":
        """Return the rule for these names; ``[::1]`` and ``::1`` are one."""
        return cls(frozenset(name.strip("[]").lower() for name in names), any_ip=any_ip)

    def admits(self, host_header: str, local_address: str) -> bool:
        """Tell whether a request for this Host, arrived at this local address, is meant for us."""
        match = _HOST.fullmatch(host_header)
        if match is None:
            return False
        name = match["name"].strip("[]").rstrip(".").lower()
        if name in LOOPBACK_NAMES or name in self.names:
            return True
        address = _address(name)
        if address is None:
            return False
        return self.any_ip or address.is_loopback or address == _address(local_address)


class SafeHeaders:
    """Adds to every answer what keeps browsers from guessing or framing it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Pass a request on and its answer back."""

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_SAFE_HEADERS]
            await send(message)

        await self._app(scope, receive, send_safely)


def check_host(request: Request, rule: HostRule) -> None:
    """Refuse a foreign or missing Host with 421. A Unix socket has no host to confuse."""
    if by_unix_socket(request.scope):
        return
    hosts = request.headers.getlist("host")
    server = request.scope.get("server")
    if len(hosts) == 1 and server is not None and rule.admits(hosts[0], server[0]):
        return
    raise Refused(
        HTTPStatus.MISDIRECTED_REQUEST,
        "this listener does not answer to that Host; use localhost or the address it listens on",
        field="Host",
        value=shown(", ".join(hosts)),
    )


def check_no_browser(request: Request) -> None:
    """Refuse what only a web page sends, with 403."""
    for header in ("origin", "sec-fetch-site"):
        value = request.headers.get(header)
        # "none" is a person typing into the address bar: not a page's doing.
        if value is not None and (header, value) != ("sec-fetch-site", "none"):
            raise Refused(
                HTTPStatus.FORBIDDEN,
                "requests made by web pages are not taken here",
                field=header.title(),
                value=shown(value),
            )


def check_local_peer(request: Request) -> None:
    """Refuse a peer on another host with 403."""
    if is_local_peer(request.scope):
        return
    client = request.scope.get("client")
    raise Refused(
        HTTPStatus.FORBIDDEN,
        "pushes are taken from this host only; push to the exporter on your own host, or "
        "allow remote pushes in its configuration",
        field="peer",
        value="unknown" if client is None else str(client[0]),
    )


def is_local_peer(scope: AsgiScope) -> bool:
    """Tell whether the peer is on this host: a Unix socket, loopback, or our own address."""
    if by_unix_socket(scope):
        return True
    client, server = scope.get("client"), scope.get("server")
    peer = _address(client[0]) if client else None
    if peer is None:
        return False
    return peer.is_loopback or (server is not None and peer == _address(server[0]))


def by_unix_socket(scope: AsgiScope) -> bool:
    """Tell whether a request came over a Unix socket.

    ASGI gives such a server a path and no port. A missing client alone proves nothing: it is
    also missing when a TCP peer was gone before it could be asked for.
    """
    server = scope.get("server")
    return scope.get("client") is None and server is not None and server[1] is None


def check_headers(request: Request) -> None:
    """Refuse more than MAX_HEADER_BYTES of headers with 431."""
    size = sum(len(name) + len(value) for name, value in request.scope["headers"])
    if size > MAX_HEADER_BYTES:
        raise Refused(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the headers are {size} bytes long",
            allowed=f"at most {MAX_HEADER_BYTES} bytes",
            headers=_CLOSE,
        )


def check_json(request: Request) -> None:
    """Refuse any content but plain JSON with 415; forms are what web pages can send unasked."""
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "send JSON, and say so in Content-Type",
            field="Content-Type",
            value=shown(given),
            allowed="application/json",
        )
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "send the body uncompressed",
            field="Content-Encoding",
            value=shown(encoding),
            allowed="identity",
        )


async def read_json(
    request: Request, limit_bytes: int, *, deadline_seconds: float = BODY_SECONDS
) -> bytes:
    """Return the body of a JSON request.

    A body that is declared too long is refused before any of it is read; one that turns out
    too long, as soon as it does.

    Raises:
        Refused: 415 not JSON, 413 longer than ``limit_bytes``, 408 not complete in time.
    """
    check_json(request)
    declared = request.headers.get("content-length", "")
    # Servers refuse a length that is no number; isdecimal() also takes digits int() rejects.
    if declared.isascii() and declared.isdecimal() and int(declared[:20]) > limit_bytes:
        raise _too_long(limit_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(deadline_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit_bytes:
                    raise _too_long(limit_bytes)
    except TimeoutError:
        raise Refused(
            HTTPStatus.REQUEST_TIMEOUT,
            f"the body was not complete after {deadline_seconds:g} s",
            headers=_CLOSE,
        ) from None
    except ClientDisconnect:
        raise Refused(HTTPStatus.BAD_REQUEST, "the peer left before its body ended") from None
    return bytes(body)


def _too_long(limit_bytes: int) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "the body is too long",
        field="Content-Length",
        allowed=f"at most {limit_bytes} bytes",
        headers=_CLOSE,
    )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, an IPv4 one in IPv6's clothes as IPv4; None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
