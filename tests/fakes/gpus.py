"""GPUs that draw a constant power, read ten times a second into a ledger."""

from joulestat.domain.run import Cell, Counts, Phase, Push, PushAnswer, RunLabels
from joulestat.domain.units import NS_PER_SECOND, UJ_PER_JOULE
from joulestat.runs.budgets import Budgets, BudgetTerms
from joulestat.runs.ledger import Ledger, LedgerPolicy

WALL = 1_795_000_000.0


class Node:
    """GPUs that draw a constant power, read ten times a second."""

    def __init__(self, watts: dict[str, float], *, limit: float = 250.0) -> None:
        self.watts = watts
        self.limits = dict.fromkeys(watts, limit)
        self.second = 0.0
        self.joules = dict.fromkeys(watts, 0.0)
        self.ledger = Ledger(
            LedgerPolicy(), "memory-1", Budgets([BudgetTerms("q4", "nlp", 1e6, 0.0, 2e9)])
        )
        self.run_to(0.0)

    def run_to(self, second: float) -> None:
        """Let time pass up to a second, ticking every 100 ms."""
        while True:
            for gpu, joules in self.joules.items():
                self.ledger.observe(
                    gpu, self.now_ns, round(joules * UJ_PER_JOULE), self.limits[gpu]
                )
            self.ledger.advance(self.now_ns, WALL + self.second, beat=True)
            if self.second >= second - 1e-9:
                return
            self.second = round(self.second + 0.1, 6)
            for gpu, watts in self.watts.items():
                self.joules[gpu] += watts * 0.1

    @property
    def now_ns(self) -> int:
        return ns(self.second)

    def push(
        self,
        run: str,
        *,
        at: float,
        seq: int,
        phase: Phase = Phase.TRAIN,
        rank: int = 0,
        gpus: tuple[str, ...] = ("GPU-a",),
        incarnation: str = "first",
        final: bool = False,
        **totals: Counts,
    ) -> PushAnswer:
        push = Push(
            run=run,
            rank=rank,
            incarnation=incarnation,
            seq=seq,
            at_ns=ns(at),
            gpus=gpus,
            phase=phase,
            totals={Phase(name): counts for name, counts in totals.items()},
            labels=RunLabels(team="nlp"),
            final=final,
        )
        return self.ledger.push(push, self.now_ns, WALL + self.second)

    def cell(self, run: str, phase: Phase, label: str) -> Cell:
        return self.ledger.runs[run].cells.get((phase, label), Cell())


def ns(second: float) -> int:
    return 1_000 * NS_PER_SECOND + round(second * NS_PER_SECOND)


def steps(count: int, samples: int = 0, tokens: int = 0) -> Counts:
    return Counts(count, samples, tokens)


def started(node: Node, run: str = "r", at: float = 10.0, **more: object) -> None:
    """Begin a run whose first push says that it trains."""
    node.run_to(at)
    node.push(run, at=at, seq=1, **more)  # type: ignore[arg-type]
