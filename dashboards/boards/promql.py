"""PromQL that several panels share: whose series, energy, money, what a run's limits cost."""

from boards.panels import JOULES_PER_WATT_HOUR

JOULES_PER_KILOWATT_HOUR = 1000 * JOULES_PER_WATT_HOUR

TARGET = 'job=~"$job", instance=~"$instance"'
"""Whose series a board shows: the chosen nodes'."""

ONE_NODE = 'job=~"$job", instance="$instance"'
"""Likewise where one node is chosen. Grafana escapes a single choice for ``=``, not for ``=~``."""

RUN = f'{TARGET}, run="$run"'
OF_TRAINING = f'{RUN}, phase="train"'
RANGE = "$__range"
RATE = "$__rate_interval"

PRICE = "joulestat_electricity_price_per_kilowatt_hour"
CARBON = "joulestat_carbon_intensity_grams_per_kilowatt_hour"
LIMIT = "power_limit_watts"


def rate(metric: str, selector: str) -> str:
    """Return growth per second over the window that suits the zoom."""
    return f"rate(joulestat_{metric}{{{selector}}}[{RATE}])"


def increase(metric: str, selector: str, window: str = RANGE) -> str:
    """Return growth over a window, by default the board's time range."""
    return f"increase(joulestat_{metric}{{{selector}}}[{window}])"


def latest(metric: str, selector: str) -> str:
    """Return the last value in the board's time range, also where the series ended since."""
    return f"last_over_time(joulestat_{metric}{{{selector}}}[{RANGE}])"


MOST = 20
"""How many series a panel draws of what a fleet may have hundreds of."""


def first(by: str, ranked: str, *, lowest: bool = False) -> str:
    """Return the series of a fleet that a panel shows, as right side of ``and`` and ``unless``.

    Args:
        by: The label, or labels, by which they are told apart.
        ranked: What ranks them, with one value for each: asked for the end of the time range, so
            that all points of a line are of the same series.
        lowest: Whether those with the least come first, not those with the most.
    """
    return f"on ({by}) {'bottomk' if lowest else 'topk'}({MOST}, {ranked})"


def at_end(function: str, metric: str, selector: str) -> str:
    """Return a function over the whole time range, whichever point of it is drawn."""
    return f"{function}({metric}{{{selector}}}[{RANGE}] @ end())"


def watt_hours(joules: str) -> str:
    """Return joules in watt-hours."""
    return f"{joules} / {JOULES_PER_WATT_HOUR}"


def overhead(constant: str) -> str:
    """Return each node's PUE, 1 where none is configured and the constant is."""
    pue = f"max by (instance) (last_over_time(joulestat_pue_ratio{{{TARGET}}}[{RANGE}]))"
    none = f"max by (instance) (last_over_time({constant}{{{TARGET}}}[{RANGE}]) ^ 0)"
    return f"({pue} or {none})"


def cost(joules_by_instance: str) -> str:
    """Return what energy costs at each node's own price, by currency."""
    price = f"max by (instance, currency) (last_over_time({PRICE}{{{TARGET}}}[{RANGE}]))"
    return (
        f"sum by (currency) ({price}"
        f" * on (instance) group_left () ({joules_by_instance})"
        f" * on (instance) group_left () {overhead(PRICE)}) / {JOULES_PER_KILOWATT_HOUR}"
    )


def emissions(joules_by_instance: str) -> str:
    """Return grams of CO2-equivalent at each node's mean intensity over the time range."""
    grams = f"max by (instance) (avg_over_time({CARBON}{{{TARGET}}}[{RANGE}]))"
    return (
        f"sum(({joules_by_instance}) * on (instance) {grams}"
        f" * on (instance) {overhead(CARBON)}) / {JOULES_PER_KILOWATT_HOUR}"
    )


def of_run_gpus(metric: str) -> str:
    """Return a device metric on the GPUs that the run holds at each moment."""
    return (
        f"max by (instance, gpu, gpu_uuid) (joulestat_{metric}{{{TARGET}}})"
        f" and on (instance, gpu_uuid) joulestat_run_gpu{{{RUN}}}"
    )


