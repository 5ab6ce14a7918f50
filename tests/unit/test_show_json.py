"""What programs read of a decision: the JSON contract and its schema."""

import json
from dataclasses import replace

import jsonschema
import pytest

from joulestat.domain.plan import (
    Action,
    BudgetForecast,
    Decision,
    Expected,
    FittedPoint,
    OperatingPoint,
    OtherLimit,
    Window,
)
from joulestat.domain.tariff import Tariff
from joulestat.optimizer.show.wire import as_json

DECISION = Decision(
    run="llama-ft-42",
    action=Action.HOLD,
    power_limit_watts=250,
    reason="Best of those measured.",
    objective={"name": "cost", "eta": 0.5},
    reference_power_limit_watts=300,
    points=(
        OperatingPoint(250, 78.4, 0.3195, 398, 0.21, 0.0012),
        OperatingPoint(300, 100.0, 0.4, 412, None, None),
    ),
    expected=Expected(energy_saving_ratio=0.25, slowdown_ratio=1.25),
    window=Window(1_795_442_400.0, 1_795_446_000.25),
    gpu_uuids=("GPU-0", "GPU-1"),
)
RICH = replace(
    DECISION,
    thin=(OperatingPoint(180, 60.0, 0.40, 3, None, None),),
    curve=(FittedPoint(275, 82.0, 0.314, 0.3, 0.001),),
    tariff=Tariff(0.30, "EUR", 400.0, "DE", 1.5),
    gpu_power_limits_watts={"GPU-0": 250, "GPU-1": 240},
)
ON_BUDGET = replace(
    DECISION,
    budget=BudgetForecast(
        joules=3.6e7,
        source="run",
        spent_joules=1.2e7,
        steps_left=320_000.0,
        power_limit_watts=250,
        expected_joules=3.7e7,
        expected_joules_stderr=6.7e4,
        finishes=False,
        instead=OtherLimit(200, 3.5e7, 1.09, measured=True, within_bound=False),
        reason="At 250 W the run needs more.",
    ),
)
UNTOLD = replace(
    DECISION,
    budget=BudgetForecast(3.6e7, "option", None, None, None, None, None, None, None, "Not known."),
)
NO_ADVICE = Decision(
    "x", Action.NONE, None, "Nothing.", {"name": "slowdown", "max_slowdown": 1.05},
    None, (), None, None, (),
)  # fmt: skip

NUMBER_OR_NULL = {"type": ["number", "null"]}
WATTS = {"type": "integer", "exclusiveMinimum": 0}
WATTS_OR_NULL = {"type": ["integer", "null"], "exclusiveMinimum": 0}
ABOVE_ZERO = {"type": "number", "exclusiveMinimum": 0}


