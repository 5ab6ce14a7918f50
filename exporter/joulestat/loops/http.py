"""The event loop that every application is served from.

uvicorn reads and writes the connections; who is let in, and how many, is decided here, because
uvicorn's own server lets in whoever comes.
"""

import asyncio
import resource
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from joulestat.loops.door import Door
from joulestat.loops.guest import Connection
from joulestat.loops.listening import BACKLOG

STOP_SECONDS = 3.0
"""How long requests in flight may take to finish when the service stops."""

START_SECONDS = 10.0
"""How long a start waits for the loop, on a machine that has other things to do."""

MOST_CONNECTIONS = 512
"""At a time and socket: more than scrape a node, even if all of them come at once."""

RESERVED_DESCRIPTORS = 128
"""Kept back from connections: databases, the audit log, some per GPU in the driver, our sockets."""

FEWEST_CONNECTIONS = 8
"""What a socket has even if the limit on descriptors is far too low."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One application with the sockets that it is served on.

    Attributes:
        app: An ASGI application.
        sockets: Bound and listening.
        protocol: Made from uvicorn's, with what ``Connection`` asks for: what reads a connection.
        tls: Returns the context that the next connection is encrypted with; None for plain HTTP.
            Where it raises ``ssl.SSLError``, that connection is closed.
        most_connections: At a time and socket; fewer where descriptors are few.
    """

    app: Any
    sockets: Sequence[socket.socket]
    protocol: type[asyncio.Protocol]
    tls: Callable[[], ssl.SSLContext] | None = None
    most_connections: int = MOST_CONNECTIONS


class HttpLoop:
    """Serves applications, each on its sockets, from one event loop on one thread."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        """Prepare the servers.

        Args:
            listeners: What is served where.
        """
        self._listeners = tuple(listeners)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serves = threading.Event()
        self._enough = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self._serves.wait(START_SECONDS)

    def answers(self, patience_seconds: float) -> bool:
        """Tell whether the loop comes round within a time. Any thread but its own."""
        came_round = threading.Event()
        return self._tell(came_round.set) and came_round.wait(patience_seconds)

    def stop(self) -> None:
        """Finish requests in flight, for a few seconds at most, and close the sockets."""
        self._tell(self._enough.set)
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS + 1)

    def _tell(self, what: Callable[[], None]) -> bool:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(what)
        except RuntimeError:  # it is closed
            return False
        return self._loop is not None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._serves.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        halls = [
            _Hall(listener, most)
            for listener, most in zip(self._listeners, _shares(self._listeners), strict=True)
        ]
        for hall in halls:
            hall.open()
        self._serves.set()
        while not self._enough.is_set():
            date = [(b"date", formatdate(usegmt=True).encode())]
            for hall in halls:
                hall.state.default_headers = date
            try:
                await asyncio.wait_for(self._enough.wait(), 1.0)
            except TimeoutError:
                continue
        await asyncio.gather(*(hall.close() for hall in halls))


class _Hall:
    """One application: the doors that lead to it, and who is inside."""

    def __init__(self, listener: Listener, most: int) -> None:
        self.state = ServerState()
        config = _uvicorn_config(listener)
        config.load()
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            made = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.state, app_state={}, _loop=loop
            )
            return cast("Connection", made)

        self._doors = [
            Door(
                each,
                connection,
                most=most,
                farewell=cast("type[Connection]", listener.protocol).farewell,
                tls=listener.tls,
            )
            for each in listener.sockets
        ]

    def open(self) -> None:
        """Let peers in."""
        for door in self._doors:
            door.open()

    async def close(self) -> None:
        """Let nobody in, wait a little for who is inside, and turn the rest out."""
        for door in self._doors:
            door.close()
        for each in list(self.state.connections):
            each.shutdown()
        for _ in range(round(STOP_SECONDS / 0.05)):
            if not self.state.connections and not self.state.tasks:
                return
            await asyncio.sleep(0.05)
        for task in self.state.tasks:
            task.cancel()
        for each in list(self.state.connections):
            each.transport.abort()
        await asyncio.sleep(0)


def _shares(listeners: Sequence[Listener]) -> list[int]:
    """Return how many connections each socket of a listener may have.

    What they would have together must leave the rest of the process its descriptors: an
    event loop that cannot accept any more can do nothing but wait.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    wanted = sum(each.most_connections * len(each.sockets) for each in listeners)
    free = wanted if limit == resource.RLIM_INFINITY else limit - RESERVED_DESCRIPTORS
    share = min(1.0, max(0.0, free / max(1, wanted)))
    return [max(FEWEST_CONNECTIONS, int(share * each.most_connections)) for each in listeners]


def _uvicorn_config(listener: Listener) -> uvicorn.Config:
    return uvicorn.Config(
        listener.app,
        http=listener.protocol,
        lifespan="off",
        ws="none",
        interface="asgi3",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        # A line for every broken request would fill the disk of whom somebody wants to harm.
        log_level="error",
        timeout_keep_alive=30,
        backlog=BACKLOG,
    )
