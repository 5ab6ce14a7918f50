"""Reads back from Prometheus what each GPU of a run drew under which limit, and the run's pace.

While a run's GPUs stand at different limits its per-limit counters are labelled ``mixed``, so
steps and seconds are summed over that label here, and limits are looked up per device. Energy
per device, steps and seconds of a node are credited at the same instants, so differences of
stored values belong together to the last step.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from joulestat.domain.run import Phase
from joulestat.optimizer.fleet.gpu_facts import GpuEvidence
from joulestat.optimizer.fleet.gpu_stretches import (
    SHORTEST_STRETCH_SECONDS,
    GpuSlice,
    stretches_of,
)
from joulestat.optimizer.history.limits import ENFORCED
from joulestat.optimizer.history.placement import Target, target_of
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import Matcher, equals, one_of, selector

GPU_ENERGY = "joulestat_run_gpu_energy_joules_total"
STEPS = "joulestat_run_steps_total"
STEP_SECONDS = "joulestat_run_step_seconds_total"

WINDOW_SECONDS = 8 * 3_600.0
"""Longer than what went wrong is remembered, and than the common pace is trusted."""

MOST_POINTS = 200_000
"""In all answers together. 1,000 GPUs: a look every 5 minutes; 8 GPUs: every 15 s."""
SERIES_PER_GPU = 2
SERIES_PER_RUN = 16
FINEST_STEP_SECONDS = 15.0
LONGEST_STEP_SECONDS = 300.0


def read_gpu_evidence(
    client: PrometheusClient,
    run: str,
    gpu_uuids: Sequence[str],
    at_seconds: float,
    *,
    matchers: Sequence[Matcher] = (),
    window_seconds: float = WINDOW_SECONDS,
    step_seconds: float | None = None,
    shortest_seconds: float = SHORTEST_STRETCH_SECONDS,
) -> GpuEvidence:
    """Read a run's GPUs one by one, up to a moment.

    Args:
        client: Where to ask.
        run: Name of the run; any text is safe.
        gpu_uuids: The devices that it holds.
        at_seconds: Unix time; nothing later is looked at.
        matchers: Only series that also meet these.
        window_seconds: How far back to look.
        step_seconds: How densely, not more so than it is scraped; None for 15 s, longer where there
            are many GPUs.
        shortest_seconds: A stretch before the last one counts from this length on.

    Raises:
        HistoryError: As for any query.
    """
    if not gpu_uuids:
        return GpuEvidence(run, (), ())
    step = step_seconds or _step_seconds(window_seconds, len(gpu_uuids))
    end = math.floor(at_seconds / step) * step
    looks = _read(client, run, gpu_uuids, matchers, (end - window_seconds, end, step))
    times = sorted(set().union(*(look.steps for look in looks.targets.values())))
    slices = _slices(looks, times, gpu_uuids, step)
    return GpuEvidence(run, tuple(gpu_uuids), stretches_of(slices, shortest_seconds))


def _step_seconds(window_seconds: float, n_gpus: int) -> float:
    n_series = SERIES_PER_RUN + SERIES_PER_GPU * n_gpus
    step = math.ceil(window_seconds * n_series / MOST_POINTS)
    return float(min(max(step, FINEST_STEP_SECONDS), LONGEST_STEP_SECONDS))


@dataclass(slots=True)
class _Target:
    """One exporter as one scraper saw it: values by Unix time."""

    joules: dict[str, dict[float, float]] = field(default_factory=dict)
    steps: dict[float, float] = field(default_factory=dict)
    seconds: dict[str, dict[float, float]] = field(default_factory=dict)
    """By phase."""


@dataclass(slots=True)
class _Looks:
    targets: dict[Target, _Target] = field(default_factory=dict)
    limits_watts: dict[float, dict[str, int]] = field(default_factory=dict)

    def target(self, labels: Mapping[str, str]) -> _Target:
        return self.targets.setdefault(target_of(labels), _Target())


def _read(
    client: PrometheusClient,
    run: str,
    gpu_uuids: Sequence[str],
    matchers: Sequence[Matcher],
    grid: tuple[float, float, float],
) -> _Looks:
    looks = _Looks()
    of_run, devices = (equals("run", run), *matchers), one_of("gpu_uuid", gpu_uuids)
    for series in client.query_range(selector(GPU_ENERGY, *of_run, devices), *grid):
        looks.target(series.labels).joules[series.labels["gpu_uuid"]] = dict(series.points)
    train = equals("phase", Phase.TRAIN.value)
    steps = f"sum without(power_limit_watts) ({selector(STEPS, *of_run, train)})"
    for series in client.query_range(steps, *grid):
        looks.target(series.labels).steps = dict(series.points)
    seconds = f"sum without(power_limit_watts) ({selector(STEP_SECONDS, *of_run)})"
    for series in client.query_range(seconds, *grid):
        looks.target(series.labels).seconds[series.labels["phase"]] = dict(series.points)
    limits = f"max by(gpu_uuid) ({selector(ENFORCED, devices, *matchers)})"
    for series in client.query_range(limits, *grid):
        for at_seconds, watts in series.points:
            known = looks.limits_watts.setdefault(at_seconds, {})
            known[series.labels["gpu_uuid"]] = round(watts)
    return looks


def _slices(
    looks: _Looks, times: Sequence[float], gpu_uuids: Sequence[str], step: float
) -> list[GpuSlice]:
    """Return what happened between neighbouring looks where no limit changed, nor just before.

    A push that straddles a change is seen with the next look only, so the slice after a change
    is left out, too.
    """
    slices = []
    complete = set(gpu_uuids)
    steady = False
    for start, end in pairwise(times):
        limits = looks.limits_watts.get(start, {})
        was_steady = steady
        steady = limits == looks.limits_watts.get(end) and complete <= limits.keys()
        if not (steady and was_steady) or end - start > 2 * step:
            continue
        grown = _grown(looks.targets.values(), gpu_uuids, start, end)
        if grown is not None:
            joules, joules_seconds, steps, seconds = grown
            slices.append(GpuSlice(start, end, limits, joules, joules_seconds, steps, seconds))
    return slices


def _grown(
    targets: Iterable[_Target], gpu_uuids: Sequence[str], start: float, end: float
) -> tuple[dict[str, float], dict[str, float], float, float] | None:
    """Return joules and seconds by device, steps and seconds; None for a slice of no use.

    That is one in which a counter fell, another phase had a part, or a device is not seen.
    """
    joules = dict.fromkeys(gpu_uuids, 0.0)
    joules_seconds = dict.fromkeys(gpu_uuids, 0.0)
    all_steps = all_seconds = 0.0
    for target in targets:
        steps = _difference(target.steps, start, end)
        seconds = _difference(target.seconds.get(Phase.TRAIN.value, {}), start, end)
        if not steps or not seconds:
            continue
        # A phase that is new is shown first with what it took.
        others = (
            at.get(end, 0.0) != at.get(start, 0.0)
            for phase, at in target.seconds.items()
            if phase != Phase.TRAIN.value
        )
        if steps < 0 or seconds < 0 or any(others):
            return None
        all_steps += steps
        all_seconds += seconds
        for uuid, values in target.joules.items():
            amount = _difference(values, start, end)
            if amount is None or amount < 0:
                return None
            joules[uuid] += amount
            joules_seconds[uuid] += seconds
    if not all_steps or not all(joules_seconds.values()):
        return None
    return joules, joules_seconds, all_steps, all_seconds


def _difference(values: Mapping[float, float], start: float, end: float) -> float | None:
    before, after = values.get(start), values.get(end)
    return None if before is None or after is None else after - before