def closed(properties: dict[str, object], *optional: str) -> dict[str, object]:
    """An object with these keys and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": [key for key in properties if key not in optional],
        "additionalProperties": False,
    }


def or_null(schema: dict[str, object]) -> dict[str, object]:
    return {"anyOf": [{"type": "null"}, schema]}


POINT = closed(
    {
        "power_limit_watts": WATTS,
        "joules_per_step": ABOVE_ZERO,
        "seconds_per_step": ABOVE_ZERO,
        "steps": {"type": "integer", "minimum": 0},
        "joules_per_step_stderr": NUMBER_OR_NULL,
        "seconds_per_step_stderr": NUMBER_OR_NULL,
    }
)
FITTED = closed(
    {
        "power_limit_watts": WATTS,
        "joules_per_step": ABOVE_ZERO,
        "seconds_per_step": ABOVE_ZERO,
        "joules_per_step_stderr": {"type": "number"},
        "seconds_per_step_stderr": {"type": "number"},
    }
)
BUDGET = closed(
    {
        "joules": ABOVE_ZERO,
        "source": {"enum": ["run", "option"]},
        "spent_joules": NUMBER_OR_NULL,
        "steps_left": NUMBER_OR_NULL,
        "power_limit_watts": WATTS_OR_NULL,
        "expected_joules": NUMBER_OR_NULL,
        "expected_joules_stderr": NUMBER_OR_NULL,
        "finishes": {"type": ["boolean", "null"]},
        "instead": or_null(
            closed(
                {
                    "power_limit_watts": WATTS,
                    "expected_joules": ABOVE_ZERO,
                    "slowdown_ratio": ABOVE_ZERO,
                    "measured": {"type": "boolean"},
                    "within_bound": {"type": ["boolean", "null"]},
                }
            )
        ),
        "reason": {"type": "string", "minLength": 1},
    }
)
MOMENT = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$"}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **closed(
        {
            "run": {"type": "string"},
            "decision": {"enum": ["hold", "probe", "none"]},
            "power_limit_watts": WATTS_OR_NULL,
            "reason": {"type": "string", "minLength": 1},
            "objective": {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
                "additionalProperties": {"type": ["string", "number"]},
            },
            "reference_power_limit_watts": WATTS_OR_NULL,
            "points": {"type": "array", "items": POINT},
            "thin_points": {"type": "array", "items": POINT},
            "curve": {"type": "array", "items": FITTED},
            "expected": or_null(
                closed({"energy_saving_ratio": {"type": "number"}, "slowdown_ratio": ABOVE_ZERO})
            ),
            "savings_per_day": or_null(
                closed(
                    {
                        "kilowatt_hours": {"type": "number"},
                        "money": NUMBER_OR_NULL,
                        "currency": {"type": ["string", "null"]},
                        "kilograms_co2e": NUMBER_OR_NULL,
                    }
                )
            ),
            "budget": or_null(BUDGET),
            "window": or_null(closed({"start": MOMENT, "end": MOMENT})),
            "gpu_uuids": {"type": "array", "items": {"type": "string"}},
            "gpu_power_limits_watts": {"type": "object", "additionalProperties": WATTS},
        },
        "gpu_power_limits_watts",
    ),
}


@pytest.mark.parametrize("decision", [DECISION, RICH, NO_ADVICE, ON_BUDGET, UNTOLD])
def test_every_decision_keeps_the_schema(decision: Decision) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(as_json(decision)))


def test_json_is_the_contract() -> None:
    assert {
        "run": "llama-ft-42",
        "decision": "hold",
        "power_limit_watts": 250,
        "reason": "Best of those measured.",
        "objective": {"name": "cost", "eta": 0.5},
        "reference_power_limit_watts": 300,
        "points": [
            {
                "power_limit_watts": watts,
                "joules_per_step": joules,
                "seconds_per_step": seconds,
                "steps": steps,
                "joules_per_step_stderr": joules_stderr,
                "seconds_per_step_stderr": seconds_stderr,
            }
            for watts, joules, seconds, steps, joules_stderr, seconds_stderr in (
                (250, 78.4, 0.3195, 398, 0.21, 0.0012),
                (300, 100.0, 0.4, 412, None, None),
            )
        ],
        "thin_points": [],
        "curve": [],
        "expected": {"energy_saving_ratio": 0.25, "slowdown_ratio": 1.25},
        # 25 J saved in each of 172,800 steps of 0.5 s.
        "savings_per_day": {
            "kilowatt_hours": 1.2,
            "money": None,
            "currency": None,
            "kilograms_co2e": None,
        },
        "budget": None,
        "window": {"start": "2026-11-23T14:00:00Z", "end": "2026-11-23T15:00:00.250Z"},
        "gpu_uuids": ["GPU-0", "GPU-1"],
    } == json.loads(as_json(DECISION))


def test_money_and_carbon_are_of_the_building() -> None:
    assert {
        "kilowatt_hours": 1.2,
        "money": pytest.approx(1.2 * 1.5 * 0.30),
        "currency": "EUR",
        "kilograms_co2e": pytest.approx(1.2 * 1.5 * 0.4),
    } == json.loads(as_json(RICH))["savings_per_day"]


def test_limits_by_gpu_are_there_only_where_they_differ() -> None:
    assert {"GPU-0": 250, "GPU-1": 240} == json.loads(as_json(RICH))["gpu_power_limits_watts"]
    assert "gpu_power_limits_watts" not in json.loads(as_json(DECISION))


def test_nothing_is_promised_where_nothing_is_held_or_the_reference_was_not_measured() -> None:
    probing = replace(DECISION, action=Action.PROBE)
    blind = replace(DECISION, points=DECISION.points[:1])

    for decision in (probing, blind, NO_ADVICE):
        assert json.loads(as_json(decision))["savings_per_day"] is None


def test_what_is_unknown_is_null() -> None:
    shown = json.loads(as_json(NO_ADVICE))

    assert "none" == shown["decision"]
    assert all(
        shown[key] is None
        for key in ("power_limit_watts", "reference_power_limit_watts", "expected", "window")
    )


def test_an_energy_budget_is_told_with_the_limit_that_would_keep_it() -> None:
    assert {
        "joules": 3.6e7,
        "source": "run",
        "spent_joules": 1.2e7,
        "steps_left": 320_000.0,
        "power_limit_watts": 250,
        "expected_joules": 3.7e7,
        "expected_joules_stderr": 6.7e4,
        "finishes": False,
        "instead": {
            "power_limit_watts": 200,
            "expected_joules": 3.5e7,
            "slowdown_ratio": 1.09,
            "measured": True,
            "within_bound": False,
        },
        "reason": "At 250 W the run needs more.",
    } == json.loads(as_json(ON_BUDGET))["budget"]


def test_several_decisions_are_an_array_and_a_stream_has_a_line_each() -> None:
    assert ["llama-ft-42", "x"] == [d["run"] for d in json.loads(as_json([DECISION, NO_ADVICE]))]
    assert "\n" not in as_json(DECISION, compact=True)
