"""Twenty secrets, used rightly and wrongly, and a search for them in all that an exporter shows."""

import base64
import hashlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import bcrypt
import pytest

from servers.exporter import Exporter

START_SECONDS = 20.0
LEASE = {"power_limit_watts": 200, "ttl_seconds": 60, "holder": "optimizer", "reason": "a point"}
PUSH = {
    "run": "llama", "rank": 0, "incarnation": "one", "seq": 1, "at_ns": 1, "gpus": [0],
    "phase": "train",
}  # fmt: skip


def _token(name: str) -> str:
    return f"jst_{name}_" + hashlib.sha256(name.encode()).hexdigest()[:32]


TOKENS = {
    name: _token(name)
    for name in ("operator", "viewer", "expired", "limited", "unknown", "in-url", "in-path",
                 "in-header", "in-body", "in-label", "in-cookie", "in-push-url")
}  # fmt: skip
OTHERS = {
    name: f"canary-{name}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    for name in ("password", "wrong-password", "bearer", "in-token-file", "as-hash", "as-key",
                 "as-user", "as-tls-key")
}  # fmt: skip
SECRETS = {**TOKENS, **OTHERS}


class Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def exchanged(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: object = None,
) -> tuple[int, str]:
    """Return the status and all that came back, headers too."""
    given = {**headers, **({} if body is None else {"Content-Type": "application/json"})}
    try:
        connection.request(method, target, None if body is None else json.dumps(body), given)
        answer = connection.getresponse()
        return answer.status, f"{answer.getheaders()}{answer.read().decode()}"
    finally:
        connection.close()


