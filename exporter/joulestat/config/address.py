"""Where a server listens: TCP or a Unix socket."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PORT = re.compile(r"[0-9]{1,5}")
_HIGHEST_PORT = 65535
_LONGEST_UNIX_PATH_BYTES = 107  # sun_path is 108 bytes with its final NUL, unix(7)


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One address to listen on; ``str()`` gives back what ``parse`` takes.

    Attributes:
        host: Name or address without brackets; None means every interface (or a Unix socket).
        port: TCP port, 0 for one that the kernel chooses; None for a Unix socket.
        unix_path: Absolute path of a Unix socket; None for TCP.
    """

    host: str | None = None
    port: int | None = None
    unix_path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> "ListenAddress":
        """Read ``127.0.0.1:10400``, ``:10400``, ``[::1]:10400`` or ``unix:/run/x.sock``.

        Raises:
            ValueError: It is none of these; the text says what is wrong with it.
        """
        if text.startswith("unix:"):
            return cls(unix_path=_unix_path(text.removeprefix("unix:")))
        host, colon, port = text.rpartition(":")
        if not colon or not _PORT.fullmatch(port) or int(port) > _HIGHEST_PORT:
            raise ValueError("a TCP address ends in :PORT, 0 to 65535")
        return cls(host=_host(host), port=int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can reach it: a loopback TCP address or a Unix socket."""
        if self.unix_path is not None:
            return True
        if self.host is None:
            return False
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.unix_path is not None:
            return f"unix:{self.unix_path}"
        host = self.host or ""
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def _host(text: str) -> str | None:
    if not text:
        return None
    if text.startswith("[") and text.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError(f"{text[1:-1]!r} is not an IPv6 address") from None
    if ":" in text:
        raise ValueError("an IPv6 address stands in brackets, such as [::1]:10400")
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is not a host name")
    return text


def _unix_path(text: str) -> Path:
    # Absolute, because a daemon's working directory is nobody's guess.
    if not text.startswith("/") or text.endswith("/"):
        raise ValueError("a Unix socket is given by an absolute path, such as unix:/run/x.sock")
    if len(text.encode()) > _LONGEST_UNIX_PATH_BYTES or "\0" in text:
        raise ValueError(f"a Unix socket's path has at most {_LONGEST_UNIX_PATH_BYTES} bytes")
    return Path(text)
