"""A real exporter in a process of its own, on simulated GPUs, for tests to scrape and to kill."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from joulestat.devices.world import SimulatedWorld
from joulestat.loops.system_clock import SystemClock
from joulestat.server.auth import new_token

START_SECONDS = 20.0


class Exporter:
    """``joulestat serve`` with its state in a folder; may be killed and started again.

    Attributes:
        environment: Further variables.
        prefix: A command that starts it, such as ``setpriv`` and its flags.
        descriptors: How many files it may have open; None for as many as we.
    """

    def __init__(
        self, folder: Path, *flags: str, gpus: int = 2, backend: str = "simulated"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.flags = flags
        self.gpus = gpus
        self.backend = backend
        self.world_file = folder / "world"
        self.admin_socket = folder / "admin.sock"
        self.token, sha256 = new_token()
        tokens = folder / "tokens.yaml"
        tokens.write_text(f"tokens: [{{sha256: '{sha256}', principal: test, role: operator}}]")
        tokens.chmod(0o600)
        self._tokens = tokens
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        self.environment: dict[str, str] = {}
        self.prefix: tuple[str, ...] = ()
        self.descriptors: int | None = None

    def start(self) -> Self:
        """Start the process and wait until its data is fresh."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        while not (self.listens() and self._is_ready()):
            if self.process is None or self.process.poll() is not None:
                raise AssertionError(f"the exporter did not start:\n{self.log.read_text()}")
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return self

    def launch(self) -> None:
        """Start the process and wait for nothing."""
        limited = ["sh", "-c", f'ulimit -n {self.descriptors}; exec "$@"', "sh"]
        command = [
            *(limited if self.descriptors is not None else []),
            *self.prefix, sys.executable, "-m", "joulestat", "serve",
            "--backend", self.backend,
            "--simulated.model", "V100",
            "--simulated.gpus", str(self.gpus),
            "--simulated.state-file", str(self.world_file),
            "--state-path", str(self.folder / "state"),
            "--web.listen-address", "127.0.0.1:0",
            "--admin.listen-address", f"unix:{self.admin_socket}",
            "--admin.token-file", str(self._tokens),
            *self.flags,
        ]  # fmt: skip
        self.log = self.folder / f"exporter-{time.monotonic_ns()}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stderr=log, text=True, env={**os.environ, **self.environment}
            )

    def listens(self) -> bool:
        """Tell whether it has said where it listens, and note it."""
        for line in self.log.read_text().splitlines():
            if "event=listening address=http://" in line:
                self.url = line.rpartition("address=")[2]
        return self.url != ""

    def _is_ready(self) -> bool:
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it as a supervisor does; return its exit status."""
        return self._end(number)

    def kill(self) -> int:
        """End it as a crash does."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(15)
        self.url = ""
        return status

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def world(self) -> SimulatedWorld:
        """Return the simulated hardware; the caller closes it."""
        return SimulatedWorld.join(self.world_file, clock=SystemClock())

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return status and text of a page."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def push(self, **push: Any) -> tuple[int, dict[str, Any]]:
        """Push as training code does; return status and answer."""
        request = urllib.request.Request(
            self.url + "/v1/push",
            data=json.dumps(push).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return every sample of /metrics by name and labels."""
        status, text = self.get("/metrics", Accept="text/plain")
        assert status == 200
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of all samples of a metric that have these labels."""
        wanted = set(labels.items())
        found = [
            value
            for (sample, has), value in self.samples().items()
            if sample == f"joulestat_{name}" and wanted <= has
        ]
        assert found, f"no joulestat_{name}{labels}"
        return sum(found)
