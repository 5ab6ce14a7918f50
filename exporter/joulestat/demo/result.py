"""What the demo found out, for people and for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from joulestat.domain.plan import Action, Decision, OperatingPoint
from joulestat.domain.units import same_limit
from joulestat.optimizer.search.objective import Cost, Reference
from joulestat.optimizer.show.wire import as_json_object


@dataclass(frozen=True, slots=True)
class Result:
    """How a demo ended.

    Attributes:
        decision: The optimizer's last one; None where it was stopped before there was one.
        elapsed_seconds: From the first process to the last decision.
        joules_in_training_code: What the training process's own client says the run took; None
            where it did not say so.
        baseline_watts: Limits before the first decision, by GPU UUID; empty where it did not get
            as far.
        left_behind_watts: Limits that are not back there after everything ended; empty if all is
            well.
    """

    decision: Decision | None
    elapsed_seconds: float
    joules_in_training_code: float | None
    baseline_watts: Mapping[str, float]
    left_behind_watts: Mapping[str, float]

    @property
    def held(self) -> bool:
        """Whether a limit was found and held."""
        return self.decision is not None and self.decision.action is Action.HOLD

    def as_json_object(self) -> dict[str, Any]:
        """Return what ``--output json`` prints: SI units, null for unknown.

        ``decision`` is as ``joulestat optimize --output json`` has it; each of its points also
        has ``cost_joules_per_step``.
        """
        decision = None
        if self.decision is not None:
            decision = as_json_object(self.decision)
            reference = reference_of(self.decision)
            decision["points"] = [
                {**asdict(point), "cost_joules_per_step": cost_joules(point, reference)}
                for point in self.decision.points
            ]
        return {
            "decision": decision,
            "held": self.held,
            "elapsed_seconds": round(self.elapsed_seconds, 1),
            "joules_in_training_code": self.joules_in_training_code,
            "baseline_watts": dict(self.baseline_watts),
            "limits_restored": not self.left_behind_watts,
            "left_behind_watts": dict(self.left_behind_watts),
        }


def reference_of(decision: Decision) -> Reference | None:
    """Return the run at its reference limit, None while that is not measured."""
    watts = decision.reference_power_limit_watts
    for point in decision.points:
        if watts is not None and same_limit(point.power_limit_watts, watts):
            n_gpus = len(decision.gpu_uuids)
            return Reference(
                power_limit_watts=point.power_limit_watts,
                joules_per_step=point.joules_per_step,
                seconds_per_step=point.seconds_per_step,
                total_limit_watts=float(watts * n_gpus),
                n_gpus=n_gpus,
            )
    return None


def cost_joules(point: OperatingPoint, reference: Reference | None) -> float | None:
    """Return eta * E + (1 - eta) * P_ref * T of one step, J, at eta = 0.5."""
    if reference is None:
        return None
    return float(Cost().value(point.joules_per_step, point.seconds_per_step, reference))


def points_table(decision: Decision) -> Table:
    """Return what was measured, highest limit first."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("limit", "J/step", "s/step", "cost", "steps", "energy", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    reference = reference_of(decision)
    for point in sorted(decision.points, key=lambda each: -each.power_limit_watts):
        chosen = point.power_limit_watts == decision.power_limit_watts
        cost = cost_joules(point, reference)
        table.add_row(
            f"{point.power_limit_watts} W",
            f"{point.joules_per_step:.2f}",
            f"{point.seconds_per_step:.4f}",
            "" if cost is None else f"{cost:.2f}",
            f"{point.steps}",
            *_against(point, reference),
            _mark(point, reference, decision.action if chosen else None),
            style="bold" if chosen else "",
        )
    return table


def _against(point: OperatingPoint, reference: Reference | None) -> tuple[str, str]:
    """Return energy and time beside the reference's, as signed percent."""
    if reference is None or point.power_limit_watts == reference.power_limit_watts:
        return "", ""
    energy = point.joules_per_step / reference.joules_per_step - 1
    time = point.seconds_per_step / reference.seconds_per_step - 1
    return f"{100 * energy:+.1f} %", f"{100 * time:+.1f} %"


def _mark(point: OperatingPoint, reference: Reference | None, chosen: Action | None) -> str:
    marks = []
    if reference and point.power_limit_watts == reference.power_limit_watts:
        marks.append("reference")
    if chosen is not None:
        marks.append(f"<- {chosen.value}")
    return " ".join(marks)
