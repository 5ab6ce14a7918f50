"""What a step of a run costs at each power limit: its operating points, drawn and in a table."""

from boards.board import Row
from boards.panels import BLUE, GREEN, ORANGE, mapping, matched, now
from boards.promql import (
    JOULES,
    LIMIT,
    SECONDS,
    against_reference,
    at_held,
    at_reference,
    by_limit,
    in_watts,
)
from boards.tables import table, trend

REFERENCE = (
    " The reference is the limit from before the leases of the time range; where there was no "
    "lease, or the run was never measured there, the highest in force."
)
_KEY = [(LIMIT, "Power limit")]
_COLORED = {"custom__cellOptions": {"type": "color-text"}}

POINTS = Row(
    "Operating points, since the run began",
    [
        trend(
            "Energy and time per step by power limit",
            "Joules per training step, nodes summed, and seconds per step on the slowest node "
            "(right axis), over the limit in watts. The less power, the slower; where a step takes "
            "too long, its energy rises again.",
            _KEY[0],
            [
                now(JOULES, "Energy per step", "si:J/step"),
                now(SECONDS, "Time per step", "s"),
                now(at_held(JOULES), "in force", "si:J/step"),
            ],
            along="Power limit",
            overrides=[
                matched(
                    "Time per step",
                    color={"fixedColor": ORANGE, "mode": "fixed"},
                    custom__axisPlacement="right",
                ),
                matched("Energy per step", color={"fixedColor": BLUE, "mode": "fixed"}),
                matched(
                    "in force",
                    color={"fixedColor": GREEN, "mode": "fixed"},
                    custom__drawStyle="points",
                    custom__pointSize=18,
                ),
            ],
        ),
        trend(
            "Energy against time per step",
            "Joules per training step over seconds per step, one point for each limit. Further to "
            "the lower left is better.",
            _KEY[0],
            [
                now(f"sort({in_watts(JOULES)})", "Energy per step"),
                now(in_watts(SECONDS), "Time per step"),
            ],
            along="Time per step",
            unit="si:J/step",
            apart="Energy per step",
            overrides=[matched("Time per step", unit="s")],
        ),
        table(
            "Operating points",
            "One row for each limit that the run was measured at; transitions and mixed limits are "
            "left out." + REFERENCE,
            _KEY,
            [
                now(JOULES, "Energy per step", "si:J/step"),
                now(against_reference(JOULES), "Energy change", "percentunit"),
                now(SECONDS, "Time per step", "s"),
                now(against_reference(SECONDS), "Time change", "percentunit"),
                now(by_limit("run_steps_total", "max"), "Steps", "short"),
                now(
                    by_limit("run_step_seconds_total", "max"),
                    "Measured for",
                    "s",
                ),
                now(f"{at_reference(JOULES)} ^ 0", "Reference"),
                now(f"{at_held(JOULES)} ^ 0", "In force"),
            ],
            sort_by="Power limit",
            numeric_key="Power limit",
            overrides=[
                matched("Power limit", unit="watt"),
                matched("Energy change", decimals=1),
                matched("Time change", decimals=1),
                matched("Reference", mappings=mapping({"1": ("reference", BLUE)}), **_COLORED),
                matched("In force", mappings=mapping({"1": ("in force", GREEN)}), **_COLORED),
            ],
            no_value="no steps under one limit yet",
        ),
    ],
)
