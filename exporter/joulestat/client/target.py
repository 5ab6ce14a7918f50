"""Where the exporter listens: ``http://host:port`` or ``unix:/path``."""

import re
from dataclasses import dataclass

DEFAULT_URL = "http://127.0.0.1:10400"
DEFAULT_PORT = 10400

# urllib.parse is not used: importing joulestat must cost a training image next to nothing.
_HTTP_URL = re.compile(
    r"http://(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Target:
    """An address to connect to: a socket file, or else a host and a port.

    Attributes:
        url: As it was given, for messages.
        path: Socket file; empty for TCP.
        host: Name or address; empty for a socket file.
        port: TCP port; 0 for a socket file.
    """

    url: str
    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def host_header(self) -> str:
        """What belongs into the ``Host`` header."""
        if self.path:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether nothing that is sent there can leave this host."""
        return bool(self.path) or self.host in ("localhost", "::1") or _is_loopback(self.host)


def parse_target(url: str) -> Target:
    """Return what a URL names.

    Raises:
        ValueError: It is neither ``http://host:port`` nor ``unix:/path``.
    """
    if url.startswith("unix:"):
        path = url.removeprefix("unix:")
        if path.startswith("///"):
            path = path[2:]
        if not path.startswith("/") or path.startswith("//") or "\0" in path:
            msg = f"{url!r} names no socket file; write unix:/path/to/socket"
            raise ValueError(msg)
        return Target(url=url, path=path)
    match = _HTTP_URL.fullmatch(url)
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port <= _LAST_PORT:
        msg = f"{url!r} is no address of an exporter; write http://host:port or unix:/path"
        raise ValueError(msg)
    return Target(url=url, host=match["host"].strip("[]"), port=port)


def _is_loopback(host: str) -> bool:
    return re.fullmatch(r"127(?:\.[0-9]{1,3}){3}", host) is not None