def of_run_gpus_latest(metric: str, over: str = "last_over_time") -> str:
    """Return a device metric over the time range, on all GPUs that the run held in it."""
    return (
        f"max by (instance, gpu_uuid) ({over}(joulestat_{metric}{{{TARGET}}}[{RANGE}]))"
        f" and on (instance, gpu_uuid) {latest('run_gpu', RUN)}"
    )


def per_step(metric: str, over_nodes: str = "sum") -> str:
    """Return joules or seconds per training step over time.

    Each node counts the run's steps, so the nodes' quotients are added up, not their counts.
    """
    spent = f"sum by (instance) ({rate(metric, OF_TRAINING)})"
    made = f"sum by (instance) ({rate('run_steps_total', OF_TRAINING)}) > 0"
    return f"{over_nodes}({spent} / ({made}))"


_MEASURED = f'{OF_TRAINING}, {LIMIT}=~"[0-9]+"'
"""The run's work under one limit: neither transitions nor mixed limits."""


def by_limit(metric: str, over_nodes: str) -> str:
    """Return a counter of the run since its start, by power limit."""
    node = f"sum by (instance, {LIMIT}) ({latest(metric, _MEASURED)})"
    return f"{over_nodes} by ({LIMIT}) ({node})"


def point(metric: str, over_nodes: str) -> str:
    """Return joules or seconds per step since the run's start, by power limit."""
    spent = f"sum by (instance, {LIMIT}) ({latest(metric, _MEASURED)})"
    made = f"sum by (instance, {LIMIT}) ({latest('run_steps_total', _MEASURED)}) > 0"
    return f"{over_nodes} by ({LIMIT}) ({spent} / ({made}))"


def in_watts(by_limit: str) -> str:
    """Return series whose limit is text for people: 250 W; transition and mixed as they are."""
    return f'label_replace({by_limit}, "{LIMIT}", "$1 W", "{LIMIT}", "([0-9]+)")'


JOULES = point("run_energy_joules_total", "sum")
SECONDS = point("run_step_seconds_total", "max")

_BASELINE = of_run_gpus_latest("gpu_power_limit_baseline_watts")
_HIGHEST = of_run_gpus_latest("gpu_power_limit_enforced_watts", "max_over_time")
_IN_FORCE = of_run_gpus("gpu_power_limit_enforced_watts")
# Of a run that is over, what was in force while it held its GPUs: not what they went back to.
_HELD = f"({_IN_FORCE}) or on () last_over_time(({_IN_FORCE})[{RANGE}:5m])"


def _at(points: str, watts: str) -> str:
    """Return that point whose limit is the value of another expression."""
    return f'({points}) and on ({LIMIT}) count_values("{LIMIT}", round(max({watts})))'


def at_reference(points: str) -> str:
    """Return the point at the limit from before the leases, else at the highest in the range.

    Where no lease was held in the range, the highest in force is what was there without one.
    """
    return f"({_at(points, _BASELINE)} or on () ({_at(points, _HIGHEST)}))"


def at_held(points: str) -> str:
    """Return the point at the limit in force, of a run that is over at the last one."""
    return f"({_at(points, _HELD)})"


def against_reference(points: str) -> str:
    """Return points over the one at the reference, less 1: -0.1 is a tenth less."""
    return f"{points} / on () group_left () sum({at_reference(points)}) - 1"


def held_against_reference(points: str) -> str:
    """Return the same for the limit in force alone."""
    return f"sum({at_held(points)}) / sum({at_reference(points)}) - 1"


def saved_joules() -> str:
    """Return what all steps so far would have taken more at the reference."""
    steps = by_limit("run_steps_total", "max")
    reference = f"sum({at_reference(JOULES)})"
    return f"sum((({JOULES}) * -1 + on () group_left () {reference}) * on ({LIMIT}) ({steps}))"
