"""Energy is conserved to the microjoule, whatever happens in whatever order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from joulestat.domain.device import PowerLimits, Reading
from joulestat.domain.errors import PushError
from joulestat.domain.run import Counts, Phase, Push, RunLabels, UnattributedReason
from joulestat.domain.units import NS_PER_SECOND
from joulestat.metering.meter import Meter, MeterRecord
from joulestat.runs.account import NOBODY
from joulestat.runs.budgets import Budgets, BudgetTerms
from joulestat.runs.ledger import Ledger, LedgerPolicy
from joulestat.runs.memory import DEVICE, changed_documents, restored_ledger

GPUS = ("GPU-a", "GPU-b", "GPU-c")
POLICY = LedgerPolicy(max_runs=3, max_ranks=6, max_ended=2)


class Training:
    """One process of one rank, as the client would see it."""

    def __init__(self, run: str, rank: int, gpus: tuple[str, ...], number: int) -> None:
        self.run, self.rank, self.gpus = run, rank, gpus
        self.incarnation = f"process-{number}"
        self.instead_of: str | None = None
        self.seq = 0
        self.totals = dict.fromkeys(Phase, Counts())


class Node(RuleBasedStateMachine):
    """Three GPUs, any number of runs, one ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 500 * NS_PER_SECOND
        self.wall = 1_795_000_000.0
        self.registers_uj = {gpu: 7_000_000 * (i + 1) for i, gpu in enumerate(GPUS)}
        self.limits = dict.fromkeys(GPUS, 300.0)
        self.unread: set[str] = set()
        self.meters = {gpu: Meter() for gpu in GPUS}
        self.processes: list[Training] = []
        self.started = 0
        terms = BudgetTerms("q4", "nlp", 1e6, 0.0, 2e9)
        self.ledger = Ledger(POLICY, "memory-1", Budgets([terms]))
        self.documents: dict[str, str] = {}

    @initialize()
    def first_tick(self) -> None:
        self._tick(0, [0, 0, 0])

    def _tick(self, passed_ns: int, drawn_uj: list[int]) -> None:
        self.now_ns += passed_ns
        self.wall += passed_ns / NS_PER_SECOND
        for gpu, uj in zip(GPUS, drawn_uj, strict=True):
            self.registers_uj[gpu] += uj
            if gpu in self.unread:
                continue
            limits = PowerLimits(enforced_watts=self.limits[gpu], max_watts=300.0)
            reading = Reading(self.now_ns, self.registers_uj[gpu], None, limits)
            if self.meters[gpu].observe(reading):
                state = self.meters[gpu].state
                assert state is not None
                self.ledger.observe(gpu, state.at_ns, state.total_uj, limits.in_force_watts)
        self.ledger.advance(self.now_ns, self.wall, beat=True)

    @rule(
        passed_ns=st.one_of(st.integers(1, 4 * NS_PER_SECOND), st.just(70 * NS_PER_SECOND)),
        drawn_uj=st.lists(st.integers(0, 90_000_000), min_size=3, max_size=3),
    )
    def tick(self, passed_ns: int, drawn_uj: list[int]) -> None:
        self._tick(passed_ns, drawn_uj)

    @rule(gpu=st.sampled_from(GPUS), watts=st.sampled_from([150.0, 200.0, 300.0]))
    def change_limit(self, gpu: str, watts: float) -> None:
        self.ledger.mark_limit_write(gpu, self.now_ns)
        self.limits[gpu] = watts

    @rule(gpu=st.sampled_from(GPUS), to_uj=st.integers(0, 1_000_000))
    def reset_register(self, gpu: str, to_uj: int) -> None:
        self.registers_uj[gpu] = to_uj

    @rule(gpu=st.sampled_from(GPUS))
    def hang_or_answer_again(self, gpu: str) -> None:
        self.unread ^= {gpu}

    @rule(
        run=st.sampled_from(["alpha", "beta", "gamma", "delta"]),
        rank=st.integers(0, 1),
        gpus=st.sets(st.sampled_from(GPUS), max_size=3),
        late_ns=st.integers(0, 3 * NS_PER_SECOND),
        relieved=st.integers(-6, 6),
    )
    def start(self, run: str, rank: int, gpus: set[str], late_ns: int, relieved: int) -> None:
        self.started += 1
        process = Training(run, rank, tuple(sorted(gpus)), self.started)
        if 0 <= relieved < len(self.processes):
            process.instead_of = self.processes[relieved].incarnation
        self.processes.append(process)
        self._push(process, Phase.TRAIN, late_ns=late_ns)
        self._tick(NS_PER_SECOND, [5, 1_000_001, 700_003])

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), late_ns=st.integers(0, 3 * NS_PER_SECOND), final=st.booleans())
    def replace(self, data: st.DataObject, late_ns: int, final: bool) -> None:
        """Let a process take over a rank before anybody has read a GPU again."""
        old = data.draw(st.sampled_from(self.processes))
        old.totals[Phase.TRAIN] += Counts(1, 10, 0)
        self._push(old, Phase.TRAIN, final=final)
        self.started += 1
        process = Training(old.run, old.rank, old.gpus, self.started)
        self.processes.append(process)
        self._push(process, Phase.TRAIN, late_ns=late_ns)

    @rule(
        data=st.data(),
        phase=st.sampled_from(Phase),
        counted=st.builds(Counts, st.integers(0, 9), st.integers(0, 99), st.integers(0, 999)),
        late_ns=st.integers(-3 * NS_PER_SECOND, 20 * NS_PER_SECOND),
        final=st.integers(0, 5),
        again=st.booleans(),
    )
    def push(
        self,
        data: st.DataObject,
        phase: Phase,
        counted: Counts,
        late_ns: int,
        final: int,
        again: bool,
    ) -> None:
        if not self.processes:
            return
        process = data.draw(st.sampled_from(self.processes))
        process.totals[phase] += counted
        team = data.draw(st.sampled_from(["nlp", "vision"]))
        self._push(process, phase, late_ns=late_ns, final=final == 0, again=again, team=team)
        self._tick(NS_PER_SECOND, [200_000_001, 3, 170_000_017])

    def _push(
        self,
        process: Training,
        phase: Phase,
        *,
        late_ns: int = 0,
        final: bool = False,
        again: bool = False,
        team: str = "nlp",
    ) -> None:
        process.seq += 1
        push = Push(
            run=process.run,
            rank=process.rank,
            incarnation=process.incarnation,
            seq=process.seq,
            at_ns=self.now_ns - late_ns,
            gpus=process.gpus,
            phase=phase,
            totals=dict(process.totals),
            labels=RunLabels(team=team),
            final=final,
            instead_of=process.instead_of,
        )
        try:
            self.ledger.push(push, self.now_ns, self.wall)
            if again:
                assert not self.ledger.push(push, self.now_ns, self.wall).accepted
        except PushError:
            pass

    @precondition(lambda self: len(self.processes) > 2)
    @rule()
    def restart_the_exporter(self) -> None:
        self._restart(same_boot=True)

    @precondition(lambda self: len(self.processes) > 4)
    @rule()
    def reboot(self) -> None:
        self.registers_uj = dict.fromkeys(GPUS, 1_000)
        self.limits = dict.fromkeys(GPUS, 300.0)
        self._restart(same_boot=False)

    def _restart(self, *, same_boot: bool) -> None:
        for key, text in changed_documents(self.ledger).items():
            if text is None:
                self.documents.pop(key, None)
            else:
                self.documents[key] = text
        if not same_boot:  # as service/memory.py does
            self.documents = {k: v for k, v in self.documents.items() if not k.startswith(DEVICE)}
        budgets = Budgets([BudgetTerms("q4", "nlp", 1e6, 0.0, 2e9)])
        self.ledger = restored_ledger(
            self.documents,
            policy=POLICY,
            budgets=budgets,
            instance="memory-1",
            now_ns=self.now_ns,
            same_boot=same_boot,
        )
        for gpu, meter in self.meters.items():
            record = meter.record
            kept = same_boot and record is not None
            text = record.to_document() if record is not None else ""
            self.meters[gpu] = Meter(MeterRecord.from_document(text) if kept else None)
        if not same_boot:
            self.before = {key: uj for key, uj in self.before.items() if not key.startswith("GPU")}
            self._tick(0, [0, 0, 0])

    @invariant()
    def credited_and_unattributed_and_pending_are_the_device_total(self) -> None:
        for device in self.ledger.devices.values():
            account, total_uj = device.account, device.curve.end_uj
            unattributed_uj = sum(account.unattributed_uj.values())
            pending_uj = account.pending_uj(total_uj)
            assert account.credited_uj + unattributed_uj + pending_uj == total_uj

    @invariant()
    def a_runs_cells_hold_the_energy_of_its_devices(self) -> None:
        for run in self.ledger.runs.values():
            cells_uj = sum(cell.energy_uj for cell in run.cells.values())
            assert cells_uj == sum(run.device_energy_uj.values())

    @invariant()
    def nothing_ever_falls(self) -> None:
        now = {
            **{
                f"{run.name}/{key}": cell.energy_uj
                for run in self.ledger.runs.values()
                for key, cell in run.cells.items()
            },
            **{
                f"{gpu}/{reason}": uj
                for gpu in self.ledger.devices
                for reason, uj in self.ledger.unattributed_uj(gpu).items()
            },
        }
        for key, uj in getattr(self, "before", {}).items():
            assert key not in now or now[key] >= uj
        self.before = now

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        for run in self.ledger.runs.values():
            credited = sum(cell.counts.samples for cell in run.cells.values())
            reported = sum(
                counts.samples
                for process in self.processes
                if process.run == run.name
                for counts in process.totals.values()
            )
            assert credited <= reported

    @invariant()
    def who_shares_a_device_is_who_claims_it(self) -> None:
        for gpu, device in self.ledger.devices.items():
            claimed = {
                (run.name, rank)
                for run in self.ledger.runs.values()
                if run.end_seconds is None
                for rank, claimed_gpu in run.open_claims()
                if claimed_gpu == gpu
            }
            assert set(device.account.holders) - {NOBODY} == claimed

    @invariant()
    def stale_energy_is_counted_apart(self) -> None:
        for gpu in self.ledger.devices:
            assert self.ledger.unattributed_uj(gpu)[UnattributedReason.STALE] >= 0


TestConservation = Node.TestCase
TestConservation.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
