"""A real Prometheus on a loopback port, with history backfilled into it by promtool."""

import json
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx

from servers.program import ServerProgram, program

CONFIG = """\
global:
  scrape_interval: {interval}
  scrape_timeout: {interval}
  evaluation_interval: 1s
rule_files: {rules}
alerting:
  alertmanagers:
    - static_configs:
        - targets: {alertmanagers}
scrape_configs:
  - job_name: joulestat
    static_configs:
      - targets: {targets}
"""


class PrometheusServer(ServerProgram):
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
        rules: Sequence[Path] = (),
        alertmanagers: Sequence[str] = (),
        config: str | None = None,
    ) -> None:
        """Keep everything in ``folder``; scrape ``targets`` (host:port), evaluate ``rules``.

        Alerts of the rules go to ``alertmanagers`` (host:port).

        With a ``config``, a whole prometheus.yml, that says all of this instead.

        With a ``web_config``, Prometheus' own YAML for TLS and passwords, it is an https server.
        """
        super().__init__(folder / "prometheus.log", scheme="https" if web_config else "http")
        self._folder = folder
        self._data = folder / "data"
        self._data.mkdir(parents=True)
        self._config = folder / "prometheus.yml"
        self._config.write_text(
            config
            or CONFIG.format(
                interval=scrape_interval,
                targets=json.dumps(list(targets)),
                rules=json.dumps([str(rule) for rule in rules]),
                alertmanagers=json.dumps(list(alertmanagers)),
            )
        )
        self._web_config = folder / "web.yml"
        self._web_config.write_text(web_config)

    def backfill(self, openmetrics: str) -> int:
        """Write samples as blocks and return how many.

        promtool drops samples that are out of order without a word, so they are counted.
        """
        source = self._folder / f"history-{len(list(self._folder.glob('history-*')))}.om"
        source.write_text(openmetrics)
        before = self._stored_samples()
        subprocess.run(
            [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", source,
             self._data],
            check=True,
            capture_output=True,
        )  # fmt: skip
        written = sum(1 for line in openmetrics.splitlines() if line and not line.startswith("#"))
        stored = self._stored_samples() - before
        assert written == stored, f"{written} samples written, {stored} stored"
        return stored

    def command(self, address: str) -> list[str]:
        """Return its command line."""
        return [
            program("prometheus"),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._data}",
            # The default of 15 days would delete backfilled blocks at the start.
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address={address}",
            f"--web.config.file={self._web_config}",
            "--web.enable-lifecycle",
            "--web.enable-remote-write-receiver",
        ]

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        if self._scheme == "https":
            # Whom it lets in is for the test to find out; it listens once it has read its blocks.
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", int(self.url.rpartition(":")[2]))) == 0
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def _stored_samples(self) -> int:
        metas = self._data.glob("*/meta.json")
        return sum(json.loads(meta.read_text())["stats"]["numSamples"] for meta in metas)
