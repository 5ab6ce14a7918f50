"""Every route of the admin listener, and who may use it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.admin import EXPIRED, OPERATOR, VIEWER, WRONG, AdminRig, admin_rig, lease
from fakes.asgi import Answer
from joulestat.config import ListenAddress
from joulestat.domain.errors import StateError
from joulestat.server.auth import TokenTable
from joulestat.server.routes import Scope

TABLE = {
    ("GET", "/v1/gpus"): Scope.VIEWER,
    ("GET", "/v1/gpus/{uuid}"): Scope.VIEWER,
    ("PUT", "/v1/gpus/{uuid}/lease"): Scope.OPERATOR,
    ("DELETE", "/v1/gpus/{uuid}/lease"): Scope.OPERATOR,
    ("POST", "/v1/revert-all"): Scope.OPERATOR,
    ("GET", "/v1/audit"): Scope.VIEWER,
    ("GET", "/v1/history"): Scope.VIEWER,
    ("GET", "/v1/history/runs"): Scope.VIEWER,
    ("GET", "/openapi.json"): Scope.ANYONE,
}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[AdminRig]:
    with admin_rig(tmp_path) as rig:
        yield rig


def ask(rig: AdminRig, method: str, path: str, token: str | None, **how: Any) -> Answer:
    body = {"json_body": lease()} if method == "PUT" else {}
    query = "?run=llama" if path == "/v1/history" else ""
    return rig.ask(method, path.format(uuid=rig.gpu) + query, token=token, **body, **how)


def test_the_table_is_the_contract(rig: AdminRig) -> None:
    assert {(row.method, row.path): row.scope for row in rig.app.state.endpoints} == TABLE


@pytest.mark.parametrize(("method", "path"), TABLE)
@pytest.mark.parametrize("token", [None, WRONG, EXPIRED, VIEWER, OPERATOR])
def test_a_route_is_open_to_its_scope_and_closed_to_all_others(
    rig: AdminRig, method: str, path: str, token: str | None
) -> None:
    scope = TABLE[method, path]

    answer = ask(rig, method, path, token)

    if scope is Scope.ANYONE or token == OPERATOR or (token, scope) == (VIEWER, Scope.VIEWER):
        assert 200 <= answer.status < 300
    else:
        assert (403 if token == VIEWER else 401) == answer.status
        assert "application/problem+json" == answer.headers["content-type"]
        assert 300.0 == rig.limit_watts()
    if answer.status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path"), [row for row in TABLE if row[0] == "GET"])
def test_a_head_request_needs_what_the_get_needs(rig: AdminRig, method: str, path: str) -> None:
    refused = ask(rig, "HEAD", path, None).status

    assert (200 if TABLE[method, path] is Scope.ANYONE else 401) == refused


@pytest.mark.parametrize("path", ["/v1/gpus/", "/V1/gpus", "/v1/gpus/x/y", "//v1/gpus", "/v2"])
def test_an_unknown_route_is_not_found(rig: AdminRig, path: str) -> None:
    answer = rig.ask("GET", path)

    assert 404 == answer.status
    assert "application/problem+json" == answer.headers["content-type"]


def test_a_path_says_which_methods_it_answers(rig: AdminRig) -> None:
    answer = ask(rig, "PATCH", "/v1/gpus/{uuid}/lease", OPERATOR)

    assert (405, "DELETE, PUT") == (answer.status, answer.headers["allow"])


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {OPERATOR}",
        OPERATOR,
        f"Bearer {OPERATOR}x",
        f"Bearer x{OPERATOR}",
        f"Bearer {OPERATOR} {OPERATOR}",
        "Bearer " + "x" * 4000,
        "Bearer \xff",
    ],
)
def test_only_the_token_itself_opens(rig: AdminRig, authorization: str) -> None:
    answer = rig.ask("GET", "/v1/gpus", token=None, headers={"authorization": authorization})

    assert 401 == answer.status


def test_the_scheme_may_be_spelled_as_one_likes(rig: AdminRig) -> None:
    headers = {"authorization": f"bearer {OPERATOR}"}

    assert 200 == rig.ask("GET", "/v1/gpus", token=None, headers=headers).status


@pytest.mark.parametrize("name", ["token", "access_token", "Authorization"])
def test_a_token_in_the_url_is_refused_and_not_repeated(rig: AdminRig, name: str) -> None:
    for token in (None, OPERATOR):
        answer = rig.ask("GET", f"/v1/gpus?{name}={OPERATOR}", token=token)

        assert 400 == answer.status
        assert OPERATOR not in answer.text


def test_guessing_is_slowed_down_but_the_operator_is_not(rig: AdminRig) -> None:
    guesses = [rig.ask("GET", "/v1/gpus", token=f"guess-{at}").status for at in range(8)]

    assert [401] * 5 + [429] * 3 == guesses
    assert "1" == rig.ask("GET", "/v1/gpus", token=WRONG).headers["retry-after"]
    assert 200 == rig.ask("POST", "/v1/revert-all").status
    rig.clock.advance(1)
    assert 401 == rig.ask("GET", "/v1/gpus", token=WRONG).status


def test_a_token_file_that_went_bad_lets_nobody_in_and_says_nothing(
    rig: AdminRig, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> TokenTable:
        raise StateError("token file /etc/secret/place has mode 0644")

    app = rig.application(tokens=refuse)
    answers = [rig.ask("GET", "/v1/gpus", app=app) for _ in range(3)]

    assert [503] * 3 == [answer.status for answer in answers]
    assert "/etc/secret" not in answers[0].text
    assert 1 == len(caplog.records)
    assert "mode 0644" in caplog.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://localhost"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_a_web_page_cannot_use_even_a_good_token(rig: AdminRig, headers: dict[str, str]) -> None:
    for method, path in TABLE:
        answer = ask(rig, method, path, OPERATOR, headers=headers)

        assert 403 == answer.status
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("content", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_form_is_no_request(rig: AdminRig, content: str) -> None:
    answer = rig.ask(
        "PUT", f"/v1/gpus/{rig.gpu}/lease", headers={"content-type": content}, body=b"{}"
    )

    assert 415 == answer.status


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", None])
def test_a_foreign_host_is_misdirected_on_every_route(rig: AdminRig, host: str | None) -> None:
    app = rig.application(listen=ListenAddress("127.0.0.1", 10401))
    tcp: dict[str, Any] = {"client": ("127.0.0.1", 5), "server": ("127.0.0.1", 10401)}

    for method, path in TABLE:
        assert 421 == ask(rig, method, path, OPERATOR, app=app, host=host, **tcp).status
    assert 200 == rig.ask("GET", "/v1/gpus", app=app, host="127.0.0.1:10401", **tcp).status


def test_the_description_asks_for_a_token_where_one_is_needed(rig: AdminRig) -> None:
    document = rig.ask("GET", "/openapi.json", token=None).json()

    secured = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation.get("security") == [{"token": []}]
    }
    assert {row for row, scope in TABLE.items() if scope is not Scope.ANYONE} == secured
    put = document["paths"]["/v1/gpus/{uuid}/lease"]["put"]
    assert {"uuid", "dry_run", "Idempotency-Key", "If-Match"} == {
        each["name"] for each in put["parameters"]
    }
