"""What the history takes from the heartbeat's snapshots: growth, claims, limits, heat."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from joulestat.domain.device import ThrottleReason
from joulestat.domain.limit import leasable_watts
from joulestat.domain.run import Cell, RunState
from joulestat.domain.snapshot import DeviceState, Snapshot
from joulestat.runs.history.merging import CellKey, KnownRun, Merger, Row, RowKey, RunKey
from joulestat.runs.history.spans import GAP_MS, Spans, SpanTrack

HEAT = frozenset(
    {
        ThrottleReason.HW_SLOWDOWN,
        ThrottleReason.SW_THERMAL,
        ThrottleReason.HW_THERMAL,
        ThrottleReason.POWER_BRAKE,
    }
)
"""What slows a GPU besides its power limit: heat, and the power supply."""

MS_PER_SECOND = 1_000

RUNS_KEPT = 1024
"""More than the ledger remembers: a run that comes back must be known."""

Claimed = tuple[RunKey, str]
"""Which run holds which device, by UUID."""

LimitValue = tuple[float, float | None]
"""Enforced limit and lease's target, W; None without a lease."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What is known of a device besides its limit; None where the driver does not say.

    Attributes:
        model: What the vendor calls it.
        default_watts: The limit that it came with.
        min_watts: The lowest limit that a lease may hold, by the card and by the host's policy.
        max_watts: The highest one.
    """

    model: str
    default_watts: float | None
    min_watts: float | None
    max_watts: float | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be written in one transaction.

    Attributes:
        rows: What counters grew by.
        cells: All counters of the runs that changed, as they are now.
        runs: The runs that changed.
        devices: All devices.
        uptime: Spans in which there were looks.
        spells: Spans in which a run was not over.
        claims: Spans in which a run held a device.
        limits: Spans in which a device stood at a limit.
    """

    rows: Mapping[RowKey, Row]
    cells: Mapping[RunKey, Mapping[CellKey, Cell]]
    runs: Mapping[RunKey, RunState]
    devices: Mapping[str, DeviceFacts]
    uptime: Spans[str, None]
    spells: Spans[RunKey, None]
    claims: Spans[Claimed, None]
    limits: Spans[str, LimitValue]

    def after(self, unwritten: "Batch") -> "Batch":
        """Return this batch with an earlier one that could not be written."""
        rows = dict(unwritten.rows)
        for key, row in self.rows.items():
            rows[key] = rows[key].plus(row) if key in rows else row
        return Batch(
            rows=rows,
            cells={**unwritten.cells, **self.cells},
            runs={**unwritten.runs, **self.runs},
            devices=self.devices,
            uptime={**unwritten.uptime, **self.uptime},
            spells={**unwritten.spells, **self.spells},
            claims={**unwritten.claims, **self.claims},
            limits={**unwritten.limits, **self.limits},
        )


