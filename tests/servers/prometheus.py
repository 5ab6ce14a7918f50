"""A real Prometheus on a loopback port, with history backfilled into it by promtool."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 10.0

CONFIG = """\
global:
  scrape_interval: {interval}
  scrape_timeout: {interval}
scrape_configs:
  - job_name: joulestat
    static_configs:
      - targets: {targets}
"""


class PrometheusServer:
    """Starts on entering, stops on leaving. Backfill before: blocks are read at the start.

    Attributes:
        url: Where its API is, once started.
    """

    def __init__(
        self,
        folder: Path,
        targets: Sequence[str] = (),
        *,
        scrape_interval: str = "1s",
        web_config: str = "",
    ) -> None:
        """Keep everything in ``folder``; scrape ``targets`` (host:port).

        With a ``web_config``, Prometheus' own YAML for TLS and passwords, it is an https server.
        """
        self._folder = folder
        self._data = folder / "data"
        self._data.mkdir(parents=True)
        self._config = folder / "prometheus.yml"
        self._config.write_text(
            CONFIG.format(interval=scrape_interval, targets=json.dumps(list(targets)))
        )
        self._web_config = folder / "web.yml"
        self._web_config.write_text(web_config)
        self._scheme = "https" if web_config else "http"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def backfill(self, openmetrics: str) -> int:
        """Write samples as blocks and return how many.

        promtool drops samples that are out of order without a word, so they are counted.
        """
        source = self._folder / f"history-{len(list(self._folder.glob('history-*')))}.om"
        source.write_text(openmetrics)
        before = self._stored_samples()
        subprocess.run(
            [_program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", source,
             self._data],
            check=True,
            capture_output=True,
        )  # fmt: skip
        written = sum(1 for line in openmetrics.splitlines() if line and not line.startswith("#"))
        stored = self._stored_samples() - before
        assert written == stored, f"{written} samples written, {stored} stored"
        return stored

    def __enter__(self) -> Self:
        """Start, and wait until it answers."""
        port = _free_port()
        self.url = f"{self._scheme}://127.0.0.1:{port}"
        log = (self._folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                _program("prometheus"),
                f"--config.file={self._config}",
                f"--storage.tsdb.path={self._data}",
                # The default of 15 days would delete backfilled blocks at the start.
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--web.config.file={self._web_config}",
                "--web.enable-lifecycle",
                "--web.enable-remote-write-receiver",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
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

    def stop(self) -> None:
        """End the process that was started, and no other."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if self._is_ready():
                return
            time.sleep(0.05)
        raise AssertionError((self._folder / "prometheus.log").read_text())

    def _is_ready(self) -> bool:
        if self._scheme == "https":
            # Whom it lets in is for the test to find out; it listens once it has read its blocks.
            address = ("127.0.0.1", int(self.url.rpartition(":")[2]))
            with socket.socket() as client:
                return client.connect_ex(address) == 0
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def _stored_samples(self) -> int:
        metas = self._data.glob("*/meta.json")
        return sum(json.loads(meta.read_text())["stats"]["numSamples"] for meta in metas)


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"no {name} on PATH: run `make prometheus`"
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
