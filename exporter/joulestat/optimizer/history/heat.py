"""For how much of the time a run's GPUs were slowed by heat or by their power supply."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from joulestat.domain.device import ThrottleReason
from joulestat.optimizer.history.facts import Slice
from joulestat.optimizer.history.looks import Grid
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import Matcher, any_of, few_at_once, one_of, selector

THROTTLED = "joulestat_gpu_throttled"
REASONS = tuple(reason for reason in ThrottleReason if reason is not ThrottleReason.POWER_CAP)
"""Not the power limit: holding that back is what it is for."""

SHORTEST_WINDOW_SECONDS = 60.0
"""A share is taken over a minute at least, so that a scrape falls into it."""


@dataclass(frozen=True, slots=True)
class Heat:
    """What is known of it.

    Attributes:
        hot: Whether a device was ever slowed, by UUID; one that does not say is not in it.
        ratios: Share of the time before a look, by Unix time of it and UUID.
    """

    hot: Mapping[str, bool] = field(default_factory=dict)
    ratios: Mapping[float, Mapping[str, float]] = field(default_factory=dict)

    def of(self, uuids: Sequence[str], at_seconds: float) -> float | None:
        """Return the share of the device that was slowed longest; None where one does not say."""
        if not uuids or any(uuid not in self.hot for uuid in uuids):
            return None
        if not any(self.hot[uuid] for uuid in uuids):
            return 0.0
        shares = self.ratios.get(at_seconds, {})
        return max((shares.get(uuid, 0.0) for uuid in uuids), default=0.0)


class HeatReader:
    """Reads which devices were slowed and when."""

    def __init__(self, client: PrometheusClient) -> None:
        self._client = client

    def ever(self, uuids: Sequence[str], start: float, end: float) -> dict[str, bool]:
        """Return whether each device was slowed between two Unix times; those that tell.

        Raises:
            HistoryError: As for any query.
        """
        slowed: dict[str, bool] = {}
        for lot in few_at_once(uuids):
            shown = f"max_over_time({_shown(lot)}[{math.ceil(end - start)}s])"
            for sample in self._client.query(f"max by(gpu_uuid) ({shown})", end):
                slowed[sample.labels["gpu_uuid"]] = sample.value > 0
        return slowed

    def read(self, hot: Mapping[str, bool], grids: Sequence[Grid]) -> Heat:
        """Return the shares before each look of these grids.

        A query for each grid and 150 devices, and none where no device was ever slowed. Of several
        reasons the one that lasted longest counts: they mostly come together.

        Args:
            hot: Whether each device was ever slowed.
            grids: When to look; of two that share a look the last one counts.
        """
        slowed = [uuid for uuid, is_hot in hot.items() if is_hot]
        ratios: dict[float, dict[str, float]] = {}
        for grid in grids:
            window = math.ceil(max(grid.step_seconds, SHORTEST_WINDOW_SECONDS))
            span = (grid.start_seconds, grid.end_seconds, grid.step_seconds)
            for lot in few_at_once(slowed):
                shown = f"max by(gpu_uuid) (avg_over_time({_shown(lot)}[{window}s]))"
                for series in self._client.query_range(shown, *span):
                    for at_seconds, share in series.points:
                        ratios.setdefault(at_seconds, {})[series.labels["gpu_uuid"]] = share
        return Heat(hot, ratios)


def with_heat(
    slices: Sequence[Slice], heat: Heat, uuids_by_node: Mapping[str, Sequence[str]]
) -> list[Slice]:
    """Return the slices with the share of their time in which a GPU of theirs was slowed."""
    if not heat.hot:
        return list(slices)
    cool = {
        node: heat.of(uuids, 0.0)
        for node, uuids in uuids_by_node.items()
        if not any(heat.hot.get(uuid) for uuid in uuids)
    }
    return [
        Slice(
            item.node,
            item.power_limit_watts,
            item.start_seconds,
            item.end_seconds,
            item.steps,
            item.joules,
            item.step_seconds,
            item.samples,
            item.tokens,
            cool[item.node]
            if item.node in cool
            else heat.of(uuids_by_node.get(item.node, ()), item.end_seconds),
        )
        for item in slices
    ]


def _shown(uuids: Sequence[str]) -> str:
    devices: Matcher = any_of("gpu_uuid", uuids)
    return selector(THROTTLED, devices, one_of("reason", REASONS))
