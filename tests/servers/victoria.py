"""A real VictoriaMetrics on a loopback port, into which samples are imported while it runs."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx

from servers.program import ServerProgram

PROGRAM = "victoria-metrics"
IMPORT_TIMEOUT_SECONDS = 600.0
MEMORY_BYTES = 2_000_000_000
"""For its caches: it would take more than half of a machine that others use, too."""


def missing() -> str:
    """Return why there is no VictoriaMetrics to run, with the cure; empty where there is one."""
    return "" if shutil.which(PROGRAM) else f"no {PROGRAM} on PATH: run `make victoria`"


class VictoriaServer(ServerProgram):
    """Starts on entering, stops on leaving. Imported samples can be read after ``flush``.

    Attributes:
        url: Where its API is, once started.
    """

    def __init__(self, folder: Path) -> None:
        """Keep everything in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / "victoria.log")
        self._folder = folder
        self._http = httpx.Client(timeout=IMPORT_TIMEOUT_SECONDS, trust_env=False)

    def command(self, address: str) -> list[str]:
        """Return its command line."""
        return [
            PROGRAM,
            f"-storageDataPath={self._folder / 'victoria'}",
            f"-httpListenAddr={address}",
            "-retentionPeriod=100y",
            f"-memory.allowedBytes={MEMORY_BYTES}",
        ]

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        try:
            return self._http.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End the process that was started, and no other."""
        self._http.close()
        super().stop()

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


def _in_milliseconds(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield samples as VictoriaMetrics reads them: it takes seconds for milliseconds."""
    for line in lines:
        if line and not line.startswith("#"):
            text, _, seconds = line.rpartition(" ")
            yield f"{text} {round(float(seconds) * 1000)}\n".encode()
