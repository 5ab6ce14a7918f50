"""The search on measured trainings: ``python tests/benchmarks/optimizer_replay.py --noise 0.01``.

Every swept set-up of the traces (see fakes/traced_runs.py: name their folder in JOULESTAT_TRACES)
is trained in simulation, at each objective, and the optimizer looks for its limit; beside it, an
exhaustive sweep of the same run with the same noise. docs/optimizer-replay.md says what it shows.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.replay_campaign import Trial, search_in_memory, sweep_exhaustively
from benchmarks.replay_day import live_a_day
from benchmarks.replay_lockstep import THROUGH, search_through
from benchmarks.replay_tables import (
    COST,
    DAY,
    NO_EFFECT,
    QUALITY,
    cost_row,
    day_row,
    no_effect_row,
    objective_name,
    quality_row,
    table,
    worst_line,
)
from fakes.traced_runs import NO_TRACES, TracedRun, read_traced_runs, traces_are_there
from joulestat.optimizer.search.objective import Cost, Objective, Slowdown

OBJECTIVES: tuple[Objective, ...] = (
    Cost(0.25),
    Cost(0.5),
    Cost(0.75),
    Cost(1.0),
    Slowdown(1.05),
    Slowdown(1.1),
    Slowdown(1.2),
)
N_WORST = 3

Result = TypeVar("Result")
Seed = tuple[int, ...]
Work = Callable[[TracedRun, Objective, float, Seed], Result]


@dataclass(frozen=True)
class Job:
    """One set-up at one objective."""

    traced: TracedRun
    objective: Objective
    noise_ratio: float
    seed: Seed


def jobs_of(runs: Sequence[TracedRun], noise_ratio: float, seed: int) -> list[list[Job]]:
    """Return the jobs of each objective, each with a noise of its own."""
    return [
        [
            Job(traced, objective, noise_ratio, (seed, number, index))
            for index, traced in enumerate(runs)
        ]
        for number, objective in enumerate(OBJECTIVES)
    ]


def do_all(
    work: Work[Result], jobs: Sequence[Sequence[Job]], n_processes: int
) -> list[list[Result]]:
    """Do each job, several at once; return the results in their order."""
    with Pool(n_processes) as pool:
        return [pool.map(functools.partial(_do, work), group, chunksize=1) for group in jobs]


def _do(work: Work[Result], job: Job) -> Result:
    return work(job.traced, job.objective, job.noise_ratio, job.seed)


def show_search(
    runs: Sequence[TracedRun], searched: Sequence[Sequence[Trial]], swept: Sequence[Sequence[Trial]]
) -> None:
    """Print what the search and the sweep chose, and what it cost them."""
    quality, cost, no_effect = [], [], []
    for objective, mine, theirs in zip(OBJECTIVES, searched, swept, strict=True):
        name = objective_name(objective)
        for who, trials in (("search", mine), ("sweep", theirs)):
            quality.append(quality_row(name, who, trials))
            cost.append(cost_row(name, who, trials))
        no_effect.append(no_effect_row(name, runs, mine))
    n_costs = sum(isinstance(objective, Cost) for objective in OBJECTIVES)
    for name, of in (("all costs", slice(n_costs)), ("all slowdowns", slice(n_costs, None))):
        for who, groups in (("search", searched), ("sweep", swept)):
            trials = [trial for group in groups[of] for trial in group]
            quality.append(quality_row(name, who, trials))
            cost.append(cost_row(name, who, trials))
    for heads, rows in ((QUALITY, quality), (COST, cost), (NO_EFFECT, no_effect)):
        print("\n".join(table(heads, rows)), end="\n\n")


def show_worst(searched: Sequence[Sequence[Trial]], every: int) -> None:
    """Print where the search did worst."""
    for objective, trials in zip(OBJECTIVES, searched, strict=True):
        by_regret = sorted(range(len(trials)), key=lambda i, of=trials: -of[i].regret_ratio)  # type: ignore[misc]
        by_excess = sorted(range(len(trials)), key=lambda i, of=trials: -of[i].excess_ratio)  # type: ignore[misc]
        broken = [index for index in by_excess[:N_WORST] if trials[index].excess_ratio > 1e-9]
        for index in dict.fromkeys([*by_regret[:N_WORST], *broken]):
            print(worst_line(objective_name(objective), every * index, trials[index]))


def main() -> None:
    """Print tables for each level of noise."""
    parser = argparse.ArgumentParser(description="Replay the search on measured trainings.")
    parser.add_argument(
        "--noise", type=float, action="append", metavar="RATIO",
        help="scatter of the time of 40 steps, repeatable (default: 0, 0.01 and 0.03)",
    )  # fmt: skip
    parser.add_argument(
        "--through", choices=("memory", *THROUGH), default="memory",
        help="what the histories are read from (default: memory)",
    )  # fmt: skip
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take each Nth trace")
    parser.add_argument("--raw", action="store_true", help="leave the traces' own scatter in")
    parser.add_argument("--day", action="store_true", help="run for 24 hours, beside an oracle")
    parser.add_argument("--seed", type=int, default=1, help="of all noise")
    parser.add_argument("--processes", type=int, default=2, help="at once (default: 2)")
    parser.add_argument("--worst", action="store_true", help="also print the worst campaigns")
    given = parser.parse_args()
    if not traces_are_there():
        raise SystemExit(NO_TRACES)
    runs = read_traced_runs(raw=given.raw)[:: given.every]
    for noise_ratio in given.noise or (0.0, 0.01, 0.03):
        started = time.monotonic()
        jobs = jobs_of(runs, noise_ratio, given.seed)
        print(f"{len(runs)} traces, noise {100 * noise_ratio:g} %, through {given.through}\n")
        if given.day:
            days = do_all(live_a_day, jobs, given.processes)
            names = [objective_name(objective) for objective in OBJECTIVES]
            rows = [day_row(name, of) for name, of in zip(names, days, strict=True)]
            print("\n".join(table(DAY, rows)), end="\n\n")
        else:
            if given.through == "memory":
                searched = do_all(search_in_memory, jobs, given.processes)
            else:
                searched = search_through(given.through, jobs)
            swept = [[_do(sweep_exhaustively, job) for job in group] for group in jobs]
            show_search(runs, searched, swept)
            if given.worst:
                show_worst(searched, given.every)
        print(f"{time.monotonic() - started:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
