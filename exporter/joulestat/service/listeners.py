"""Where the applications are served: their sockets, their TLS, and what stands before them."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from joulestat.config import AdminConfig, ListenAddress, WebConfig
from joulestat.config.web_file import TlsTerms
from joulestat.domain.errors import ConfigError
from joulestat.loops.http import Listener
from joulestat.loops.listening import bind
from joulestat.server.connection import BoundedConnection
from joulestat.server.tls import FreshTls, notes
from joulestat.server.watched_web_file import WatchedWebFile
from joulestat.server.web_gate import WebGate

UNIX_PUSH_MODE = 0o666
"""Whoever trains on this host may push; a push changes nothing but counters."""
UNIX_ADMIN_MODE = 0o660

ADMIN_CONNECTIONS = 64
"""Operators and optimizers; kept apart from the public ones, so that nobody is in their way."""

log = logging.getLogger(__name__)


class Listeners:
    """Opens sockets; whoever closes the stack closes them."""

    def __init__(self, closing: ExitStack, monotonic_ns: Callable[[], int]) -> None:
        """Open nothing yet.

        Args:
            closing: Is given every socket that is opened.
            monotonic_ns: CLOCK_MONOTONIC, for rate limits.
        """
        self._closing = closing
        self._monotonic_ns = monotonic_ns

    def public(self, app: Any, web: WebConfig, *, remote_pushes: bool) -> list[Listener]:
        """Return the listeners of the public application.

        The web configuration is about TCP. A Unix socket stays as it is: nobody listens in on
        it, and the mode of its file says who may connect.

        Args:
            app: The application.
            web: Where, and what stands before it.
            remote_pushes: Whether pushes of other hosts are taken.

        Raises:
            ConfigError: An address cannot be had, or the web configuration makes no sense.
        """
        file = _watched(web.config_file, for_admin=False)
        found = [self._tcp(app, file, *_of_kind(web.listen_addresses, unix=False))]
        found.append(self._unix(app, UNIX_PUSH_MODE, *_of_kind(web.listen_addresses, unix=True)))
        if remote_pushes and not (file and (file.current().users or _verifies(file))):
            log.warning(
                "event=remote_pushes_open cure=%r",
                "anyone who reaches web.listen-address can push: give web.config.file users or "
                "client certificates",
            )
        return [listener for listener in found if listener.sockets]

    def admin(self, app: Any, listen: ListenAddress, admin: AdminConfig) -> Listener:
        """Return the listener of the admin application.

        Raises:
            ConfigError: The address cannot be had, the web configuration makes no sense, or it
                has no TLS where other hosts reach the address.
        """
        file = _watched(admin.web_config_file, for_admin=True)
        if listen.unix_path is not None:
            return replace(
                self._unix(app, UNIX_ADMIN_MODE, listen), most_connections=ADMIN_CONNECTIONS
            )
        tls = file.current().tls if file is not None else None
        if tls is None and not listen.is_loopback:
            raise _refused(
                admin.web_config_file,
                f"this has no tls_server_config, and admin.listen-address {listen} is where other "
                "hosts reach it; tokens would cross the network in the clear",
            )
        if tls is not None and _believes_everyone(tls):
            raise _refused(
                admin.web_config_file,
                f"client_auth_type {tls.client_auth_type} without a client CA takes whatever any "
                "public authority has signed; give client_ca_file, of an authority of your own",
            )
        return replace(self._tcp(app, file, listen), most_connections=ADMIN_CONNECTIONS)

    def _tcp(self, app: Any, file: WatchedWebFile | None, *addresses: ListenAddress) -> Listener:
        door = None
        if file is not None:
            terms = file.current()
            for note in notes(terms):
                log.warning("event=web_config_note note=%r", note)
            door = FreshTls(file.current) if terms.tls is not None else None
            app = WebGate(app, web_file=file.current, monotonic_ns=self._monotonic_ns)
        sockets = [self._bind(address, 0) for address in addresses]
        return Listener(app, sockets, BoundedConnection, tls=None if door is None else door.context)

    def _unix(self, app: Any, mode: int, *addresses: ListenAddress) -> Listener:
        return Listener(app, [self._bind(each, mode) for each in addresses], BoundedConnection)

    def _bind(self, address: ListenAddress, mode: int) -> socket.socket:
        listening = bind(address, unix_mode=mode)
        self._closing.callback(listening.close)
        return listening


def names_of(listener: Listener) -> Iterator[str]:
    """Yield where a listener really is."""
    scheme = "http" if listener.tls is None else "https"
    for listening in listener.sockets:
        name = listening.getsockname()
        if isinstance(name, str):
            yield f"unix:{name}"
        else:
            host, port = name[:2]
            yield f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _watched(path: Path | None, *, for_admin: bool) -> WatchedWebFile | None:
    return None if path is None else WatchedWebFile(path, for_admin=for_admin)


def _of_kind(addresses: tuple[ListenAddress, ...], *, unix: bool) -> list[ListenAddress]:
    return [each for each in addresses if (each.unix_path is not None) is unix]


def _verifies(file: WatchedWebFile) -> bool:
    tls = file.current().tls
    return tls is not None and tls.client_auth_type == "RequireAndVerifyClientCert"


def _believes_everyone(tls: TlsTerms) -> bool:
    """Tell whether client certificates are asked for and the system's authorities vouch."""
    asks = tls.client_auth_type in ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
    return asks and not tls.client_ca and tls.client_ca_file is None


def _refused(path: Path | None, what: str) -> ConfigError:
    return ConfigError(
        f"{path}: {what}", field="admin.web-config-file", value=str(path), place=str(path)
    )
