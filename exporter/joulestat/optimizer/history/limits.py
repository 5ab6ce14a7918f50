"""The power limits of runs' devices: before any lease, now, and how far they may go."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from joulestat.domain.units import LIMIT_TOLERANCE_WATTS, same_limit
from joulestat.optimizer.history.facts import UNKNOWN_LIMITS, Limits, Slice
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import any_of, few_at_once, selector

ENFORCED = "joulestat_gpu_power_limit_enforced_watts"
TARGET = "joulestat_gpu_power_limit_target_watts"
BASELINE = "joulestat_gpu_power_limit_baseline_watts"
DEFAULT = "joulestat_gpu_power_limit_default_watts"
MIN = "joulestat_gpu_power_limit_min_watts"
MAX = "joulestat_gpu_power_limit_max_watts"
FLOOR = "joulestat_gpu_power_limit_floor_watts"
CEILING = "joulestat_gpu_power_limit_ceiling_watts"
GPU_INFO = "joulestat_gpu_info"
SHOWN = (ENFORCED, TARGET, BASELINE, DEFAULT, MIN, MAX, FLOOR, CEILING, GPU_INFO)

MOST_FREQUENT_LOOKS = 1_000
LONGEST_STEP_SECONDS = 300.0
SHORTEST_STEP_SECONDS = 5.0
"""A thousand looks for limits without a lease, and one every five minutes at least."""
FOREIGN_SECONDS = 60.0
"""A limit that is off its lease's for less than this is being written, not changed by others."""


@dataclass(frozen=True, slots=True)
class Devices:
    """What is known of some devices, by UUID.

    Attributes:
        watts: The limits of each kind now, by metric.
        models: What the vendor calls them.
        unleased: How often each limit was seen, whole W, while no lease held it.
        targets_before: What leases held a minute before, for devices that are off theirs now.
    """

    watts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    unleased: Mapping[str, Counter[int]] = field(default_factory=dict)
    targets_before: Mapping[str, float] = field(default_factory=dict)

    def model(self, uuids: Sequence[str]) -> str:
        """Return what these devices are called; empty where unknown or not all alike."""
        names = {self.models.get(uuid, "") for uuid in uuids}
        return names.pop() if len(names) == 1 else ""

    def reference(self, uuid: str) -> int | None:
        """Return what was enforced most often without a lease; None if unknown.

        Of limits that were seen equally often the higher one is the safer reference. Of a device
        that was never seen without one: what comes back at the lease's end, else the default.
        """
        seen = self.unleased.get(uuid)
        if seen:
            return max(seen, key=lambda watts: (seen[watts], watts))
        for metric in (BASELINE, DEFAULT):
            watts = self.watts.get(metric, {}).get(uuid)
            if watts is not None:
                return round(watts)
        return None


def read_devices(
    client: PrometheusClient, uuids: Sequence[str], start_seconds: float, end_seconds: float
) -> Devices:
    """Read what is known of these devices: three queries for every 150 of them, short answers.

    Args:
        client: Where to ask.
        uuids: The devices.
        start_seconds: Unix time from which the reference limit is looked for.
        end_seconds: Unix time until which it is, and at which "now" is.

    Raises:
        HistoryError: As for any query.
    """
    watts: dict[str, dict[str, float]] = {}
    models: dict[str, str] = {}
    seen: dict[str, Counter[int]] = {}
    span = max(1, math.ceil(end_seconds - start_seconds))
    step = min(max(span / MOST_FREQUENT_LOOKS, SHORTEST_STEP_SECONDS), LONGEST_STEP_SECONDS)
    for lot in few_at_once(uuids):
        devices = any_of("gpu_uuid", lot)
        for sample in client.query(selector(SHOWN, devices), end_seconds):
            metric, uuid = sample.labels["__name__"], sample.labels["gpu_uuid"]
            if metric == GPU_INFO:
                models[uuid] = sample.labels.get("model", "")
            else:
                watts.setdefault(metric, {})[uuid] = sample.value
        unleased = (
            f"max by(gpu_uuid) ({selector(ENFORCED, devices)}) "
            # A baseline without a lease is a limit that the driver refuses to put back.
            f"unless on(gpu_uuid) {selector((TARGET, BASELINE), devices)}"
        )
        # Counted in the server: a series for each limit and device, not a point for each look.
        counted = (
            f'count_over_time(count_values by(gpu_uuid) ("limit_watts", {unleased})'
            f"[{span}s:{math.ceil(step)}s])"
        )
        for sample in client.query(counted, end_seconds):
            counts = seen.setdefault(sample.labels["gpu_uuid"], Counter())
            counts[round(float(sample.labels["limit_watts"]))] += round(sample.value)
    return Devices(watts, models, seen, _targets_before(client, watts, end_seconds))


