"""Whether a run finishes on its energy budget under what was decided, and what else would."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from joulestat.domain.plan import (
    Action,
    BudgetForecast,
    Decision,
    FittedPoint,
    OperatingPoint,
    OtherLimit,
)
from joulestat.domain.units import JOULES_PER_KWH, same_limit
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.search.case import other_joules_per_step, reference_of
from joulestat.optimizer.search.objective import Objective
from joulestat.optimizer.search.outlook import CONFIDENCE_ERRORS
from joulestat.optimizer.search.wording import pace

FROM_RUN, FROM_OPTION = "run", "option"


@dataclass(frozen=True, slots=True)
class _End:
    """What a run will have used at its end, if the rest is done at one limit, J."""

    point: OperatingPoint | FittedPoint
    joules: float
    stderr: float

    @property
    def watts(self) -> int:
        return self.point.power_limit_watts

    def is_within(self, budget_joules: float) -> bool | None:
        """Tell whether a budget suffices; None where that is within the error."""
        if self.joules + CONFIDENCE_ERRORS * self.stderr <= budget_joules:
            return True
        return False if self.joules - CONFIDENCE_ERRORS * self.stderr > budget_joules else None


def with_forecast(
    decision: Decision, history: RunHistory, objective: Objective, source: str = FROM_RUN
) -> Decision:
    """Return a decision that says whether the run finishes on its energy budget.

    It never changes what is decided: the least energy within a bound is chosen already, so a
    budget that does not suffice there is one that the bound, or nothing at all, can keep.

    Args:
        decision: For the limit that it holds, else for the reference limit, at which the run goes
            on without a lease.
        history: The run's, with its budget; without one the decision stays as it is.
        objective: By which it was decided, for its bound in time.
        source: Where the budget comes from.
    """
    budget_joules = history.energy_budget_joules
    if budget_joules is None:
        return decision
    watts = decision.reference_power_limit_watts
    if decision.action is Action.HOLD:
        watts = decision.power_limit_watts
    steps_left = None
    if history.planned_steps is not None and history.steps_done is not None:
        steps_left = max(0.0, history.planned_steps - history.steps_done)
    blank = BudgetForecast(
        joules=budget_joules,
        source=source,
        spent_joules=history.joules_spent,
        steps_left=0.0 if history.ended else steps_left,
        power_limit_watts=watts,
        expected_joules=None,
        expected_joules_stderr=None,
        finishes=None,
        instead=None,
        reason="",
    )
    return replace(decision, budget=_forecast(blank, decision, history, objective))


def _forecast(
    blank: BudgetForecast, decision: Decision, history: RunHistory, objective: Objective
) -> BudgetForecast:
    spent, steps_left, budget = blank.spent_joules, blank.steps_left, blank.joules
    if spent is None:
        return _unknown(blank, "what it has used so far is not known")
    if spent > budget:
        left = "" if not steps_left else f", with {steps_left:,.0f} steps left"
        reason = f"The energy budget of {_kwh(budget)} is used up: {_kwh(spent)}{left}."
        return replace(blank, finishes=False, reason=reason)
    if steps_left is None:
        return _unknown(
            blank, "how many steps it plans is not known; give planned_steps to joulestat.init"
        )
    if not steps_left:
        done = "The run is over, and was" if history.ended else "All planned steps are made,"
        reason = f"{done} within the energy budget: {_share(spent, budget)}."
        return replace(
            blank, finishes=True, expected_joules=spent, expected_joules_stderr=0.0, reason=reason
        )
    ends = _ends(decision, history, spent, steps_left)
    end = next((end for end in ends if _is_at(end, blank.power_limit_watts)), None)
    if end is None:
        at = "any limit" if blank.power_limit_watts is None else f"{blank.power_limit_watts} W"
        return _unknown(blank, f"what a step takes at {at} is not measured")
    finishes = end.is_within(budget)
    instead = None if finishes else _instead(ends, decision, history, objective, budget)
    told = replace(
        blank,
        power_limit_watts=end.watts,
        expected_joules=end.joules,
        expected_joules_stderr=end.stderr,
        finishes=finishes,
        instead=instead,
    )
    return replace(told, reason=_reason(told, ends))


def _ends(
    decision: Decision, history: RunHistory, spent_joules: float, steps_left: float
) -> list[_End]:
    """Return the end at every limit that is known, measured ones first."""
    other = other_joules_per_step(history)
    measured = {point.power_limit_watts for point in decision.points}
    fitted = [point for point in decision.curve if point.power_limit_watts not in measured]
    points: list[OperatingPoint | FittedPoint] = [*decision.points, *fitted]
    return [
        _End(
            point,
            spent_joules + steps_left * (point.joules_per_step + other),
            steps_left * (point.joules_per_step_stderr or 0.0),
        )
        for point in points
    ]


def _instead(
    ends: Iterable[_End],
    decision: Decision,
    history: RunHistory,
    objective: Objective,
    budget_joules: float,
) -> OtherLimit | None:
    """Return the fastest limit that surely keeps the budget; None where none does."""
    keeping = [end for end in ends if end.is_within(budget_joules)]
    at_reference = next(
        (p for p in decision.points if _same(p, decision.reference_power_limit_watts)), None
    )
    if not keeping or at_reference is None:
        return None
    fastest = min(keeping, key=lambda end: end.point.seconds_per_step)
    most_seconds = objective.most_seconds(reference_of(history, at_reference))
    return OtherLimit(
        power_limit_watts=fastest.watts,
        expected_joules=fastest.joules,
        slowdown_ratio=fastest.point.seconds_per_step / at_reference.seconds_per_step,
        measured=isinstance(fastest.point, OperatingPoint),
        within_bound=None
        if most_seconds is None
        else fastest.point.seconds_per_step <= most_seconds,
    )


def _reason(told: BudgetForecast, ends: Iterable[_End]) -> str:
    expected, budget = told.expected_joules or 0.0, told.joules
    at = f"At {told.power_limit_watts} W the run"
    share = _share(expected, budget)
    if told.finishes:
        return f"{at} finishes within its energy budget: {share}."
    if told.finishes is None:
        error = 100 * (told.expected_joules_stderr or 0.0) / expected
        first = f"{at} comes too close to its energy budget to tell: {share}, ± {error:.1f} %"
    else:
        first = f"{at} needs more than its energy budget: {share}"
    instead = told.instead
    if instead is None:
        least = min(ends, key=lambda end: end.joules)
        if least.watts == told.power_limit_watts:
            return f"{first}. No other limit that is known takes less."
        return f"{first}. No limit that is known surely keeps it; {least.watts} W takes least."
    other = f"{instead.power_limit_watts} W, {pace(instead.slowdown_ratio)} than the reference,"
    if instead.slowdown_ratio == 1.0:
        other = f"{instead.power_limit_watts} W, the reference limit,"
    would = f"would keep it with {_kwh(instead.expected_joules)}"
    if instead.within_bound is False:
        return f"{first}. {other} {would}, but is slower than the objective allows."
    if not instead.measured:
        return f"{first}. {other} {would}, but was not measured: try it with --explore."
    return f"{first}. {other} {would}, but is not what the objective prefers."


def _unknown(blank: BudgetForecast, why: str) -> BudgetForecast:
    return replace(
        blank,
        reason=f"Whether the run finishes within its energy budget of {_kwh(blank.joules)} is not "
        f"known: {why}.",
    )


def _is_at(end: _End, watts: int | None) -> bool:
    return _same(end.point, watts)


def _same(point: OperatingPoint | FittedPoint, watts: int | None) -> bool:
    return watts is not None and same_limit(point.power_limit_watts, watts)


def _share(joules: float, budget_joules: float) -> str:
    return f"{_kwh(joules)} of {_kwh(budget_joules)}, {100 * joules / budget_joules:.1f} %"


def _kwh(joules: float) -> str:
    kilowatt_hours = joules / JOULES_PER_KWH
    return f"{kilowatt_hours:,.0f} kWh" if kilowatt_hours >= 1_000 else f"{kilowatt_hours:.4g} kWh"
