"""What a web configuration file does to requests, without sockets."""

import asyncio
import base64
import threading
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from fakes.asgi import Answer, call
from fakes.clock import FakeClock
from fakes.listener import public
from joulestat.config.web_file import WebFile
from joulestat.config.web_reading import parse_web_file
from joulestat.server import basic_auth
from joulestat.server.basic_auth import MOST_WAITING, Passwords, Verdict
from joulestat.server.web_gate import WebGate


def terms(text: str) -> WebFile:
    return parse_web_file(text, Path("web.yaml"))


def gate(text: str, clock: FakeClock | None = None) -> WebGate:
    found = terms(text)
    clock = clock or FakeClock()
    return WebGate(public(), web_file=lambda: found, monotonic_ns=clock.monotonic_ns)


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def ask(app: Any, authorization: str | None = None, **how: Any) -> Answer:
    headers = [] if authorization is None else [("authorization", authorization)]
    return call(app, "GET", "/metrics", headers=headers, **how)


def test_requests_beyond_the_rate_are_told_to_come_back() -> None:
    clock = FakeClock()
    app = gate("rate_limit: {interval: 100ms, burst: 2}", clock)

    assert [200, 200, 429] == [ask(app).status for _ in range(3)]
    clock.advance(0.25)
    assert [200, 200, 429] == [ask(app).status for _ in range(3)]
    clock.advance(3600)
    assert [200, 200, 429] == [ask(app).status for _ in range(3)]
    assert "1" == ask(app).headers["retry-after"]


def test_a_rate_without_a_burst_lets_nobody_in() -> None:
    assert 429 == ask(gate("rate_limit: {interval: 1s}")).status


def test_a_guess_costs_a_token_too() -> None:
    app = gate(f"rate_limit: {{interval: 1s, burst: 1}}\nbasic_auth_users: {{kim: {hashed('a')}}}")

    assert [401, 429] == [ask(app).status for _ in range(2)]


def test_the_headers_of_the_file_stand_on_every_answer_once() -> None:
    users = f"basic_auth_users: {{kim: {hashed('sesame')}}}"
    app = gate(
        "http_server_config: {headers: {X-Frame-Options: sameorigin, X-XSS-Protection: 0}}\n"
        + users
    )

    for answer in (ask(app), ask(app, basic("kim:sesame"))):
        assert "sameorigin" == answer.headers["x-frame-options"]
        assert "0" == answer.headers["x-xss-protection"]
        assert "nosniff" == answer.headers["x-content-type-options"]


@pytest.mark.parametrize(
    "authorization",
    [
        None, "", "Basic", "Basic ", "Basic !!!!", "Basic a2lt", basic("kim:"), basic("kim"),
        basic(":sesame"), basic("kim:sesame ").rstrip("="), basic("kim:Sesame"),
        basic("Kim:sesame"), basic("kim:sesame").replace("Basic", "Bearer"),
        "Basic " + "a" * 4000, basic("kim:" + "x" * 500), basic("kim:ses\0ame"),
    ],
)  # fmt: skip
def test_nothing_but_name_and_password_opens(authorization: str | None) -> None:
    answer = ask(gate(f"basic_auth_users: {{kim: {hashed('sesame')}}}"), authorization)

    assert 401 == answer.status
    assert "Basic" == answer.headers["www-authenticate"]
    assert "application/problem+json" == answer.headers["content-type"]


def test_two_headers_open_no_more_than_none() -> None:
    app = gate(f"basic_auth_users: {{kim: {hashed('sesame')}}}")
    both = [("authorization", basic("kim:sesame"))] * 2

    assert 401 == call(app, "GET", "/metrics", headers=both).status


def test_hashes_of_every_kind_and_names_of_every_script_open() -> None:
    for kind in ("$2a$", "$2b$", "$2y$"):
        app = gate(f"basic_auth_users: {{jürgen: {hashed('süß:e').replace('$2b$', kind)}}}")
        assert 200 == ask(app, basic("jürgen:süß:e")).status


def test_what_bcrypt_does_not_look_at_is_refused() -> None:
    app = gate(f"basic_auth_users: {{kim: {hashed('x' * 72)}}}")

    assert 200 == ask(app, basic("kim:" + "x" * 72)).status
    assert 401 == ask(app, basic("kim:" + "x" * 73)).status


def test_a_password_is_hashed_once_and_an_unknown_name_costs_as_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: list[str] = []

    def check(password: bytes, against: bytes) -> bool:
        checked.append(against.decode())
        return password == b"sesame"

    monkeypatch.setattr(basic_auth.bcrypt, "checkpw", check)
    users = {"kim": "$2b$of kim"}

    async def sequence() -> list[Verdict]:
        passwords = Passwords()
        given = ("kim:sesame", "kim:sesame", "robin:sesame", "robin:sesame", "kim:a", "kim:a")
        found = [await passwords.check(users, basic(each)) for each in given]
        for guess in range(300):
            await passwords.check(users, basic(f"kim:{guess}"))
        return [*found, await passwords.check(users, basic("kim:sesame"))]

    found = asyncio.run(sequence())

    right, wrong = Verdict.RIGHT, Verdict.WRONG
    assert [right, right, wrong, wrong, wrong, wrong, right] == found
    assert 3 + 300 == len(checked)
    assert "$2b$of kim" != checked[1]
    assert 60 == len(checked[1])


def test_guesses_wait_in_a_short_line_and_never_on_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_go = threading.Event()
    most = [0, 0]

    def check(_password: bytes, _against: bytes) -> bool:
        most[0] += 1
        most[1] = max(most)
        let_go.wait(30)
        most[0] -= 1
        return False

    monkeypatch.setattr(basic_auth.bcrypt, "checkpw", check)

    async def crowd() -> list[Verdict]:
        passwords = Passwords()
        guesses = [
            asyncio.ensure_future(passwords.check({}, basic(f"kim:{each}")))
            for each in range(MOST_WAITING + 5)
        ]
        busy = [await each for each in guesses[MOST_WAITING:]]
        let_go.set()
        return [*busy, *(await asyncio.gather(*guesses[:MOST_WAITING]))]

    found = asyncio.run(crowd())

    assert [Verdict.BUSY] * 5 + [Verdict.WRONG] * MOST_WAITING == found
    assert 1 == most[1]
