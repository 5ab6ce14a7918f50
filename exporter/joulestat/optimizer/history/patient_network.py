"""Connections on which one exchange ends in time, however slowly its answer drips."""

import math
import threading
from collections.abc import Callable, Iterable
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

MonotonicSeconds = Callable[[], float]


class Patience:
    """The time that one thread still has for its exchange."""

    def __init__(self, monotonic: MonotonicSeconds) -> None:
        """Begin without an exchange.

        Args:
            monotonic: A clock, seconds.
        """
        self._monotonic = monotonic
        self._exchange = threading.local()

    def begin(self, seconds: float) -> None:
        """Let this thread's next exchange end so many seconds after its first byte."""
        self._exchange.seconds, self._exchange.ends = seconds, None

    def left(self, timeout_seconds: float | None) -> float | None:
        """Return how long a thread may wait now, no longer than it would have.

        Raises:
            httpcore.ReadTimeout: No time is left.
        """
        now_seconds = self._monotonic()
        ends_seconds: float | None = getattr(self._exchange, "ends", None)
        if ends_seconds is None:
            ends_seconds = now_seconds + getattr(self._exchange, "seconds", math.inf)
            self._exchange.ends = ends_seconds
        left_seconds = ends_seconds - now_seconds
        if left_seconds <= 0:
            raise httpcore.ReadTimeout("the answer was not complete in time")
        shortest_seconds = min(
            left_seconds, math.inf if timeout_seconds is None else timeout_seconds
        )
        return None if math.isinf(shortest_seconds) else shortest_seconds


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait is within the time that is left."""

    def __init__(self, stream: httpcore.NetworkStream, patience: Patience) -> None:
        self._stream = stream
        self._patience = patience

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._patience.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._patience.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left_seconds = self._patience.left(timeout)
        encrypted = self._stream.start_tls(ssl_context, server_hostname, left_seconds)
        return _Stream(encrypted, self._patience)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Network(httpcore.NetworkBackend):
    """Connects as httpcore does, and hands out such connections."""

    def __init__(self, network: httpcore.NetworkBackend, patience: Patience) -> None:
        self._network = network
        self._patience = patience

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left_seconds = self._patience.left(timeout)
        stream = self._network.connect_tcp(host, port, left_seconds, local_address, socket_options)
        return _Stream(stream, self._patience)


def make_patient(client: httpx.Client, patience: Patience) -> None:
    """Let all connections of a client, also those through proxies, keep to a patience.

    httpx takes a time-out for each read only: a server that sends a byte a minute could hold it
    for ever. Neither it nor its transports take a network to connect by, so it is put into place;
    a test drips at it.
    """
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - see above
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = _Network(pool._network_backend, patience)  # noqa: SLF001
