"""What somebody would try who wants to hold limits, or to have it look as if others did."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.actuator import served
from fakes.configs import loader
from fakes.host import GPU, Host
from joulestat.actuator import service
from joulestat.actuator.service import ActuatorService
from joulestat.config import ListenAddress
from joulestat.domain.errors import ControlReadOnly
from joulestat.domain.limit import LeaseRequest
from joulestat.loops.listening import bind
from joulestat.loops.system_clock import SystemClock

REQUEST = LeaseRequest(250.0, 60.0, "optimizer", "probe")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.stop()


@pytest.mark.parametrize("name", ["joulestat", "Joule\u200bstat", "", " \u202e"])
def test_no_peer_asks_in_the_actuators_own_name_or_in_nobodys(
    host: Host, tmp_path: Path, name: str
) -> None:
    with served(host, tmp_path) as actuator:
        for ask in (
            lambda: actuator.client.grant(GPU, REQUEST, principal=name),
            lambda: actuator.client.release(GPU, principal=name),
            lambda: actuator.client.revert_all(principal=name),
        ):
            with pytest.raises(ControlReadOnly, match="name who asks, and not 'joulestat'"):
                ask()

    assert [] == host.card.written
    assert not (host.state / "audit.jsonl").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_link_in_the_sockets_place_gives_no_other_file_to_the_sockets_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("")
    path = tmp_path / "actuator.sock"

    def bind_and_be_robbed(address: ListenAddress, *, unix_mode: int) -> socket.socket:
        listening = bind(address, unix_mode=unix_mode)
        path.unlink()
        path.symlink_to(secret)
        return listening

    monkeypatch.setattr(service, "bind", bind_and_be_robbed)
    config = loader(tmp_path)(
        "backend: simulated\n"
        f"simulated: {{state-file: {tmp_path / 'world'}}}\n"
        f"state-path: {tmp_path / 'state'}\n"
    )
    listen = ListenAddress(unix_path=path)
    made = ActuatorService(config, SystemClock(), listen, "4711", on_failure=lambda: None)
    made.stop()

    assert os.getegid() == secret.stat().st_gid


def test_nobody_else_may_replace_a_socket_in_a_folder_that_is_made_for_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / "joulestat" / "admin.sock"
    before = os.umask(0)
    try:
        with bind(ListenAddress(unix_path=path), unix_mode=0o660):
            places = (path, path.with_name("admin.sock.lock"), path.parent, path.parent.parent)
            modes = [each.stat().st_mode & 0o777 for each in places]
    finally:
        os.umask(before)

    assert [0o660, 0o600, 0o755, 0o755] == modes
