"""What stands before an exporter's admin socket on a fleet's node: it speaks TLS, and no more.

The part that nginx plays in docs/fleet.md, in a few threads of the test.
"""

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from fakes.certificates import Certificates

IDLE_SECONDS = 20.0


class TlsFront:
    """Takes TLS connections from who has a certificate, and passes their bytes on to a socket.

    Attributes:
        port: Where it listens.
        connections: How many got past TLS.
    """

    def __init__(
        self, certificates: Certificates, admin_socket: Path, host: str, port: int = 0
    ) -> None:
        """Listen on ``host``, on a free port unless one is given."""
        self._socket_path = admin_socket
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.server, certificates.server_key)
        self._context.load_verify_locations(certificates.authority)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(plain,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(IDLE_SECONDS)
        with plain, contextlib.suppress(OSError), self._encrypted(plain) as outside:
            self.connections += 1
            with socket.socket(socket.AF_UNIX) as inside:
                inside.connect(str(self._socket_path))
                inside.settimeout(IDLE_SECONDS)
                # A request of the admin client fits one read, and it asks to close after it.
                inside.sendall(outside.recv(65_536))
                while answer := inside.recv(65_536):
                    outside.sendall(answer)

    def _encrypted(self, plain: socket.socket) -> ssl.SSLSocket:
        return self._context.wrap_socket(plain, server_side=True)