def basic(password: str) -> dict[str, str]:
    given = base64.b64encode(f"kim:{password}".encode()).decode()
    return {"Authorization": f"Basic {given}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.replace(path)


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    web = tmp_path / "web.yaml"
    exporter = Exporter(tmp_path, "--web.config.file", str(web), "--log.level", "debug")
    hashed = bcrypt.hashpw(OTHERS["password"].encode(), bcrypt.gensalt(4)).decode()
    web.write_text(f"basic_auth_users: {{kim: {hashed}}}")
    roles = {"operator": "role: operator", "viewer": "role: viewer",
             "expired": "role: operator, expires: 2020-01-01",
             "limited": "role: operator, gpus: [GPU-1]"}  # fmt: skip
    rows = [
        f"  - {{sha256: {hashlib.sha256(TOKENS[name].encode()).hexdigest()}, principal: {name}, "
        f"{role}}}\n"
        for name, role in roles.items()
    ]
    replace(tmp_path / "tokens.yaml", "tokens:\n" + "".join(rows))
    exporter.launch()
    deadline = time.monotonic() + START_SECONDS
    while not (exporter.listens() and exporter.admin_socket.exists()):
        assert time.monotonic() < deadline, exporter.log.read_text()
        time.sleep(0.02)
    yield exporter
    exporter.stop()


@pytest.mark.promise("secrets")
def test_no_secret_shows_anywhere(
    exporter: Exporter, record_property: Callable[[str, object], None]
) -> None:
    said = [*ask_admin(exporter), *ask_public(exporter)]
    said += spoil_the_files(exporter)
    pid = exporter.process.pid if exporter.process is not None else 0
    shown = {
        "answers": "".join(said),
        "command line": Path(f"/proc/{pid}/cmdline").read_text(),
    }
    exporter.stop()
    shown["log"] = exporter.log.read_text()
    kept = {
        str(path): path.read_bytes().decode("latin-1")
        for path in (exporter.folder / "state").rglob("*")
        if path.is_file()
    }

    assert 20 == len(set(SECRETS.values()))
    assert "event=web_config_refused" in shown["log"]
    assert "event=token_file_refused" in shown["log"]
    assert "joulestat_gpu_power_watts" in shown["answers"]
    assert any(name.endswith("audit.jsonl") and "optimizer" in text for name, text in kept.items())
    places = {**shown, **kept}
    record_property("measured", f"0 of {len(SECRETS)} canaries in {len(places)} outputs")
    assert [] == [
        (name, place) for name, secret in SECRETS.items() for place in places
        if secret in places[place] or base64.b64encode(secret.encode()).decode() in places[place]
    ]  # fmt: skip


def await_answer(exporter: Exporter, target: str) -> None:
    """Wait until the exporter has something to show there."""
    deadline = time.monotonic() + START_SECONDS
    viewer = bearer(TOKENS["viewer"])
    while exchanged(Unix(exporter.admin_socket), "GET", target, viewer)[0] != 200:
        assert time.monotonic() < deadline, target
        time.sleep(0.02)


def ask_admin(exporter: Exporter) -> Iterator[str]:
    def ask(
        status: int, method: str, target: str, headers: Mapping[str, str], body: object = None
    ) -> str:
        found, text = exchanged(Unix(exporter.admin_socket), method, target, headers, body)
        assert status == found, (method, target[:20], text)
        return text

    await_answer(exporter, "/v1/gpus")
    operator = bearer(TOKENS["operator"])
    answer = ask(200, "GET", "/v1/gpus", operator)
    gpu = json.loads(answer[answer.index("{") :])["gpus"][0]["gpu_uuid"]
    lease = f"/v1/gpus/{gpu}/lease"
    yield answer
    yield ask(201, "PUT", lease, operator, LEASE)
    yield ask(403, "PUT", lease, bearer(TOKENS["viewer"]), LEASE)
    yield ask(403, "PUT", lease, bearer(TOKENS["limited"]), LEASE)
    for name in ("expired", "unknown"):
        yield ask(401, "GET", "/v1/audit", bearer(TOKENS[name]))
    yield ask(401, "GET", "/v1/audit", bearer(OTHERS["bearer"]))
    for name in ("token", "access_token", "q"):
        yield ask(400, "GET", f"/v1/gpus?{name}={TOKENS['in-url']}", operator)
    encoded = "".join(f"%{each:02x}" for each in TOKENS["in-path"].encode())
    for path in (TOKENS["in-path"], encoded, quote(f"GPU-{TOKENS['in-path']}")):
        yield ask(400, "GET", f"/v1/gpus/{path}", operator)
    yield ask(404, "GET", f"/{TOKENS['in-path']}", operator)
    for name in ("Idempotency-Key", "If-Match", "X-Token"):
        yield ask(400, "PUT", lease, {**operator, name: f'"{TOKENS["in-header"]}"'}, LEASE)
    yield ask(400, "GET", "/v1/gpus", {"Cookie": f"token={TOKENS['in-cookie']}"})
    for wrong in ({"reason": TOKENS["in-body"]}, {"holder": TOKENS["in-body"]},
                  {TOKENS["in-body"]: 1}, {"takeover": TOKENS["in-body"]}):  # fmt: skip
        yield ask(400, "PUT", lease, operator, {**LEASE, **wrong})
    yield ask(200, "GET", "/v1/audit", operator)
    await_answer(exporter, "/v1/history/runs")
    yield ask(200, "GET", "/v1/history/runs", operator)
    yield ask(200, "GET", "/v1/history?run=none", operator)
    yield ask(200, "DELETE", lease, operator)


def ask_public(exporter: Exporter) -> Iterator[str]:
    def ask(
        status: int, method: str, target: str, headers: Mapping[str, str], body: object = None
    ) -> str:
        host = exporter.url.removeprefix("http://")
        found, text = exchanged(
            http.client.HTTPConnection(host, timeout=20), method, target, headers, body
        )
        assert status == found, (method, target[:20], text)
        return text

    known = basic(OTHERS["password"])
    yield ask(401, "GET", "/metrics", {})
    for given in (basic(OTHERS["wrong-password"]), bearer(OTHERS["bearer"])):
        yield ask(401, "GET", "/metrics", given)
    yield ask(200, "POST", "/v1/push", known, PUSH)
    yield ask(400, "POST", "/v1/push", known, {**PUSH, "labels": {"user": TOKENS["in-label"]}})
    yield ask(400, "POST", f"/v1/push?q={TOKENS['in-push-url']}", known, PUSH)
    yield ask(200, "GET", f"/metrics?token={TOKENS['in-push-url']}", known)
    for path in ("/", "/readyz", "/openapi.json"):
        yield ask(200, "GET", path, known)
    yield ask(404, "GET", f"/{TOKENS['in-path']}", known)


def spoil_the_files(exporter: Exporter) -> Iterator[str]:
    host = exporter.url.removeprefix("http://")
    for text in (
        f"basic_auth_users: {{kim: {OTHERS['as-hash']}}}",
        f"basic_auth_users: {{{OTHERS['as-user']}: a, {OTHERS['as-user']}: b}}",
        f"{OTHERS['as-key']}: a",
        f"tls_server_config: {{{OTHERS['as-key']}: a}}",
        f"tls_server_config: {{key: [{OTHERS['as-tls-key']}]}}",
        f"tls_server_config: {{min_version: {OTHERS['as-tls-key']}}}",
        f"{OTHERS['as-key']}\n\t- a: [",
    ):
        replace(exporter.folder / "web.yaml", text)
        connection = http.client.HTTPConnection(host, timeout=20)
        status, answer = exchanged(connection, "GET", "/metrics", basic(OTHERS["password"]))
        assert 500 == status
        yield answer
    secret = OTHERS["in-token-file"]
    for text in (
        f"tokens: [{{sha256: {secret}, principal: kim, role: operator}}]", f"{secret}: 1",
        f"tokens: [{{{secret}: 1}}]", f"{secret}\n\t: [",
    ):  # fmt: skip
        replace(exporter.folder / "tokens.yaml", text)
        status, answer = exchanged(
            Unix(exporter.admin_socket), "GET", "/v1/gpus", bearer(TOKENS["operator"])
        )
        assert 503 == status
        yield answer