def _targets_before(
    client: PrometheusClient, watts: Mapping[str, Mapping[str, float]], end_seconds: float
) -> dict[str, float]:
    """Return the leases' limits of a minute ago, for the devices that are off theirs now."""
    enforced, targets = watts.get(ENFORCED, {}), watts.get(TARGET, {})
    off = [
        uuid
        for uuid in targets.keys() & enforced.keys()
        if not same_limit(targets[uuid], enforced[uuid])
    ]
    before: dict[str, float] = {}
    for lot in few_at_once(sorted(off)):
        shown = selector(TARGET, any_of("gpu_uuid", lot))
        for sample in client.query(shown, end_seconds - FOREIGN_SECONDS):
            before[sample.labels["gpu_uuid"]] = sample.value
    return before


def limits_of(devices: Devices, uuids: Sequence[str], nodes: Mapping[str, str]) -> Limits:
    """Return the limits that these devices, all those of a run, have in common.

    Where the reference limits of nodes differ, all figures are on the scale of the GPU with the
    highest: each device's watts times the highest reference over its own.

    Args:
        devices: What is known of them.
        uuids: Which.
        nodes: On which node each is; one that is not in it is on a node with all others such.
    """
    if not uuids:
        return UNKNOWN_LIMITS
    references = {uuid: devices.reference(uuid) for uuid in uuids}
    known = {uuid: watts for uuid, watts in references.items() if watts}
    by_node: dict[str, set[int]] = {}
    for uuid, watts in known.items():
        by_node.setdefault(nodes.get(uuid, ""), set()).add(watts)
    unequal = any(max(watts) - min(watts) > LIMIT_TOLERANCE_WATTS for watts in by_node.values())
    complete = len(known) == len(references)
    highest = max(known.values()) if complete and not unequal else None
    scale = {uuid: 1.0 if highest is None else highest / known[uuid] for uuid in uuids}

    def now(metric: str) -> dict[str, float]:
        shown = devices.watts.get(metric, {})
        return {uuid: scale[uuid] * shown[uuid] for uuid in uuids if uuid in shown}

    enforced, targets = devices.watts.get(ENFORCED, {}), devices.watts.get(TARGET, {})
    at_target = {
        uuid: same_limit(targets[uuid], enforced[uuid])
        for uuid in uuids
        if uuid in targets and uuid in enforced
    }
    everyone = set(uuids)
    accepted, allowed = (now(MIN), now(MAX)), (now(FLOOR), now(CEILING))
    # Where nobody says what a lease may ask, an older exporter or one that sets no limits, the
    # card's own range is all there is.
    lowest, most = ({**card, **host} for card, host in zip(accepted, allowed, strict=True))
    cut = any(
        uuid in card and not same_limit(card[uuid], watts)
        for card, host in zip(accepted, allowed, strict=True)
        for uuid, watts in host.items()
    )
    return Limits(
        reference_watts=highest,
        unequal_reference=unequal,
        current_watts=_common(now(ENFORCED).values()) if everyone <= enforced.keys() else None,
        leased=len(at_target) == len(everyone) and all(at_target.values()),
        foreign=tuple(
            sorted(
                uuid
                for uuid, is_there in at_target.items()
                if not is_there and devices.targets_before.get(uuid) == targets[uuid]
            )
        ),
        min_watts=max(lowest.values()) if everyone <= lowest.keys() else None,
        max_watts=min(most.values()) if everyone <= most.keys() else None,
        cut_by_policy=cut,
        reference_by_gpu=known,
    )


def _common(limits: Iterable[float]) -> int | None:
    """Return the limit at which all stand; None where one is more than rounding away."""
    values = sorted(limits)
    if values and same_limit(values[0], values[-1]):
        return round(values[len(values) // 2])
    return None


def on_one_scale(slices: Sequence[Slice], references: Mapping[str, int]) -> list[Slice]:
    """Return slices whose limits are on the scale of the highest reference limit of the nodes.

    Half a watt of rounding grows with the scale, so a limit that comes out within it of one that
    the nodes of the highest reference had is taken for that one.

    Args:
        slices: With limits as each node's exporter told them.
        references: Each node's reference limit, whole W; those of fewer nodes change nothing.
    """
    nodes = {item.node for item in slices}
    if nodes - references.keys() or len({references[node] for node in nodes}) < 2:
        return list(slices)
    highest = max(references[node] for node in nodes)
    exact = {item.power_limit_watts for item in slices if references[item.node] == highest}
    scaled: list[Slice] = []
    for item in slices:
        scale = highest / references[item.node]
        watts = item.power_limit_watts * scale
        near = min(exact, key=lambda known: abs(known - watts), default=0)
        limit = near if abs(near - watts) <= (1 + scale) / 2 else round(watts)
        scaled.append(replace(item, power_limit_watts=limit))
    return scaled
