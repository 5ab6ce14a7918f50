"""SIGKILL at random moments: after the next start no limit is left behind, nor any record."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from fakes.clock import FakeClock
from joulestat.domain.limit import LeaseRequest
from joulestat.power.audit import Audit
from joulestat.power.governor import Governor
from joulestat.power.journal import Journal
from joulestat.power.leases import LeasePolicy

GPU = "GPU-a"
BASELINE_WATTS = 283.5
N_KILLS = 12


class CardOnDisk:
    """A card whose limit outlives every process, as a real one's does: a number in a file."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def range_watts(self) -> tuple[float, float]:
        return 100.0, 400.0

    def read_watts(self) -> float:
        return float(os.pread(self._fd, 16, 0))

    def enforced_watts(self) -> float | None:
        return None

    def write_watts(self, limit_watts: float) -> None:
        os.pwrite(self._fd, f"{limit_watts:<16.3f}".encode(), 0)

    def close(self) -> None:
        os.close(self._fd)


class Service:
    """The governor on one directory, as one process runs it."""

    def __init__(self, directory: Path) -> None:
        clock = FakeClock()
        self.card = CardOnDisk(directory / "card")
        self.journal = Journal(directory / "state" / "leases.db", clock)
        self.audit = Audit(directory / "state" / "audit.jsonl", clock)
        policy = LeasePolicy(write_interval_seconds=0.0)
        self.governor = Governor({GPU: self.card}, self.journal, self.audit, clock, policy)
        self.governor.recover()

    def be_busy(self) -> None:
        """Grant, change, renew and release until killed."""
        chance = random.Random()
        while True:
            watts = chance.choice([150.0, 200.0, 250.0, 350.0])
            request = LeaseRequest(watts, 60.0, "optimizer", "busy")
            self.governor.grant(
                GPU, request, principal="alice", idempotency_key=str(chance.random())
            )
            if chance.random() < 0.3:
                self.governor.release(GPU, principal="alice")

    def close(self) -> None:
        self.journal.close()
        self.audit.close()
        self.card.close()


def kill_while_busy(directory: Path, after_seconds: float) -> None:
    tests = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, __file__, str(directory)],
        env={**os.environ, "PYTHONPATH": str(tests)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process:
        assert b"busy\n" == process.stdout.readline()
        time.sleep(after_seconds)
        process.kill()


def test_a_service_killed_at_any_moment_leaves_no_limit_behind(tmp_path: Path) -> None:
    card = CardOnDisk(tmp_path / "card")
    card.write_watts(BASELINE_WATTS)
    chance = random.Random(1)
    n_stranded = 0
    for _ in range(N_KILLS):
        kill_while_busy(tmp_path, chance.uniform(0.0, 0.1))
        n_stranded += card.read_watts() != BASELINE_WATTS
        service = Service(tmp_path)
        assert BASELINE_WATTS == card.read_watts()
        assert service.journal.read_only_reason is None
        assert [] == list(service.journal.records())
        assert service.audit.verify().ok
        service.close()
    card.close()
    assert n_stranded > 0, "no kill came while a limit was held: the test is not worth its name"


if __name__ == "__main__":
    busy = Service(Path(sys.argv[1]))
    sys.stdout.write("busy\n")
    sys.stdout.flush()
    busy.be_busy()
