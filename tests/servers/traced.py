"""System calls of a process as strace tells them: what was synced before what was written."""

import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fakes.patience import eventually

SET_LIMIT = "nvmlDeviceSetPowerManagementLimit"
SHOWN_BYTES = 1000
"""Of each text that is written: enough for the whole of an audit record."""

_BEGUN = re.compile(r'(\w+)\((\d+)<([^>]*)>(?:, "((?:[^"\\]|\\.)*)")?')
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>")


def no_strace() -> str | None:
    """Return why nothing can be traced here, None where it can."""
    if shutil.which("strace") is None:
        return "no strace on PATH: Debian's package strace"
    tried = subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, check=False
    )
    return None if tried.returncode == 0 else "nobody may trace processes here: CAP_SYS_PTRACE"


def tracing(output: Path) -> tuple[str, ...]:
    """Return what starts a command so that it is traced, as a child of whoever starts it."""
    calls = "fsync,fdatasync,write,pwrite64"
    return (
        *("strace", "-D", "-f", "--seccomp-bpf", "-q", "-y", "-s", str(SHOWN_BYTES)),
        *("-e", f"trace={calls}", "-e", "signal=none", "-o", str(output)),
    )


@dataclass(frozen=True)
class Call:
    """One system call that succeeded, at the moment when it came back."""

    name: str
    file: str
    text: str

    @property
    def syncs(self) -> bool:
        return self.name in ("fsync", "fdatasync")


@dataclass(frozen=True)
class LimitWrite:
    """A limit that was set, and what its thread had done since it last set one.

    Attributes:
        action: What the audit log calls it.
        announced: Whether the intent was written to the audit log, and synced.
        recorded: Whether the journal was written after that, and synced.
    """

    action: str
    announced: bool
    recorded: bool


def limit_writes(output: Path, pid: int) -> list[LimitWrite]:
    """Return every limit that a process which has ended has set, in order.

    The stand-in for the driver notes each call when it is done, in the same thread. So what that
    thread had synced before the note, it had synced before the call, as it does nothing between.
    """
    # Who traces is a moment behind who is traced.
    ended = re.compile(rf"^{pid} +\+\+\+ exited", re.MULTILINE)
    assert eventually(
        lambda: ended.search(output.read_text(errors="replace")) is not None, within_seconds=30.0
    )
    done: dict[str, list[Call]] = defaultdict(list)
    found: list[LimitWrite] = []
    for thread, call in _calls(output.read_text(errors="replace").splitlines()):
        if call.file.endswith("nvml.calls") and SET_LIMIT in call.text:
            found.append(_judged(done.pop(thread, [])))
        else:
            done[thread].append(call)
    return found


def _judged(calls: Sequence[Call]) -> LimitWrite:
    intents = [
        at
        for at, call in enumerate(calls)
        if call.file.endswith("audit.jsonl") and r"\"phase\":\"intent\"" in call.text
    ]
    if not intents:
        return LimitWrite("", announced=False, recorded=False)
    last = intents[-1]
    action = re.search(r'\\"action\\":\\"(\w+)\\"', calls[last].text)
    synced = _first(calls, last, "audit.jsonl", syncs=True)
    kept = _first(calls, synced, "leases.sqlite-wal", syncs=False)
    return LimitWrite(
        "" if action is None else action[1],
        announced=synced is not None,
        recorded=_first(calls, kept, "leases.sqlite-wal", syncs=True) is not None,
    )


def _first(calls: Sequence[Call], after: int | None, file: str, *, syncs: bool) -> int | None:
    """Return where the first such call after another one stands, None without either."""
    if after is None:
        return None
    for at in range(after + 1, len(calls)):
        if calls[at].file.endswith(file) and calls[at].syncs is syncs:
            return at
    return None


def _calls(lines: Sequence[str]) -> Iterator[tuple[str, Call]]:
    """Yield calls with their threads, as they come back."""
    begun: dict[str, Call] = {}
    for line in lines:
        thread, _, rest = line.partition(" ")
        rest = rest.strip()
        call = begun.pop(thread, None) if _RESUMED.match(rest) else None
        if call is None and (parts := _BEGUN.match(rest)) is not None:
            call = Call(parts[1], parts[3], parts[4] or "")
        if call is None:
            continue
        if rest.endswith("<unfinished ...>"):
            begun[thread] = call
        elif not re.search(r"= -1 \w+", rest):
            yield thread, call
