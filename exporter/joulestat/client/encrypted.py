"""HTTPS to admin APIs on other hosts: their addresses, whom to believe, and the connection.

Training code never loads it: the standard library's TLS is slow to import.
"""

import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from joulestat.client.target import Target
from joulestat.client.transport import Transport
from joulestat.domain.errors import AdminError
from joulestat.domain.units import ns_to_seconds

SCHEME = "https://"
DEFAULT_HTTPS_PORT = 443

_HTTPS_URL = re.compile(
    r"https://(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
_LAST_PORT = 65_535


def parse_https(url: str) -> Target:
    """Return what ``https://host:port`` names.

    Raises:
        ValueError: It is something else, or has a path or a user in it.
    """
    match = _HTTPS_URL.fullmatch(url)
    port = int(match["port"] or DEFAULT_HTTPS_PORT) if match else 0
    if match is None or not 0 < port <= _LAST_PORT:
        msg = f"{url!r} is no address of an exporter; write https://host:port"
        raise ValueError(msg)
    return Target(url=url, host=match["host"].strip("[]"), port=port)


def tls_context(
    ca_file: Path | None = None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
) -> ssl.SSLContext:
    """Return whom to believe and what to show; names are always checked.

    Args:
        ca_file: PEM file of the authorities to believe; None for the system's.
        certificate_file: PEM file of the certificate to show; None to show none.
        key_file: PEM file of its key; None where that is in the same file.

    Raises:
        AdminError: A file does not hold what it should.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:
        raise AdminError(
            f"{ca_file} holds no certificates of authorities in PEM form: {error}"
        ) from error
    if certificate_file is not None:
        try:
            context.load_cert_chain(certificate_file, key_file)
        except OSError as error:
            raise AdminError(
                f"{certificate_file} and {key_file or 'no key file'} are no certificate with its "
                f"key in PEM form: {error}"
            ) from error
    context.sslsocket_class = _EncryptedSocket
    return context


class EncryptedTransport(Transport):
    """A connection inside of TLS; connecting and shaking hands share the exchange's deadline."""

    def __init__(
        self,
        target: Target,
        now_ns: Callable[[], int],
        context: ssl.SSLContext,
        *,
        body_limit_bytes: int,
    ) -> None:
        super().__init__(target, now_ns, body_limit_bytes=body_limit_bytes)
        self._context = context

    def _open(
        self, family: socket.AddressFamily, address: tuple[Any, ...] | str, deadline_ns: int
    ) -> socket.socket:
        plain = super()._open(family, address, deadline_ns)
        self._socket = None
        try:
            remaining_ns = deadline_ns - self._now_ns()
            plain.settimeout(max(ns_to_seconds(remaining_ns), 0.001))
            self._socket = self._context.wrap_socket(plain, server_hostname=self.target.host)
        except BaseException:
            plain.close()
            raise
        return self._socket


class _EncryptedSocket(ssl.SSLSocket):
    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send; a socket inside of TLS takes none of the flags of a plain one."""
        del flags
        super().sendall(data)
