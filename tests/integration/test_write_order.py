"""What was before is on the disk before a driver hears of anything: shown by the system calls."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.nvml.standin import StandIn
from fakes.patience import eventually
from joulestat.actuator.client import ActuatorClient
from joulestat.client.admin import AdminClient
from joulestat.domain.limit import LeaseRequest
from joulestat.loops.system_clock import SystemClock
from servers.exporter import Exporter
from servers.split import Actuator
from servers.traced import LimitWrite, limit_writes, no_strace, tracing

pytestmark = [
    pytest.mark.promise("lease-intent"),
    pytest.mark.skipif(no_strace() is not None, reason=str(no_strace())),
]

BASELINE_MW = 283_500
POLICY = "{min-ttl: 1s, write-interval: 0s, write-burst: 99}"

Hold = Callable[[float, float], object]
"""Leases the first GPU: a limit (W), a time to live (s)."""


def stands_at(driver: StandIn, limit_mw: int) -> bool:
    return eventually(lambda: driver.gpu(0).limit_mw == limit_mw, within_seconds=20.0)


def live(driver: StandIn, hold: Hold, release: Callable[[], object]) -> None:
    """Let a lease be granted, changed, released, granted and expired, and granted once more."""
    driver.change(0, limit_mw=BASELINE_MW)
    hold(150.0, 60.0)
    hold(200.0, 60.0)
    release()
    assert stands_at(driver, BASELINE_MW)
    hold(180.0, 1.0)
    assert stands_at(driver, BASELINE_MW), "it has expired"
    hold(160.0, 60.0)
    assert stands_at(driver, 160_000)


def assert_in_order(output: Path, pid: int, driver: StandIn) -> str:
    assert BASELINE_MW == driver.gpu(0).limit_mw
    written = limit_writes(output, pid)
    granted, reverted = LimitWrite("grant", True, True), LimitWrite("revert", True, False)
    assert [granted, granted, reverted, granted, reverted, granted, reverted] == written
    announced = sum(each.announced for each in written)
    recorded = sum(each.recorded for each in written if each.action == "grant")
    return (
        f"audit intent synced before {announced} of {len(written)} writes, the journal before "
        f"{recorded} of 4 that take a limit"
    )


def test_an_exporter_syncs_before_it_writes_also_when_it_ends(
    nvml_standin: StandIn, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    policy.chmod(0o644)
    output = tmp_path / "calls"
    exporter = Exporter(tmp_path / "exporter", f"--policy.file={policy}", backend="nvml")
    exporter.environment = nvml_standin.environment()
    exporter.prefix = tracing(output)
    with exporter:
        admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
        gpu = next(each["gpu_uuid"] for each in admin.gpus() if each["index"] == 0)

        def hold(watts: float, ttl_seconds: float) -> None:
            admin.put_lease(
                gpu, power_limit_watts=watts, ttl_seconds=ttl_seconds, holder="t", reason="t"
            )

        live(nvml_standin, hold, lambda: admin.delete_lease(gpu))
        assert exporter.process is not None
        pid = exporter.process.pid
        exporter.stop()
    record_property("measured", f"exporter: {assert_in_order(output, pid, nvml_standin)}")


def test_an_actuator_syncs_before_it_writes_also_when_it_ends(
    nvml_standin: StandIn, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    output = tmp_path / "calls"
    actuator = Actuator(tmp_path, POLICY, tracing(output))
    actuator.environment = nvml_standin.environment()
    actuator.start("--backend=nvml")
    client = ActuatorClient(actuator.socket, SystemClock())
    client.refresh()
    gpu = next(uuid for uuid in client.controls() if uuid.endswith("000"))

    def hold(watts: float, ttl_seconds: float) -> None:
        client.grant(gpu, LeaseRequest(watts, ttl_seconds, "t", "t"), principal="p")

    live(nvml_standin, hold, lambda: client.release(gpu, principal="p"))
    assert actuator.process is not None
    pid = actuator.process.pid
    assert 0 == actuator.end()
    record_property("measured", f"actuator: {assert_in_order(output, pid, nvml_standin)}")
