"""The replay's result tables, as Markdown."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.replay_campaign import Trial
from benchmarks.replay_day import Day
from fakes.traced_runs import TracedRun
from joulestat.optimizer.search.objective import Objective

SECONDS_PER_HOUR = 3_600.0
VIOLATION_RATIO = 0.01
"""A bound that is exceeded by more is broken in earnest."""


def objective_name(objective: Objective) -> str:
    """Return "cost 0.25"."""
    return " ".join(str(value) for value in objective.parameters().values())


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'--|' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


QUALITY = (
    "objective", "who",
    "regret mean", "p95", "max",
    "bound broken", "by > 1 %",
    "limits mean", "max",
)  # fmt: skip
COST = (
    "objective", "who",
    "probing of the sweep's time: mean", "max",
    "probing, GPU-h", "of it too much, GPU-h", "energy too much, kJ",
)  # fmt: skip
NO_EFFECT = ("objective", "traces without effect", "said of them", "said of others", "missed")
DAY = (
    "objective",
    "regret mean", "p95", "max",
    "mean step longer than allowed: mean", "max",
    "time at limits > 1 % too slow: mean", "max",
    "time probing", "limits mean", "max", "changes mean", "max",
    "regret of what is held last: mean", "p95",
)  # fmt: skip


def quality_row(name: str, who: str, trials: Sequence[Trial]) -> list[str]:
    """Return what was chosen, and after how many limits."""
    regrets = np.array([trial.regret_ratio for trial in trials])
    excesses = np.array([trial.excess_ratio for trial in trials])
    limits = np.array([trial.n_limits for trial in trials])
    is_bound = bool(np.any(excesses != 0))
    broken = [
        _percent(float(np.mean(excesses > least)), 1) if is_bound else "-"
        for least in (1e-9, VIOLATION_RATIO)
    ]
    return [name, who, *_spread(regrets), *broken, f"{limits.mean():.2f}", f"{limits.max()}"]


def cost_row(name: str, who: str, trials: Sequence[Trial]) -> list[str]:
    """Return what it cost to choose, on average."""
    shares = np.array([trial.probing_share for trial in trials])
    hours = np.mean([trial.probing_seconds for trial in trials]) / SECONDS_PER_HOUR
    extra_hours = np.mean([trial.extra_seconds for trial in trials]) / SECONDS_PER_HOUR
    extra_joules = np.mean([trial.extra_joules for trial in trials])
    return [
        name, who, f"{shares.mean():.2f}", f"{shares.max():.2f}",
        f"{hours:.3f}", f"{extra_hours:.4f}", f"{extra_joules / 1000:.2f}",
    ]  # fmt: skip


def no_effect_row(name: str, runs: Sequence[TracedRun], trials: Sequence[Trial]) -> list[str]:
    """Return how often "no effect" was said, rightly and wrongly."""
    said_of = [run.insensitive for run, trial in zip(runs, trials, strict=True) if trial.no_effect]
    there_are = sum(run.insensitive for run in runs)
    right = sum(said_of)
    return [
        name, str(there_are), str(right), str(len(said_of) - right), str(there_are - right)
    ]  # fmt: skip


def day_row(name: str, days: Sequence[Day]) -> list[str]:
    """Return what came of a day."""
    regrets = np.array([day.regret_ratio for day in days])
    slower = np.array([max(0.0, day.excess_ratio) for day in days])
    too_slow = np.array([day.too_slow_share for day in days])
    limits = np.array([day.n_limits for day in days])
    changes = np.array([day.n_changes for day in days])
    return [
        name, *_spread(regrets),
        _percent(slower.mean()), _percent(slower.max()),
        _percent(too_slow.mean()), _percent(too_slow.max()),
        _percent(float(np.mean([day.probing_share for day in days]))),
        f"{limits.mean():.1f}", f"{limits.max()}",
        f"{changes.mean():.0f}", f"{changes.max()}",
        *_spread(np.array([day.last_regret_ratio for day in days]))[:2],
    ]  # fmt: skip


def worst_line(name: str, index: int, trial: Trial) -> str:
    """Return one campaign in a line, for who wants to see where it goes wrong."""
    return (
        f"{name}, trace {index}: regret {_percent(trial.regret_ratio)}, excess "
        f"{_percent(trial.excess_ratio)}, held {trial.held_watts} W for {trial.best_watts} W, "
        f"probed {', '.join(map(str, trial.visits))} W"
    )


def _spread(ratios: np.ndarray) -> list[str]:  # type: ignore[type-arg]
    return [
        _percent(float(ratios.mean())),
        _percent(float(np.quantile(ratios, 0.95))),
        _percent(float(ratios.max())),
    ]


def _percent(ratio: float, digits: int = 2) -> str:
    return f"{100 * ratio:.{digits}f} %"
