"""What lies in docker/, read: compose file, units, and the manifests as kustomize makes them."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from configparser import RawConfigParser
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
DOCKER = CHECKOUT / "docker"
COMPOSE = DOCKER / "compose.yaml"
UNITS = sorted((DOCKER / "systemd").glob("*.service"))
DROP_INS = sorted((DOCKER / "systemd" / "drop-ins").glob("*/*.conf"))
KUBERNETES = DOCKER / "kubernetes"
OVERLAYS = sorted(folder.name for folder in (KUBERNETES / "overlays").iterdir())

JOULESTAT = "/opt/joulestat/bin/joulestat"
"""Where the units look for the program."""

_VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")
_JSON6902_ARGUMENT = re.compile(r"path: /spec/template/spec/containers/0/args/-\n +value: (\S+)")

Json = dict[str, Any]


@dataclass(frozen=True)
class Invocation:
    """One call of joulestat or of its training job, wherever it stands."""

    where: str
    arguments: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.where


@cache
def compose() -> Json:
    """Return the compose file with merges done and variables at their defaults."""
    text = _VARIABLE.sub(r"\1", COMPOSE.read_text())
    file: Json = yaml.safe_load(text)
    return file


def services() -> dict[str, Json]:
    """Return the services by name."""
    found: dict[str, Json] = compose()["services"]
    return found


def environment_file() -> dict[str, str]:
    """Return what docker/.env sets."""
    lines = (DOCKER / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@cache
def no_kustomize() -> str:
    """Return why manifests cannot be made, with the cure; empty where they can."""
    if shutil.which("kubectl") is None:
        return "no kubectl on PATH: install one of 1.27 or newer, whose kustomize knows components"
    told = subprocess.run(
        ["kubectl", "kustomize", KUBERNETES / "base"], capture_output=True, text=True, check=False
    )
    # Debian 12's is of 2020: its kustomize does not know "labels".
    return "kubectl is too old: 1.27 or newer is needed" if "unknown field" in told.stderr else ""


@cache
def manifests(folder: str) -> tuple[Json, ...]:
    """Return every resource that a folder below docker/kubernetes makes."""
    told = subprocess.run(
        ["kubectl", "kustomize", KUBERNETES / folder], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    return tuple(yaml.safe_load_all(told.stdout))


def pod_of(resource: Json) -> Json | None:
    """Return the pod that a workload makes, None for what is no workload."""
    spec = resource.get("spec", {})
    if resource["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    pod: Json | None = spec.get("template", {}).get("spec")
    return pod


def containers(folder: str, *, at_start: bool = True) -> Iterator[tuple[Json, Json]]:
    """Yield every container with its pod, those that only prepare the others included."""
    for resource in manifests(folder):
        pod = pod_of(resource)
        if pod is not None:
            for container in [*pod.get("initContainers", ()), *pod["containers"]]:
                if at_start or container in pod["containers"]:
                    yield container, pod


def unit(path: Path) -> RawConfigParser:
    """Return a unit or drop-in; of keys given twice, the last value."""
    parser = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


def invocations() -> Iterator[Invocation]:
    """Yield every call of the package in compose file, units and manifests."""
    for name, service in services().items():
        if service["image"].startswith("joulestat") and name != "token":
            entry = service.get("entrypoint", ["joulestat"])
            yield Invocation(f"compose {name}", (*entry, *service["command"]))
    script = services()["token"]["entrypoint"][-1]
    made = re.search(r"joulestat [^>]*", script)
    assert made is not None
    yield Invocation("compose token", tuple(shlex.split(made[0])))
    for path in [*UNITS, *DROP_INS]:
        for key, line in unit(path).items("Service"):
            if key.startswith("Exec") and line:
                yield Invocation(f"{path.name} {key}", ("joulestat", *shlex.split(line)[1:]))


def invocations_in(folder: str) -> Iterator[Invocation]:
    """Yield every call of the package in the manifests that a folder makes."""
    for container, _ in containers(folder, at_start=False):
        command = container.get("command", ["joulestat"])
        if command[0] == "/bin/sh":
            command = ["joulestat"]
        yield Invocation(f"{folder} {container['name']}", (*command, *container["args"]))
