"""What is known of one run, whatever it was read from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from joulestat.domain.plan import Window
from joulestat.domain.tariff import UNKNOWN_TARIFF, Tariff


@dataclass(frozen=True, slots=True)
class Slice:
    """What one node did under one power limit between two looks at its counters.

    Attributes:
        node: Which node.
        power_limit_watts: Limit in force, per GPU.
        start_seconds: Unix time of the earlier look.
        end_seconds: Unix time of the later look; the same for all nodes of a run.
        steps: Steps that this node counted.
        joules: Energy of the run's devices on this node.
        step_seconds: Time those steps took.
        samples: Samples that this node's ranks trained on; None where none were ever pushed.
        tokens: Tokens, likewise.
        thermal_ratio: Share of the time in which a GPU of the run on this node was slowed by heat
            or by its power supply; None where that is not known.
    """

    node: str
    power_limit_watts: int
    start_seconds: float
    end_seconds: float
    steps: float
    joules: float
    step_seconds: float
    samples: float | None = None
    tokens: float | None = None
    thermal_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Power limits common to a run's devices, whole W; None where unknown or not common.

    Where the devices of some nodes have a higher reference limit than others, every figure here
    and in the slices is on the scale of the highest: 0.7 of 400 W and 0.7 of 300 W are both 280 W.

    Attributes:
        reference_watts: What was enforced while no lease held a limit, as a rule the default.
        unequal_reference: The devices have different ones, so no single one exists.
        current_watts: What is enforced now, if the same on all devices.
        leased: Whether a lease holds the limit of every device now. Not while one stands at
            another limit than its lease's: then somebody else set it.
        foreign: Devices that have stood at another limit than their lease's for a while.
        min_watts: The lowest that a lease may hold on every device.
        max_watts: The highest that a lease may hold on every device.
        cut_by_policy: Whether the host's policy makes that range narrower than the cards' own.
        reference_by_gpu: Each device's own reference limit, by UUID, where it is known.
    """

    reference_watts: int | None = None
    unequal_reference: bool = False
    current_watts: int | None = None
    leased: bool = False
    foreign: tuple[str, ...] = ()
    min_watts: float | None = None
    max_watts: float | None = None
    cut_by_policy: bool = False
    reference_by_gpu: Mapping[str, int] = field(default_factory=dict)


UNKNOWN_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class RunHistory:
    """One run as it is remembered, as of one moment.

    Attributes:
        run: Its name.
        slices: What it did, all nodes, in time order, since it has been on the nodes that it is
            on last.
        window: The first and the last look, None without history.
        gpu_uuids: The devices that it holds; those it held last if it holds none now.
        instances_by_gpu: Values of the ``instance`` label that each is shown with now, by UUID;
            empty where nothing was scraped.
        gpu_model: What the vendor calls them; empty where unknown or not all alike.
        job: The run's job label, empty where it has none.
        limits: Their power limits.
        live: Whether the run goes on, holds devices, and is seen doing so right now.
        fresh: Whether the newest samples of every node are new enough to act on.
        ended: Whether the run said that it is over.
        sample_age_seconds: How old they are; None where a node is not seen.
        shared_with: Other runs that hold one of its devices too.
        steps_done: Train steps of all its time, whatever the limit; None where unknown.
        joules_spent: Energy of all its time, all phases; None where unknown.
        other_joules_spent: What of it was not in training: evaluations, checkpoints; None where
            unknown.
        planned_steps: How many steps it is to make; None where it did not say.
        energy_budget_joules: What it may spend; None where it did not say.
        other_phase_ratio: Share of its recent time in other phases than training; None where
            unknown.
        tariff: What a joule costs where it runs.
        problems: What makes this history unfit for a decision, for people.
    """

    run: str
    slices: tuple[Slice, ...] = ()
    window: Window | None = None
    gpu_uuids: tuple[str, ...] = ()
    instances_by_gpu: Mapping[str, frozenset[str]] = field(default_factory=dict)
    gpu_model: str = ""
    job: str = ""
    limits: Limits = UNKNOWN_LIMITS
    live: bool = False
    fresh: bool = False
    ended: bool = False
    sample_age_seconds: float | None = None
    shared_with: tuple[str, ...] = ()
    steps_done: float | None = None
    joules_spent: float | None = None
    other_joules_spent: float | None = None
    planned_steps: float | None = None
    energy_budget_joules: float | None = None
    other_phase_ratio: float | None = None
    tariff: Tariff = UNKNOWN_TARIFF
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """A run whose history could not be read, and why, for people."""

    run: str
    error: str
