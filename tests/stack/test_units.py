"""The systemd units: how much is left open, and whether systemd takes them."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.notify_socket import NotifySocket
from joulestat.actuator.server import ServerLimits
from joulestat.config import load_config
from joulestat.loops.http import RESERVED_DESCRIPTORS
from joulestat.power.policy import LeasePolicy
from joulestat.power.policy_file import read_policy
from joulestat.server.lanes import GRANTS_AT_ONCE, RELEASES_AT_ONCE, REVERTS_AT_ONCE
from stack.stack_files import DOCKER, DROP_INS, JOULESTAT, KUBERNETES, UNITS, unit

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze: Debian's package systemd"
)

MOST_EXPOSED = {
    "joulestat.service": 1.6,
    "joulestat-actuator.service": 1.5,
    "joulestat-single.service": 2.3,
}
"""On the scale of `systemd-analyze security`: 10 is a service that may do everything."""

PROMISED = 2.1
"""Of every unit as it stands; what writes limits of AMD GPUs needs a file in /sys besides."""

MOST_GPUS = 16
"""On one host."""

OTHER_THREADS = 16
"""Main thread, event loop, ticks, looks, ends of leases, history, supervisor, passwords."""

READS_AT_ONCE = 40
"""Of starlette's pool, which has what anyio gives one by default."""

MOST_THREADS = {
    # Requests; and of each GPU an end that is tried and one that waits in line.
    "joulestat-actuator.service": ServerLimits().connections + 2 * MOST_GPUS + OTHER_THREADS,
    # Requests of every kind; a reader for each GPU, and in one process its ends.
    **dict.fromkeys(
        ("joulestat.service", "joulestat-single.service"),
        GRANTS_AT_ONCE
        + RELEASES_AT_ONCE
        + REVERTS_AT_ONCE
        + READS_AT_ONCE
        + 3 * MOST_GPUS
        + OTHER_THREADS,
    ),
}
"""While every driver hangs, and whoever may asks as often as possible."""

LONGEST_STOP_SECONDS = 15
"""Requests in flight, every limit that goes back, loops that end, what is written down."""


def analyze(*arguments: str | Path, units: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        check=False,
        # Units that a unit names must be looked for here, not on this host.
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"},
    )


