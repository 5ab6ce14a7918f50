"""The manifests as kustomize makes them: valid, hardened, and in step with package and alerts."""

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from alerts.rule_files import RULE_FILES
from fakes.actuator import served
from fakes.host import Host
from golden.written import assert_is_as_written
from joulestat import __version__
from joulestat.actuator.peers import PeerRule
from stack import stack_files
from stack.rules_resource import rules_resource
from stack.stack_files import CHECKOUT, KUBERNETES, OVERLAYS, containers, manifests, pod_of

pytestmark = pytest.mark.skipif(bool(stack_files.no_kustomize()), reason=stack_files.no_kustomize())

OLDEST, NEWEST = "1.29.0", kubernetes_validate.latest_version()
"""Of the API: what is still run, and the newest whose schema is there."""

RULES = KUBERNETES / "monitoring" / "rules.yaml"
BOARDS = CHECKOUT / "dashboards"
PORT = 10400


def daemon_set(overlay: str) -> dict[str, Any]:
    (found,) = (one for one in manifests(f"overlays/{overlay}") if one["kind"] == "DaemonSet")
    return found


def container(overlay: str, name: str) -> dict[str, Any]:
    (found,) = (one for one, _ in containers(f"overlays/{overlay}") if one["name"] == name)
    return found


def rights(one: dict[str, Any]) -> list[str]:
    added: list[str] = one["securityContext"]["capabilities"].get("add", [])
    return added


@pytest.mark.parametrize(
    ("overlay", "version"), [("actuator", OLDEST), *((overlay, NEWEST) for overlay in OVERLAYS)]
)
def test_kubernetes_takes_what_an_overlay_makes(overlay: str, version: str) -> None:
    for resource in manifests(f"overlays/{overlay}"):
        kubernetes_validate.validate(resource, version, strict=True)


def test_a_manifest_that_is_wrong_is_found() -> None:
    wrong = copy.deepcopy(daemon_set("nvidia"))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}

    with pytest.raises(kubernetes_validate.ValidationError, match="livenessprobe"):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_runs_without_rights_but_those_that_need_one(overlay: str) -> None:
    for one, pod in containers(f"overlays/{overlay}"):
        context = {**pod["securityContext"], **one["securityContext"]}

        assert context["readOnlyRootFilesystem"], one["name"]
        assert not context["allowPrivilegeEscalation"], one["name"]
        assert ["ALL"] == context["capabilities"]["drop"], one["name"]
        assert {"type": "RuntimeDefault"} == context["seccompProfile"], one["name"]
        assert {"memory"} == set(one["resources"]["limits"]), one["name"]
        if one["name"] not in ("folders", "actuator"):
            assert (True, 10400) == (context["runAsNonRoot"], context["runAsUser"]), one["name"]
            assert [] == rights(one), one["name"]


def test_the_actuator_has_one_right_and_no_port() -> None:
    actuator = container("actuator", "actuator")

    assert ["SYS_ADMIN"] == rights(actuator)
    assert "ports" not in actuator
    assert [] == rights(container("actuator", "exporter"))


def test_the_actuators_probe_fails_where_nobody_answers_or_no_list_comes(tmp_path: Path) -> None:
    command = container("actuator", "actuator")["livenessProbe"]["exec"]["command"]
    socket_path = "/run/joulestat-actuator/actuator.sock"
    assert socket_path in command[-1]
    probe = [sys.executable, *command[1:-1], command[-1].replace(socket_path, "actuator.sock")]

    def outcome() -> int:
        return subprocess.run(probe, cwd=tmp_path, capture_output=True, check=False).returncode

    nobody = outcome()
    host = Host(tmp_path / "host")
    with served(host, tmp_path):
        answered = outcome()
    with served(host, tmp_path, PeerRule(frozenset())):
        refused = outcome()
    host.stop()

    assert (1, 0, 1) == (nobody, answered, refused)


def test_a_node_is_given_time_to_put_its_limits_back() -> None:
    pod = daemon_set("actuator")["spec"]["template"]["spec"]

    assert pod["terminationGracePeriodSeconds"] >= 60


