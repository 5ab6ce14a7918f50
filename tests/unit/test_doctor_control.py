"""What the doctor says of the split: an actuator that answers, one that does not, and why."""

from collections.abc import Mapping

import msgspec
import pytest

from fakes.actuator import served
from fakes.host import Host
from fakes.scripted_server import ScriptedServer, answer_bytes
from joulestat.actuator.peers import PeerRule
from joulestat.cli.checks import Verdict
from joulestat.cli.checks.control import check_actuator, check_admin
from joulestat.loops.system_clock import SystemClock

UUID = "GPU-a"


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path, n_cards=2)
    yield host
    host.stop()


def test_an_actuator_that_holds_limits_is_well(host, tmp_path) -> None:
    with served(host, tmp_path) as actuator:
        (finding,) = check_actuator(actuator.path, SystemClock())

    assert (Verdict.OK, "actuator") == (finding.verdict, finding.check)
    assert "2 of 2 GPUs" in finding.found


def test_an_actuator_that_is_not_there_is_a_failure_that_says_what_to_start(tmp_path) -> None:
    (finding,) = check_actuator(tmp_path / "none.sock", SystemClock())

    assert Verdict.FAIL is finding.verdict
    assert "does not answer on" in finding.found
    assert "joulestat actuator" in finding.cure


def test_a_user_that_may_not_speak_is_told_so(host, tmp_path) -> None:
    with served(host, tmp_path, PeerRule(frozenset())) as actuator:
        (finding,) = check_actuator(actuator.path, SystemClock())

    assert Verdict.FAIL is finding.verdict
    assert "may not speak to the actuator" in finding.found
    assert "allowed-users" in finding.cure


def test_an_actuator_without_privilege_is_a_warning(host, tmp_path) -> None:
    host.card.fault = "permission"
    with pytest.raises(Exception, match="could not be set"):
        host.grant(250.0)
    with served(host, tmp_path) as actuator:
        (finding,) = check_actuator(actuator.path, SystemClock())

    assert Verdict.WARN is finding.verdict
    assert "1 of 2 GPUs" in finding.found
    assert "CAP_SYS_ADMIN" in finding.cure


def scripted(pages: Mapping[str, bytes]) -> ScriptedServer:
    return ScriptedServer(
        lambda request, _: pages.get(request.path.partition("?")[0], answer_bytes(404))
    )


def exporter(status: int, **problem: object) -> ScriptedServer:
    gpus = [{"gpu_uuid": UUID, "power_limit_watts": 300.0, "writable": False, "lease": None}]
    return scripted(
        {
            "/v1/gpus": answer_bytes(200, {"gpus": gpus}),
            f"/v1/gpus/{UUID}/lease": answer_bytes(status, problem),
        }
    )


def test_an_exporter_whose_actuator_is_gone_says_so() -> None:
    gone = "the actuator does not answer on /run/a.sock; nothing was changed"
    with exporter(503, title="Service Unavailable", detail=gone) as server:
        *_, finding = check_admin(server.url, "token")

    assert ("control", Verdict.FAIL) == (finding.check, finding.verdict)
    assert "the actuator does not answer" in finding.found + finding.cure
    assert msgspec.json.decode(server.received[-1].body)["reason"].startswith("dry run")
