"""The compose file: valid, hardened, on loopback, and all that it mounts is there."""

import copy
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from stack.stack_files import COMPOSE, DOCKER, compose, environment_file, services

PROFILES = ("simulated", "gpu", "rocm")


def running(profile: str) -> dict[str, Any]:
    """Return the services that start with a profile."""
    return {
        name: service
        for name, service in services().items()
        if profile in service.get("profiles", [profile])
    }


def mounts() -> Iterator[tuple[str, str]]:
    """Yield what is mounted, by service: a path or a volume's name."""
    for name, service in services().items():
        for mount in service.get("volumes", ()):
            yield name, mount.split(":")[0]


def validate(file: dict[str, Any]) -> None:
    read = compose_spec.PyCompose.from_yaml(yaml.safe_dump(file))
    read.validate()
    read.to_spec()


def test_the_file_is_what_the_compose_specification_allows() -> None:
    validate(compose())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file["services"]["grafana"].update(portz=[]),
        lambda file: file["services"]["grafana"].update(mem_limit="lots"),
        lambda file: file["services"]["grafana"]["healthcheck"].update(intervall="5s"),
        lambda file: file["services"]["grafana"]["depends_on"]["prometheus"].update(condition="up"),
    ],
)
def test_a_file_that_is_wrong_is_found(spoil: Callable[[dict[str, Any]], None]) -> None:
    file = copy.deepcopy(compose())
    spoil(file)

    with pytest.raises(ValueError, match=r"services\.grafana"):
        validate(file)


def test_compose_itself_takes_the_file() -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("no docker-compose on PATH: Debian's package needs no engine for this")
    profiles = [f"--profile={profile}" for profile in PROFILES]
    told = subprocess.run(
        ["docker-compose", *profiles, "config", "--quiet"],
        cwd=DOCKER,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ("", 0) == (told.stderr, told.returncode)


def test_everything_that_is_mounted_is_there() -> None:
    paths = {(name, what) for name, what in mounts() if what.startswith(".")}

    assert paths
    assert [] == [(name, what) for name, what in paths if not (COMPOSE.parent / what).exists()]


def test_every_volume_is_declared_and_used() -> None:
    used = {what for _, what in mounts() if not what.startswith((".", "/"))}

    assert set(compose()["volumes"]) == used


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_starts_one_exporter(profile: str) -> None:
    exporters = [name for name in running(profile) if name.startswith("exporter")]

    assert 1 == len(exporters)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_port_is_published_twice(profile: str) -> None:
    ports = [port for service in running(profile).values() for port in service.get("ports", ())]

    assert len(ports) == len({port.rsplit(":", 1)[0] for port in ports})
    assert {"127.0.0.1"} == {port.split(":")[0] for port in ports}


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_waits_for_what_its_profile_does_not_start(profile: str) -> None:
    started = running(profile)
    awaited = {name for service in started.values() for name in service.get("depends_on", {})}

    assert awaited <= set(started)


def test_the_profile_that_is_started_without_being_named_exists() -> None:
    assert environment_file()["COMPOSE_PROFILES"] in PROFILES


def test_what_is_awaited_as_healthy_has_a_check_of_its_health() -> None:
    waits = [
        (awaited, how["condition"])
        for service in services().values()
        for awaited, how in service.get("depends_on", {}).items()
    ]

    assert waits
    for awaited, condition in waits:
        if condition == "service_healthy":
            assert "test" in services()[awaited]["healthcheck"], awaited


@pytest.mark.parametrize("name", list(services()))
def test_a_service_has_no_right_that_it_does_not_need(name: str) -> None:
    service = services()[name]

    assert service["read_only"]
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]
    assert {"mem_limit", "pids_limit", "restart"} <= set(service)
    assert not {"privileged", "cap_add", "pid", "ipc", "userns_mode"} & set(service)


@pytest.mark.parametrize("name", list(services()))
def test_an_image_is_pinned_or_built_here(name: str) -> None:
    service = services()[name]
    _, _, tag = service["image"].partition(":")

    assert tag not in ("", "latest")
    # Nobody may be sent to look for it in a registry.
    assert ("build" in service) == (tag == "local")


def test_the_build_is_of_this_checkout() -> None:
    builds = [service["build"] for service in services().values() if "build" in service]

    for build in builds:
        assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
    assert {"server,optimizer", None} == {
        build.get("args", {}).get("EXTRAS") for build in builds
    }, json.dumps(builds)


def test_the_training_cannot_read_what_opens_the_admin_api() -> None:
    volumes = services()["training"]["volumes"]

    assert ["sockets:/run/joulestat"] == volumes
    assert "none" == services()["training"]["network_mode"]


def test_the_example_of_the_exporter_is_one_that_it_takes() -> None:
    from joulestat.config import load_config

    read = load_config(
        flags={},
        environment={},
        file=DOCKER / "exporter" / "simulated.yaml",
        is_root=False,
        home=Path("/"),
    )

    assert "simulated" == read.backend
