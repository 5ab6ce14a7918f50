"""The demo's processes: started in groups of their own, watched, and gone at the end."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from joulestat.domain.errors import JoulestatError

STOP_SECONDS = 10.0
"""How long a process may take to end after SIGTERM; the exporter restores limits in it."""

LOG_TAIL_LINES = 15

LEASH = ["setpriv", "--pdeathsig", "TERM"]
"""In front of a command: SIGTERM when its parent dies (util-linux; BusyBox's cannot)."""


class DemoFailed(JoulestatError):
    """A part of the demo did not do what it should; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process. Its output goes to ``log``; only what it is asked for goes to ``output``."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path
    log: Path

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None


class Children:
    """All processes of one demo. For the main thread only.

    Each gets a session of its own, so that a Ctrl-C in the terminal reaches the demo alone, which
    then ends them in order. Should the demo itself be killed outright, the kernel ends them, as
    far as ``setpriv`` (util-linux) is there to ask for it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []
        self._leash = LEASH if _works(LEASH) else []

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Child:
        """Start a process; ``environment`` is added to the demo's own.

        Raises:
            DemoFailed: The program cannot be started.
        """
        program = shutil.which(command[0])
        if program is None:
            raise DemoFailed(f"cannot start {name}: there is no program {command[0]}")
        output, log = self._folder / f"{name}.out", self._folder / f"{name}.log"
        try:
            with output.open("wb") as out, log.open("wb") as err:
                process = subprocess.Popen(
                    [*self._leash, program, *command[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,
                )
        except OSError as error:
            raise DemoFailed(f"cannot start {name} ({command[0]}): {error.strerror}") from error
        child = Child(name, process, output, log)
        self._children.append(child)
        return child

    def check(self) -> None:
        """See whether all still run.

        Raises:
            DemoFailed: One ended by itself; the text quotes the end of its log.
        """
        for child in self._children:
            if not child.running:
                raise DemoFailed(
                    f"{child.name} ended by itself (exit status {child.process.returncode})"
                    f"; its last words:\n{_tail(child)}"
                )

    def stop(self, child: Child) -> None:
        """End one process and everything it started: SIGTERM, and SIGKILL to what stays."""
        self._children.remove(child)
        _signal_group(child, signal.SIGTERM)
        try:
            child.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _signal_group(child, signal.SIGKILL)
            child.process.wait()
        # Its own children, if it left any, are still in its group.
        _signal_group(child, signal.SIGKILL)

    def stop_all(self) -> None:
        """End every process, the last one started first."""
        for child in reversed(list(self._children)):
            self.stop(child)


def wait_for_end(child: Child, seconds: float) -> bool:
    """Wait until a process has ended by itself; False when it has not in so many seconds."""
    deadline = time.monotonic() + seconds
    while child.running and time.monotonic() < deadline:
        time.sleep(0.02)
    return not child.running


def _works(leash: Sequence[str]) -> bool:
    try:
        return subprocess.run([*leash, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _signal_group(child: Child, number: signal.Signals) -> None:
    try:
        os.killpg(child.process.pid, number)
    except ProcessLookupError:
        return


def _tail(child: Child) -> str:
    lines = child.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:])
