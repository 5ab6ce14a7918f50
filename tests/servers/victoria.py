"""A real VictoriaMetrics on a loopback port, into which samples are imported while it runs."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

PROGRAM = "victoria-metrics"
START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 30.0
IMPORT_TIMEOUT_SECONDS = 600.0
MEMORY_BYTES = 2_000_000_000
"""For its caches: it would take more than half of a machine that others use, too."""


def missing() -> str:
    """Return why there is no VictoriaMetrics to run, with the cure; empty where there is one."""
    return "" if shutil.which(PROGRAM) else f"no {PROGRAM} on PATH: run `make victoria`"


class VictoriaServer:
    """Starts on entering, stops on leaving. Imported samples can be read after ``flush``.

    Attributes:
        url: Where its API is, once started.
    """

    def __init__(self, folder: Path) -> None:
        """Keep everything in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(timeout=IMPORT_TIMEOUT_SECONDS, trust_env=False)
        self.url = ""

    def __enter__(self) -> Self:
        """Start, and wait until it answers."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        with (self._folder / "victoria.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    PROGRAM,
                    f"-storageDataPath={self._folder / 'victoria'}",
                    f"-httpListenAddr=127.0.0.1:{port}",
                    "-retentionPeriod=100y",
                    f"-memory.allowedBytes={MEMORY_BYTES}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End the process that was started, and no other."""
        self._http.close()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def import_openmetrics(self, lines: str | Iterable[str]) -> None:
        """Store samples written as OpenMetrics, timestamps in seconds, in any order."""
        text = lines.splitlines() if isinstance(lines, str) else lines
        self._post("/api/v1/import/prometheus", _in_milliseconds(text))

    def import_series(self, json_lines: bytes | Iterable[bytes]) -> None:
        """Store series: a JSON object each line, with ``metric``, ``values``, ``timestamps``.

        Source:
            https://docs.victoriametrics.com/#how-to-import-data-in-json-line-format
        """
        self._post("/api/v1/import", json_lines)

    def export_native(self, selector: str, start_seconds: float, end_seconds: float) -> bytes:
        """Return series in the server's own form, which it reads three times as fast as text."""
        chosen = {"match[]": selector, "start": str(start_seconds), "end": str(end_seconds)}
        # Not packed by the connection: what is in it is to be replaced.
        headers = {"Accept-Encoding": "identity"}
        answer = self._http.get(f"{self.url}/api/v1/export/native", params=chosen, headers=headers)
        return answer.raise_for_status().content

    def import_native(self, exported: bytes) -> None:
        """Store what ``export_native`` returned, or the same with names of the same length."""
        self._post("/api/v1/import/native", exported)

    def flush(self) -> None:
        """Make everything that was imported so far readable."""
        self._http.get(f"{self.url}/internal/force_flush").raise_for_status()

    def _post(self, path: str, content: bytes | Iterable[bytes]) -> None:
        self._http.post(f"{self.url}{path}", content=content).raise_for_status()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self._http.get(f"{self.url}/health").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError((self._folder / "victoria.log").read_text())


def _in_milliseconds(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield samples as VictoriaMetrics reads them: it takes seconds for milliseconds."""
    for line in lines:
        if line and not line.startswith("#"):
            text, _, seconds = line.rpartition(" ")
            yield f"{text} {round(float(seconds) * 1000)}\n".encode()