def exposure(path: Path) -> float:
    told = analyze("security", "--offline=true", path, units=path.parent)
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told.stdout)
    assert score is not None, told.stderr
    return float(score[1])


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with every drop-in beside them, calling the program of these tests."""
    program = str(Path(sys.executable).parent / "joulestat")
    for path in [*UNITS, *DROP_INS]:
        home = tmp_path if path in UNITS else tmp_path / path.parent.name
        home.mkdir(exist_ok=True)
        (home / path.name).write_text(path.read_text().replace(JOULESTAT, program))
    return tmp_path


def test_every_unit_has_its_mark() -> None:
    assert set(MOST_EXPOSED) == {path.name for path in UNITS}


@pytest.mark.promise("sandbox")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_leaves_little_open(
    path: Path, record_property: Callable[[str, object], None]
) -> None:
    score = exposure(path)

    assert score <= min(MOST_EXPOSED[path.name], PROMISED)
    record_property("measured", f"{path.name} {score}")


@pytest.mark.promise("sandbox")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_with_its_drop_ins_it_leaves_no_more_open_than_its_mark(
    installed: Path, path: Path, record_property: Callable[[str, object], None]
) -> None:
    score = exposure(installed / path.name)

    assert score <= MOST_EXPOSED[path.name]
    record_property("measured", f"{path.name} with its drop-ins {score}")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_takes_a_unit_with_its_drop_ins(installed: Path, path: Path) -> None:
    told = analyze("verify", "--man=no", installed / path.name, units=installed)

    assert ("", 0) == (told.stderr, told.returncode)


def test_systemd_would_name_a_setting_that_there_is_not(installed: Path) -> None:
    path = installed / "joulestat.service"
    path.write_text(path.read_text().replace("ProtectClock=", "ProtectClocks="))

    assert "ProtectClocks" in analyze("verify", "--man=no", path, units=installed).stderr


def test_the_process_that_faces_the_network_has_no_capability() -> None:
    (exporter,) = (unit(path) for path in UNITS if path.name == "joulestat.service")

    assert "" == exporter["Service"]["CapabilityBoundingSet"]
    assert "joulestat" == exporter["Service"]["User"]


def test_the_actuator_has_one_capability_and_no_network() -> None:
    (actuator,) = (unit(path) for path in UNITS if path.name == "joulestat-actuator.service")
    service = actuator["Service"]

    assert "CAP_SYS_ADMIN" == service["CapabilityBoundingSet"]
    assert ("yes", "AF_UNIX") == (service["PrivateNetwork"], service["RestrictAddressFamilies"])


def test_whoever_sets_limits_puts_them_back_after_a_crash_too() -> None:
    writers = [unit(path) for path in UNITS if "CAP_SYS_ADMIN" in path.read_text()]

    assert 2 == len(writers)
    for writer in writers:
        assert "lease revert-all --offline" in writer["Service"]["ExecStopPost"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_that_stands_still_is_restarted_and_has_time_to_stop(path: Path) -> None:
    service = unit(path)["Service"]

    assert ("notify", "main") == (service["Type"], service["NotifyAccess"])
    # SIGTERM, not SIGABRT: limits go back, and nobody is killed within a driver.
    assert ("30", "SIGTERM") == (service["WatchdogSec"], service["WatchdogSignal"])
    assert "on-failure" == service["Restart"]
    assert int(service["TimeoutStopSec"]) >= LONGEST_STOP_SECONDS
    assert int(service["LimitNOFILE"]) > RESERVED_DESCRIPTORS


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_no_flood_of_requests_takes_the_threads_that_end_leases(path: Path) -> None:
    assert int(unit(path)["Service"]["TasksMax"]) >= MOST_THREADS[path.name]


@pytest.mark.parametrize("command", ["serve", "actuator"])
def test_each_process_tells_systemd_when_it_is_ready_and_that_it_lives(
    tmp_path: Path, command: str
) -> None:
    address = "--web.listen-address" if command == "serve" else "--listen-address"
    with NotifySocket(tmp_path / "notify") as systemd:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "joulestat", command, "--backend=simulated"),
                f"--state-path={tmp_path / 'state'}",
                f"--simulated.state-file={tmp_path / 'gpus'}",
                f"{address}=unix:{tmp_path / 'joulestat.sock'}",
            ],
            env={**os.environ, **systemd.environment},
        )
        try:
            systemd.next_with("READY=1")
            systemd.next_with("WATCHDOG=1")
        finally:
            process.terminate()
            status = process.wait(20)

    assert 0 == status


def test_the_exporter_looks_for_the_actuator_where_it_listens() -> None:
    (drop_in,) = (path for path in DROP_INS if path.name == "actuator.conf")
    (actuator,) = (path for path in UNITS if path.name == "joulestat-actuator.service")
    asked = re.search(r"--actuator\.socket=(\S+)", drop_in.read_text())
    listens = re.search(r"--listen-address=unix:(\S+)", actuator.read_text())

    assert asked is not None
    assert listens is not None
    assert asked[1] == listens[1]
    assert asked[1].startswith(f"/run/{unit(actuator)['Service']['RuntimeDirectory']}/")


@pytest.mark.parametrize(
    "path",
    [DOCKER / "systemd" / "policy.yaml", KUBERNETES / "overlays" / "actuator" / "policy.yaml"],
    ids=["systemd", "kubernetes"],
)
def test_the_actuator_takes_the_policy(tmp_path: Path, path: Path) -> None:
    copied = tmp_path / path.name
    # The exporter's user, which is not on this host.
    copied.write_text(path.read_text().replace("[joulestat]", "[10400]"))
    copied.chmod(0o644)

    policy = read_policy(copied, LeasePolicy())

    assert frozenset({10400}) == policy.allowed_uids
    assert 3600.0 == policy.lease.max_ttl_seconds


def test_the_configuration_of_the_units_is_one_that_the_exporter_takes() -> None:
    file = DOCKER / "systemd" / "joulestat.yaml"

    read = load_config(flags={}, environment={}, file=file, is_root=False, home=Path("/"))

    assert 2 == len(read.web.listen_addresses)


def test_whoever_the_units_run_as_is_made_before() -> None:
    made = re.findall(r"^u (\S+)", (DOCKER / "systemd" / "sysusers.conf").read_text(), re.MULTILINE)
    named = {unit(path)["Service"][key] for path in UNITS for key in ("User", "Group")}

    assert {*made, "root"} == named
