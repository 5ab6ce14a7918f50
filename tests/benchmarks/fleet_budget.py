"""A power budget divided among measured trainings: ``python tests/benchmarks/fleet_budget.py``.

Jobs are drawn from power limits swept on real GPUs (artifacts of the paper "Zeus: Understanding
and Optimizing GPU Energy Consumption of DNN Training", NSDI'23), which are not part of this
project: name their folder in JOULESTAT_TRACES. What counts is the speed that the sweep says, with
its scatter taken out (more power never slows a card); every way to divide keeps the sum of
*limits* under the budget.
"""

import argparse
import csv
import math
import os
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes.traced_runs import rising
from joulestat.domain.plan import FittedPoint
from joulestat.optimizer.fleet.budget import divide_budget
from joulestat.optimizer.fleet.division import RunCurve
from joulestat.optimizer.fleet.fitted import curve_at

TRACES = Path(os.environ.get("JOULESTAT_TRACES") or Path(__file__).parents[3] / "shared" / "traces")
FILES = ("summary_power_p100.csv", "summary_power_rtx6000.csv")
LEAST_LIMITS = 5
N_JOBS = 24
BUDGETS = (0.5, 0.6, 0.7, 0.8)
PROBED = (1.0, 0.8, 0.6, 0.45)
"""Limits that a search leaves measured, as shares of the reference."""
SENSITIVE_SPEED = 0.95
"""A job that keeps this at its lowest limit waits for something else than the GPU."""


@dataclass(frozen=True)
class Job:
    """One training, by its true curve."""

    name: str
    n_gpus: int
    truth: tuple[FittedPoint, ...]

    @property
    def min_watts(self) -> int:
        return self.truth[0].power_limit_watts

    @property
    def reference_watts(self) -> int:
        return self.truth[-1].power_limit_watts

    @property
    def draw_watts(self) -> float:
        """Mean draw per GPU at the reference limit."""
        return self.truth[-1].joules_per_step / self.truth[-1].seconds_per_step

    def speed(self, watts: int) -> float:
        at = curve_at(self.truth, watts)
        assert at is not None
        return self.truth[-1].seconds_per_step / at.seconds_per_step


@dataclass(frozen=True)
class Outcome:
    """Weighted mean speed, and that of the slowest job."""

    throughput: float
    worst: float


def traces_are_there() -> bool:
    return all((TRACES / name).is_file() for name in FILES)


def read_truths() -> list[tuple[FittedPoint, ...]]:
    """Return every swept set-up, time falling and power rising with the limit."""
    truths = []
    for name in FILES:
        groups: defaultdict[tuple[str, ...], dict[int, tuple[float, float]]] = defaultdict(dict)
        with (TRACES / name).open(newline="") as file:
            for row in csv.DictReader(file):
                key = (row["dataset"], row["network"], row["batch_size"], row["optimizer"])
                measured = (float(row["time_per_epoch"]), float(row["average_power"]))
                groups[key][int(row["power_limit"])] = measured
        truths += [
            without_scatter(sweep) for sweep in groups.values() if len(sweep) >= LEAST_LIMITS
        ]
    return truths


def without_scatter(sweep: dict[int, tuple[float, float]]) -> tuple[FittedPoint, ...]:
    limits = sorted(sweep)
    speeds = rising([-math.log(sweep[watts][0]) for watts in limits])
    powers = rising([math.log(sweep[watts][1]) for watts in limits])
    return tuple(
        FittedPoint(watts, math.exp(power - speed), math.exp(-speed), 0.0, 0.0)
        for watts, speed, power in zip(limits, speeds, powers, strict=True)
    )


def mixes(n_mixes: int, seed: int, *, sensitive_only: bool = False) -> Iterator[list[Job]]:
    """Yield sets of jobs, each of 1 to 8 GPUs."""
    truths = read_truths()
    if sensitive_only:
        truths = [
            truth
            for truth in truths
            if truth[-1].seconds_per_step < SENSITIVE_SPEED * truth[0].seconds_per_step
        ]
    draw = random.Random(seed)
    for _ in range(n_mixes):
        yield [
            Job(f"job{number}", draw.choice((1, 2, 4, 8)), truth)
            for number, truth in enumerate(draw.sample(truths, N_JOBS))
        ]


def uniform(jobs: Sequence[Job], budget_watts: float) -> list[int]:
    """Give every job the same share of its reference limit."""
    return _by_share(jobs, [float(job.reference_watts) for job in jobs], budget_watts)


