"""A node whose history is kept: looks made by hand, and what the file says of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fakes.node import LABELS, a_device, a_lease, a_snapshot, gpu_uuid
from joulestat.domain.device import Details, Device, PowerLimits, Reading, ThrottleReason
from joulestat.domain.run import Cell, Claim, Counts, Phase, RunLabels, RunState
from joulestat.domain.snapshot import DeviceState
from joulestat.domain.tariff import Tariff
from joulestat.runs.history.file import NodeIdentity
from joulestat.runs.history.keeper import MOST_BYTES, HistoryKeeper
from joulestat.runs.history.reader import HistoryReader
from joulestat.runs.history.records import HistoryPage
from joulestat.runs.history.schema import FILE_NAME

BEGIN_SECONDS = 1_795_000_020.0
"""A whole minute, so that windows begin with it."""

MONTH_SECONDS = 30 * 86_400.0
JOULE = 1_000_000
SECOND = 1_000_000_000


class KeptNode:
    """One exporter's history; time is in seconds after ``BEGIN_SECONDS``."""

    def __init__(
        self,
        folder: Path,
        name: str = "node-1",
        *,
        retention_seconds: float = MONTH_SECONDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.path = folder / FILE_NAME
        self.name, self.retention_seconds = name, retention_seconds
        self.most_bytes = most_bytes
        self.cells: dict[str, dict[tuple[Phase, str], Cell]] = {}
        self.births: dict[str, float] = {}
        self.ends: dict[str, float] = {}
        self.held: dict[str, tuple[int, ...]] = {}
        self.labels: dict[str, RunLabels] = {}
        self.plans: dict[str, tuple[int, float]] = {}
        self.limits_watts = {0: 250.0, 1: 250.0}
        self.leased: set[int] = set()
        self.targets_watts: dict[int, float] = {}
        self.slowed: dict[int, bool | None] = {}
        self.start()

    def start(self) -> None:
        """Start keeping, from what an earlier process left in the file."""
        identity = NodeIdentity(self.name, f"memory-of-{self.name}", Tariff(0.3, "EUR"))
        self.keeper = HistoryKeeper(self.path, identity, self.retention_seconds, self.most_bytes)

    def plan(self, run: str, steps: int, budget_joules: float) -> None:
        """Let a run say how many steps it is to make, on how much energy."""
        self.plans[run] = steps, budget_joules

    def begin(self, run: str, at: float, gpus: Sequence[int] = (0,), job: str = "llama") -> None:
        """Let a run begin."""
        self.births[run], self.held[run] = BEGIN_SECONDS + at, tuple(gpus)
        self.cells[run] = {}
        self.labels[run] = replace(LABELS, job=job)

    def grow(
        self,
        run: str,
        limit: str = "250",
        *,
        steps: int = 1,
        joules: float = 100.0,
        seconds: float = 1.0,
        phase: Phase = Phase.TRAIN,
    ) -> None:
        """Let a counter of a run grow; each step has 32 samples."""
        cell = self.cells[run].get((phase, limit), Cell())
        self.cells[run][phase, limit] = Cell(
            cell.energy_uj + round(joules * JOULE),
            cell.duration_ns + round(seconds * SECOND),
            cell.counts + Counts(steps, 32 * steps),
        )

    def end(self, run: str, at: float) -> None:
        """Let a run be over."""
        self.ends[run] = BEGIN_SECONDS + at

    def look(self, at: float, *, without: Iterable[str] = ()) -> None:
        """Take a look; runs in ``without`` are shown only as changed, as just before they go."""
        wall_seconds = BEGIN_SECONDS + at
        states = {name: self._state(name, wall_seconds) for name in sorted(self.cells)}
        hidden = set(without)
        shown = [state for name, state in states.items() if name not in hidden]
        snapshot = replace(
            a_snapshot([self._device(index) for index in self.limits_watts], shown),
            wall_seconds=wall_seconds,
        )
        self.keeper.note(snapshot, [states[name] for name in hidden])

    def train(self, run: str, times: Iterable[float], limit: str = "250", **grown: float) -> None:
        """Let a run make a step before each look."""
        for at in times:
            self.grow(run, limit, **grown)  # type: ignore[arg-type]
            self.look(at)

    def page(self, run: str = "r", *, end: float = 1e6, start: float = 0.0) -> HistoryPage:
        """Write what is left and read one run."""
        self.keeper.flush()
        return HistoryReader(self.path).history(run, start, BEGIN_SECONDS + end)

    def _state(self, name: str, pushed_seconds: float) -> RunState:
        over, plan = name in self.ends, self.plans.get(name)
        return RunState(
            name=name,
            labels=self.labels[name],
            claims=()
            if over
            else tuple(Claim(0, gpu_uuid(index), Phase.TRAIN) for index in self.held[name]),
            cells=dict(self.cells[name]),
            device_energy_uj={},
            start_seconds=self.births[name],
            end_seconds=self.ends.get(name),
            last_push_seconds={0: self.ends.get(name, pushed_seconds)},
            planned_steps=plan[0] if plan else None,
            energy_budget_joules=plan[1] if plan else None,
        )

    def _device(self, index: int) -> DeviceState:
        watts, slowed = self.limits_watts[index], self.slowed.get(index, False)
        reasons = frozenset({ThrottleReason.SW_THERMAL} if slowed else ())
        reading = Reading(
            at_ns=0,
            energy_counter_uj=None,
            power_watts=None,
            limits=PowerLimits(watts, watts, 300.0, 100.0, 300.0),
            details=Details(throttle_reasons=None if slowed is None else reasons),
        )
        device = Device(gpu_uuid(index), index, "nvidia", "Tesla V100", "0000:00:00.0", "560")
        target_watts = self.targets_watts.get(index, watts)
        lease = replace(a_lease(index), target_watts=target_watts) if index in self.leased else None
        return a_device(index, device=device, reading=reading, lease=lease)


def sums(page: HistoryPage) -> Mapping[tuple[str, str], tuple[int, ...]]:
    """Return what all rows add up to, by phase and limit: steps, ns, uJ, samples, tokens."""
    added: dict[tuple[str, str], tuple[int, ...]] = {}
    for row in page.rows:
        key = row.phase, row.power_limit_watts
        parts = (row.steps, row.duration_ns, row.energy_uj, row.samples, row.tokens)
        known = added.get(key, (0,) * 5)
        added[key] = tuple(one + other for one, other in zip(known, parts, strict=True))
    return added
