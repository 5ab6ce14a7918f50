"""Makes one run's history out of what each of its nodes kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from joulestat.domain.plan import Window
from joulestat.domain.run import Phase
from joulestat.domain.tariff import UNKNOWN_TARIFF
from joulestat.domain.units import ns_to_seconds, uj_to_joules
from joulestat.optimizer.history.facts import RunHistory, Slice
from joulestat.optimizer.history.journal_limits import devices_of, node_references
from joulestat.optimizer.history.limits import limits_of, on_one_scale
from joulestat.optimizer.history.placement import present_placement
from joulestat.optimizer.history.pulse import is_fresh
from joulestat.runs.history.records import HistoryPage, RowRecord, RunRecord
from joulestat.runs.history.schema import FLUSH_SECONDS

SHOWN_SECONDS = 900.0
"""A run that is over counts as shown for this long, as on /metrics."""

PATIENCE_SECONDS = 300.0
"""A node that has not looked for this long is out of sight."""

RECENT_SECONDS = 3_600.0
"""Over this time the mix of phases is judged."""

WINDOWS_SECONDS = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)
MOST_WINDOWS = 50_000


@dataclass(frozen=True, slots=True)
class Part:
    """One node's part of a run: its last page, and the rows of all its pages."""

    page: HistoryPage
    rows: list[RowRecord]

    @property
    def beat_seconds(self) -> float:
        """Unix time of the node's newest look as of the moment asked about; 0 before the first."""
        return self.page.node.beat_seconds or 0.0

    def newest_seconds(self, at_seconds: float) -> float | None:
        """Return the newest look, None where it is too old to say how things stand."""
        return self.beat_seconds if at_seconds - self.beat_seconds <= PATIENCE_SECONDS else None


def window_seconds_for(span_seconds: float) -> float:
    """Return how densely to look: as densely as it is kept, unless that is too much to carry."""
    finest = span_seconds / MOST_WINDOWS
    return next((step for step in WINDOWS_SECONDS if step >= finest), WINDOWS_SECONDS[-1])


def is_shown(run: RunRecord, at_seconds: float) -> bool:
    """Tell whether a run is live at a moment, or ended shortly before."""
    if not run.spells:
        return False
    last = run.spells[-1]
    patience = SHOWN_SECONDS if last.is_over else PATIENCE_SECONDS
    return at_seconds - last.end_seconds <= patience


def same_kind(run: RunRecord, history: RunHistory) -> bool:
    """Tell whether a run is another one of the same job label on the same GPU model."""
    return (
        run.run != history.run
        and history.job != ""
        and history.gpu_model != ""
        and run.job == history.job
        and run.gpu_models == (history.gpu_model,)
    )


def history_from(run: str, parts: Sequence[Part], grid: tuple[float, float, float]) -> RunHistory:
    """Return one run's history.

    Args:
        run: Its name.
        parts: What each node that knows it kept.
        grid: Start and end of what was read, Unix seconds, and the length of its windows.
    """
    start_seconds, at_seconds, step_seconds = grid
    records = [part.page.run for part in parts if part.page.run is not None]
    latest = max(records, key=lambda record: record.last_push_seconds)
    names = _names(parts)
    slices = _slices(parts, names, at_seconds, step_seconds)
    present = {item.node for item in slices if item.steps} or set(names)
    here = [part for part, name in zip(parts, names, strict=True) if name in present]
    shown = [part for part in here if part.page.run and is_shown(part.page.run, at_seconds)]
    age = max((at_seconds - part.beat_seconds for part in here), default=None)
    age = age if shown else None
    fresh = is_fresh(age, FLUSH_SECONDS)
    ended = all(record.spells and record.spells[-1].is_over for record in records)
    holding = {
        name: part
        for part, name in zip(parts, names, strict=True)
        if name in present and part.page.is_held
    } or {name: part for part, name in zip(parts, names, strict=True) if name in present}
    nodes = {
        device.gpu_uuid: name for name, part in holding.items() for device in part.page.devices
    }
    devices = devices_of(
        [
            (device, part.newest_seconds(at_seconds))
            for part in holding.values()
            for device in part.page.devices
        ]
    )
    uuids = tuple(sorted(nodes))
    limits = limits_of(devices, uuids, nodes)
    scaled = on_one_scale(slices, node_references(limits.reference_by_gpu, nodes))
    looks = [part.beat_seconds for part in parts if part.beat_seconds >= start_seconds]
    return RunHistory(
        run=run,
        slices=tuple(scaled),
        window=Window(start_seconds, max(looks)) if looks else None,
        gpu_uuids=uuids,
        gpu_model=devices.model(uuids),
        job=latest.job,
        limits=limits,
        live=fresh and any(part.page.is_held for part in here) and not ended,
        fresh=fresh,
        ended=ended,
        sample_age_seconds=age,
        shared_with=tuple(sorted({name for part in here for name in part.page.shared_with})),
        steps_done=_steps_done(parts),
        joules_spent=_joules_spent(parts),
        other_joules_spent=_joules_spent(parts, without=(Phase.TRAIN,)),
        planned_steps=latest.planned_steps,
        energy_budget_joules=latest.energy_budget_joules,
        other_phase_ratio=_other_phase_ratio(parts, at_seconds),
        tariff=here[0].page.node.tariff if here else UNKNOWN_TARIFF,
        problems=tuple(_dark_nodes(parts, names)),
    )


