"""A node to be soaked: an exporter of its own, or an exporter and an actuator, all of it in use."""

import base64
import json
import re
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import bcrypt

from fakes.certificates import make_certificates, sign
from fakes.patience import eventually
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from servers.exporter import Exporter
from servers.split import Actuator

GPUS = 8
START_SECONDS = 30.0
POLICY = "{write-interval: 0s, min-ttl: 1s}"
CONFIG = """
budgets:
  - {name: whole, team: soak, kilowatt-hours: 500, start: 2020-01-01, end: 2090-01-01}
  - {name: early, team: none, kilowatt-hours: 1, start: 2020-01-01, end: 2020-02-01}
sampling: {interval: 20ms, details-interval: 200ms}
push: {ttl: 5s, retention: 2s}
"""
USER, PASSWORD = "soak", "not a secret"
_SERVER = "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"


class SoakedNode:
    """A node's processes. Its GPUs are read fifty times a second, and runs are soon forgotten.

    Attributes:
        split: Whether an actuator holds its limits.
        folder: Where its state is.
    """

    def __init__(self, folder: Path, *, split: bool) -> None:
        folder.mkdir()
        self.folder, self.split = folder, split
        (folder / "policy.yaml").write_text(POLICY)
        (folder / "config.yaml").write_text(CONFIG)
        self.actuator = Actuator(folder, POLICY) if split else None
        flags = ["--config.file", str(folder / "config.yaml")]
        if split:
            flags += ["--actuator.socket", str(folder / "actuator.sock")]
        else:
            # Users and TLS, as the Prometheus exporter-toolkit has them.
            self._certificates = make_certificates(folder)
            sign(folder, "renewed", _SERVER)
            self.write_web_file(renewed=False)
            flags += [
                *("--policy.file", str(folder / "policy.yaml")),
                *("--web.config.file", str(folder / "web.yaml")),
            ]
        self.exporter = Exporter(folder, *flags, gpus=GPUS)
        self.admin = AdminClient(f"unix:{self.exporter.admin_socket}", self.exporter.token)
        self.address = ("", 0)

    def __enter__(self) -> Self:
        """Start, and wait until it is ready."""
        if self.actuator is not None:
            self.actuator.start(f"--simulated.gpus={GPUS}", "--simulated.model=V100")
        self.exporter.launch()
        assert eventually(self._is_ready, within_seconds=START_SECONDS), self.log()
        assert eventually(self._has_history, within_seconds=START_SECONDS), self.log()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in (self.exporter.process, self.actuator and self.actuator.process):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(20)

    def pids(self) -> dict[str, int]:
        """Return its processes by name."""
        processes = {"exporter": self.exporter.process}
        if self.actuator is not None:
            processes["actuator"] = self.actuator.process
        return {name: each.pid for name, each in processes.items() if each is not None}

    def log(self) -> str:
        """Return what its processes have logged."""
        return self.exporter.log.read_text() + (self.actuator.log() if self.actuator else "")

    def state_folders(self) -> Sequence[Path]:
        """Return where its processes keep what they know."""
        return [self.folder / "state"] + ([self.folder / "actuator"] if self.split else [])

    def write_web_file(self, *, renewed: bool) -> None:
        """Let in whoever has the password, under one of two certificates, from now on."""
        name = "renewed" if renewed else "server"
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        draft = self.folder / "web.draft"
        draft.write_text(
            f"tls_server_config: {{cert_file: {name}.pem, key_file: {name}.key}}\n"
            f"basic_auth_users: {{{USER}: {hashed}}}\n"
        )
        draft.replace(self.folder / "web.yaml")

    def connection(self) -> HTTPConnection:
        """Return a connection that is opened by its first request."""
        if self.split:
            return HTTPConnection(*self.address, timeout=30)
        trusted = ssl.create_default_context(cafile=self._certificates.authority)
        return HTTPSConnection(*self.address, timeout=30, context=trusted)

    def _is_ready(self) -> bool:
        found = re.search(r"address=https?://127\.0\.0\.1:(\d+)", self.exporter.log.read_text())
        if found is None:
            return False
        self.address = ("127.0.0.1", int(found[1]))
        with Caller(self) as caller:
            return caller.ask("GET", "/readyz")[0] == 200

    def _has_history(self) -> bool:
        """Tell whether the history has been begun; the first seconds have none."""
        with suppress(AdminError):
            self.admin.history_runs(at_seconds=time.time())
            return True
        return False


class Caller:
    """One peer of a node, which keeps its connection as long as it may."""

    def __init__(self, node: SoakedNode, password: str = PASSWORD) -> None:
        self._node = node
        self._connection = node.connection()
        name_and_password = f"{USER}:{password}".encode()
        self._headers = {} if node.split else _basic(name_and_password)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        """Return status and answer; a connection that was closed meanwhile is opened again."""
        sent = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": "application/json", **headers}
        try:
            self._connection.request(method, path, sent, headers)
            answer = self._connection.getresponse()
        except (ConnectionError, HTTPException):
            self._connection.close()
            self._connection.request(method, path, sent, headers)
            answer = self._connection.getresponse()
        return answer.status, answer.read()


def _basic(name_and_password: bytes) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(name_and_password).decode()}"}
