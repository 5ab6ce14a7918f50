"""The demo's processes: watched while they run, and gone afterwards."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulestat.demo.children import Children, DemoFailed, wait_for_end
from joulestat.demo.stopping import Stopped, Stopping

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
FORK_AND_SLEEP = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    running = Children(tmp_path)
    yield running
    running.stop_all()


def first_line(path: Path) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if "\n" in (text := path.read_text()):
            return text.splitlines()[0]
        time.sleep(0.01)
    raise AssertionError(f"nothing in {path}")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_stopping_ends_a_process_and_what_it_started(children: Children) -> None:
    child = children.start("forker", [sys.executable, "-c", FORK_AND_SLEEP])
    grandchild = int(first_line(child.output))

    children.stop_all()

    assert not child.running
    deadline = time.monotonic() + 5
    while alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(grandchild)


def test_a_process_that_ends_by_itself_is_an_error_with_its_last_words(children: Children) -> None:
    child = children.start(
        "broken", [sys.executable, "-c", "import sys; sys.exit('no such world')"]
    )
    assert wait_for_end(child, seconds=20)

    with pytest.raises(DemoFailed, match=r"broken ended by itself \(exit status 1\)[^$]*no such"):
        children.check()


def test_a_program_that_is_not_there_is_an_error_with_its_name(children: Children) -> None:
    with pytest.raises(DemoFailed, match="/nonexistent/program"):
        children.start("absent", ["/nonexistent/program"])


def test_ctrl_c_in_the_terminal_does_not_reach_the_processes(children: Children) -> None:
    child = children.start("sleeper", SLEEP)

    assert os.getpgid(child.process.pid) == child.process.pid
    assert os.getsid(child.process.pid) == child.process.pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_next_wait_and_every_later_one(number: signal.Signals) -> None:
    with Stopping() as stopping:
        assert not stopping.asked
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()

        with pytest.raises(Stopped):
            stopping.wait(20)

        assert stopping.asked
        with pytest.raises(Stopped):
            stopping.wait(0)


def test_a_second_signal_while_cleaning_up_changes_nothing() -> None:
    with Stopping() as stopping:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

        assert stopping.asked


def test_signals_mean_what_they_meant_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Stopping():
        pass

    assert before is signal.getsignal(signal.SIGTERM)
