"""Histories of simulated runs, broken in every way that histories break, beside their truth."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from fakes.planned_run import WATTS_GRID, Plan, Work, plan_of, trained
from joulestat.optimizer.history.facts import RunHistory, Slice


@dataclass(frozen=True)
class BrokenRun:
    """A history to judge, and the truth to judge the judgement by."""

    seed: int
    breakage: str
    history: RunHistory
    work: Work
    reference_watts: int
    details: dict[str, object] = field(default_factory=dict)

    def slowdown(self, watts: int) -> float:
        """Return the true time of a step beside that at the reference limit."""
        return self.work.curve(watts)[1] / self.work.curve(self.reference_watts)[1]


Breakage = Callable[[Plan, RunHistory], RunHistory]
Planning = Callable[[Plan], None]


def broken_run(seed: int) -> BrokenRun:
    """Return the history of one run; every seed in a row is broken in another way."""
    name = BREAKAGES[seed % len(BREAKAGES)]
    plan = plan_of(np.random.default_rng(seed))
    if name in BEFORE:
        BEFORE[name](plan)
    history = trained(plan)
    if name in AFTER:
        history = AFTER[name](plan, history)
    return BrokenRun(
        seed,
        name,
        history,
        plan.work,
        plan.run.reference_watts,
        {"visits": plan.visits, "noise": plan.run.time_noise, "drift": plan.run.drift},
    )


def _slices(history: RunHistory, slices: list[Slice]) -> RunHistory:
    return replace(history, slices=tuple(slices))


def _drift(plan: Plan) -> None:
    plan.run.drift = float(plan.rng.choice([0.005, 0.01, 0.02]))


def _change_at_probe(plan: Plan) -> None:
    plan.change = int(plan.rng.integers(1, len(plan.visits)))


def _change_at_reference(plan: Plan) -> None:
    plan.change = 0


def _insensitive(plan: Plan) -> None:
    plan.work.draw_watts = 0.28 * plan.run.reference_watts
    plan.run.time_noise = float(plan.rng.choice([0.01, 0.03]))


def _thin_probes(plan: Plan) -> None:
    plan.visits[1:] = [(watts, plan.rng.uniform(15.0, 125.0)) for watts, _ in plan.visits[1:]]


def _thin_reference(plan: Plan) -> None:
    plan.visits[0] = (plan.visits[0][0], plan.rng.uniform(30.0, 200.0))


def _lost_growth(plan: Plan, history: RunHistory) -> RunHistory:
    """A restart between two looks: all three counters lose a part of one look."""
    slices, share = list(history.slices), plan.rng.uniform(0.0, 0.9)
    at = plan.pick(slices)
    item = slices[at]
    slices[at] = replace(
        item,
        steps=share * item.steps,
        joules=share * item.joules,
        step_seconds=share * item.step_seconds,
    )
    return _slices(history, slices)


def _lost_energy(plan: Plan, history: RunHistory) -> RunHistory:
    """One counter alone loses one look or two."""
    slices, at = list(history.slices), plan.pick(list(history.slices))
    for index in range(at, min(at + 2, len(slices))):
        slices[index] = replace(slices[index], joules=0.0)
    return _slices(history, slices)


def _doubled_growth(plan: Plan, history: RunHistory) -> RunHistory:
    """A reset taken for growth: one look holds energy twice, or time."""
    return _stretched(plan, history, 2.0)


def _outlier(plan: Plan, history: RunHistory) -> RunHistory:
    return _stretched(plan, history, float(plan.rng.choice([0.05, 0.3, 5.0, 30.0, 1000.0])))


def _stretched(plan: Plan, history: RunHistory, factor: float) -> RunHistory:
    slices = list(history.slices)
    at = int(plan.rng.choice(plan.visit_of(slices))) if plan.rng.random() < 0.7 else 0
    item = slices[at]
    if plan.rng.random() < 0.5:
        slices[at] = replace(item, joules=factor * item.joules)
    else:
        slices[at] = replace(item, step_seconds=factor * item.step_seconds)
    return _slices(history, slices)


def _gap(plan: Plan, history: RunHistory) -> RunHistory:
    slices, count = list(history.slices), len(history.slices)
    begin, length = plan.pick(slices), int(plan.rng.integers(1, max(2, count // 3)))
    return _slices(history, slices[:begin] + slices[begin + length :])


def _scattered_gaps(plan: Plan, history: RunHistory) -> RunHistory:
    kept = [item for item in history.slices if plan.rng.random() < 0.5]
    return _slices(history, kept)


def _not_a_number(plan: Plan, history: RunHistory) -> RunHistory:
    return replace(history, problems=("a counter of node-1 is not a number",))


def _foreign(plan: Plan, history: RunHistory) -> RunHistory:
    return replace(history, limits=replace(history.limits, foreign=("GPU-0",), leased=False))


def _unasked_limits(plan: Plan, history: RunHistory) -> RunHistory:
    """Somebody set limits that nobody asked for, above the reference as well."""
    for ratio in plan.rng.choice([0.45, 0.65, 0.85, 1.1, 1.2], size=2, replace=False):
        plan.run.set_limit(WATTS_GRID * round(ratio * plan.run.reference_watts / WATTS_GRID))
        plan.run.advance(plan.rng.uniform(30.0, 300.0))
    return replace(plan.run.history(), limits=replace(plan.run.history().limits, leased=False))


def _late_labels(plan: Plan, history: RunHistory) -> RunHistory:
    """The first look under a probe still holds steps of the limit before."""
    slices = list(history.slices)
    at = plan.visit_of(slices)[0]
    before = slices[at - 1]
    slices[at] = replace(before, power_limit_watts=slices[at].power_limit_watts)
    return _slices(history, slices)


def _hot(item: Slice, slower: float) -> Slice:
    return replace(
        item,
        steps=item.steps / slower,
        thermal_ratio=0.6,
        joules=0.9 * item.joules,
    )


def _hot_at_times(plan: Plan, history: RunHistory) -> RunHistory:
    slower = plan.rng.uniform(1.05, 1.5)
    return _slices(
        history,
        [
            _hot(item, slower) if plan.rng.random() < 0.3 else replace(item, thermal_ratio=0.0)
            for item in history.slices
        ],
    )


def _hot_throughout(plan: Plan, history: RunHistory) -> RunHistory:
    slower = plan.rng.uniform(1.05, 1.5)
    return _slices(history, [_hot(item, slower) for item in history.slices])


def _hot_reference(plan: Plan, history: RunHistory) -> RunHistory:
    """At the reference limit the card was hot, and slow; at lower limits it was not."""
    slower, watts = plan.rng.uniform(1.05, 1.5), plan.run.reference_watts
    return _slices(
        history,
        [
            _hot(item, slower) if item.power_limit_watts == watts else item
            for item in history.slices
        ],
    )


def _stale(plan: Plan, history: RunHistory) -> RunHistory:
    return replace(history, fresh=False, live=False, sample_age_seconds=600.0)


def _partial(plan: Plan, history: RunHistory) -> RunHistory:
    """A second, slower node, of which a limit or some looks are missing."""
    missing = set(plan.visit_of(list(history.slices)))
    if plan.rng.random() < 0.5:
        missing = {i for i in range(len(history.slices)) if plan.rng.random() < 0.5}
    other = [
        replace(item, node="other", joules=1.3 * item.joules)
        for index, item in enumerate(history.slices)
        if index not in missing
    ]
    both = sorted((*history.slices, *other), key=lambda item: (item.end_seconds, item.node))
    return replace(_slices(history, both), gpu_uuids=("GPU-0", "GPU-1"))


def _shared(plan: Plan, history: RunHistory) -> RunHistory:
    """Another run took half of the GPU in a part of the time, and this one pays for less."""
    slices = [
        replace(item, steps=item.steps / 2, joules=item.joules / 2)
        if plan.rng.random() < 0.4
        else item
        for item in history.slices
    ]
    return replace(_slices(history, slices), shared_with=("other",))


def _wrong_reference(plan: Plan, history: RunHistory) -> RunHistory:
    """What is taken for the reference was never in force, or is not known."""
    wrong = int(plan.run.reference_watts * plan.rng.choice([0.97, 1.1, 1.5]))
    limits = replace(history.limits, reference_watts=wrong)
    if plan.rng.random() < 0.3:
        limits = replace(limits, reference_watts=None)
    return replace(history, limits=limits)


BEFORE: dict[str, Planning] = {
    "drift": _drift,
    "changed work at a probe": _change_at_probe,
    "changed work at the reference": _change_at_reference,
    "no effect of the limit": _insensitive,
    "thin probes": _thin_probes,
    "thin reference": _thin_reference,
    "sound": lambda _: None,
}
AFTER: dict[str, Breakage] = {
    "lost growth": _lost_growth,
    "lost energy": _lost_energy,
    "doubled growth": _doubled_growth,
    "outlier": _outlier,
    "gap": _gap,
    "scattered gaps": _scattered_gaps,
    "not a number": _not_a_number,
    "foreign limit": _foreign,
    "unasked limits": _unasked_limits,
    "late labels": _late_labels,
    "hot at times": _hot_at_times,
    "hot throughout": _hot_throughout,
    "hot reference": _hot_reference,
    "stale": _stale,
    "partial nodes": _partial,
    "shared GPU": _shared,
    "wrong reference": _wrong_reference,
}
BREAKAGES = sorted({*BEFORE, *AFTER})
