"""What reaches a training image: one wheel, and nothing with it."""

import subprocess
import sys
import venv
from email import message_from_string
from pathlib import Path
from zipfile import ZipFile

import pytest

CHECKOUT = Path(__file__).parents[2]


PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")

TRAINING = """
import joulestat

run = joulestat.init(run="clean", gpus=["GPU-1"])
with run.phase("train"):
    run.step()
run.finish()
print("trained")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout. pip fetches the build backend, so an index must be there."""
    folder = tmp_path_factory.mktemp("wheel")
    build = subprocess.run(
        [*PIP, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, CHECKOUT],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "No matching distribution found for hatchling" in build.stderr:
        pytest.skip("no package index to fetch the build backend from")
    assert 0 == build.returncode, build.stderr
    (built,) = folder.glob("joulestat-*.whl")
    return built


def test_the_wheel_holds_the_package_and_its_licence_alone(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()

    assert {"joulestat"} == {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert "joulestat/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert [] == [name for name in names if name.endswith((".pyc", ".so"))]


def test_the_client_alone_depends_on_nothing(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("-info/METADATA"))
        fields = message_from_string(archive.read(metadata).decode())
    required = fields.get_all("Requires-Dist") or []

    assert [] == [requirement for requirement in required if "extra ==" not in requirement]


def test_the_client_works_in_an_environment_that_has_nothing_else(
    wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [*PIP, "--python", python, "install", "--quiet", "--no-index", wheel],
        capture_output=True,
        timeout=120,
        check=True,
    )

    trained = subprocess.run(
        [python, "-I", "-c", TRAINING],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"JOULESTAT_URL": "http://127.0.0.1:9"},
    )

    assert ("trained\n", 0) == (trained.stdout, trained.returncode), trained.stderr
