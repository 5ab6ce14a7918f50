"""Who trains on which GPUs of the simulated fleet, and which limit is in force when."""

from dataclasses import dataclass

from servers.training_history import Truth

MINUTES = 12 * 60
SCRAPE_SECONDS = 60
DEFAULT_WATTS = 300
"""What is in force without a lease."""
LOWERED_AT_BOOT = "node-b:10400"
FACTORY_WATTS = 350
"""What the cards of that node came with; a script at its boot lowers them to the others'."""
IDLE_WATTS = 45.0
TRUTH = {
    300: Truth(86.8, 0.310),
    265: Truth(80.6, 0.315),
    230: Truth(72.0, 0.3245),
    200: Truth(67.2, 0.348),
    165: Truth(64.1, 0.402),
}
"""What a step costs one GPU at each limit: never more power than the limit, some cards' scatter
included, or people would look for a fault."""
PROBES = ((90, 200), (100, 265), (110, 230), (122, 165), (132, 230))
"""From which minute on a lease holds which limit on the GPUs of the steered run."""
DRIFT_MINUTES = range(600, 612)
"""Somebody else sets one GPU back to its default meanwhile."""
ENDED = ("node-c:10400", 0)
ENDED_LEASE = (range(300, 570), 200)
"""When a lease held which limit on the GPU of the run that is over.

A while longer than the run: backfilled series end 5 minutes late, as nothing marks their end.
"""
HOT_MINUTES = range(480, 510)
LEASE_SECONDS = 900
SHOWN_AFTER_END_MINUTES = 15
DAY_SECONDS = 86_400
LOSSY_NODE = "node-c:10400"
"""Its driver failed to answer twice."""


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: Its label.
        team: Whose it is.
        gpus: The GPUs that it holds, by node and index.
        begins: Minute.
        ends: Minute; past the end for a run that goes on.
        planned_steps: As it says, or None.
        budget_joules: As it says, or None.
    """

    name: str
    team: str
    gpus: tuple[tuple[str, int], ...]
    begins: int = 0
    ends: int = 2 * MINUTES
    planned_steps: int | None = None
    budget_joules: float | None = None

    def phase(self, minute: int) -> str:
        """Return what it does in a minute."""
        if minute % 180 == 57:
            return "checkpoint"
        return "eval" if minute % 60 >= 58 else "train"

    def nodes(self) -> tuple[str, ...]:
        """Return the nodes that it runs on."""
        return tuple(sorted({node for node, _ in self.gpus}))


STEERED = Run(
    "llama-ft-42",
    "nlp",
    (("node-a:10400", 0), ("node-a:10400", 1), ("node-b:10400", 0), ("node-b:10400", 1)),
    planned_steps=180_000,
    budget_joules=6.5e7,
)
RUNS = (
    STEERED,
    Run("resnet-77", "vision", (ENDED,), begins=130, ends=560),
    Run("bert-sweep-5", "nlp", (("node-c:10400", 1),), begins=430, planned_steps=90_000,
        budget_joules=6e6),
)  # fmt: skip
NODES = {"node-a:10400": "A100", "node-b:10400": "A100", "node-c:10400": "L40S"}
GPUS = tuple((node, index) for node in NODES for index in range(2))
BUDGETS = {"nlp-november": ("nlp", 4.0e9, 2.4e9), "vision-november": ("vision", 6e7, 5.5e7)}
"""Team, allowance and what was spent before the twelve hours, J."""


def limit_watts(gpu: tuple[str, int], minute: int) -> int:
    """Return the limit in force on a GPU."""
    drifted = gpu == STEERED.gpus[-1] and minute in DRIFT_MINUTES
    return DEFAULT_WATTS if drifted else leased_watts(gpu, minute) or DEFAULT_WATTS


def leased_watts(gpu: tuple[str, int], minute: int) -> int | None:
    """Return the limit that a lease holds on a GPU, None without a lease."""
    if gpu == ENDED:
        return ENDED_LEASE[1] if minute in ENDED_LEASE[0] else None
    leases = (watts for since, watts in reversed(PROBES) if minute >= since)
    return next(leases, None) if gpu in STEERED.gpus else None


def label_of(run: Run, minute: int) -> str:
    """Return the power_limit_watts that a minute of a run is counted under."""
    if run is STEERED and minute in DRIFT_MINUTES:
        return "mixed"
    if run is STEERED and any(minute == since for since, _ in PROBES):
        return "transition"
    return str(limit_watts(run.gpus[0], minute))
