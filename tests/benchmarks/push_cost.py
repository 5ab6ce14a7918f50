"""What taking a push costs while ever more runs and ranks are remembered: a table.

Run it by itself: ``python tests/benchmarks/push_cost.py``. Pushgateway needs 35 ms for a push at
3,000 groups; here the last row must be like the first.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes.quick_disk import quick_folder
from properties.pushed_node import PushedNode, pushed_node

LIVE = ((1, 1), (8, 8), (32, 64), (64, 512))
"""Live runs, and live ranks of all of them together."""
N_MEASURED = 1_000
N_ENDED = 400


def body(node: PushedNode, run: int, rank: int, seq: int, *, final: bool = False) -> bytes:
    return json.dumps(
        {
            "run": f"run-{run}",
            "rank": rank,
            "incarnation": "one",
            "seq": seq,
            "at_ns": node.clock.monotonic_ns(),
            "gpus": [rank % 4],
            "phase": "train",
            "totals": {"train": {"steps": seq}},
            "final": final,
        }
    ).encode()


def fill(node: PushedNode, n_runs: int, n_ranks: int) -> list[tuple[int, int]]:
    """Let so many ranks live; what ended before stays remembered."""
    ranks = [(rank % n_runs, rank // n_runs) for rank in range(n_ranks)]
    node.push_all((body(node, run, rank, 1), "application/json") for run, rank in ranks)
    node.tick()
    return ranks


def measured(node: PushedNode, ranks: list[tuple[int, int]]) -> tuple[float, float]:
    """Return the median and the 99th percentile of what a push takes of a core, ms."""
    took: list[float] = []
    for number in range(N_MEASURED):
        run, rank = ranks[number % len(ranks)]
        push = [(body(node, run, rank, 2 + number), "application/json")]
        began = time.thread_time()
        (status,) = node.push_all(push)
        took.append(1_000 * (time.thread_time() - began))
        assert status == 200
        if number % 100 == 99:
            node.tick()
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


def main() -> None:
    print(
        f"{'live runs':>10} {'live ranks':>10} {'ended runs':>10} {'median ms':>10} {'p99 ms':>8}"
    )
    for n_ended in (0, N_ENDED):
        for n_runs, n_ranks in LIVE:
            with quick_folder() as folder, pushed_node(folder) as node:
                for run in range(n_ended):
                    push = body(node, 10_000 + run, 0, 1, final=True)
                    node.push_all([(push, "application/json")])
                    node.tick()
                ranks = fill(node, n_runs, n_ranks)
                median, slow = measured(node, ranks)
                ended = sum(r.end_seconds is not None for r in node.pushed.ledger.runs.values())
                print(f"{n_runs:>10} {n_ranks:>10} {ended:>10} {median:>10.2f} {slow:>10.2f}")


if __name__ == "__main__":
    main()
