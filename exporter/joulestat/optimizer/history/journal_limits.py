"""The power limits of a run's devices, from the spans that exporters kept of them."""

from collections import Counter
from collections.abc import Sequence

from joulestat.domain.units import same_limit
from joulestat.optimizer.history.facts import UNKNOWN_LIMITS, Limits
from joulestat.runs.history.records import DeviceRecord, LimitRecord

MIXED_SHARE = 0.5
"""Unequal limits in more than this share of the time are the set-up, not a passing moment."""


def limits_of(devices: Sequence[tuple[DeviceRecord, float | None]]) -> Limits:
    """Return the limits of devices.

    Args:
        devices: Each with the Unix time of its node's newest look, at which "now" is;
            None where that is too long ago to say how they stand.
    """
    if not devices:
        return UNKNOWN_LIMITS
    now = {device.gpu_uuid: _at(device, at_seconds) for device, at_seconds in devices}
    records = [device for device, _ in devices]
    reference_watts, unequal = _reference(records)
    if reference_watts is None and not unequal:
        reference_watts, unequal = _common([device.default_watts for device in records])
    standing = [limit.enforced_watts if limit else None for limit in now.values()]
    lowest = [device.min_watts for device in records]
    highest = [device.max_watts for device in records]
    return Limits(
        reference_watts=reference_watts,
        unequal_reference=unequal,
        current_watts=_common(standing)[0],
        leased=all(limit is not None and _is_held(limit) for limit in now.values()),
        foreign=tuple(
            uuid
            for uuid, limit in now.items()
            if limit is not None and limit.target_watts is not None and not _is_held(limit)
        ),
        min_watts=None if None in lowest else max(w for w in lowest if w is not None),
        max_watts=None if None in highest else min(w for w in highest if w is not None),
    )


def _at(device: DeviceRecord, at_seconds: float | None) -> LimitRecord | None:
    """Return the limit at the newest look, None where it was not read then."""
    if at_seconds is None or not device.limits:
        return None
    return device.limits[-1] if device.limits[-1].end_seconds >= at_seconds else None


def _is_held(limit: LimitRecord) -> bool:
    return limit.target_watts is not None and same_limit(limit.target_watts, limit.enforced_watts)


def _reference(devices: Sequence[DeviceRecord]) -> tuple[int | None, bool]:
    """Return the limit that devices stood at longest without a lease, and whether they differed.

    Goes through the moments at which a span of any device begins or ends.
    """
    changes: list[tuple[float, int, int]] = []
    for device in devices:
        for limit in device.limits:
            if limit.target_watts is None:
                watts = round(limit.enforced_watts)
                changes.append((limit.start_seconds, 1, watts))
                changes.append((limit.end_seconds, -1, watts))
    changes.sort()
    standing: Counter[int] = Counter()
    longest: Counter[int] = Counter()
    total_seconds = mixed_seconds = before_seconds = 0.0
    for at_seconds, change, watts in changes:
        passed_seconds = at_seconds - before_seconds
        present = {each: count for each, count in standing.items() if count}
        if present and passed_seconds > 0:
            total_seconds += passed_seconds
            mixed_seconds += passed_seconds if len(present) > 1 else 0.0
            for each, count in present.items():
                # In whole ms: sums of floats would break ties at random.
                longest[each] += round(1_000 * passed_seconds) * count
        standing[watts] += change
        before_seconds = at_seconds
    if not longest:
        return None, False
    if mixed_seconds > MIXED_SHARE * total_seconds:
        return None, True
    # Of limits that were in force equally long the higher one is the safer reference.
    return max(longest, key=lambda watts: (longest[watts], watts)), False


def _common(limits_watts: Sequence[float | None]) -> tuple[int | None, bool]:
    known = {round(watts) for watts in limits_watts if watts is not None}
    if len(known) == 1 and None not in limits_watts:
        return known.pop(), False
    return None, len(known) > 1
