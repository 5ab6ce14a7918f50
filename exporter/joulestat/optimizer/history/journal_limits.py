"""What exporters kept of devices' limits, in the terms in which Prometheus' answers are judged."""

from collections import Counter
from collections.abc import Mapping, Sequence

from joulestat.optimizer.history.limits import (
    DEFAULT,
    ENFORCED,
    FOREIGN_SECONDS,
    MAX,
    MIN,
    TARGET,
    Devices,
)
from joulestat.runs.history.records import DeviceRecord, LimitRecord


def devices_of(records: Sequence[tuple[DeviceRecord, float | None]]) -> Devices:
    """Return what is known of devices.

    Args:
        records: Each with the Unix time of its node's newest look, at which "now" is; None where
            that is too long ago to say how they stand.
    """
    watts: dict[str, dict[str, float]] = {}
    targets_before: dict[str, float] = {}
    for device, now_seconds in records:
        uuid = device.gpu_uuid
        known = {DEFAULT: device.default_watts, MIN: device.min_watts, MAX: device.max_watts}
        if now_seconds is not None:
            now = _at(device, now_seconds)
            before = _at(device, now_seconds - FOREIGN_SECONDS)
            known[ENFORCED] = now.enforced_watts if now is not None else None
            known[TARGET] = now.target_watts if now is not None else None
            if before is not None and before.target_watts is not None:
                targets_before[uuid] = before.target_watts
        for metric, value in known.items():
            if value is not None:
                watts.setdefault(metric, {})[uuid] = value
    return Devices(
        watts=watts,
        models={device.gpu_uuid: device.model for device, _ in records},
        unleased={device.gpu_uuid: _unleased_ms(device) for device, _ in records},
        targets_before=targets_before,
    )


def node_references(by_gpu: Mapping[str, int], nodes: Mapping[str, str]) -> dict[str, int]:
    """Return each node's reference limit; none of a node whose devices do not agree."""
    found: dict[str, set[int]] = {}
    for uuid, watts in by_gpu.items():
        found.setdefault(nodes[uuid], set()).add(watts)
    return {node: watts.pop() for node, watts in found.items() if len(watts) == 1}


def _at(device: DeviceRecord, at_seconds: float) -> LimitRecord | None:
    """Return the limit at a moment, None where it was not read then."""
    for limit in reversed(device.limits):
        if limit.start_seconds <= at_seconds:
            return limit if at_seconds <= limit.end_seconds else None
    return None


def _unleased_ms(device: DeviceRecord) -> Counter[int]:
    """Return how long the device stood at each limit, whole W, while no lease held it."""
    stood: Counter[int] = Counter()
    for limit in device.limits:
        if limit.target_watts is None:
            lasted_ms = round(1_000 * (limit.end_seconds - limit.start_seconds))
            # A limit that was seen at all counts: in two looks, or in one.
            stood[round(limit.enforced_watts)] += max(1, lasted_ms)
    return stood
