"""What the doctor makes of what it sees; how it sees a running exporter is an integration test."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from fakes.clock import FakeClock
from fakes.scripted_server import Received, ScriptedServer, answer_bytes
from joulestat.cli.checks import Finding, Verdict
from joulestat.cli.checks.control import check_admin
from joulestat.cli.checks.exporter import check_exporter
from joulestat.cli.checks.host import check_devices, check_installation, check_privilege
from joulestat.cli.doctor import doctor
from joulestat.config import Config

UUID = "GPU-1"
EVERYTHING = "CapEff:\t000001ffffffffff\n"
NOTHING = "CapEff:\t0000000000000000\n"
ONLY_SYS_ADMIN = "CapEff:\t0000000000200000\n"


def verdicts(findings: list[Finding]) -> dict[str, Verdict]:
    return {finding.check: finding.verdict for finding in findings}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(EVERYTHING, Verdict.OK), (ONLY_SYS_ADMIN, Verdict.OK), (NOTHING, Verdict.WARN)],
)
def test_setting_limits_takes_the_capability_whoever_one_is(status: str, verdict: Verdict) -> None:
    assert verdict is check_privilege(status).verdict


def test_the_host_itself_says_what_it_may() -> None:
    assert "privilege" == check_privilege().check


def test_every_extra_is_looked_at() -> None:
    assert {
        "joulestat": Verdict.OK,
        "extra server": Verdict.OK,
        "extra optimizer": Verdict.OK,
    } == verdicts(check_installation())


@pytest.mark.parametrize(
    ("backend", "verdict"), [("simulated", Verdict.OK), ("none", Verdict.WARN)]
)
def test_a_backend_without_a_driver_is_taken_as_meant(
    tmp_path: Path, backend: str, verdict: Verdict
) -> None:
    config = Config(state_path=tmp_path, backend=backend)

    assert {"driver": verdict} == verdicts(check_devices(config, FakeClock(), seen_by_exporter=0))


def scripted(pages: Mapping[str, bytes]) -> ScriptedServer:
    return ScriptedServer(
        lambda request, _: pages.get(request.path.partition("?")[0], answer_bytes(404))
    )


def text(body: str, status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def metrics(*, version: str, up: Mapping[str, int]) -> str:
    lines = [f'joulestat_build_info{{version="{version}"}} 1']
    lines += [f'joulestat_gpu_up{{gpu_uuid="{uuid}"}} {value}' for uuid, value in up.items()]
    return "\n".join([*lines, ""])


def test_an_exporter_that_does_not_answer_fails() -> None:
    with scripted({}) as server:
        url = server.url
    findings, page = check_exporter(url)

    assert {"exporter": Verdict.FAIL} == verdicts(findings)
    assert page is None


def test_an_address_that_is_none_fails_before_anything_is_asked() -> None:
    findings, page = check_exporter("ftp://nowhere")

    assert {"exporter": Verdict.FAIL} == verdicts(findings)
    assert page is None


@pytest.mark.parametrize("page", ["<html>hello</html>", "up 1\n", ""])
def test_something_else_at_the_address_is_told_from_an_exporter(page: str) -> None:
    with scripted({"/readyz": text("ready\n"), "/metrics": text(page)}) as server:
        findings, _ = check_exporter(server.url)

    assert {"exporter": Verdict.FAIL} == verdicts(findings)


def test_an_old_version_a_stalled_tick_and_a_lost_gpu_are_three_findings() -> None:
    pages = {
        "/readyz": text("not ready: no fresh reading of the GPUs\n", 503),
        "/metrics": text(metrics(version="0.0.1", up={"GPU-1": 1, "GPU-2": 0})),
    }
    with scripted(pages) as server:
        findings, page = check_exporter(server.url)

    assert {
        "exporter": Verdict.WARN,
        "ticking": Verdict.FAIL,
        "exporter's GPUs": Verdict.WARN,
    } == verdicts(findings)
    assert page is not None
    assert {"GPU-1": True, "GPU-2": False} == page.up


def gpu(*, writable: bool, holder: str | None = None) -> dict[str, object]:
    return {
        "gpu_uuid": UUID,
        "power_limit_watts": 300.0,
        "writable": writable,
        "lease": None if holder is None else {"holder": holder},
    }


def admin(gpus: list[dict[str, object]], lease: bytes) -> ScriptedServer:
    return scripted(
        {
            "/v1/gpus": answer_bytes(200, {"gpus": gpus}),
            f"/v1/gpus/{UUID}/lease": lease,
        }
    )


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (201, Verdict.OK),
        (409, Verdict.OK),
        (422, Verdict.OK),
        (429, Verdict.OK),
        (403, Verdict.FAIL),
        (500, Verdict.FAIL),
        (502, Verdict.FAIL),
        (503, Verdict.FAIL),
    ],
)
def test_a_dry_run_tells_what_the_token_may_do(status: int, verdict: Verdict) -> None:
    with admin([gpu(writable=True)], answer_bytes(status, {"title": "so it is"})) as server:
        findings = check_admin(server.url, "token")
        asked = [received for received in server.received if received.method != "GET"]

    assert verdict is verdicts(findings)["admin role"]
    assert ["PUT"] == [received.method for received in asked]
    assert all(received.path.endswith("?dry_run=true") for received in asked)


def test_gpus_that_nobody_can_limit_are_a_failure_and_some_of_them_a_warning() -> None:
    granted = answer_bytes(201, {})
    with admin([gpu(writable=False)], granted) as server:
        none_of_them = verdicts(check_admin(server.url, "token"))
    with admin([gpu(writable=True, holder="kim"), gpu(writable=False)], granted) as server:
        some_of_them = check_admin(server.url, "token")

    assert Verdict.FAIL is none_of_them["control"]
    assert Verdict.WARN is verdicts(some_of_them)["control"]
    assert "held now by kim" in some_of_them[-1].found


def test_a_wrong_token_fails() -> None:
    with scripted({"/v1/gpus": answer_bytes(401, {"title": "Unauthorized"})}) as server:
        (finding,) = check_admin(server.url, "wrong")

    assert Verdict.FAIL is finding.verdict
    assert "token" in finding.found + finding.cure


def test_without_a_token_the_doctor_asks_for_one() -> None:
    with scripted({"/v1/gpus": answer_bytes(401, {"title": "Unauthorized"})}) as server:
        (finding,) = check_admin(server.url, None)

    assert "--admin.token-file" in finding.cure


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("JOULESTAT_URL", "JOULESTAT_PROMETHEUS_URL", "JOULESTAT_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JOULESTAT_BACKEND", "none")
    return


def refusing(received: Received, _connection: object) -> bytes:
    return answer_bytes(500, {"for": received.path})


@pytest.mark.usefixtures("no_environment")
def test_the_command_exits_1_where_the_loop_would_not_work_and_names_each_reason() -> None:
    with ScriptedServer(refusing) as server:
        arguments = ["--url", server.url, "--prometheus.url", server.url, "--output", "json"]
        told = CliRunner().invoke(doctor, arguments)

    findings = json.loads(told.output)
    assert 1 == told.exit_code
    failed = {each["check"] for each in findings if each["verdict"] == "fail"}
    assert {"exporter", "admin API", "Prometheus"} == failed
    assert all(each["cure"] for each in findings if each["verdict"] != "ok")


@pytest.mark.usefixtures("no_environment")
def test_the_table_says_the_same_in_words() -> None:
    with ScriptedServer(refusing) as server:
        told = CliRunner().invoke(doctor, ["--url", server.url, "--prometheus.url", server.url])

    assert 1 == told.exit_code
    assert re.search(r"FAIL +exporter", told.output)
    assert "The loop would not work: 3 of" in told.output
