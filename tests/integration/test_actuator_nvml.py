"""The split on NVIDIA's library, as the stand-in plays it: a crash, a driver that refuses."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.nvml.faults import no_permission
from fakes.nvml.standin import StandIn
from fakes.patience import eventually
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from servers.exporter import Exporter
from servers.split import Actuator

LEASE = {"power_limit_watts": 150, "ttl_seconds": 600, "holder": "t", "reason": "t"}


@pytest.fixture
def pair(nvml_standin: StandIn, tmp_path: Path) -> Iterator[tuple[Actuator, Exporter]]:
    """Actuator and exporter of one user, with a driver whose state outlives both."""
    tmp_path.chmod(0o755)
    actuator = Actuator(tmp_path, "write-interval: 0s")
    actuator.environment = nvml_standin.environment()
    actuator.start("--backend=nvml")
    exporter = Exporter(
        tmp_path / "exporter", f"--actuator.socket={actuator.socket}", backend="nvml"
    )
    exporter.environment = nvml_standin.environment()
    with exporter:
        yield actuator, exporter
    if actuator.process is not None and actuator.process.poll() is None:
        assert 0 == actuator.end()


def test_a_killed_actuator_puts_limits_back_at_its_next_start(
    pair: tuple[Actuator, Exporter], nvml_standin: StandIn
) -> None:
    actuator, exporter = pair
    nvml_standin.change(0, limit_mw=240_000)
    admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
    gpu = next(each["gpu_uuid"] for each in admin.gpus() if each["index"] == 0)
    admin.put_lease(gpu, **LEASE)
    assert 150_000 == nvml_standin.gpu(0).limit_mw

    actuator.end(signal.SIGKILL)
    exporter.kill()
    assert 150_000 == nvml_standin.gpu(0).limit_mw
    actuator.start("--backend=nvml")

    assert 240_000 == nvml_standin.gpu(0).limit_mw
    exporter.start()
    assert [None, None] == [each["lease"] for each in admin.gpus()]


def test_only_the_actuator_calls_what_sets_a_limit_and_its_refusal_reaches_the_client(
    pair: tuple[Actuator, Exporter], nvml_standin: StandIn
) -> None:
    actuator, exporter = pair
    admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
    gpu = next(each["gpu_uuid"] for each in admin.gpus() if each["index"] == 0)
    nvml_standin.plan(no_permission())

    with pytest.raises(AdminError, match="CAP_SYS_ADMIN") as refused:
        admin.put_lease(gpu, **LEASE)

    assert 502 == refused.value.status
    assert eventually(
        lambda: [False, True] == sorted(bool(each["writable"]) for each in admin.gpus())
    )
    nvml_standin.plan()
    admin.put_lease(gpu, **LEASE)
    nvml_standin.forget_calls()
    actuator.end(signal.SIGKILL)
    with pytest.raises(AdminError):
        admin.put_lease(gpu, **LEASE)
    assert [] == [call for call, _, _ in nvml_standin.calls() if "SetPower" in call]
