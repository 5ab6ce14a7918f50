"""A real Alertmanager on a loopback port, and where it sends its messages."""

import json
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from servers.program import ServerProgram, program

NAMES = ("prometheus-alertmanager", "alertmanager")
"""As Debian calls it, and as its makers do."""


def missing() -> str:
    """Return why there is no Alertmanager to run, with the cure; empty where there is one."""
    present = any(map(shutil.which, NAMES)) and shutil.which("amtool")
    return "" if present else "no alertmanager or no amtool on PATH: run `make alertmanager`"


def amtool(*arguments: str | Path) -> str:
    """Return what amtool prints; fail where it does."""
    told = subprocess.run(
        [program("amtool"), *arguments], check=False, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


class AlertmanagerServer(ServerProgram):
    """Starts on entering, stops on leaving.

    Attributes:
        url: Where its API is, once started.
    """

    def __init__(self, folder: Path, config: str) -> None:
        """Keep everything in ``folder``; ``config`` is Alertmanager's own YAML."""
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / "alertmanager.log")
        self._folder = folder
        self._config = folder / "alertmanager.yaml"
        self._config.write_text(config)

    def command(self, address: str) -> list[str]:
        """Return its command line."""
        return [
            program(next(filter(shutil.which, NAMES), NAMES[0])),
            f"--config.file={self._config}",
            f"--storage.path={self._folder / 'alertmanager'}",
            f"--web.listen-address={address}",
            # Else it looks for others of its kind, on 0.0.0.0.
            "--cluster.listen-address=",
        ]

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def post(self, *alerts: Mapping[str, str]) -> None:
        """Let alerts fire, given by their labels, as Prometheus does."""
        body = [{"labels": dict(labels)} for labels in alerts]
        answer = httpx.post(f"{self.url}/api/v2/alerts", json=body, trust_env=False)
        answer.raise_for_status()

    def alerts(self) -> list[dict[str, Any]]:
        """Return every alert with its ``labels``, ``receivers`` and ``status``."""
        answer = httpx.get(f"{self.url}/api/v2/alerts", trust_env=False)
        return list(answer.raise_for_status().json())


class Webhook:
    """Takes Alertmanager's messages on a loopback port, from entering to leaving.

    Attributes:
        url: Where it listens.
    """

    def __init__(self) -> None:
        arrived: list[tuple[str, dict[str, Any]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                arrived.append((self.path, json.loads(self.rfile.read(length))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._arrived = arrived
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def messages(self, path: str) -> Sequence[dict[str, Any]]:
        """Return what has arrived at a path so far, oldest first."""
        return [message for to, message in self._arrived if to == path]

    def alerts(self, path: str, status: str = "firing") -> list[dict[str, Any]]:
        """Return every alert of every message at a path, with its ``labels``."""
        return [
            alert
            for message in self.messages(path)
            for alert in message["alerts"]
            if alert["status"] == status
        ]
