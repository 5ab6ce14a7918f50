"""Opens the sockets that are listened on."""

import errno
import os
import socket
import stat
from pathlib import Path

from joulestat.config import ListenAddress
from joulestat.domain.errors import ConfigError

BACKLOG = 1024
"""A burst of scrapes must wait in the kernel, not be reset."""


def bind(address: ListenAddress, *, unix_mode: int) -> socket.socket:
    """Open a listening socket.

    A Unix socket left behind by a killed process is replaced; one that answers is not.

    Args:
        address: Where.
        unix_mode: Permissions of a Unix socket: who may connect.

    Raises:
        ConfigError: The address cannot be had; the text says why and what to do.
    """
    try:
        if address.unix_path is not None:
            return _bind_unix(address.unix_path, unix_mode)
        return _bind_tcp(address.host, address.port or 0)
    except OSError as error:
        taken = "stop what listens there, or " if error.errno == errno.EADDRINUSE else ""
        msg = (
            f"cannot listen on {address}: {error.strerror or error}; {taken}choose another address"
        )
        raise ConfigError(
            msg, field="listen-address", value=str(address), place="start", allowed="a free address"
        ) from error


def _bind_tcp(host: str | None, port: int) -> socket.socket:
    if host is None:
        return (
            socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
            if socket.has_dualstack_ipv6()
            else socket.create_server(("", port), backlog=BACKLOG)
        )
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _bind_unix(path: Path, mode: int) -> socket.socket:
    _make_folder(path.parent)
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise OSError(None, "another process listens there")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o777 & ~mode)  # right from the first moment on
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _make_folder(folder: Path) -> None:
    """Make a folder that its owner alone writes, whatever the umask.

    Whoever may write it may put a socket of his own in the place of ours, and be sent tokens.
    """
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o755, exist_ok=True)
