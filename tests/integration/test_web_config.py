"""A server behind a web configuration file: who gets in, and what happens when files change."""

import base64
import http.client
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import bcrypt
import pytest

from fakes.certificates import make_certificates, sign
from fakes.listener import public
from joulestat.config import AdminConfig, ListenAddress, WebConfig
from joulestat.domain.errors import ConfigError
from joulestat.loops.http import HttpLoop
from joulestat.service.listeners import Listeners, names_of

ANY_PORT = ListenAddress("127.0.0.1", 0)
TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
CLIENTS = TLS + "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
NAMES = CLIENTS + "  client_allowed_sans: [scraper.example, 10.0.0.9, kim@a.example, urn:a:b]\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_certificates(folder)
    client = "extendedKeyUsage=clientAuth\nsubjectAltName="
    for name, san in {
        "dns": "DNS:scraper.example", "ip": "IP:10.0.0.9", "email": "email:kim@a.example",
        "uri": "URI:urn:a:b", "wildcard": "DNS:*.example", "longer": "DNS:a.scraper.example",
    }.items():  # fmt: skip
        sign(folder, name, client + san)
    sign(folder, "over", client + "DNS:scraper.example", days="-1")
    sign(folder, "wrong-use", "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:scraper.example")
    sign(folder, "newer", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    (folder / "stranger").mkdir()
    make_certificates(folder / "stranger")
    sign(folder / "stranger", "dns", client + "DNS:scraper.example")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    for name in ("ca.pem", "server.pem", "server.key"):
        shutil.copy(made / name, tmp_path / name)
    return tmp_path


@contextmanager
def serving(folder: Path, text: str) -> Iterator[int]:
    """Serve the public application behind a file, and yield its port."""
    file = folder / "web.yaml"
    file.write_text(text)
    with ExitStack() as closing:
        doors = Listeners(closing, time.monotonic_ns)
        web = WebConfig(listen_addresses=(ANY_PORT,), config_file=file)
        listeners = doors.public(public(), web, remote_pushes=False)
        loop = HttpLoop(listeners)
        loop.start()
        closing.callback(loop.stop)
        yield int(next(names_of(listeners[0])).rpartition(":")[2])


def replace(path: Path, content: str | bytes) -> None:
    """Put a file in another's place at once, as mounted secrets and careful people do."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content.encode() if isinstance(content, str) else content)
    fresh.replace(path)


def context(made: Path, client: Path | None = None) -> ssl.SSLContext:
    trusting = ssl.create_default_context(cafile=str(made / "ca.pem"))
    if client is not None:
        trusting.load_cert_chain(client, client.with_suffix(".key"))
    return trusting


def ask(port: int, tls: ssl.SSLContext | None, user: str = "", path: str = "/healthz") -> int:
    """Return the status of an answer over a new connection; 0 where there was none."""
    connection: http.client.HTTPConnection = (
        http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        if tls is None
        else http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=tls)
    )
    headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if user else {}
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


@pytest.mark.promise("tls")
def test_only_a_verified_client_with_an_allowed_name_gets_in(
    made: Path, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    with serving(folder, NAMES) as port:
        let_in = {
            name: ask(port, context(made, made / f"{name}.pem"))
            for name in ("dns", "ip", "email", "uri", "wildcard", "longer", "client", "over",
                         "wrong-use", "stranger/dns")
        }  # fmt: skip
        without = ask(port, context(made))
        plain = ask(port, None)

    assert {"dns", "ip", "email", "uri"} == {name for name, status in let_in.items() if status}
    assert (0, 0) == (without, plain)
    refused = len(let_in) - 4 + 2
    record_property("measured", f"{refused} of {refused} kinds of wrong clients refused")


@pytest.mark.promise("tls")
def test_old_versions_of_tls_are_refused(made: Path, folder: Path) -> None:
    old = context(made)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.deprecated_call():
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with serving(folder, TLS) as port:
        assert 0 == ask(port, old)
        assert 200 == ask(port, context(made))


def test_a_certificate_that_may_be_left_out_must_be_right_where_it_is_shown(
    made: Path, folder: Path
) -> None:
    given = CLIENTS.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven")
    with serving(folder, given) as port:
        assert 200 == ask(port, context(made))
        assert 200 == ask(port, context(made, made / "client.pem"))
        assert 0 == ask(port, context(made, made / "stranger" / "client.pem"))


@pytest.mark.promise("tls")
def test_a_rotation_of_two_files_under_load_costs_no_connection(
    made: Path, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    statuses: list[int] = []
    enough = threading.Event()

    def load() -> None:
        while not enough.is_set():
            statuses.append(ask(port, context(made)))

    with serving(folder, TLS) as port:
        before = ssl.get_server_certificate(("127.0.0.1", port))
        asking = threading.Thread(target=load)
        asking.start()
        for name in ("newer", "server") * 3:
            for kind in ("pem", "key"):
                (folder / f"server.{kind}").write_bytes((made / f"{name}.{kind}").read_bytes())
                seen = len(statuses)
                while len(statuses) < seen + 2 and asking.is_alive():
                    time.sleep(0.001)
        replace(folder / "server.key", (made / "newer.key").read_bytes())
        replace(folder / "server.pem", (made / "newer.pem").read_bytes())
        after = ssl.get_server_certificate(("127.0.0.1", port))
        enough.set()
        asking.join()

    assert {200} == set(statuses)
    record_property("measured", f"0 of {len(statuses)} connections failed in 7 rotations")
    assert before != after
    assert (made / "newer.pem").read_text().endswith(after)


def test_clients_are_judged_by_the_file_of_now(made: Path, folder: Path) -> None:
    client = made / "dns.pem"
    with serving(folder, TLS) as port:
        assert 200 == ask(port, context(made))
        replace(folder / "web.yaml", NAMES)
        assert (0, 200) == (ask(port, context(made)), ask(port, context(made, client)))
        replace(folder / "ca.pem", (made / "stranger" / "ca.pem").read_bytes())
        assert 0 == ask(port, context(made, client))
        replace(folder / "web.yaml", NAMES.replace("scraper", "other"))
        replace(folder / "ca.pem", (made / "ca.pem").read_bytes())
        assert 0 == ask(port, context(made, client))
        replace(folder / "web.yaml", "tls_server_config: [")
        assert 0 == ask(port, context(made, client))
        replace(folder / "web.yaml", NAMES)
        assert 200 == ask(port, context(made, client))


@pytest.mark.promise("web-config")
def test_users_come_and_go_with_the_next_request(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def users(**passwords: str) -> str:
        rows = [
            f"  {name}: {bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}"
            for name, word in passwords.items()
        ]
        return "basic_auth_users:\n" + "\n".join(rows)

    file = folder / "web.yaml"
    with serving(folder, users(kim="sesame")) as port:
        assert [401, 401, 401, 200] == [
            ask(port, None, user) for user in ("", "kim:open", "robin:sesame", "kim:sesame")
        ]
        replace(file, users(robin="sesame"))
        assert (401, 200) == (ask(port, None, "kim:sesame"), ask(port, None, "robin:sesame"))
        for wrong in ("basic_auth_users: {robin: sesame}", "", "- "):
            replace(file, wrong)
            assert [500] * 2 == [ask(port, None, "robin:sesame"), ask(port, None)]
        replace(file, "http_server_config: {}")
        assert 200 == ask(port, None)
    refused = [each for each in caplog.messages if "event=web_config_refused" in each]
    assert 3 == len(refused)
    assert not [each for each in caplog.messages if "sesame" in each]


@pytest.mark.promise("admin-off")
def test_an_admin_api_for_other_hosts_needs_tls_and_takes_no_users(folder: Path) -> None:
    def refusal(text: str, listen: ListenAddress) -> str:
        (folder / "admin.yaml").write_text(text)
        admin = AdminConfig(listen_address=listen, web_config_file=folder / "admin.yaml")
        with pytest.raises(ConfigError) as error, ExitStack() as closing:
            Listeners(closing, time.monotonic_ns).admin(public(), listen, admin)
        return str(error.value)

    everywhere = ListenAddress(None, 0)
    hashed = bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()
    open_clients = TLS + "  client_auth_type: RequireAndVerifyClientCert\n"
    users = f"{TLS}basic_auth_users: {{kim: {hashed}}}"

    assert "tokens would cross the network in the clear" in refusal("", everywhere)
    assert "basic_auth_users cannot open the admin API" in refusal(users, everywhere)
    assert "basic_auth_users cannot open the admin API" in refusal(users, ANY_PORT)
    assert "any public authority has signed" in refusal(open_clients, everywhere)


def test_a_name_that_tls_has_checked_is_not_checked_again(made: Path, folder: Path) -> None:
    def status(port: int, tls: ssl.SSLContext | None) -> int:
        kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        connection = kind("127.0.0.1", port, timeout=20, **({"context": tls} if tls else {}))
        headers = {"Host": "node7.example", "Content-Type": "text/plain"}
        connection.request("POST", "/v1/push", b"{}", headers)
        answer = connection.getresponse().status
        connection.close()
        return answer

    with serving(folder, TLS) as port:
        assert 415 == status(port, context(made))
    with serving(folder, "") as port:
        assert 421 == status(port, None)


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        (None, True),
        (TLS, True),
        (TLS + "  client_auth_type: NoClientCert\n", True),
        (CLIENTS, False),
        (f"basic_auth_users: {{kim: {bcrypt.hashpw(b'a', bcrypt.gensalt(4)).decode()}}}", False),
    ],
    # Named: a hash is another one in every process that collects the tests.
    ids=["no file", "TLS", "TLS without clients", "clients", "users"],
)  # fmt: skip
def test_remote_pushes_that_nothing_guards_are_warned_of(
    folder: Path, text: str | None, is_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if text is not None:
        (folder / "web.yaml").write_text(text)
    web = WebConfig((ANY_PORT,), None if text is None else folder / "web.yaml")

    with ExitStack() as closing:
        Listeners(closing, time.monotonic_ns).public(public(), web, remote_pushes=True)

    assert is_open == any("event=remote_pushes_open" in each for each in caplog.messages)


def test_a_unix_socket_stays_as_it_is(folder: Path) -> None:
    path = folder / "push.sock"
    (folder / "web.yaml").write_text(TLS)
    web = WebConfig(
        listen_addresses=(ANY_PORT, ListenAddress(unix_path=path)), config_file=folder / "web.yaml"
    )
    with ExitStack() as closing:
        listeners = Listeners(closing, time.monotonic_ns).public(public(), web, remote_pushes=False)
        schemes = [next(names_of(each)).partition(":")[0] for each in listeners]
        loop = HttpLoop(listeners)
        loop.start()
        closing.callback(loop.stop)
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer = peer.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert ["https", "unix"] == schemes
