"""Every credential on every route of both listeners, as their descriptions list them."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from fakes.admin import EXPIRED, OPERATOR, VIEWER, WRONG, AdminRig, admin_rig
from fakes.asgi import call
from fakes.described import Operation, operations
from fakes.listener import public
from fakes.node import gpu_uuid
from joulestat.config.web_reading import parse_web_file
from joulestat.server.auth import Principal, Role, TokenEntry, TokenTable
from joulestat.server.web_gate import WebGate

LIMITED = "limited-token"
BASIC = "Basic " + base64.b64encode(b"scraper:sesame").decode()
WRONG_BASIC = "Basic " + base64.b64encode(b"scraper:open").decode()

ADMIN = {
    "nothing": "",
    "garbage": "garbage",
    "an unknown token": f"Bearer {WRONG}",
    "an expired token": f"Bearer {EXPIRED}",
    "a user of the web configuration": BASIC,
    "a token as a password": "Basic " + base64.b64encode(f"kim:{OPERATOR}".encode()).decode(),
    "a viewer": f"Bearer {VIEWER}",
    "an operator of this GPU": f"Bearer {LIMITED}",
    "an operator of another GPU": f"Bearer other-{LIMITED}",
    "an operator": f"Bearer {OPERATOR}",
}

ADMIN_EXPECTED = {
    "anyone": {},
    "viewer": {name: 401 for name in ADMIN if not name.startswith(("a viewer", "an operator"))},
}
ADMIN_EXPECTED["operator"] = {
    **ADMIN_EXPECTED["viewer"], "a viewer": 403, "an operator of another GPU": 403,
}  # fmt: skip
"""Who is refused, and how; whoever is not named gets in. By scope: a new one has to be added."""

PUBLIC = {
    "nothing": "",
    "garbage": "garbage",
    "a wrong password": WRONG_BASIC,
    "a token of the admin API": f"Bearer {OPERATOR}",
    "a user of the web configuration": BASIC,
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminRig]:
    with admin_rig(tmp_path_factory.mktemp("rig")) as rig:
        limited = [
            TokenEntry(
                hashlib.sha256(token.encode()).hexdigest(),
                Principal("kim", Role.OPERATOR, frozenset({gpu})),
            )
            for token, gpu in ((LIMITED, rig.gpu), (f"other-{LIMITED}", rig.other_gpu))
        ]
        rig.tokens = TokenTable((*rig.tokens.entries, *limited))
        yield rig


@pytest.fixture(scope="module")
def guarded() -> Any:
    hashed = bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()
    terms = parse_web_file(f"basic_auth_users: {{scraper: {hashed}}}", Path("web.yaml"))
    return WebGate(public(), web_file=lambda: terms, monotonic_ns=lambda: 0)


def ask(rig: AdminRig, operation: Operation, authorization: str) -> int:
    rig.clock.advance(60)  # neither guesses nor writes shall come too fast
    headers = {"authorization": authorization} if authorization else {}
    body = {"json_body": operation.body} if operation.body else {}
    answer = rig.ask(
        operation.method, operation.target(rig.gpu), token=None, headers=headers, **body
    )
    return answer.status


@pytest.mark.promise("scopes")
def test_the_admin_api_opens_to_whom_its_description_says(
    rig: AdminRig, record_property: Callable[[str, object], None]
) -> None:
    listed = list(operations(rig.app))
    record_property("measured", f"{len(ADMIN)} credentials on {len(listed)} admin routes")
    assert len(listed) >= 9
    for operation in listed:
        refused = dict(ADMIN_EXPECTED[operation.scope])
        if operation.scope == "operator" and not operation.changes_a_gpu:
            # All GPUs at once are not for a token of one.
            refused["an operator of this GPU"] = 403
        found = {name: ask(rig, operation, given) for name, given in ADMIN.items()}

        let_in = {name for name, status in found.items() if 200 <= status < 300}
        assert set(ADMIN) - set(refused) == let_in, (str(operation), found)
        assert refused == {name: found[name] for name in refused}, str(operation)


def test_the_description_says_what_a_refused_credential_is_answered(rig: AdminRig) -> None:
    document = rig.ask("GET", "/openapi.json", token=None).json()

    for operation in operations(rig.app):
        described = document["paths"][operation.path][operation.method.lower()]
        assert (operation.scope != "anyone") == ("security" in described), str(operation)
        for status in set(ADMIN_EXPECTED[operation.scope].values()):
            assert str(status) in described["responses"], str(operation)


def test_a_limited_operator_changes_its_own_gpu_and_sees_all(rig: AdminRig) -> None:
    def status(method: str, gpu: str, body: Any = None) -> int:
        rig.clock.advance(60)
        how = {} if body is None else {"json_body": body}
        return rig.ask(method, f"/v1/gpus/{gpu}/lease", token=LIMITED, **how).status

    rig.ask("POST", "/v1/revert-all")
    body = next(each.body for each in operations(rig.app) if each.method == "PUT")
    assert 2 == len(rig.ask("GET", "/v1/gpus", token=LIMITED).json()["gpus"])
    assert (201, 403) == (status("PUT", rig.gpu, body), status("PUT", rig.other_gpu, body))
    assert (200, 403) == (status("DELETE", rig.gpu), status("DELETE", rig.other_gpu))
    assert 403 == status("DELETE", "GPU-of-nobody")
    refusal = rig.ask("POST", "/v1/revert-all", token=LIMITED)
    assert 403 == refusal.status
    assert "changes all of them" in refusal.json()["detail"]
    assert rig.gpu == refusal.json()["allowed"]


@pytest.mark.promise("scopes")
def test_the_public_listener_opens_to_users_alone_where_it_has_users(guarded: Any) -> None:
    listed = list(operations(guarded, headers={"authorization": BASIC}))
    assert {"anyone", "pusher"} == {operation.scope for operation in listed}
    for operation in listed:
        for name, given in PUBLIC.items():
            headers = {"authorization": given} if given else {}
            body = {"json_body": operation.body} if operation.body else {}
            answer = call(
                guarded, operation.method, operation.target(gpu_uuid(0)), headers=headers, **body
            )
            right = given == BASIC
            assert (200 if right else 401) == answer.status, (str(operation), name)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS",
                                    "TRACE", "CONNECT", "BREW"])  # fmt: skip
def test_a_method_that_is_not_described_does_nothing(rig: AdminRig, method: str) -> None:
    for app, where in ((rig.app, {"client": None, "server": ("/s", None)}), (public(), {})):
        described = {(each.path, each.method) for each in operations(app, **where)}
        for path in {path for path, _ in described}:
            if (path, "GET" if method == "HEAD" else method) in described:
                continue
            headers = {"authorization": f"Bearer {OPERATOR}"}
            answer = call(app, method, path.format(uuid=rig.gpu), headers=headers, **where)

            assert 405 == answer.status, (method, path)
            assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.promise("admin-off")
def test_the_public_listener_has_none_of_the_admin_routes(rig: AdminRig) -> None:
    for operation in operations(rig.app):
        if operation.scope != "anyone":
            headers = {"authorization": f"Bearer {OPERATOR}"}
            for method in ("GET", "PUT", "POST", "DELETE"):
                answer = call(public(), method, operation.target(rig.gpu), headers=headers)
                assert 404 == answer.status


def test_a_gpu_is_limited_by_its_whole_name() -> None:
    kim = Principal("kim", Role.OPERATOR, frozenset({"GPU-1"}))

    assert kim.may_change("GPU-1")
    assert not [name for name in ("GPU-", "GPU-11", "gpu-1", "", None) if kim.may_change(name)]
    assert replace(kim, gpus=None).may_change(None)
