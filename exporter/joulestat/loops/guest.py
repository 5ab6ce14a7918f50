"""Who was let in: a connection, whose it is, and what the door must know of it."""

import asyncio
import socket
import struct
from collections.abc import Callable, Hashable
from typing import Any, Protocol, cast

_IPV4_MAPPED = bytes(10) + b"\xff\xff"

_CREDENTIALS = struct.Struct("3i")
"""Linux's ``struct ucred``: process, user and group."""


class Connection(Protocol):
    """What reads one connection, as the door sees it: an ``asyncio.Protocol``.

    Attributes:
        head_seconds: How long the peer may take to begin, with TLS's handshake too.
        when_lost: To be called when the connection is gone.
    """

    head_seconds: float
    when_lost: Callable[[], None]

    @property
    def waiting_since(self) -> float | None:
        """Since when it has been the peer's turn, in the loop's time; None while it is ours."""

    def dismiss(self) -> None:
        """End it, for another to have its place."""

    def refuse(self) -> None:
        """Answer the first request that there is no room."""

    @staticmethod
    def farewell(beginning: bytes) -> bytes | None:
        """Return what to tell a peer that there is no room for; None if it should have some."""


class Guest:
    """One peer that was let in."""

    def __init__(self, sock: socket.socket, peer: Hashable, connection: Connection) -> None:
        self.sock = sock
        self.peer = peer
        self.connection = connection
        self.welcome: asyncio.Task[None] | None = None


def peer_of(sock: socket.socket, address: Any) -> Hashable:
    """Return whose connection it is: a host, an IPv6 network of one, or a local user."""
    if sock.family == socket.AF_UNIX:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return cast("int", _CREDENTIALS.unpack(credentials)[1])
    if sock.family == socket.AF_INET6:
        packed = socket.inet_pton(socket.AF_INET6, address[0].partition("%")[0])
        # A host has as many addresses there as it wants, but all with one beginning; an IPv4
        # address in IPv6's clothes has its own part at the end.
        return packed if packed.startswith(_IPV4_MAPPED) else packed[:8]
    return cast("str", address[0])