class Observer:
    """Gathers what is to be written, look by look. For one thread."""

    def __init__(self, merger: Merger, *, begun_ms: int, known_until_ms: int) -> None:
        """Go on from what is in the file.

        Args:
            merger: With the runs that the file knows.
            begun_ms: Where the file begins, Unix ms: what a counter had before is no row.
            known_until_ms: The last look that is in the file; a run that was over before it and
                is not in the file was forgotten on purpose.
        """
        self._merger = merger
        self._uptime: SpanTrack[str, None] = SpanTrack()
        self._claims: SpanTrack[Claimed, None] = SpanTrack()
        self._spells: SpanTrack[RunKey, None] = SpanTrack()
        self._limits: SpanTrack[str, LimitValue] = SpanTrack()
        self._devices: dict[str, DeviceFacts] = {}
        self._changed: dict[RunKey, RunState] = {}
        self._begun_ms, self._known_until_ms = begun_ms, known_until_ms
        self._seen_ms: int | None = None
        self._seen: dict[RunKey, RunState] = {}

    def look(self, snapshot: Snapshot, hidden: Iterable[RunState] = ()) -> None:
        """Take one snapshot.

        Args:
            snapshot: As published.
            hidden: Runs that changed and that it does not show any more.
        """
        now_ms = round(snapshot.wall_seconds * MS_PER_SECOND)
        self._look_at_devices(snapshot.devices, now_ms)
        states = {run_key(state): state for state in (*hidden, *snapshot.runs)}
        self._feel_heat(snapshot.devices, states, now_ms)
        seen = {key: state for key, state in states.items() if self._takes(key, state, now_ms)}
        for key, state in seen.items():
            before = self._seen.get(key)
            if before is not state and before != state:
                self._merger.grow(key, state, now_ms)
                self._changed[key] = state
        self._follow(seen, now_ms)
        self._seen, self._seen_ms = seen, now_ms

    def take(self) -> Batch:
        """Return what to write, and begin to gather anew."""
        self._forget_runs()
        batch = Batch(
            rows=self._merger.take(),
            cells={key: dict(self._merger.runs[key].cells) for key in self._changed},
            runs=self._changed,
            devices=dict(self._devices),
            uptime=self._uptime.take(),
            spells=self._spells.take(),
            claims=self._claims.take(),
            limits=self._limits.take(),
        )
        self._changed = {}
        return batch

    def _takes(self, key: RunKey, state: RunState, now_ms: int) -> bool:
        """Tell whether a run belongs in the history; begin it where it is new there."""
        if key in self._merger.runs:
            return True
        birth_ms = key[1]
        if state.end_seconds is not None and (
            birth_ms < self._begun_ms
            # Rounded as that is: else a run that ended at the very look would be left out.
            or round(state.end_seconds * MS_PER_SECOND) < self._known_until_ms
        ):
            return False
        # Born before the file: where counting starts. Born since: its first values count whole.
        known = (state.cells, now_ms) if birth_ms < self._begun_ms else ({}, birth_ms)
        self._merger.runs[key] = KnownRun(dict(known[0]), known[1])
        return True

    def _look_at_devices(self, devices: Iterable[DeviceState], now_ms: int) -> None:
        limits: dict[str, LimitValue] = {}
        for state in devices:
            uuid, reading, lease = state.device.uuid, state.reading, state.control.lease
            if reading is None:
                continue
            enforced_watts = reading.limits.in_force_watts
            if enforced_watts is not None:
                # A driver's last digits are noise; each change of them would be a span.
                limits[uuid] = (
                    round(enforced_watts, 1),
                    None if lease is None else round(lease.target_watts, 1),
                )
            self._devices[uuid] = DeviceFacts(
                state.device.model,
                reading.limits.default_watts,
                *leasable_watts(reading.limits, state.control),
            )
        self._limits.look(now_ms, limits)

    def _feel_heat(
        self, devices: Iterable[DeviceState], states: Mapping[RunKey, RunState], now_ms: int
    ) -> None:
        """Add the time since the last look to each run, by whether heat slowed one of its GPUs."""
        passed_ms = now_ms - (now_ms if self._seen_ms is None else self._seen_ms)
        if not 0 < passed_ms <= GAP_MS:
            return
        slowed = {
            state.device.uuid: bool(reasons & HEAT)
            for state in devices
            if state.reading is not None
            and (reasons := state.reading.details.throttle_reasons) is not None
        }
        for key, state in states.items():
            felt = [slowed.get(claim.device_uuid) for claim in state.claims]
            run = self._merger.runs.get(key)
            if run is None or not felt or None in felt:
                continue
            run.watched_ms += passed_ms
            run.slowed_ms += passed_ms if True in felt else 0

    def _follow(self, seen: Mapping[RunKey, RunState], now_ms: int) -> None:
        live = {key: state for key, state in seen.items() if state.end_seconds is None}
        held = ((key, claim.device_uuid) for key, run in live.items() for claim in run.claims)
        self._uptime.look(now_ms, {"": None})
        self._spells.look(now_ms, dict.fromkeys(live))
        self._claims.look(now_ms, dict.fromkeys(held))

    def _forget_runs(self) -> None:
        """Keep the runs that the ledger may still know."""
        runs = self._merger.runs
        if len(runs) <= 2 * RUNS_KEPT:
            return
        oldest = sorted(runs.keys() - self._seen.keys(), key=lambda key: runs[key].grown_ms)
        for key in oldest[: len(runs) - RUNS_KEPT]:
            del runs[key]


def run_key(state: RunState) -> RunKey:
    """Return what tells a run from another one of its name."""
    return state.name, round(state.start_seconds * MS_PER_SECOND)
