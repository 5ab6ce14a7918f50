"""A real nginx with one server of a test's own."""

import socket
from pathlib import Path

from servers.program import ServerProgram, program

CONFIG = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""


class NginxServer(ServerProgram):
    """Starts on entering, stops on leaving.

    Attributes:
        url: Where it listens, once started.
    """

    def __init__(self, folder: Path, server: str, port: str) -> None:
        """Serve what a ``server`` block says, on loopback instead of its ``port``."""
        folder.mkdir(parents=True)
        super().__init__(folder / "nginx.log", scheme="https")
        self._folder = folder
        self._server = server
        self._port = port

    def command(self, address: str) -> list[str]:
        """Return its command line."""
        config = self._folder / "nginx.conf"
        server = self._server.replace(f"listen {self._port}", f"listen {address}")
        config.write_text(CONFIG.format(folder=self._folder, server=server))
        return [program("nginx"), "-e", "stderr", "-c", str(config)]

    def is_ready(self) -> bool:
        """Tell whether it listens."""
        host, _, port = self.url.removeprefix("https://").partition(":")
        with socket.socket() as client:
            return client.connect_ex((host, int(port))) == 0
