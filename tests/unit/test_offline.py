"""Limits put back from the journal alone: by the rules of a start, and none where all is well."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from joulestat.cli.lease import lease
from joulestat.devices.simulated import SimulatedBackend, open_simulated
from joulestat.devices.world import Fault
from joulestat.domain.limit import LeaseRequest
from joulestat.loops.system_clock import SystemClock
from joulestat.power.audit import Audit
from joulestat.power.governor import Governor
from joulestat.power.journal import Journal
from joulestat.power.policy import LeasePolicy

pytestmark = pytest.mark.promise("lease-stop", "lease-baseline")

BASELINE_WATTS, LEASED_WATTS = 277.125, 150.0


class Crashed:
    """A host whose service is gone, with a lease on each of its two GPUs."""

    def __init__(self, folder: Path) -> None:
        self.state, self.world_file, clock = folder / "state", folder / "world", SystemClock()
        self.backend: SimulatedBackend = open_simulated(
            path=self.world_file, model="V100", gpus=2, seed=1, clock=clock
        )
        self.gpus = [device.uuid for device in self.backend.devices()]
        self.journal = Journal(self.state / "leases.sqlite", clock)
        audit = Audit(self.state / "audit.jsonl", clock)
        limiters = {uuid: self.backend.limiter(uuid) for uuid in self.gpus}
        governor = Governor(limiters, self.journal, audit, clock, LeasePolicy())
        request = LeaseRequest(LEASED_WATTS, 600.0, "optimizer", "why")
        for gpu in self.gpus:
            self.backend.world.set_limit(gpu, BASELINE_WATTS)
            governor.grant(gpu, request, principal="alice")
        audit.close()

    def die(self) -> None:
        self.journal.close()

    def limits(self) -> list[float]:
        return [self.backend.world.limit_watts(gpu) for gpu in self.gpus]

    def revert(self, *flags: str) -> tuple[int, str]:
        done = CliRunner().invoke(
            lease,
            [
                *("revert-all", "--offline", f"--state-path={self.state}"),
                *("--backend=simulated", "--simulated.gpus=2", "--timeout=20s"),
                *(f"--simulated.state-file={self.world_file}", *flags),
            ],
        )
        assert not isinstance(done.exception, Exception), done.exception
        return done.exit_code, done.output


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Crashed]:
    host = Crashed(tmp_path)
    yield host
    host.die()
    host.backend.close()


def test_every_limit_comes_back_to_the_milliwatt_and_then_there_is_nothing_to_do(
    host: Crashed,
) -> None:
    host.die()

    status, said = host.revert()

    assert [BASELINE_WATTS] * 2 == host.limits()
    assert (0, 2) == (status, said.count("the limit from before is back, now at 277.125 W"))
    assert (0, "") == host.revert()


def test_it_is_in_the_audit_log_which_stays_whole(host: Crashed) -> None:
    host.die()
    host.revert()
    audit = Audit(host.state / "audit.jsonl", SystemClock())

    ends = [each for each in audit.read(0, 99) if each["action"] == "revert"]
    assert ["recovered"] * 4 == [each["cause"] for each in ends]
    assert audit.verify().ok


def test_a_service_that_holds_the_journal_is_to_be_asked(host: Crashed) -> None:
    status, said = host.revert()

    assert (1, [LEASED_WATTS] * 2) == (status, host.limits())
    assert "joulestat lease revert-all --admin.url" in said


def test_a_limit_that_somebody_else_set_is_left_alone(host: Crashed) -> None:
    host.die()
    host.backend.world.set_limit(host.gpus[0], 222.0)

    status, said = host.revert()

    assert (0, [222.0, BASELINE_WATTS]) == (status, host.limits())
    assert f"{host.gpus[0]}: somebody else changed the limit meanwhile" in said
    assert (0, "") == host.revert()


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.NO_PERMISSION])
def test_what_one_driver_does_keeps_no_other_gpu_waiting_and_loses_nothing(
    host: Crashed, fault: Fault
) -> None:
    host.die()
    host.backend.world.set_fault(host.gpus[0], fault)

    status, said = host.revert("--timeout=2s")

    assert (1, [LEASED_WATTS, BASELINE_WATTS]) == (status, host.limits())
    assert f"{host.gpus[0]}: the limit from before could not be put back: the driver" in said
    host.backend.world.set_fault(host.gpus[0], None)
    assert (0, [BASELINE_WATTS] * 2) == (host.revert()[0], host.limits())


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--backend=none"], "the GPU is not there"),
        (["--backend=amd"], "amd"),
    ],
)
def test_without_its_gpu_a_limit_waits_in_the_journal(
    host: Crashed, flags: Sequence[str], why: str
) -> None:
    host.die()

    status, said = host.revert(*flags)

    assert (1, 2) == (status, said.count("could not be put back"))
    assert why in said
    assert (0, [BASELINE_WATTS] * 2) == (host.revert()[0], host.limits())


def test_a_journal_that_cannot_be_trusted_is_not_guessed_at(host: Crashed) -> None:
    host.die()
    journal = host.state / "leases.sqlite"
    journal.write_bytes(journal.read_bytes()[:100] + bytes(4000))

    status, said = host.revert()

    assert (1, [LEASED_WATTS] * 2) == (status, host.limits())
    assert "was moved aside because" in said
    assert (1, True) == (host.revert()[0], bool(list(host.state.glob("*.aside-*"))))


def test_where_there_never_was_a_service_nothing_is_done_and_nothing_made(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"

    done = CliRunner().invoke(lease, ["revert-all", "--offline", f"--state-path={nowhere}"])

    assert (0, "", False) == (done.exit_code, done.output, nowhere.exists())


@pytest.mark.parametrize("flags", [[], ["--offline", "--admin.url=unix:/nowhere"]])
def test_either_a_service_is_asked_or_none(flags: Sequence[str]) -> None:
    done = CliRunner().invoke(lease, ["revert-all", *flags])

    assert 2 == done.exit_code
    assert "give either --admin.url or --offline" in done.output
