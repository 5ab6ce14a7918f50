"""The power limits of a run's devices: before any lease, now, and how far they may go."""

from collections import Counter
from collections.abc import Sequence

from joulestat.domain.units import same_limit
from joulestat.optimizer.history.facts import UNKNOWN_LIMITS, Limits
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import one_of, selector

ENFORCED = "joulestat_gpu_power_limit_enforced_watts"
TARGET = "joulestat_gpu_power_limit_target_watts"
DEFAULT = "joulestat_gpu_power_limit_default_watts"
MIN = "joulestat_gpu_power_limit_min_watts"
MAX = "joulestat_gpu_power_limit_max_watts"

MIXED_SHARE = 0.5
"""Unequal limits in more than this share of the looks are the set-up, not a passing moment."""


def read_limits(
    client: PrometheusClient,
    gpu_uuids: Sequence[str],
    start_seconds: float,
    end_seconds: float,
    step_seconds: float,
) -> Limits:
    """Read the limits of these devices.

    Args:
        client: Where to ask.
        gpu_uuids: The run's devices.
        start_seconds: Unix time from which the reference limit is looked for.
        end_seconds: Unix time until which it is, and at which "now" is.
        step_seconds: How densely.

    Raises:
        HistoryError: As for any query.
    """
    if not gpu_uuids:
        return UNKNOWN_LIMITS
    devices = one_of("gpu_uuid", gpu_uuids)

    def now(metric: str) -> dict[str, float]:
        samples = client.query(selector(metric, devices), end_seconds)
        return {sample.labels.get("gpu_uuid", ""): sample.value for sample in samples}

    enforced, targets, lowest, highest = now(ENFORCED), now(TARGET), now(MIN), now(MAX)
    seen = _unleased_limits(
        client,
        f"{selector(ENFORCED, devices)} unless on(gpu_uuid) {selector(TARGET, devices)}",
        (start_seconds, end_seconds, step_seconds),
    )
    reference, unequal = _most_frequent(seen)
    if reference is None:
        reference, unequal = _common(now(DEFAULT))
    current, _ = _common(enforced)
    complete = set(gpu_uuids)
    return Limits(
        reference_watts=reference,
        unequal_reference=unequal,
        current_watts=current if complete <= enforced.keys() else None,
        leased=all(
            uuid in targets and uuid in enforced and same_limit(targets[uuid], enforced[uuid])
            for uuid in gpu_uuids
        ),
        min_watts=max(lowest.values()) if complete <= lowest.keys() else None,
        max_watts=min(highest.values()) if complete <= highest.keys() else None,
    )


def _unleased_limits(
    client: PrometheusClient, expression: str, grid: tuple[float, float, float]
) -> dict[float, Counter[int]]:
    """Return how many devices stood at which limit, by Unix time.

    ``count_values`` keeps the answer small: a few series, however many devices there are.
    """
    seen: dict[float, Counter[int]] = {}
    for series in client.query_range(f'count_values("limit_watts", {expression})', *grid):
        limit_watts = round(float(series.labels["limit_watts"]))
        for at_seconds, n_devices in series.points:
            seen.setdefault(at_seconds, Counter())[limit_watts] += round(n_devices)
    return seen


def _most_frequent(seen: dict[float, Counter[int]]) -> tuple[int | None, bool]:
    """Return the most frequent limit, and whether the devices mostly differed."""
    total: Counter[int] = Counter()
    for counts in seen.values():
        total.update(counts)
    if not total:
        return None, False
    if sum(len(counts) > 1 for counts in seen.values()) > MIXED_SHARE * len(seen):
        return None, True
    # Of limits that were seen equally often the higher one is the safer reference.
    return max(total, key=lambda watts: (total[watts], watts)), False


def _common(limits: dict[str, float]) -> tuple[int | None, bool]:
    values = {round(watts) for watts in limits.values()}
    if len(values) == 1:
        return values.pop(), False
    return None, len(values) > 1
