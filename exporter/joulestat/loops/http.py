"""The event loop that every application is served from."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import uvicorn

from joulestat.loops.handshakes import HastyLoop
from joulestat.loops.listening import BACKLOG

STOP_SECONDS = 3.0
"""How long requests in flight may take to finish when the service stops."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One application with the sockets that it is served on.

    Attributes:
        app: An ASGI application.
        sockets: Bound and listening.
        protocol: uvicorn's, or one that is made from it: what reads a connection.
        tls: Returns the context that connections are encrypted with; None for plain HTTP.
    """

    app: Any
    sockets: Sequence[socket.socket]
    protocol: type[asyncio.Protocol]
    tls: Callable[[], ssl.SSLContext] | None = None


class HttpLoop:
    """Serves applications, each on its sockets, from one event loop on one thread."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        """Prepare the servers.

        Args:
            listeners: What is served where.
        """
        self._listeners = tuple(listeners)
        self._servers = [uvicorn.Server(_server_config(each)) for each in listeners]
        # Now, because nobody can ask a closed socket for its name.
        self._unix_paths = tuple(_unix_paths(listeners))
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Finish requests in flight, for a few seconds at most, and close the sockets."""
        for server in self._servers:
            server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS + 1)
        for path in self._unix_paths:
            path.unlink(missing_ok=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=HastyLoop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await asyncio.gather(
            *(
                server.serve(sockets=list(listener.sockets))
                for server, listener in zip(self._servers, self._listeners, strict=True)
            )
        )


def _unix_paths(listeners: Sequence[Listener]) -> Iterator[Path]:
    for each in chain.from_iterable(listener.sockets for listener in listeners):
        if each.family == socket.AF_UNIX:
            yield Path(each.getsockname())


def _server_config(listener: Listener) -> uvicorn.Config:
    tls = listener.tls
    return uvicorn.Config(
        listener.app,
        http=listener.protocol,
        loop="asyncio",
        lifespan="off",
        ws="none",
        interface="asgi3",
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        log_config=None,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(STOP_SECONDS),
        backlog=BACKLOG,
        ssl_context_factory=None if tls is None else lambda *_: tls(),
    )
