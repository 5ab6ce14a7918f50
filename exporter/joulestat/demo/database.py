"""A Prometheus of the demo's own: found, configured, started on a loopback port."""

import os
import shutil
import socket
from pathlib import Path

from joulestat.demo.children import Child, Children, DemoFailed

SCRAPE_SECONDS = 1

CONFIG = """\
global:
  scrape_interval: {seconds}s
  scrape_timeout: {seconds}s
scrape_configs:
  - job_name: joulestat
    static_configs:
      - targets: ["{target}"]
"""


def find_prometheus() -> str:
    """Return the path of the prometheus program.

    Raises:
        DemoFailed: There is none on PATH.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise DemoFailed(
            "the demo needs a Prometheus, and there is none on PATH: in a checkout, `make demo` "
            "unpacks one; on Debian and Ubuntu, `sudo apt-get install --no-install-recommends "
            "prometheus`; else see https://prometheus.io/download/"
        )
    return program


def free_port() -> int:
    """Return a loopback TCP port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start_prometheus(children: Children, folder: Path, *, target: str, port: int) -> Child:
    """Start a Prometheus that scrapes ``target`` (host:port) every second into ``folder``."""
    program = find_prometheus()
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(seconds=SCRAPE_SECONDS, target=target), encoding="utf-8")
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    # Debian's build looks for its web pages under /usr/share; an unpacked one has its own.
    pages = Path(os.path.realpath(program)).parent.parent / "share" / "prometheus" / "web"
    if pages.is_dir():
        command.append(f"--web.local-assets={pages}")
    return children.start("prometheus", command)