def test_no_pod_gets_a_token_of_the_kubernetes_api() -> None:
    for overlay in OVERLAYS:
        pods = [pod for one in manifests(f"overlays/{overlay}") if (pod := pod_of(one))]

        assert [False] * len(pods) == [pod["automountServiceAccountToken"] for pod in pods]
        kinds = {one["kind"] for one in manifests(f"overlays/{overlay}")}
        assert not {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"} & kinds


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_image_is_this_version_s(overlay: str) -> None:
    tags = {one["image"].rpartition(":")[2] for one, _ in containers(f"overlays/{overlay}")}

    assert {__version__} == tags


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_whoever_mounts_something_finds_a_volume(overlay: str) -> None:
    for one, pod in containers(f"overlays/{overlay}"):
        volumes = {volume["name"] for volume in pod["volumes"]}

        assert {mount["name"] for mount in one["volumeMounts"]} <= volumes


def test_what_must_outlive_a_pod_is_on_the_node() -> None:
    for overlay in ("nvidia", "amd", "actuator"):
        volumes = daemon_set(overlay)["spec"]["template"]["spec"]["volumes"]
        on_node = {one["name"]: one["hostPath"]["path"] for one in volumes if "hostPath" in one}

        assert "/var/lib/joulestat" == on_node["state"]
        assert all(set(one) == {"name", "hostPath"} for one in volumes if "hostPath" in one)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_service_and_policy_meet_the_exporter_at_its_port(overlay: str) -> None:
    exporter = container(overlay, "exporter")
    (port,) = exporter["ports"]
    kinds = {one["kind"]: one for one in manifests(f"overlays/{overlay}")}
    service = kinds["Service"]["spec"]

    assert f"--web.listen-address=:{PORT}" in exporter["args"]
    assert PORT == port["containerPort"]
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert {"path": path, "port": port["name"]} == exporter[probe]["httpGet"]
    assert [port["name"]] == [one["targetPort"] for one in service["ports"]]
    labels = daemon_set(overlay)["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()


def scraped() -> Iterator[dict[str, Any]]:
    for one in manifests("monitoring"):
        if one["kind"] == "ServiceMonitor":
            yield one["spec"]


def test_prometheus_finds_the_service_and_calls_the_job_as_the_alerts_do() -> None:
    (monitor,) = scraped()
    (service,) = (one for one in manifests("base") if one["kind"] == "Service")
    labels = service["metadata"]["labels"]

    assert [service["metadata"]["namespace"]] == monitor["namespaceSelector"]["matchNames"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert "joulestat" == labels[monitor["jobLabel"]]
    assert [one["name"] for one in service["spec"]["ports"]] == [
        one["port"] for one in monitor["endpoints"]
    ]


def test_the_rules_of_the_operator_are_those_of_alerts() -> None:
    assert_is_as_written(RULES, rules_resource(RULE_FILES).encode())
    (rules,) = (one for one in manifests("monitoring") if one["kind"] == "PrometheusRule")
    groups = [group for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"]]

    assert groups == rules["spec"]["groups"]


def test_every_board_becomes_a_config_map_that_grafana_s_sidecar_takes() -> None:
    maps = [one for one in manifests("monitoring") if one["kind"] == "ConfigMap"]
    files = {name: json.loads(text) for one in maps for name, text in one["data"].items()}

    assert {path.name: json.loads(path.read_text()) for path in BOARDS.glob("*.json")} == files
    assert {"1"} == {one["metadata"]["labels"]["grafana_dashboard"] for one in maps}
    assert {"GPU energy"} == {one["metadata"]["annotations"]["grafana_folder"] for one in maps}


def test_a_board_is_small_enough_for_what_kubectl_apply_notes_of_it() -> None:
    notes_bytes = 262_144

    assert [] == [one for one in BOARDS.glob("*.json") if one.stat().st_size > notes_bytes / 2]


def test_no_secret_is_in_the_manifests() -> None:
    assert [] == [
        path
        for path in Path(KUBERNETES).rglob("*.yaml")
        if "kind: Secret\n" in path.read_text() or "secretGenerator" in path.read_text()
    ]
