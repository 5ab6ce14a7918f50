"""Decisions as programs read them: the JSON contract."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from joulestat.domain.plan import Decision
from joulestat.optimizer.show.saving import saving_per_day
from joulestat.optimizer.show.wording import window_words


def as_json_object(decision: Decision) -> dict[str, Any]:
    """Return the decision as the JSON contract has it: SI units, times in RFC 3339, null unknown.

    ``expected.slowdown_ratio`` 1.03 is 3 % slower; ``energy_saving_ratio`` 0.14 is 14 % less.
    ``points`` are what decisions rest on, ``thin_points`` were measured too briefly for that.
    ``budget`` is null without an energy budget; ``budget.finishes`` is null where it is unknown.
    ``gpu_power_limits_watts`` is there only where the GPUs are to have different limits.
    """
    shown: dict[str, Any] = {
        "run": decision.run,
        "decision": decision.action.value,
        "power_limit_watts": decision.power_limit_watts,
        "reason": decision.reason,
        "objective": decision.objective,
        "reference_power_limit_watts": decision.reference_power_limit_watts,
        "points": [asdict(point) for point in decision.points],
        "thin_points": [asdict(point) for point in decision.thin],
        "curve": [asdict(point) for point in decision.curve],
        "expected": None if decision.expected is None else asdict(decision.expected),
        "savings_per_day": _savings(decision),
        "budget": None if decision.budget is None else asdict(decision.budget),
        "window": None if decision.window is None else window_words(decision.window),
        "gpu_uuids": list(decision.gpu_uuids),
    }
    if decision.gpu_power_limits_watts:
        shown["gpu_power_limits_watts"] = dict(decision.gpu_power_limits_watts)
    return shown


def as_json(decision: Decision | Iterable[Decision], *, compact: bool = False) -> str:
    """Return one decision as a JSON object, several as an array.

    Args:
        decision: What to show.
        compact: On one line, as a stream of decisions wants it.
    """
    shown = (
        as_json_object(decision)
        if isinstance(decision, Decision)
        else [as_json_object(item) for item in decision]
    )
    return json.dumps(shown, ensure_ascii=False, allow_nan=False, indent=None if compact else 2)


def _savings(decision: Decision) -> dict[str, Any] | None:
    """Return what holding saves; null where nothing is held or the tariff does not say."""
    saving = saving_per_day(decision)
    if saving is None:
        return None
    return {
        "kilowatt_hours": saving.saved.kilowatt_hours,
        "money": saving.saved.money,
        "currency": saving.currency if saving.saved.money is not None else None,
        "kilograms_co2e": saving.saved.kilograms_co2e,
    }
