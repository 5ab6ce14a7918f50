"""Which devices a training process works on, as the driver says, where it cannot tell itself.

The kernel names the process behind a Unix socket; the driver names the processes on a device.
The two are matched here: a device belongs to the peer if the peer, or a process that descends
from it, computes there. So a launcher stands for what it launched.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from joulestat.domain.units import NS_PER_SECOND

LOOK_INTERVAL_SECONDS = 1.0
"""How soon a process that begins to compute is noticed: as often as it pushes."""

INTEREST_NS = 10 * NS_PER_SECOND
"""For how long after a push its process is looked for. With no such push no driver is asked."""

MOST_GENERATIONS = 64
MOST_PEERS = 1024
"""Twice as many ranks as a node takes. While a driver hangs nobody is forgotten."""

Processes = Callable[[str], frozenset[int] | None]


class Peers:
    """Remembers who asked, and what was found about them at the last look."""

    def __init__(
        self,
        devices: Callable[[], Sequence[str]],
        processes: Processes,
        *,
        monotonic_ns: Callable[[], int],
        parent_of: Callable[[int], int | None] | None = None,
    ) -> None:
        """Look at nothing yet.

        Args:
            devices: UUIDs of the devices that are there.
            processes: Ids of the processes that compute on a device; None for unknown. May block.
            monotonic_ns: CLOCK_MONOTONIC.
            parent_of: Id of a process's parent, None for a process that is not there; from /proc
                by default.
        """
        self._devices = devices
        self._processes = processes
        self._monotonic_ns = monotonic_ns
        self._parent_of = parent_of or parent_pid
        self._asked_ns: dict[int, int] = {}
        self._found: Mapping[int, tuple[str, ...]] = {}

    def gpus_of(self, pid: int | None) -> tuple[str, ...]:
        """Return the devices of a process that names none. Any thread; asks no driver.

        Args:
            pid: The process, None where the connection does not tell.

        Returns:
            What the last look found. Without one, and without a pid, the host's only device;
            of several none, because joules of a wrong one are worse than none.
        """
        if pid is not None and (pid in self._asked_ns or len(self._asked_ns) < MOST_PEERS):
            self._asked_ns[pid] = self._monotonic_ns()
            found = self._found.get(pid)
            if found is not None:
                return found
        return self._only_one()

    def look(self) -> None:
        """Match those who asked lately. Blocks as long as the driver does; of one thread."""
        now_ns = self._monotonic_ns()
        asked_ns = list(self._asked_ns.items())  # at once: another thread adds to it
        for pid, at_ns in asked_ns:
            if now_ns - at_ns > INTEREST_NS:
                self._asked_ns.pop(pid, None)
        peers = [pid for pid, at_ns in asked_ns if now_ns - at_ns <= INTEREST_NS]
        if not peers:
            self._found = {}
            return
        users = {uuid: self._processes(uuid) for uuid in self._devices()}
        lines = {pid: self._line_of(pid) for pids in users.values() for pid in pids or ()}
        self._found = {peer: self._gpus_now(peer, users, lines) for peer in peers}

    def _gpus_now(
        self,
        peer: int,
        users: Mapping[str, frozenset[int] | None],
        lines: Mapping[int, frozenset[int]],
    ) -> tuple[str, ...]:
        before = self._found.get(peer, ())
        # A driver that does not answer takes nobody's device away.
        own = tuple(
            uuid
            for uuid, pids in users.items()
            if (uuid in before if pids is None else any(peer in lines[pid] for pid in pids))
        )
        # A process that we cannot see (its id is of another namespace) may be anybody's.
        others = any(lines[pid] for pids in users.values() for pid in pids or ())
        return own if own or others else self._only_one()

    def _only_one(self) -> tuple[str, ...]:
        devices = tuple(self._devices())
        return devices if len(devices) == 1 else ()

    def _line_of(self, pid: int) -> frozenset[int]:
        """Return a process and all that it descends from; empty for one that is not there."""
        line: set[int] = set()
        while pid > 0 and pid not in line and len(line) < MOST_GENERATIONS:
            parent = self._parent_of(pid)
            if parent is None:
                break
            line.add(pid)
            pid = parent
        return frozenset(line)


def parent_pid(pid: int) -> int | None:
    """Return the id of a process's parent, 0 without one; None for a process that is not there.

    Source:
        proc_pid_stat(5): the fourth field; the second is in parentheses and may hold any.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
