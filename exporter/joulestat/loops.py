"""The only file that starts server threads and reads the real clock."""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import uvicorn

from joulestat.config import ListenAddress
from joulestat.devices.backend import Backend
from joulestat.domain.device import Reading
from joulestat.domain.errors import ConfigError
from joulestat.domain.units import ns_to_seconds, seconds_to_ns

BACKLOG = 1024
"""A burst of scrapes must wait in the kernel, not be reset."""

STOP_SECONDS = 3.0
"""How long requests in flight may take to finish when the service stops."""

log = logging.getLogger(__name__)


class SystemClock:
    """The host's clocks."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    _boot_id = "unknown"

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC, ns."""
        return time.monotonic_ns()

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME, ns."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall_seconds(self) -> float:
        """Return Unix time, s."""
        return time.time()

    def boot_id(self) -> str:
        """Return the kernel's random identity of this boot."""
        return self._boot_id


class Heartbeat:
    """Calls something at a fixed rhythm on a thread of its own.

    A call that takes too long makes the next one late; missed beats are dropped, not caught up.
    """

    def __init__(
        self,
        name: str,
        interval_seconds: float,
        beat: Callable[[], None],
        *,
        delay_seconds: float = 0.0,
    ) -> None:
        self._delay_ns = seconds_to_ns(delay_seconds)
        self._interval_ns = seconds_to_ns(interval_seconds)
        self._beat = beat
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after the delay."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Let the call in progress be the last one."""
        self._stop.set()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the last call; a driver that hangs is not waited for longer than this.

        Returns:
            Whether it ended.
        """
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _loop(self) -> None:
        due_ns = time.monotonic_ns() + self._delay_ns
        self._stop.wait(ns_to_seconds(self._delay_ns))
        while not self._stop.is_set():
            try:
                self._beat()
                self._failing = False
            except Exception:
                # The service must outlive any one failure; a repeated one is logged once.
                if not self._failing:
                    log.exception("event=beat_failed loop=%s", self._thread.name)
                self._failing = True
            now_ns = time.monotonic_ns()
            due_ns += self._interval_ns
            if due_ns < now_ns:
                due_ns = now_ns - (now_ns - due_ns) % self._interval_ns + self._interval_ns
            self._stop.wait(ns_to_seconds(due_ns - now_ns))


def spawn(job: Callable[[], None]) -> None:
    """Run a job that may hang in a driver on a thread that nobody waits for."""
    threading.Thread(target=job, name="driver", daemon=True).start()


def attempt(job: Callable[[], None], patience_seconds: float) -> bool:
    """Run a job that may hang in a driver, and wait for it only so long; then it goes on alone.

    Returns:
        Whether it came back. What it raised until then is raised here.
    """
    failed: list[Exception] = []
    done = threading.Event()

    def run() -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits
            failed.append(error)
        finally:
            done.set()

    spawn(run)
    came_back = done.wait(patience_seconds)
    if failed:
        raise failed[0]
    return came_back


def device_reader(
    name: str,
    backend: Backend,
    uuids: Callable[[], Iterable[str]],
    deliver: Callable[[str, Reading], None],
    *,
    interval_seconds: float,
    details_interval_seconds: float,
) -> Heartbeat:
    """Return the loop that reads some devices, one after the other.

    A driver that hangs holds up these devices alone, so a reader has one device wherever the
    vendor's library stands several threads.
    """
    every = max(1, round(details_interval_seconds / interval_seconds))
    beats = itertools.count()

    def read() -> None:
        details = next(beats) % every == 0
        for uuid in uuids():
            deliver(uuid, backend.read(uuid, details=details))

    return Heartbeat(name, interval_seconds, read)


def bind(address: ListenAddress, *, unix_mode: int) -> socket.socket:
    """Open a listening socket.

    A Unix socket left behind by a killed process is replaced; one that answers is not.

    Args:
        address: Where.
        unix_mode: Permissions of a Unix socket: who may connect.

    Raises:
        ConfigError: The address cannot be had; the text says why and what to do.
    """
    try:
        if address.unix_path is not None:
            return _bind_unix(address.unix_path, unix_mode)
        return _bind_tcp(address.host, address.port or 0)
    except OSError as error:
        msg = (
            f"cannot listen on {address}: {error.strerror or error}; "
            "stop what listens there, or choose another address"
        )
        raise ConfigError(
            msg, field="listen-address", value=str(address), place="start", allowed="a free address"
        ) from error


def _bind_tcp(host: str | None, port: int) -> socket.socket:
    if host is None:
        return (
            socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
            if socket.has_dualstack_ipv6()
            else socket.create_server(("", port), backlog=BACKLOG)
        )
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _bind_unix(path: Path, mode: int) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise OSError(None, "another process listens there")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o777 & ~mode)  # right from the first moment on
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


class HttpLoop:
    """Serves applications, each on its sockets, from one event loop on one thread."""

    def __init__(
        self,
        apps: Sequence[tuple[Any, Sequence[socket.socket]]],
        *,
        protocol: type[asyncio.Protocol],
    ) -> None:
        """Prepare the servers.

        Args:
            apps: ASGI applications with the sockets that each is served on.
            protocol: uvicorn's, or one that is made from it: what reads a connection.
        """
        self._sockets = [sockets for _, sockets in apps]
        self._servers = [uvicorn.Server(_server_config(app, protocol)) for app, _ in apps]
        # Now, because nobody can ask a closed socket for its name.
        self._unix_paths = tuple(_unix_paths(self._sockets))
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
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        await asyncio.gather(
            *(
                server.serve(sockets=list(sockets))
                for server, sockets in zip(self._servers, self._sockets, strict=True)
            )
        )


def _unix_paths(sockets: Sequence[Sequence[socket.socket]]) -> Iterator[Path]:
    for each in chain.from_iterable(sockets):
        if each.family == socket.AF_UNIX:
            yield Path(each.getsockname())


def _server_config(app: Any, protocol: type[asyncio.Protocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol,
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
    )
