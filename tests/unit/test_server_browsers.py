"""What a web page can make a browser send, on every described route: refused, and told nothing."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fakes.admin import OPERATOR, AdminRig, admin_rig
from fakes.asgi import Answer, call
from fakes.described import Operation, operations
from fakes.listener import public
from joulestat.config import AdminConfig, ListenAddress, WebConfig
from joulestat.loops.http import HttpLoop
from joulestat.service.listeners import Listeners

LISTEN = ListenAddress("127.0.0.1", 10401)
TCP: dict[str, Any] = {"client": ("127.0.0.1", 5), "server": ("127.0.0.1", 10401)}

PAGES = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:10401"},
    {"origin": ""},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none", "origin": "null"},
]

SIMPLE_CONTENT = [
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a",
    "text/plain; application/json", "application/jsonp", "", "application/json, text/plain",
]  # fmt: skip
"""What a page can send to another site without asking it first, and what looks like JSON."""

FOREIGN_HOSTS = [
    "evil.example", "evil.example:10401", "localhost.evil.example", "127.0.0.1.evil.example",
    "127.0.0.1.nip.io", "evil.localhost", "localhost:10401@evil.example", "evil.example#localhost",
    "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "0.0.0.0", "10.0.0.1", "[::]",
    "[::ffff:10.0.0.1]", "", " ", "localhost, evil.example", "localhost evil.example",
    "localhost/evil", "localhost\\evil", "loc\xe4lhost",
]  # fmt: skip


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminRig]:
    with admin_rig(tmp_path_factory.mktemp("rig")) as rig:
        rig.app = rig.application(listen=LISTEN)
        yield rig


@pytest.fixture(scope="module")
def listed(rig: AdminRig) -> list[tuple[Any, Operation]]:
    """Every route that a page must not reach: all of the admin API, and the pushes."""
    open_app = public(listen=[LISTEN])
    admin = [(rig.app, each) for each in operations(rig.app, host="localhost", **TCP)]
    pushes = [(open_app, each) for each in operations(open_app) if each.scope != "anyone"]
    assert len(admin) >= 9
    assert len(pushes) >= 1
    return [*admin, *pushes]


def ask(app: Any, operation: Operation, headers: dict[str, str], **how: Any) -> Answer:
    given = {"authorization": f"Bearer {OPERATOR}", **headers}
    where = {**TCP, "host": "localhost:10401", **how}
    if operation.body is not None and "content-type" not in headers:
        where["json_body"] = operation.body
    return call(app, operation.method, operation.target("GPU-1"), headers=given, **where)


def allows_no_other_origin(answer: Answer) -> bool:
    return not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.promise("browsers")
@pytest.mark.parametrize("headers", PAGES, ids=str)
def test_a_page_reaches_no_route(
    listed: list[tuple[Any, Operation]], headers: dict[str, str]
) -> None:
    for app, operation in listed:
        answer = ask(app, operation, headers)

        assert 403 == answer.status, str(operation)
        assert allows_no_other_origin(answer)


@pytest.mark.promise("browsers")
@pytest.mark.parametrize("content", SIMPLE_CONTENT)
def test_nothing_but_json_is_a_body(listed: list[tuple[Any, Operation]], content: str) -> None:
    taking = [each for each in listed if each[1].body is not None]
    assert len(taking) >= 2
    for app, operation in taking:
        assert 415 == ask(app, operation, {"content-type": content}, body=b"{}").status


@pytest.mark.promise("browsers")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
def test_a_preflight_allows_nothing(listed: list[tuple[Any, Operation]], method: str) -> None:
    asked = {
        "origin": "https://evil.example",
        "access-control-request-method": method,
        "access-control-request-headers": "authorization, content-type",
        "access-control-request-private-network": "true",
    }
    for app, operation in listed:
        answer = call(app, "OPTIONS", operation.target("GPU-1"), headers=asked, **TCP)

        assert 405 == answer.status, str(operation)
        assert allows_no_other_origin(answer)


@pytest.mark.promise("browsers")
@pytest.mark.parametrize("host", [*FOREIGN_HOSTS, None])
def test_a_name_that_is_not_ours_is_misdirected(
    listed: list[tuple[Any, Operation]], host: str | None
) -> None:
    for app, operation in listed:
        assert 421 == ask(app, operation, {}, host=host).status, str(operation)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:10401", "127.0.0.1", "localhost."])
def test_our_own_names_are_heard(listed: list[tuple[Any, Operation]], host: str) -> None:
    for app, operation in listed:
        assert 421 != ask(app, operation, {}, host=host).status, str(operation)


def test_two_names_are_one_too_many(listed: list[tuple[Any, Operation]]) -> None:
    for app, operation in listed:
        twice = [("host", "localhost"), ("host", "localhost")]
        answer = call(
            app, operation.method, operation.target("GPU-1"), headers=twice, host=None, **TCP
        )
        assert 421 == answer.status


def test_a_page_may_see_what_everyone_may_but_not_read_it() -> None:
    app = public()
    for operation in operations(app):
        if operation.scope == "anyone":
            answer = ask(app, operation, {"origin": "https://evil.example"})
            assert 200 == answer.status
            assert allows_no_other_origin(answer)


@pytest.mark.promise("browsers")
def test_the_host_of_a_whole_url_is_the_one_that_counts(rig: AdminRig, tmp_path: Path) -> None:
    listen = ListenAddress("127.0.0.1", 0)

    def status(port: int, line: str, host: str) -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
            peer.sendall(f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return int(peer.makefile("rb").readline().split()[1])

    with ExitStack() as closing:
        doors = Listeners(closing, time.monotonic_ns)
        admin = doors.admin(rig.app, listen, AdminConfig())
        open_to_all = doors.public(public(), WebConfig((listen,)), remote_pushes=False)
        loop = HttpLoop([admin, *open_to_all])
        ports = [each.sockets[0].getsockname()[1] for each in (admin, *open_to_all)]
        loop.start()
        closing.callback(loop.stop)
        for port, line, good in (
            (ports[0], "GET {}/openapi.json", 200), (ports[1], "POST {}/v1/push", 415),
        ):  # fmt: skip
            for url in ("http://evil.example", "http://localhost.evil.example:80",
                        "http://localhost@evil.example", "https://evil.example"):  # fmt: skip
                assert 421 == status(port, line.format(url), "localhost")
            for url in ("http://localhost", "http://127.0.0.1:1", "http://[::1]"):
                assert good == status(port, line.format(url), "evil.example")
            assert good == status(port, line.format(""), "localhost")
            assert 421 == status(port, line.format(""), "evil.example")
            assert 400 == status(port, line.format("evil.example:80"), "localhost")
