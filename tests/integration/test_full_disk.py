"""A full disk: no lease, nothing applied; limits come back and metrics go on all the same."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fakes.patience import eventually
from joulestat.cli.lease import lease
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from servers.exporter import Exporter

pytestmark = pytest.mark.promise("state", "audit")

DISK_BYTES = 4 * 1024 * 1024
BASELINE_WATTS, LEASED_WATTS = 277.0, 150.0


def no_small_disk() -> str | None:
    """Return why no small disk can be had here, None where it can."""
    return None if os.geteuid() == 0 and _mounts() else "only root can mount a small disk (tmpfs)"


def _mounts() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of a few MiB on a folder."""
    folder.mkdir()
    size = f"size={DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "small-disk", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no room on a disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass  # full
    try:
        yield
    finally:
        filler.unlink()


class Node:
    """An exporter whose state is on a small disk."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        self.refused = 0
        self.admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
        self.gpus = [str(gpu["gpu_uuid"]) for gpu in self.admin.gpus()]

    def hold(self, gpu: str) -> None:
        self.admin.put_lease(
            gpu, power_limit_watts=LEASED_WATTS, ttl_seconds=600, holder="t", reason="t" * 200
        )

    def refusal(self, gpu: str) -> int | None:
        """Ask until what room the last blocks had is used up; return the status of the refusal."""
        for _ in range(200):
            try:
                self.hold(gpu)
                self.admin.delete_lease(gpu)
            except AdminError as error:
                self.refused += 1
                return error.status
        return None

    def limits(self) -> list[float]:
        world = self.exporter.world()
        try:
            return [world.limit_watts(gpu) for gpu in self.gpus]
        finally:
            world.close()

    def is_read_only(self) -> bool:
        return self.exporter.value("control_read_only") == 1


@pytest.mark.skipif(no_small_disk() is not None, reason=str(no_small_disk()))
def test_on_a_full_disk_no_limit_is_taken_and_those_that_are_held_come_back(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        Exporter(disk, "--admin.write-interval=0s", "--admin.write-burst=99") as exporter,
    ):
        node = Node(exporter)
        one, other = node.gpus
        world = exporter.world()
        for gpu in node.gpus:
            world.set_limit(gpu, BASELINE_WATTS)
        world.close()
        node.hold(one)
        assert not node.is_read_only()
        ticked = exporter.value("last_tick_timestamp_seconds")

        with filled(disk):
            assert 503 == node.refusal(other)
            assert [LEASED_WATTS, BASELINE_WATTS] == node.limits()
            assert eventually(node.is_read_only, within_seconds=20.0)
            ended = node.admin.revert_all()
            assert {"restored", "none"} >= {end["outcome"] for end in ended["gpus"]}
            assert [BASELINE_WATTS] * 2 == node.limits()
            assert 503 == node.refusal(one)
            assert [BASELINE_WATTS] * 2 == node.limits()
            later = exporter.value("last_tick_timestamp_seconds")
            assert later > ticked, "metrics go on"

        node.hold(one)
        assert eventually(lambda: not node.is_read_only(), within_seconds=20.0)
        assert [LEASED_WATTS, BASELINE_WATTS] == node.limits()

        with filled(disk):
            assert 503 == node.refusal(other)
            exporter.kill()
            assert [LEASED_WATTS, BASELINE_WATTS] == node.limits()
            done = put_back_offline(exporter)
            assert 0 == done.exit_code, done.output
            assert [BASELINE_WATTS] * 2 == node.limits()
    record_property(
        "measured", f"{node.refused} leases refused on a full disk, none of them applied"
    )


def put_back_offline(exporter: Exporter) -> Result:
    """Do what a unit does when its service has ended."""
    return CliRunner().invoke(
        lease,
        [
            *("revert-all", "--offline", f"--state-path={exporter.folder / 'state'}"),
            *("--backend=simulated", f"--simulated.gpus={exporter.gpus}"),
            f"--simulated.state-file={exporter.world_file}",
        ],
    )
