"""However a service ends, limits come back: stopped, frozen and killed, by its unit or by hand."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from fakes.nvml.standin import StandIn
from fakes.patience import eventually
from joulestat.actuator.client import ActuatorClient
from joulestat.client.admin import AdminClient
from joulestat.domain.limit import LeaseRequest
from joulestat.loops.system_clock import SystemClock
from servers import attacks
from servers.exporter import Exporter
from servers.split import Actuator
from stack.stack_files import JOULESTAT, UNITS, unit

pytestmark = pytest.mark.promise("lease-stop")

BASELINE_MW = 283_500
LEASED_MW = 150_000
Measured = Callable[[str, object], None]


@dataclass
class Left:
    """What a killed service left: its state folder, and a driver that stands at its limit."""

    state: Path
    driver: StandIn

    def after(self, unit_name: str = "joulestat-single.service") -> list[str]:
        """Return what a unit calls when its service has ended, with its paths mapped to ours."""
        (path,) = (each for each in UNITS if each.name == unit_name)
        program, *arguments = shlex.split(unit(path)["Service"]["ExecStopPost"])
        assert JOULESTAT == program
        (home,) = (each for each in arguments if each.startswith("--state-path="))
        assert f"--state-path=/var/lib/{unit(path)['Service']['StateDirectory']}" == home
        arguments[arguments.index(home)] = f"--state-path={self.state}"
        return [sys.executable, "-m", "joulestat", *arguments]

    def run(self, command: list[str] | None = None) -> tuple[int, str]:
        """Run what comes after the end; return its exit status and all that it says."""
        done = subprocess.run(
            command or self.after(),
            env={**os.environ, **self.driver.environment()},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        return done.returncode, done.stdout + done.stderr


def lease(exporter: Exporter) -> AdminClient:
    admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
    gpu = next(each["gpu_uuid"] for each in admin.gpus() if each["index"] == 0)
    admin.put_lease(
        gpu, power_limit_watts=LEASED_MW / 1000, ttl_seconds=600, holder="t", reason="t"
    )
    return admin


@pytest.fixture(scope="module")
def served(nvml_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    folder = tmp_path_factory.mktemp("served")
    driver = StandIn(nvml_library, folder)
    exporter = Exporter(folder, "--admin.write-interval=0s", backend="nvml")
    exporter.environment = driver.environment()
    with exporter:
        driver.change(0, limit_mw=BASELINE_MW)
        yield exporter


@pytest.fixture(scope="module")
def crashed(served: Exporter, nvml_library: Path) -> Left:
    """A service that was frozen with a lease in force, and killed."""
    driver = StandIn(nvml_library, served.folder)
    lease(served)
    assert LEASED_MW == driver.gpu(0).limit_mw
    assert served.process is not None
    served.process.send_signal(signal.SIGSTOP)
    served.kill()
    return Left(served.folder / "state", driver)


@pytest.fixture
def left(crashed: Left, nvml_library: Path, tmp_path: Path) -> Left:
    """What that service left, to do with as one likes."""
    shutil.copytree(crashed.state, tmp_path / "state")
    shutil.copy(crashed.state.parent / "nvml.state", tmp_path / "nvml.state")
    return Left(tmp_path / "state", StandIn(nvml_library, tmp_path))


def test_what_a_unit_calls_at_the_end_puts_the_limit_of_a_frozen_and_killed_service_back(
    left: Left, record_property: Measured
) -> None:
    began = time.monotonic()
    status, said = left.run()
    took_seconds = time.monotonic() - began

    assert BASELINE_MW == left.driver.gpu(0).limit_mw
    assert (0, True) == (status, "the limit from before is back, now at 283.5 W" in said)
    assert (0, "") == left.run(), "there is nothing left to do"
    record_property("measured", f"frozen and killed: back {took_seconds:.1f} s after ExecStopPost")


@pytest.mark.promise("lease-kill")
def test_the_next_start_puts_the_limit_of_a_frozen_and_killed_service_back(
    left: Left, tmp_path: Path, record_property: Measured
) -> None:
    again = Exporter(tmp_path, backend="nvml")
    again.environment = left.driver.environment()
    took_seconds = seconds_until_back(left, again.launch)

    assert again.process is not None
    again.process.terminate()
    assert 0 == again.process.wait(15)
    record_property("measured", f"killed: back {took_seconds:.1f} s after the next start")


def test_a_driver_that_hangs_costs_bounded_time_and_loses_nothing(left: Left) -> None:
    left.driver.plan("nvmlDeviceSetPowerManagementLimit * hang")

    status, said = left.run([*left.after(), "--timeout=1s"])

    assert 1 == status, said
    assert "the driver" in said
    assert "the next start tries again" in said
    left.driver.plan()
    assert (0, BASELINE_MW) == (left.run()[0], left.driver.gpu(0).limit_mw)


def test_an_actuator_heeds_the_signal_and_frozen_and_killed_leaves_no_limit_either(
    nvml_standin: StandIn, tmp_path: Path
) -> None:
    actuator = Actuator(tmp_path, "write-interval: 0s")
    actuator.environment = nvml_standin.environment()
    actuator.start("--backend=nvml")
    nvml_standin.change(0, limit_mw=BASELINE_MW)
    client = ActuatorClient(actuator.socket, SystemClock())
    client.refresh()
    gpu = next(uuid for uuid in client.controls() if uuid.endswith("000"))
    request = LeaseRequest(LEASED_MW / 1000, 600.0, "t", "t")
    assert actuator.process is not None
    client.grant(gpu, request, principal="test")
    process, gone = actuator.process, Left(tmp_path / "actuator", nvml_standin)
    seconds_until_back(gone, partial(process.send_signal, signal.SIGUSR2))
    client.grant(gpu, request, principal="test")
    assert LEASED_MW == nvml_standin.gpu(0).limit_mw
    process.send_signal(signal.SIGSTOP)
    actuator.end(signal.SIGKILL)

    status, said = gone.run(gone.after("joulestat-actuator.service"))

    assert (0, BASELINE_MW) == (status, nvml_standin.gpu(0).limit_mw), said


@pytest.fixture(scope="module")
def running(nvml_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    folder = tmp_path_factory.mktemp("running")
    exporter = Exporter(
        folder, "--admin.write-interval=0s", "--admin.write-burst=9", backend="nvml"
    )
    driver = StandIn(nvml_library, folder)
    exporter.environment = driver.environment()
    with exporter:
        driver.change(0, limit_mw=BASELINE_MW)
        lease(exporter)
        yield exporter


@pytest.fixture
def held(running: Exporter, nvml_library: Path) -> Left:
    """A service that runs, and holds a limit."""
    driver = StandIn(nvml_library, running.folder)
    assert LEASED_MW == driver.gpu(0).limit_mw
    return Left(running.folder / "state", driver)


def test_a_service_that_runs_is_to_be_asked_and_not_worked_around(held: Left) -> None:
    status, said = held.run()

    assert (1, LEASED_MW) == (status, held.driver.gpu(0).limit_mw)
    assert "joulestat lease revert-all --admin.url" in said


def test_a_signal_puts_limits_back_also_while_nobody_gets_through(
    running: Exporter, held: Left, record_property: Measured
) -> None:
    process = running.process
    assert process is not None
    with attacks.held(attacks.address_of(running.url), 400):
        took_seconds = seconds_until_back(held, partial(process.send_signal, signal.SIGUSR2))

    assert process.poll() is None
    lease(running)
    record_property(
        "measured", f"SIGUSR2 beside 400 open requests: back {took_seconds:.2f} s later"
    )


def test_a_stopped_service_puts_the_limit_back(
    running: Exporter, held: Left, record_property: Measured
) -> None:
    process = running.process
    assert process is not None
    took_seconds = seconds_until_back(held, process.terminate)

    assert 0 == process.wait(15)
    record_property("measured", f"SIGTERM: back {took_seconds:.2f} s later")


def seconds_until_back(left: Left, act: Callable[[], None]) -> float:
    began = time.monotonic()
    act()
    assert eventually(lambda: left.driver.gpu(0).limit_mw == BASELINE_MW, within_seconds=20.0)
    return time.monotonic() - began
