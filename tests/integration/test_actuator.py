"""The split as two processes: who may do what, whose life a lease depends on, who is refused."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fakes.actuator import send
from fakes.patience import eventually
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from servers.split import NOBODY, Actuator, Split, cannot_split

CAP_SYS_ADMIN = 1 << 21

POLICY = f"""
floor-watts: 120
ceiling-watts: 280
max-ttl: 10m
min-ttl: 1s
write-interval: 0s
node-ceiling-watts: 500
models: {{V100 (simulated): {{floor-watts: 150}}}}
allowed-users: [{NOBODY}]
"""

Lease = dict[str, object]


@pytest.fixture(scope="module")
def started() -> Iterator[Split]:
    why = cannot_split()
    if why is not None:
        pytest.skip(why)
    # Not below pytest's own folder, into which no other user can go.
    with tempfile.TemporaryDirectory(prefix="joulestat-split-") as folder:
        split = Split(Path(folder), POLICY)
        try:
            split.start()
            yield split
        finally:
            split.stop()


@pytest.fixture
def split(started: Split) -> Split:
    """Both processes running, no lease, each limit at its default."""
    if started.actuator.process is None or started.actuator.process.poll() is not None:
        started.actuator.start(f"--socket-group={NOBODY}")
    if started.exporter.process is None or started.exporter.process.poll() is not None:
        started.exporter.start()
    api = admin(started)
    assert eventually(lambda: all(gpu["writable"] for gpu in api.gpus()))
    api.revert_all()
    assert started.comes_to(300, 300)
    return started


def admin(split: Split) -> AdminClient:
    return AdminClient(f"unix:{split.exporter.admin_socket}", split.exporter.token)


def uuids(split: Split) -> list[str]:
    return [str(gpu["gpu_uuid"]) for gpu in admin(split).gpus()]


def lease(watts: float, ttl_seconds: float = 300.0, holder: str = "test") -> Lease:
    return {
        "power_limit_watts": watts,
        "ttl_seconds": ttl_seconds,
        "holder": holder,
        "reason": "test",
    }


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def inet_sockets(pid: int) -> set[str]:
    """Return the inodes of a process's sockets that lead to a network."""
    own = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            match = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
            own |= {match[1]} if match else set()
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6", "udp", "udp6", "raw")]
    rows = (row.split() for table in tables if table.exists() for row in _rows(table))
    return own & {row[9] for row in rows}


def _rows(table: Path) -> list[str]:
    return table.read_text().splitlines()[1:]


def refused(call: Callable[[], object]) -> tuple[int | None, str]:
    with pytest.raises(AdminError) as error:
        call()
    return error.value.status, str(error.value)


def shown(split: Split, name: str) -> list[float]:
    samples = split.exporter.samples()
    return sorted(value for (sample, _), value in samples.items() if sample == f"joulestat_{name}")


@pytest.mark.promise("split")
def test_who_faces_the_network_can_do_nothing_and_who_can_has_no_network(
    split: Split, record_property: Callable[[str, object], None]
) -> None:
    assert split.exporter.process is not None
    assert split.actuator.process is not None
    exporter = status_of(split.exporter.process.pid)
    actuator = status_of(split.actuator.process.pid)

    admin(split).put_lease(uuids(split)[0], **lease(200))

    assert split.comes_to(200, 300)
    sets = ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")
    assert [0] * 5 == [int(exporter[name], 16) for name in sets]
    assert (str(NOBODY), "1") == (exporter["Uid"].split("\t")[1], exporter["NoNewPrivs"])
    assert [CAP_SYS_ADMIN] * 2 == [int(actuator[name], 16) for name in ("CapEff", "CapBnd")]
    assert set() == inet_sockets(split.actuator.process.pid)
    assert set() != inet_sockets(split.exporter.process.pid)
    record_property(
        "measured", f"exporter: CapEff {exporter['CapEff']}; actuator: {actuator['CapEff']}, 0 inet"
    )


def test_a_lease_lives_as_it_does_in_one_process(split: Split) -> None:
    api, (gpu, other) = admin(split), uuids(split)
    granted = api.put_lease(gpu, **lease(250), idempotency_key="one")
    assert granted == api.put_lease(gpu, **lease(250), idempotency_key="one") | {
        "lease": granted["lease"]
    }
    assert eventually(lambda: shown(split, "gpu_power_limit_target_watts") == [250])

    assert 409 == refused(lambda: api.put_lease(gpu, **lease(200, holder="other")))[0]
    taken = api.put_lease(gpu, **lease(200, holder="other"), takeover=True)
    token = granted["lease"]["fencing_token"]
    assert 412 == refused(lambda: api.delete_lease(gpu, fencing_token=token))[0]
    assert split.comes_to(200, 300)
    assert 404 == refused(lambda: api.put_lease("GPU-none", **lease(200)))[0]

    ended = api.delete_lease(gpu, fencing_token=taken["lease"]["fencing_token"])
    assert ended is not None
    assert ("restored", 300.0) == (ended["outcome"], ended["power_limit_watts"])
    assert api.delete_lease(other) is None
    assert split.comes_to(300, 300)
    assert split.actuator.audited() == api.audit(limit=1000)


