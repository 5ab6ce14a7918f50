"""One command as a child process: every signal passed on, its end told as a shell tells it."""

import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from typing import Self

NOT_FOUND = 127
NOT_RUNNABLE = 126
KILLED = 128
"""What a shell answers: for a command that is not there, one that cannot be run, and, with the
signal's number added, one that a signal ended."""

_FAULTS = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"}
_STOPS = {"SIGKILL", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT"}
_QUIET = {"SIGCHLD", "SIGURG", "SIGWINCH", "SIGPIPE"}
_OWN = {getattr(signal, name) for name in _FAULTS | _STOPS | _QUIET if hasattr(signal, name)}
_PASSED_ON = frozenset(signal.valid_signals() - _OWN)
"""Everything that asks a process for something. Not what a process does to itself, not job
control, which a terminal does to both at once, and not what nobody sends."""

_PYTHON_IGNORES = {
    getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name)
}
_LOOK_SECONDS = 1.0


class CannotRun(Exception):
    """A command could not be started.

    Attributes:
        status: What a shell exits with then.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def check_command(command: str) -> None:
    """Make sure that there is such a program.

    Raises:
        CannotRun: There is none, or it must not be run.
    """
    if shutil.which(command) is not None:
        return
    if os.path.lexists(command) and os.sep in command:
        message = f"{command!r} cannot be run: it is no program that this user may execute"
        raise CannotRun(message, NOT_RUNNABLE)
    raise CannotRun(f"{command!r} was not found; is it installed, and on PATH?", NOT_FOUND)


class Signals:
    """Holds back, in every thread of this process, what is to be passed on.

    To be entered before any thread is started: threads inherit it. A signal handler would not
    do: it cannot tell who sent the signal.
    """

    def __init__(self) -> None:
        self.before: set[signal.Signals | int] = set()

    def __enter__(self) -> Self:
        # Where SIGCHLD is ignored, the kernel throws exit statuses away.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.before = set(signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON | {signal.SIGCHLD}))
        return self

    def __exit__(self, *_: object) -> None:
        # What arrived too late for anybody must not end this process instead.
        while signal.sigtimedwait(_PASSED_ON, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, self.before)


def run_command(command: Sequence[str], environment: Mapping[str, str], signals: Signals) -> int:
    """Run a command to its end; return what a shell would exit with.

    Signals that a process sends to this one are sent on to the command. Those of the terminal
    (Ctrl-C) are not: it sends them to both already, as they share a process group.

    Raises:
        CannotRun: The system refused to start it.
    """
    try:
        pid = os.posix_spawnp(
            command[0],
            list(command),
            dict(environment),
            setsigmask=signals.before,
            setsigdef=_PYTHON_IGNORES,
        )
    except OSError as error:
        message = f"{command[0]!r} cannot be run: {error.strerror or error}"
        raise CannotRun(message, NOT_RUNNABLE) from error
    while (status := _ended(pid)) is None:
        arrived = signal.sigtimedwait(_PASSED_ON | {signal.SIGCHLD}, _LOOK_SECONDS)
        if arrived is None or arrived.si_signo == signal.SIGCHLD or arrived.si_code > 0:
            continue  # above 0: from the kernel, so the terminal's
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, arrived.si_signo)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else KILLED - code


def _ended(pid: int) -> int | None:
    """Return a child's wait status once it has ended. As a container's first process, reap all."""
    while True:
        ended_pid, status = os.waitpid(-1, os.WNOHANG)
        if ended_pid == pid:
            return status
        if ended_pid == 0:
            return None
