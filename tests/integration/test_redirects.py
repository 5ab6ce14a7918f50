"""Nothing that proves who we are follows a redirect, wherever it leads; and the error says so."""

import functools
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.certificates import Certificates, make_certificates
from fakes.scripted_server import Received, ScriptedServer, answer_bytes
from joulestat.client.admin import AdminClient
from joulestat.client.encrypted import tls_context
from joulestat.client.target import parse_target
from joulestat.client.transport import Transport
from joulestat.domain.errors import AdminError, HistoryError
from joulestat.optimizer.history.promql import PrometheusClient
from servers.tls_front import TlsFront

CODES = (301, 302, 303, 307, 308)
PLACES: dict[str, Callable[[int], str]] = {
    "another port": lambda port: f"http://127.0.0.1:{port}/v1/gpus",
    "another host": lambda port: f"http://localhost:{port}/v1/gpus",
    "no scheme": lambda port: f"//127.0.0.1:{port}/",
    "another scheme": lambda port: f"https://127.0.0.1:{port}/",
    "a user's name": lambda port: f"http://kim:pw@127.0.0.1:{port}/",
}
SECRET = "jst_0123456789abcdefghijklmnopqrstuvwxyz"
PROOFS = ("authorization", "cookie", "x-scope-orgid", "proxy-authorization")

pytestmark = pytest.mark.promise("redirects")


class Elsewhere:
    """Where redirects lead, and what came there."""

    def __init__(self, server: ScriptedServer, record: Callable[[str, object], None]) -> None:
        self._server = server
        self._record = record
        self.n_redirects = 0

    def redirect(self, code: int, place: str) -> Callable[[Received, socket.socket], None]:
        location = PLACES[place](self._server.port)

        def answer(_: Received, connection: socket.socket) -> None:
            self.n_redirects += 1
            # And closes the connection, as was asked for.
            connection.sendall(answer_bytes(code, {"gpus": []}, Location=location))

        return answer

    @property
    def seen(self) -> list[str]:
        """What came, if only the beginning of TLS."""
        return [f"{r.method} {r.path}" for r in self._server.received] + [
            f"{name}: {r.headers[name]}"
            for r in self._server.received
            for name in PROOFS
            if name in r.headers
        ]

    def saw_nothing(self) -> None:
        """Insist that nobody so much as connected, and tell it to the page of promises."""
        n_connections = self._server.connections
        assert (0, []) == (n_connections, self.seen)
        self._record("measured", f"{self.n_redirects} redirects: {n_connections} led elsewhere")


@pytest.fixture
def elsewhere(record_property: Any) -> Iterator[Elsewhere]:
    good = answer_bytes(200, {"gpus": [], "status": "success"})
    with ScriptedServer(lambda *_: good) as server:
        yield Elsewhere(server, record_property)


@pytest.mark.parametrize("place", PLACES)
def test_prometheus_client_takes_its_credentials_nowhere(elsewhere: Elsewhere, place: str) -> None:
    for code in CODES:
        with (
            ScriptedServer(elsewhere.redirect(code, place)) as first,
            PrometheusClient(
                first.url,
                bearer_token=SECRET,
                headers={"X-Scope-OrgID": "gpu", "Cookie": f"session={SECRET}"},
            ) as asked,
            pytest.raises(HistoryError, match="redirects are not followed, give the final URL"),
        ):
            asked.query("up", 1.0)
        assert {SECRET} == {r.headers["authorization"].split()[1] for r in first.received}
    elsewhere.saw_nothing()


@pytest.mark.parametrize(
    ("way", "place"),
    [*((way, place) for way in ("http", "unix") for place in PLACES), ("https", "another port")],
)
def test_the_admin_client_takes_its_token_nowhere(
    elsewhere: Elsewhere, place: str, way: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("r")
    for code in CODES if way != "https" else CODES[-2:]:
        path = None if way == "http" else folder / f"{code}.sock"
        with ScriptedServer(elsewhere.redirect(code, place), unix_path=path) as first:
            for call in calls(first, way, folder):
                with pytest.raises(AdminError, match="the token stays here: give the URL of the"):
                    call()
            assert {f"Bearer {SECRET}"} == {r.headers["authorization"] for r in first.received}
    elsewhere.saw_nothing()


@functools.cache
def certificates_in(folder: Path) -> Certificates:
    return make_certificates(folder)


def calls(first: ScriptedServer, way: str, folder: Path) -> Iterator[Callable[[], object]]:
    """Yield a reading, a writing and an ending call of a client that asks in one way."""

    def of(client: AdminClient) -> list[Callable[[], object]]:
        lease: dict[str, Any] = {
            "power_limit_watts": 250,
            "ttl_seconds": 60,
            "holder": "optimizer",
            "reason": "because",
        }
        return [
            client.gpus,
            lambda: client.put_lease("GPU-1", **lease),
            lambda: client.delete_lease("GPU-1"),
        ]

    if way != "https":
        yield from of(AdminClient(first.url, SECRET))
        return
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH")
    certificates = certificates_in(folder)
    trust = tls_context(certificates.authority, certificates.client, certificates.client_key)
    assert first.unix_path is not None
    with TlsFront(certificates, first.unix_path, "127.0.0.1") as front:
        yield from of(AdminClient(f"https://127.0.0.1:{front.port}", SECRET, tls=trust))


def test_training_code_pushes_nowhere_else(elsewhere: Elsewhere) -> None:
    for place in PLACES:
        for code in CODES:
            with ScriptedServer(elsewhere.redirect(code, place)) as first:
                transport = Transport(parse_target(first.url), time.monotonic_ns)
                sent = {"headers": {"Content-Type": "application/json"}, "body": b"{}"}
                reply = transport.exchange("POST", "/v1/push", timeout_ns=10**10, **sent)
                transport.close()
            assert (code, 1) == (reply.status, len(first.received))
    elsewhere.saw_nothing()