def by_draw(jobs: Sequence[Job], budget_watts: float) -> list[int]:
    """Give in proportion to what each draws without a limit, as steering by draw does."""
    return _by_share(jobs, [job.draw_watts for job in jobs], budget_watts)


def _by_share(jobs: Sequence[Job], weights: Sequence[float], budget_watts: float) -> list[int]:
    """Give in proportion, within each card's range, the largest factor that fits."""

    def limits(factor: float) -> list[int]:
        return [
            math.floor(min(max(factor * weight, job.min_watts), job.reference_watts))
            for job, weight in zip(jobs, weights, strict=True)
        ]

    def total(given: Sequence[int]) -> int:
        return sum(job.n_gpus * watts for job, watts in zip(jobs, given, strict=True))

    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if total(limits(middle)) <= budget_watts else (low, middle)
    return limits(low)


def by_curve(
    jobs: Sequence[Job], budget_watts: float, *, noise: random.Random | None = None
) -> list[int]:
    """Divide by the jobs' curves: the true ones, or as four probes with 1 % noise show them."""
    runs = [
        RunCurve(
            job.name,
            job.n_gpus,
            job.reference_watts,
            float(job.min_watts),
            job.truth if noise is None else probed(job, noise),
        )
        for job in jobs
    ]
    return [share.power_limit_watts for share in divide_budget(runs, budget_watts).shares]


def probed(job: Job, noise: random.Random) -> tuple[FittedPoint, ...]:
    """Return what a search knows: few limits, each off by 1 %."""
    limits = sorted({max(job.min_watts, round(share * job.reference_watts)) for share in PROBED})
    points = []
    for watts in limits:
        at = curve_at(job.truth, watts)
        assert at is not None
        off = 1 + noise.gauss(0, 0.01)
        points.append(
            FittedPoint(watts, at.joules_per_step * off, at.seconds_per_step * off, 0.0, 0.0)
        )
    return tuple(points)


def outcome(jobs: Sequence[Job], limits: Sequence[int], budget_watts: float) -> Outcome:
    """Return what the true curves say of these limits."""
    total = sum(job.n_gpus * watts for job, watts in zip(jobs, limits, strict=True))
    assert total <= budget_watts, f"limits of {total} W under a budget of {budget_watts} W"
    speeds = [job.speed(watts) for job, watts in zip(jobs, limits, strict=True)]
    weights = [job.n_gpus for job in jobs]
    done = sum(w * s for w, s in zip(weights, speeds, strict=True))
    return Outcome(done / sum(weights), min(speeds))


def compare(n_mixes: int, share: float, *, sensitive_only: bool = False) -> dict[str, Outcome]:
    """Return each way's outcome at one budget, averaged over mixes of jobs."""
    noise = random.Random(7)
    outcomes: defaultdict[str, list[Outcome]] = defaultdict(list)
    for jobs in mixes(n_mixes, seed=1, sensitive_only=sensitive_only):
        budget = share * sum(job.n_gpus * job.reference_watts for job in jobs)
        for way, limits in (
            ("uniform", uniform(jobs, budget)),
            ("by draw", by_draw(jobs, budget)),
            ("by curve", by_curve(jobs, budget)),
            ("by 4 noisy probes", by_curve(jobs, budget, noise=noise)),
        ):
            outcomes[way].append(outcome(jobs, limits, budget))
    return {
        way: Outcome(fmean(o.throughput for o in all_of), fmean(o.worst for o in all_of))
        for way, all_of in outcomes.items()
    }


def main() -> None:
    """Print one table per kind of job, as Markdown."""
    parser = argparse.ArgumentParser(description="Divide a power budget among traced trainings.")
    parser.add_argument("--mixes", type=int, default=100, help="how many sets of 24 jobs")
    n_mixes: int = parser.parse_args().mixes
    if not traces_are_there():
        raise SystemExit(f"no traces in {TRACES}: name their folder in JOULESTAT_TRACES")
    for title, sensitive_only in (("all jobs", False), ("jobs that feel the limit", True)):
        print(f"\n{title}: mean weighted speed, speed of the slowest job\n")
        for number, share in enumerate(BUDGETS):
            row = compare(n_mixes, share, sensitive_only=sensitive_only)
            if not number:
                print(f"| budget | {' | '.join(row)} |\n|{'--|' * (len(row) + 1)}")
            cells = (f"{o.throughput:.3f}, {o.worst:.3f}" for o in row.values())
            print(f"| {share:.2f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
