"""Opens the sockets that are listened on."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
from pathlib import Path
from typing import IO

from joulestat.config import ListenAddress
from joulestat.domain.errors import ConfigError

BACKLOG = 1024
"""A burst of scrapes must wait in the kernel, not be reset."""


def bind(address: ListenAddress, *, unix_mode: int) -> socket.socket:
    """Open a listening socket.

    A Unix socket left behind by a killed process is replaced; one that answers is not. However
    many start at once, one of them has it; its name goes when it is closed.

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


class _UnixListener(socket.socket):
    """A listening Unix socket that takes its name away when it is closed, and nobody else's."""

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        """Make a socket without a name.

        Args:
            path: What its name will be.
            lock: Says that the name is this process's; closed with the socket, after all else.
        """
        super().__init__(socket.AF_UNIX)
        self._path, self._lock = path, lock
        self._inode: int | None = None

    def take_name(self) -> None:
        """Appear under the name.

        Raises:
            OSError: It cannot.
        """
        self.bind(str(self._path))
        self._inode = self._path.lstat().st_ino

    def close(self) -> None:
        """Close it. Idempotent."""
        with contextlib.suppress(OSError):
            if self._inode is not None and self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        self._inode = None
        super().close()
        self._lock.close()


def _bind_unix(path: Path, mode: int) -> socket.socket:
    _make_folder(path.parent)
    listener = _UnixListener(path, _locked(path.with_name(path.name + ".lock")))
    try:
        _take_away_dead(path)
        before = os.umask(0o777 & ~mode)  # right from the first moment on
        try:
            listener.take_name()
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _locked(path: Path) -> IO[bytes]:
    """Return a file that one process at a time can have, until it closes it or ends.

    It stays behind when nobody has it: whoever took it away might take away the next one's.

    Raises:
        OSError: Another process has it, or it cannot be made.
    """
    try:
        # For its owner alone: nobody else can have it, and so keep us from starting.
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = error.strerror or str(error)
        raise OSError(None, f"its lock {path} cannot be had ({why}); remove it") from error
    lock = os.fdopen(file, "r+b", buffering=0)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise OSError(None, "another process listens there") from None
    return lock


def _take_away_dead(path: Path) -> None:
    """Take away a socket that nobody listens on any more.

    Raises:
        OSError: Somebody does; somebody who knows nothing of the lock.
    """
    if not (path.exists() and stat.S_ISSOCK(path.stat().st_mode)):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        # One whose queue is full would keep a probe that waits for as long as it likes.
        probe.settimeout(0.0)
        if probe.connect_ex(str(path)) in (0, errno.EAGAIN):
            raise OSError(None, "another process listens there")
    path.unlink()


def _make_folder(folder: Path) -> None:
    """Make a folder that its owner alone writes, whatever the umask.

    Whoever may write it may put a socket of his own in the place of ours, and be sent tokens.
    """
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o755, exist_ok=True)
