"""Which nodes a run is on: target labels say where a series was scraped, not what machine it is.

One machine appears under several target labels when two Prometheus replicas scrape it, or when
its exporter came back under another address; counting both would double the energy. A run that
was queued again elsewhere leaves a machine behind; adding it to the new one would double it too.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from joulestat.optimizer.history.facts import Slice
from joulestat.optimizer.history.promql import Labels

Target = frozenset[tuple[str, str]]
"""The labels that Prometheus gave to a scraped exporter."""

_OWN_LABELS = {
    "__name__",
    "run",
    "phase",
    "power_limit_watts",
    "rank",
    "gpu",
    "gpu_uuid",
}
"""Labels of the exporter itself; all others come from the scrape configuration."""


def target_of(labels: Labels) -> Target:
    """Return the labels that identify where a series was scraped."""
    return frozenset((name, value) for name, value in labels.items() if name not in _OWN_LABELS)


def nodes_of(
    targets: Iterable[Target], uuids_by_target: Mapping[Target, set[str]]
) -> dict[Target, str]:
    """Return the node behind each target: targets that show one GPU are one node.

    Args:
        targets: All targets that show the run.
        uuids_by_target: Devices that the run claimed, as each target shows them.
    """
    members: dict[int, list[Target]] = {}
    lot_of: dict[str, int] = {}
    for lot, target in enumerate(sorted(targets, key=sorted)):
        members[lot] = [target]
        for uuid in uuids_by_target.get(target, ()):
            known = lot_of.get(uuid, lot)
            if known != lot:
                members[lot] += members.pop(known)
                lot_of = {u: lot if at == known else at for u, at in lot_of.items()}
            lot_of[uuid] = lot
    return {target: _name(min(node, key=sorted)) for node in members.values() for target in node}


def maybe_doubled(
    targets: Iterable[Target], uuids_by_target: Mapping[Target, set[str]]
) -> Iterator[str]:
    """Say of which targets no GPU tells whether they are one machine, scraped twice.

    Two Prometheus replicas differ in a label only, and so do machines of two clusters that are
    called alike.

    Args:
        targets: All targets that show the run.
        uuids_by_target: Devices that the run claimed, as each target shows them.
    """
    alike: dict[str, list[Target]] = {}
    for target in targets:
        alike.setdefault(_name(target), []).append(target)
    for name, group in alike.items():
        if len(group) > 1 and not all(uuids_by_target.get(target) for target in group):
            told_apart = set[str]().union(*(dict(target ^ group[0]) for target in group))
            label = ", ".join(sorted(told_apart))
            first = min(told_apart)
            value = dict(min(group, key=sorted)).get(first, "")
            yield (
                f"{name} is shown {len(group)} times, which differ in {label}, and no GPU tells "
                "whether they are one machine; have the server join replicas (Thanos: "
                f"--query.replica-label={first}), or choose one with --match '{first}={value}'"
            )


def present_placement(slices: Sequence[Slice], tolerance_seconds: float) -> list[Slice]:
    """Return the slices since the run has been on the nodes that it is on last.

    A node is left when it made no step for longer than the tolerance before the run's last one.

    Args:
        slices: All nodes' slices.
        tolerance_seconds: How far nodes of one synchronous run may seem apart.
    """
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for item in slices:
        if item.steps:
            first[item.node] = min(item.end_seconds, first.get(item.node, item.end_seconds))
            last[item.node] = max(item.end_seconds, last.get(item.node, item.end_seconds))
    if len(last) < 2:
        return list(slices)
    newest = max(last.values())
    present = {node for node, at in last.items() if newest - at <= tolerance_seconds}
    joined = {first[node] for node in present}
    since = [last[node] for node in last.keys() - present]
    if max(joined) - min(joined) > tolerance_seconds:
        since.append(max(joined))
    begin = max(since, default=float("-inf"))
    return [item for item in slices if item.node in present and item.start_seconds >= begin]


def _name(target: Target) -> str:
    labels = dict(target)
    return labels.get("instance") or ",".join(f"{k}={v}" for k, v in sorted(target)) or "the node"
