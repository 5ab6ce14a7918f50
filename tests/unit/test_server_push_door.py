"""How a push must arrive: its bytes, its size, its peer; web pages have no say."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message, Receive

from fakes.asgi import UNIX, Answer, call
from fakes.listener import public
from joulestat.config import ListenAddress
from joulestat.server.guard import read_json
from joulestat.server.problems import Refused
from joulestat.server.push import MAX_PUSH_BYTES

SMALL = b'{"run":"a","rank":0,"incarnation":"i","seq":1,"at_ns":1,"gpus":[],"phase":"eval"}'


def raw(
    body: bytes, *, app: Any = None, headers: dict[str, str] | None = None, **how: Any
) -> Answer:
    sent = {"content-type": "application/json", **(headers or {})}
    return call(app or public(), "POST", "/v1/push", headers=sent, body=body, **how)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"run": "\xff"}', 400),
        (b'{"run": "\\ud800"}', 400),
        (b'{"energy_budget_joules": NaN}', 400),
        (b"[" * MAX_PUSH_BYTES, 422),
        (b'{"run":' + b"[" * 16000, 422),
        (b'{"x":' + b"[" * 8000 + b"]" * 8000 + b"}", 422),
        (b"null", 422),
        (b"1e999", 422),
        (b'{"energy_budget_joules": 1e999}', 422),
    ],
)
def test_what_is_no_push_at_all_is_refused(body: bytes, status: int) -> None:
    assert status == raw(body).status


@pytest.mark.parametrize(
    "body",
    [
        b'{"run":"b",' + SMALL[1:],
        SMALL[:-1] + b',"totals":{"eval":{"steps":1,"st\\u0065ps":2}}}',
    ],
)
def test_a_repeated_key_is_refused(body: bytes) -> None:
    answer = raw(body)

    assert 422 == answer.status
    assert answer.json()["field"] in {"run", "steps"}


def test_a_body_declared_too_long_is_refused_before_it_is_read() -> None:
    headers = {"content-type": "application/json", "content-length": str(2**30)}

    answer = call(public(), "POST", "/v1/push", headers=headers, body=iter([b"x"] * 10))

    assert (413, 0) == (answer.status, answer.chunks_read)
    assert "close" == answer.headers["connection"]


def test_a_body_that_turns_out_too_long_is_refused_as_soon_as_it_does() -> None:
    chunks = [b" " * 1024] * 17 + [b"x"] * 1000

    answer = call(
        public(), "POST", "/v1/push", headers={"content-type": "application/json"}, body=chunks
    )

    assert (413, 17) == (answer.status, answer.chunks_read)


def test_a_body_of_exactly_the_limit_is_read() -> None:
    assert (
        200
        == raw(
            b'{"run":"a","rank":0,"incarnation":"i","seq":1,"at_ns":1,"gpus":[],"phase":"eval"}'.ljust(
                MAX_PUSH_BYTES
            )
        ).status
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/jsonp"},
        {"content-type": "text/plain; application/json"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_only_plain_json_is_taken(headers: dict[str, str]) -> None:
    answer = call(public(), "POST", "/v1/push", headers=headers, body=b"{}")

    assert 415 == answer.status


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:10400"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-origin"},
    ],
)
def test_a_web_page_cannot_push(headers: dict[str, str]) -> None:
    answer = raw(SMALL, headers=headers)

    assert 403 == answer.status
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_preflight_gets_no_permission() -> None:
    answer = call(public(), "OPTIONS", "/v1/push", headers={"origin": "http://evil.example"})

    assert 405 == answer.status
    assert "POST" == answer.headers["allow"]
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", [None, "evil.example", "localhost.evil.example", "10.9.9.9"])
def test_a_push_for_a_foreign_host_is_misdirected(host: str | None) -> None:
    assert 421 == raw(SMALL, host=host).status


def test_a_push_with_two_hosts_is_misdirected() -> None:
    assert 421 == raw(SMALL, headers={"host": "evil.example"}).status


def test_the_name_that_is_listened_on_is_no_foreign_host() -> None:
    app = public(listen=[ListenAddress("node1", 10400)])

    assert 200 == raw(SMALL, app=app, host="node1:10400").status


def test_a_push_from_another_host_is_refused_unless_allowed() -> None:
    how: dict[str, Any] = {
        "client": ("10.0.0.8", 5),
        "server": ("10.0.0.7", 10400),
        "host": "10.0.0.7:10400",
    }

    assert 403 == raw(SMALL, **how).status
    assert 200 == raw(SMALL, app=public(allow_remote_push=True), **how).status


def test_a_push_through_a_unix_socket_needs_no_host() -> None:
    assert 200 == raw(SMALL, client=None, server=UNIX, host="anything").status


def test_pushes_too_broken_for_the_ledger_are_counted() -> None:
    refused: list[int] = []
    app = public(count_refused_push=lambda: refused.append(1))

    raw(SMALL.replace(b'"rank":0', b'"rank":-1'), app=app)
    raw(b"{", app=app)
    raw(SMALL, app=app)

    assert 2 == len(refused)


@settings(deadline=None, max_examples=200)
@given(
    body=st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace"))
)
def test_no_bytes_are_an_internal_error(body: bytes) -> None:
    assert raw(body).status in {400, 422}


def read_body(receive: Receive, *, deadline_seconds: float = 60.0) -> bytes:
    headers = [(b"content-type", b"application/json")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return asyncio.run(read_json(request, 100, deadline_seconds=deadline_seconds))


def test_a_body_that_is_held_back_is_not_waited_for() -> None:
    async def never() -> Message:
        return await asyncio.Event().wait() or {}

    with pytest.raises(Refused) as refused:
        read_body(never, deadline_seconds=0.001)

    assert 408 == refused.value.status
    assert "close" == refused.value.headers["Connection"]


def test_a_peer_that_leaves_in_the_middle_is_no_internal_error() -> None:
    async def leave() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(Refused):
        read_body(leave)
