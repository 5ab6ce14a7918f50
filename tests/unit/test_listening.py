"""Unix sockets: one process has a name, whoever starts, stops or is killed at the same time."""

import errno
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from joulestat.config import ListenAddress
from joulestat.domain.errors import ConfigError
from joulestat.loops.listening import bind

UNIX_MODE = 0o660
N_AT_ONCE = 16


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def left_by_a_killed_process(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    path.with_name(path.name + ".lock").touch(0o600)


def test_a_socket_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "push.sock"
    left_by_a_killed_process(path)

    with bind(ListenAddress(unix_path=path), unix_mode=UNIX_MODE) as listening:
        assert answers(path)
        assert listening.getsockname() == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == UNIX_MODE


def test_a_name_goes_with_its_socket_and_can_be_had_again(tmp_path: Path) -> None:
    address = ListenAddress(unix_path=tmp_path / "push.sock")
    first = bind(address, unix_mode=UNIX_MODE)
    first.close()
    gone = not (tmp_path / "push.sock").exists()
    with bind(address, unix_mode=UNIX_MODE):
        first.close()
        assert (True, True) == (gone, answers(tmp_path / "push.sock"))


def test_a_socket_that_answers_is_not_taken_away(tmp_path: Path) -> None:
    address = ListenAddress(unix_path=tmp_path / "push.sock")

    with bind(address, unix_mode=UNIX_MODE):
        with pytest.raises(ConfigError, match="another process"):
            bind(address, unix_mode=UNIX_MODE)
        assert answers(tmp_path / "push.sock")


@pytest.mark.parametrize("backlog", [8, 0])
def test_one_of_somebody_who_knows_no_lock_is_not_taken_away(tmp_path: Path, backlog: int) -> None:
    path = tmp_path / "push.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        other.bind(str(path))
        other.listen(backlog)
        waiting.connect(str(path))  # with a backlog of 0 there is no room for a second one

        with pytest.raises(ConfigError, match="another process"):
            bind(ListenAddress(unix_path=path), unix_mode=UNIX_MODE)


def test_of_two_that_find_a_dead_socket_the_later_one_does_not_take_the_others_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "push.sock"
    left_by_a_killed_process(path)
    address = ListenAddress(unix_path=path)
    take_away, told = Path.unlink, []

    def take_away_late(self: Path, missing_ok: bool = False) -> None:
        """Another process starts between the look at the dead socket and its removal."""
        monkeypatch.setattr(Path, "unlink", take_away)
        try:
            others.append(bind(address, unix_mode=UNIX_MODE))
        except ConfigError as error:
            told.append(str(error))
        take_away(self, missing_ok)

    others: list[socket.socket] = []
    monkeypatch.setattr(Path, "unlink", take_away_late)
    with bind(address, unix_mode=UNIX_MODE) as first:
        assert [] == others
        assert answers(path)
        assert "another process listens there" in told[0]
        assert path.samefile(first.getsockname())


def test_of_many_that_start_at_once_one_has_the_name(tmp_path: Path) -> None:
    path = tmp_path / "push.sock"
    left_by_a_killed_process(path)
    ready = threading.Barrier(N_AT_ONCE)
    had: list[socket.socket] = []
    refused: list[ConfigError] = []

    def start() -> None:
        ready.wait()
        try:
            had.append(bind(ListenAddress(unix_path=path), unix_mode=UNIX_MODE))
        except ConfigError as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(N_AT_ONCE)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert (1, N_AT_ONCE - 1) == (len(had), len(refused))
    assert answers(path)
    had[0].close()


def test_closing_takes_away_no_other_socket_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "push.sock"
    ours = bind(ListenAddress(unix_path=path), unix_mode=UNIX_MODE)
    path.rename(tmp_path / "moved.sock")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        ours.close()

        assert answers(path)


def test_a_lock_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "push.sock.lock"
    lock.symlink_to(tmp_path / "somewhere")

    with pytest.raises(ConfigError, match=r"push\.sock\.lock") as refused:
        bind(ListenAddress(unix_path=tmp_path / "push.sock"), unix_mode=UNIX_MODE)

    assert os.strerror(errno.ELOOP) in str(refused.value)
    assert not (tmp_path / "somewhere").exists()


def test_a_file_that_is_no_socket_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")

    with pytest.raises(ConfigError, match="cannot listen"):
        bind(ListenAddress(unix_path=path), unix_mode=UNIX_MODE)
    assert path.read_text() == "data"
