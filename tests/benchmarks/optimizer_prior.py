"""Whether an earlier run of the same job helps: ``python tests/benchmarks/optimizer_prior.py``.

Every swept set-up of the traces (see fakes/traced_runs.py) is searched three times with noise of
its own: without a hint, with what an earlier search of the same set-up held, and with what a
search of another set-up held, a hint that misleads. docs/optimizer-replay.md has the table.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.replay_campaign import Trial, search_in_memory
from benchmarks.replay_tables import objective_name, table
from fakes.traced_runs import NO_TRACES, TracedRun, read_traced_runs, traces_are_there
from joulestat.optimizer.search.objective import Cost, Objective, Slowdown

OBJECTIVES: tuple[Objective, ...] = (Cost(0.5), Slowdown(1.05))
EARLIER_SEED, LATER_SEED = 1, 2
HEADS = (
    "objective", "noise", "hint", "limits mean", "probing of the sweep's time: mean",
    "regret mean", "p95",
)  # fmt: skip


def search_again(
    job: tuple[int, TracedRun, int | None], objective: Objective, noise_ratio: float, seed: int
) -> Trial:
    """Search one set-up, with a hint if there is one."""
    index, traced, hint_watts = job
    return search_in_memory(traced, objective, noise_ratio, (seed, index), hint_watts)


def rows_of(
    pool: Pool, runs: Sequence[TracedRun], objective: Objective, noise_ratio: float
) -> list[list[str]]:
    """Return how the searches went without a hint, with a good and with a misleading one."""
    earlier = functools.partial(
        search_again, objective=objective, noise_ratio=noise_ratio, seed=EARLIER_SEED
    )
    later = functools.partial(
        search_again, objective=objective, noise_ratio=noise_ratio, seed=LATER_SEED
    )
    plain = [(index, traced, None) for index, traced in enumerate(runs)]
    held = [trial.held_watts for trial in pool.map(earlier, plain, chunksize=4)]
    others = [_other(runs, held, index) for index in range(len(runs))]
    rows = []
    for name, hints in (("none", [None] * len(runs)), ("same job", held), ("another's", others)):
        jobs = [(index, runs[index], hint) for index, hint in enumerate(hints)]
        trials = pool.map(later, jobs, chunksize=4)
        regrets = np.array([trial.regret_ratio for trial in trials])
        rows.append(
            [
                objective_name(objective),
                f"{100 * noise_ratio:g} %",
                name,
                f"{np.mean([trial.n_limits for trial in trials]):.2f}",
                f"{np.mean([trial.probing_share for trial in trials]):.2f}",
                f"{100 * regrets.mean():.2f} %",
                f"{100 * float(np.quantile(regrets, 0.95)):.2f} %",
            ]
        )
    return rows


def _other(runs: Sequence[TracedRun], held: Sequence[int], index: int) -> int | None:
    """Return what was held on the same card by a set-up far away in the list."""
    card = runs[index].reference_watts
    same = [other for other in range(len(runs)) if runs[other].reference_watts == card]
    return held[same[(same.index(index) + len(same) // 2) % len(same)]]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description="Compare searches with and without a hint.")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take each Nth trace")
    parser.add_argument("--processes", type=int, default=2, help="at once (default: 2)")
    given = parser.parse_args()
    if not traces_are_there():
        raise SystemExit(NO_TRACES)
    runs = read_traced_runs()[:: given.every]
    with Pool(given.processes) as pool:
        rows = [
            row
            for objective in OBJECTIVES
            for noise_ratio in (0.0, 0.01)
            for row in rows_of(pool, runs, objective, noise_ratio)
        ]
    print("\n".join(table(HEADS, rows)))


if __name__ == "__main__":
    main()