def test_the_policy_is_judged_where_the_limit_is_set(split: Split) -> None:
    api, (gpu, other) = admin(split), uuids(split)
    assert (150.0, 280.0) == tuple(
        api.gpu(gpu)[name] for name in ("allowed_min_watts", "allowed_max_watts")
    )

    status, text = refused(lambda: api.put_lease(gpu, **lease(140)))
    assert (422, True) == (status, "this host's policy allows this GPU 150 to 280 W" in text)
    status, text = refused(lambda: api.put_lease(gpu, **lease(200, ttl_seconds=601)))
    assert (422, True) == (status, "1 to 600 s" in text)
    api.put_lease(gpu, **lease(200))
    api.put_lease(other, **lease(200))
    api.put_lease(gpu, **lease(280))
    status, text = refused(lambda: api.put_lease(other, **lease(240)))
    assert (422, True) == (status, "make 520 W, but this host's policy allows 500 W" in text)


def test_a_lease_ends_in_time_while_the_exporter_is_frozen_and_after_it_was_killed(
    split: Split,
) -> None:
    api, (gpu, other) = admin(split), uuids(split)
    api.put_lease(gpu, **lease(200, ttl_seconds=1))
    api.put_lease(other, **lease(210, ttl_seconds=2))
    assert split.exporter.process is not None
    split.exporter.process.send_signal(signal.SIGSTOP)
    assert eventually(lambda: split.limits()[0] == 300)
    split.exporter.process.kill()
    split.exporter.process.wait(10)
    split.exporter.url = ""

    assert split.comes_to(300, 300)


def test_a_lease_outlives_the_exporter_and_its_counts_do_not_begin_anew(split: Split) -> None:
    admin(split).put_lease(uuids(split)[0], **lease(200))
    assert eventually(lambda: shown(split, "gpu_power_limit_target_watts") == [200])
    counted = shown(split, "gpu_power_limit_changes_total")
    assert 0 == split.exporter.stop()

    assert [200, 300] == split.limits()
    split.exporter.start()

    assert [200] == shown(split, "gpu_power_limit_target_watts")
    assert counted == shown(split, "gpu_power_limit_changes_total")


def test_without_the_actuator_leases_are_refused_with_the_reason_and_metrics_go_on(
    split: Split,
) -> None:
    api, (gpu, _) = admin(split), uuids(split)
    # Another limit than that of any test before: when it is shown, so is what was counted for it.
    api.put_lease(gpu, **lease(195))
    assert eventually(lambda: shown(split, "gpu_power_limit_target_watts") == [195])
    counted = shown(split, "gpu_power_limit_changes_total")
    split.actuator.end(signal.SIGKILL)

    status, text = refused(lambda: api.put_lease(gpu, **lease(210)))
    assert (503, True) == (status, "the actuator does not answer on" in text)
    assert eventually(lambda: not shown(split, "gpu_power_limit_target_watts"))
    assert [0, 0] == shown(split, "gpu_power_limit_writable")
    assert counted == shown(split, "gpu_power_limit_changes_total")
    assert [195, 300] == shown(split, "gpu_power_limit_watts")
    ticks = shown(split, "last_tick_timestamp_seconds")
    assert eventually(lambda: shown(split, "last_tick_timestamp_seconds") > ticks)
    assert 200 == split.exporter.get("/readyz")[0]

    split.actuator.start(f"--socket-group={NOBODY}")
    assert split.comes_to(300, 300)
    assert eventually(lambda: shown(split, "gpu_power_limit_writable") == [1, 1])


def test_the_end_of_the_actuator_is_the_end_of_every_lease(split: Split) -> None:
    for gpu in uuids(split):
        admin(split).put_lease(gpu, **lease(200))

    assert 0 == split.actuator.end()
    assert [300, 300] == split.limits()
    assert not split.actuator.socket.exists()


@pytest.mark.parametrize(("group", "answered"), [(NOBODY, "PeerRefused"), (4711, "denied")])
def test_another_user_is_refused_by_its_user_and_by_its_group(
    split: Split, group: int, answered: str
) -> None:
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "print(s.recv(4096))"
    )
    stranger = ["setpriv", "--reuid=4711", f"--regid={group}", "--clear-groups"]
    tried = subprocess.run(
        [*stranger, sys.executable, "-c", program, split.actuator.socket],
        capture_output=True,
        text=True,
        check=False,
    )

    assert answered in tried.stdout + tried.stderr


def test_nobody_is_hurt_by_garbage_half_requests_and_idle_connections(split: Split) -> None:
    path = str(split.actuator.socket)
    bad = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for number, each in enumerate(bad):
        each.connect(path)
        if number % 3:
            send(each, b'{"protocol"' if number % 3 == 1 else os.urandom(200) + b"\n")

    # The client itself gives up on what is not answered in time.
    admin(split).put_lease(uuids(split)[0], **lease(200))

    assert split.comes_to(200, 300)
    for each in bad:
        each.close()


@pytest.mark.parametrize(
    ("flags", "mode", "text"),
    [
        ((), 0o644, "another process listens there"),
        (("--listen-address=unix:/tmp/never.sock",), 0o666, "has mode 0666"),
        (("--listen-address=127.0.0.1:1",), 0o644, "a Unix socket alone"),
        (("--socket-group=no-such-group", "--listen-address=unix:{}"), 0o644, "no such group"),
    ],
)
def test_a_wrong_start_is_one_clear_line_and_status_2(
    split: Split, tmp_path: Path, flags: tuple[str, ...], mode: int, text: str
) -> None:
    tmp_path.chmod(0o755)
    wrong = Actuator(tmp_path, "", ())
    wrong.policy.chmod(mode)
    wrong.socket = split.actuator.socket

    process = wrong.launch(*(flag.replace("{}", str(tmp_path / "a.sock")) for flag in flags))

    assert 2 == process.wait(15)
    assert text in wrong.log()
