"""The fault matrix of docs/faults.md, row by row: real exporters over the vendors' stand-ins."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from faults.amd_host import amd_scene
from faults.fault import Fault
from faults.matrix import AMD, NVIDIA
from faults.nvidia_host import nvidia_scene
from faults.stage import MakeScene, Stage, staged

pytestmark = pytest.mark.faults

Rows = list[Fault]


def rows_of_this_run(request: pytest.FixtureRequest, rows: tuple[Fault, ...]) -> Rows:
    """Return those that were not deselected: their exporters are started right away."""
    chosen = [
        item.callspec.params["fault"]
        for item in request.session.items
        if hasattr(item, "callspec") and "fault" in item.callspec.params
    ]
    return [row for row in rows if row in chosen]


def stage_of(
    make: MakeScene, rows: tuple[Fault, ...], request: pytest.FixtureRequest, folder: Path
) -> Iterator[Stage]:
    with staged(make, folder, rows_of_this_run(request, rows)) as stage:
        yield stage


@pytest.fixture(scope="module")
def nvidia(
    request: pytest.FixtureRequest, nvml_library: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    make = partial(nvidia_scene, nvml_library)
    yield from stage_of(make, NVIDIA, request, tmp_path_factory.mktemp("nvidia"))


@pytest.fixture(scope="module")
def amd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    yield from stage_of(amd_scene, AMD, request, tmp_path_factory.mktemp("amd"))


def params(rows: tuple[Fault, ...]) -> list[object]:
    """Rows that were begun long ago come last."""
    return [pytest.param(row, id=row.name) for row in sorted(rows, key=lambda row: row.own)]


@pytest.mark.parametrize("fault", params(NVIDIA))
def test_what_nvidias_driver_does_is_shown_logged_once_and_recovered_from(
    fault: Fault, nvidia: Stage
) -> None:
    nvidia.play(fault)


@pytest.mark.parametrize("fault", params(AMD))
def test_what_amds_driver_does_is_shown_logged_once_and_recovered_from(
    fault: Fault, amd: Stage
) -> None:
    amd.play(fault)
