"""An actuator's socket on a host of fake cards, for tests to speak to, well and badly."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fakes.host import Host
from joulestat.actuator.client import ActuatorClient
from joulestat.actuator.peers import PeerRule
from joulestat.actuator.server import ActuatorServer, ServerLimits
from joulestat.actuator.verbs import Verbs
from joulestat.config import ListenAddress
from joulestat.loops.driver_threads import spawn
from joulestat.loops.listening import bind
from joulestat.loops.system_clock import SystemClock

OURS = PeerRule(frozenset({os.geteuid()}))
USUAL = ServerLimits()


class Socket:
    """A served socket; ``ask`` sends bytes as they are and returns what comes back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: list[str] = []
        self.client = ActuatorClient(path, SystemClock(), on_write=self.written.append)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(str(self.path))
        return connection

    def ask(self, sent: bytes) -> bytes:
        """Return everything that comes until the actuator closes, or one line."""
        with self.connect() as connection:
            send(connection, sent)
            return read_line(connection)


def send(connection: socket.socket, sent: bytes) -> None:
    """Send what may be refused, and the connection closed, before all of it is out."""
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(sent)


def read_line(connection: socket.socket) -> bytes:
    """Return what comes until the end of a line; nothing where the connection is closed first."""
    text = b""
    while not text.endswith(b"\n"):
        try:
            part = connection.recv(65_536)
        except ConnectionResetError:
            return text
        if not part:
            return text
        text += part
    return text


@contextmanager
def served(
    host: Host,
    folder: Path,
    peers: PeerRule = OURS,
    limits: ServerLimits = USUAL,
) -> Iterator[Socket]:
    """Serve a host's governor as the actuator does."""
    server = ActuatorServer(Verbs(host.governor, host.audit.read), peers, spawn, limits)
    path = folder / "actuator.sock"
    listening = bind(ListenAddress(unix_path=path), unix_mode=0o660)
    thread = threading.Thread(target=server.run, args=(listening,))
    thread.start()
    try:
        yield Socket(path)
    finally:
        server.stop()
        thread.join(10)
