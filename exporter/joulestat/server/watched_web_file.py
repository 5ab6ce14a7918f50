"""A web configuration file that is read again when it changes."""

import logging
import os
import stat
from collections.abc import Hashable
from pathlib import Path

from joulestat.config.web_file import WebFile
from joulestat.config.web_reading import parse_web_file
from joulestat.domain.errors import ConfigError

LARGEST_BYTES = 1024 * 1024
"""It is read on the loop that serves; a real one has a few kilobytes, certificates included."""

_LOG = logging.getLogger(__name__)


class WatchedWebFile:
    """One file; used from one thread at a time.

    Looking costs one ``stat``. A file that went bad lets nobody in until it is good again.
    """

    def __init__(self, path: Path, *, for_admin: bool = False) -> None:
        """Read the file once, so that a bad one stops the start.

        Args:
            path: The file.
            for_admin: Refuse users of basic authentication.

        Raises:
            ConfigError: It cannot be read, or what it says makes no sense.
        """
        self._path = path
        self._for_admin = for_admin
        self._stamp: Hashable = None
        self._stood = False
        self._found: WebFile | ConfigError = WebFile()
        self.current()

    def current(self) -> WebFile:
        """Return what the file says now.

        Raises:
            ConfigError: It went bad; the log says so once.
        """
        stamp = stamp_of(self._path)
        if stamp is None or stamp != self._stamp:
            self._look(stamp)
        if isinstance(self._found, ConfigError):
            raise self._found
        return self._found

    def _look(self, stamp: Hashable) -> None:
        before, known = self._found, self._stamp is not None
        # Of before the reading: what changes meanwhile is then read once more.
        self._stamp = stamp
        try:
            self._found = self._read()
        except ConfigError as error:
            self._found = error
            if known and str(error) != str(before):
                _LOG.error("event=web_config_refused error=%r", str(error))
            return
        self._stood = True
        if known:
            _LOG.info("event=web_config_read path=%s", self._path)

    def _read(self) -> WebFile:
        try:
            # Not to be kept waiting by a pipe.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise self._error("the web configuration is not a regular file")
                content = file.read(LARGEST_BYTES + 1)
            text = content.decode()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise self._error(f"the web configuration cannot be read: {why}") from None
        if len(content) > LARGEST_BYTES:
            raise self._error(f"the web configuration is longer than {LARGEST_BYTES} bytes")
        if not text.strip() and self._stood:
            # An editor, or a disk that is full: not the wish to let everyone in.
            raise self._error(
                "the web configuration is empty now; to ask for nothing, write "
                "'http_server_config: {}'"
            )
        found = parse_web_file(text, self._path)
        if self._for_admin and found.users:
            raise self._error(
                "basic_auth_users cannot open the admin API: browsers send such passwords by "
                "themselves, for whatever page asks; take them out, tokens and client "
                "certificates are what it knows"
            )
        return found

    def _error(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self._path}: {what}",
            field="web.config.file",
            value="(not shown)",
            place=str(self._path),
        )


def stamp_of(path: Path) -> Hashable:
    """Return what changes when a file does; None for one that is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    # The inode too: a mounted secret is replaced as a whole, and keeps its time by chance.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size, status.st_mode