def _names(parts: Sequence[Part]) -> list[str]:
    """Return a name for each node; hosts of one name are told apart by their exporter."""
    hosts = [part.page.node.node for part in parts]
    return [
        host if hosts.count(host) == 1 else f"{host}/{part.page.node.instance[:8]}"
        for host, part in zip(hosts, parts, strict=True)
    ]


def _slices(
    parts: Sequence[Part], names: Sequence[str], at_seconds: float, step_seconds: float
) -> list[Slice]:
    """Return what nodes did in training under one limit, as if all were looked at together."""
    slices: list[Slice] = []
    for part, name in zip(parts, names, strict=True):
        totals = part.page.totals
        has_samples = any(total.samples for total in totals)
        has_tokens = any(total.tokens for total in totals)
        for row in part.rows:
            if row.phase != Phase.TRAIN or not row.power_limit_watts.isdigit():
                continue
            # Rows that reach far back bridge a time without looks.
            bridges = row.start_seconds < row.window_seconds - step_seconds
            slices.append(
                Slice(
                    node=name,
                    power_limit_watts=int(row.power_limit_watts),
                    start_seconds=row.start_seconds if bridges else row.window_seconds,
                    end_seconds=min(row.window_seconds + step_seconds, at_seconds),
                    steps=float(row.steps),
                    joules=uj_to_joules(row.energy_uj),
                    step_seconds=ns_to_seconds(row.duration_ns),
                    samples=float(row.samples) if has_samples else None,
                    tokens=float(row.tokens) if has_tokens else None,
                    thermal_ratio=row.slowed_ms / row.watched_ms if row.watched_ms else None,
                )
            )
    slices.sort(key=lambda item: item.end_seconds)
    return present_placement(slices, max(PATIENCE_SECONDS, 2 * step_seconds))


def _steps_done(parts: Iterable[Part]) -> float:
    """Return the run's steps: nodes at work together count the same ones, others their own."""
    spans = []
    for part in parts:
        record = part.page.run
        steps = sum(t.steps for t in part.page.totals if t.phase == Phase.TRAIN)
        if record is not None and steps:
            end = record.spells[-1].end_seconds if record.spells else record.last_push_seconds
            spans.append((record.start_seconds, end, steps))
    done, together_until, together = 0, float("-inf"), 0
    for start, end, steps in sorted(spans):
        if start > together_until:
            done, together = done + together, 0
        together, together_until = max(together, steps), max(together_until, end)
    return float(done + together)


def _joules_spent(parts: Iterable[Part], without: Sequence[Phase] = ()) -> float:
    """Return the run's energy, but for that of some phases."""
    totals = (total for part in parts for total in part.page.totals)
    return uj_to_joules(sum(total.energy_uj for total in totals if total.phase not in without))


def _other_phase_ratio(parts: Iterable[Part], at_seconds: float) -> float | None:
    since = at_seconds - RECENT_SECONDS
    rows = [row for part in parts for row in part.rows if row.end_seconds >= since]
    all_ns = sum(row.duration_ns for row in rows)
    other_ns = sum(row.duration_ns for row in rows if row.phase != Phase.TRAIN)
    return other_ns / all_ns if all_ns else None


def _dark_nodes(parts: Sequence[Part], names: Sequence[str]) -> Iterable[str]:
    """Name the nodes that went out of sight while the run went on elsewhere."""
    newest = max(part.beat_seconds for part in parts)
    for part, name in zip(parts, names, strict=True):
        run = part.page.run
        dark_seconds = newest - part.beat_seconds
        over = run is None or not run.spells or run.spells[-1].is_over
        if not over and PATIENCE_SECONDS < dark_seconds < SHOWN_SECONDS:
            yield (
                f"{name} has written no history for {dark_seconds:.0f} s although the run goes on"
            )
