"""What Prometheus would hold of a training run with known joules and seconds per step."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

START_SECONDS = 1_790_000_000
SETTLE_SECONDS = 2.0
DEFAULT_WATTS = 300
COUNTED = ("steps", "step_seconds", "energy_joules", "samples", "tokens")


@dataclass(frozen=True)
class Truth:
    """One node's energy and time per step at one limit."""

    joules: float
    seconds: float


@dataclass(frozen=True)
class Extras:
    """What a run and its devices may show besides; nothing of it by default.

    Attributes:
        samples_per_step: Pushed by every node for itself.
        tokens_per_step: Likewise.
        job: Value of the run's own label.
        model: What the GPUs are called.
        planned_steps: As the run says.
        energy_budget_joules: As the run says.
        throttled: Seconds after the start in which every GPU is slowed by heat.
        foreign: Seconds after the start from which somebody else has set a limit, and which.
        price: Of a kilowatt-hour, in EUR.
    """

    samples_per_step: int = 0
    tokens_per_step: int = 0
    job: str = ""
    model: str = ""
    planned_steps: int | None = None
    energy_budget_joules: float | None = None
    throttled: tuple[float, float] | None = None
    foreign: tuple[float, int] | None = None
    price: float | None = None


@dataclass
class Node:
    """One exporter's counters, and what was scraped of them."""

    counters: dict[str, list[float]] = field(default_factory=dict)
    """Steps, seconds, joules, samples and tokens by value of ``power_limit_watts``."""
    births: float = 0.0


@dataclass
class TrainingHistory:
    """A simulated run. ``schedule`` names limits and how long each is in force, seconds.

    Attributes:
        run: Its name; any text.
        truth: What a step costs on one node, by limit.
        schedule: Limits in order, the first one without a lease.
        n_nodes: Nodes, each with one GPU, all alike.
        scrape_seconds: Scrape interval; nodes are scraped at different moments.
        missed: Seconds after the start in which no scrape succeeds.
        resets: Seconds after the start at which the exporters forget everything.
        ends: Whether the run ends with the schedule and is shown a while longer.
        first_node: Number of the first node; another one is another machine.
        moves_at: Seconds after the start at which the exporters come back under another address.
        replicas: How many Prometheus servers scrape each node, told apart by a label.
        references: What each node's GPU has without a lease, W, node by node in turn; its limits
            are the schedule's in relation to the first limit there. None for the schedule's.
        extras: What else is shown.
    """

    run: str
    truth: Mapping[int, Truth]
    schedule: Sequence[tuple[int, float]]
    n_nodes: int = 1
    scrape_seconds: float = 1.0
    missed: Sequence[tuple[float, float]] = ()
    resets: Sequence[float] = ()
    ends: bool = False
    first_node: int = 0
    moves_at: float = math.inf
    replicas: int = 1
    references: Sequence[int] | None = None
    extras: Extras = Extras()
    start_seconds: float = START_SECONDS

    @property
    def duration_seconds(self) -> float:
        return sum(seconds for _, seconds in self.schedule)

    @property
    def end_seconds(self) -> float:
        """Unix time of the schedule's end."""
        return self.start_seconds + self.duration_seconds

    def counted(self, until_seconds: float) -> dict[str, list[float]]:
        """Return what a node counts under each label until a second after the start."""
        counted: dict[str, list[float]] = {}
        for second, label, grown in self._pushes():
            if second <= until_seconds:
                total = counted.setdefault(label, [0.0] * len(COUNTED))
                for index, part in enumerate(grown):
                    total[index] += part
        return counted

    def last_scrape(self, index: int, before_seconds: float) -> float:
        """Return when a node was scraped last, seconds after the start, by any replica."""
        scrapes = int((self.duration_seconds + 60 * self.ends) / self.scrape_seconds)
        offsets = [self._offset(index, replica) for replica in range(self.replicas)]
        return max(
            offset
            + min((before_seconds - offset) // self.scrape_seconds, scrapes - 1)
            * self.scrape_seconds
            for offset in offsets
        )

    def lines(self) -> Iterator[str]:
        """Yield OpenMetrics samples in order of time."""
        samples: list[tuple[float, str]] = []
        for index in range(self.first_node, self.first_node + self.n_nodes):
            for replica in range(self.replicas):
                samples += self._node_samples(index, replica)
        samples.sort(key=lambda item: item[0])
        yield from (line for _, line in samples)

    def _node_samples(self, index: int, replica: int) -> Iterator[tuple[float, str]]:
        node = Node(births=self.start_seconds + 0.25)
        uuid = f"GPU-{escape(self.run)}-{index}"
        pushes = self._pushes()
        push = next(pushes, None)
        resets = sorted(self.resets)
        scale = self._scale(index)
        offset = self._offset(index, replica)
        for number in range(int((self.duration_seconds + 60 * self.ends) / self.scrape_seconds)):
            at = offset + number * self.scrape_seconds
            while resets and resets[0] <= at:
                node.counters.clear()
                node.births = self.start_seconds + resets.pop(0)
            if self._label(at, 0.0).isdigit():
                node.counters.setdefault(_scaled(self._label(at, 0.0), scale), [0.0] * 5)
            while push is not None and push[0] <= at:
                _, label, grown = push
                known = node.counters.setdefault(_scaled(label, scale), [0.0] * 5)
                for part, amount in enumerate(grown):
                    known[part] += amount
                push = next(pushes, None)
            if not any(begin <= at < end for begin, end in self.missed):
                address = f"node{index}{'b' * (at >= self.moves_at)}:9400"
                target = f'job="joulestat",instance="{address}"'
                if self.replicas > 1:
                    target += f',replica="{replica}"'
                for text in self._page(node, uuid, target, at, scale):
                    yield self.start_seconds + at, f"{text} {self.start_seconds + at:.3f}"

    @staticmethod
    def _offset(index: int, replica: int) -> float:
        return 0.1 + 0.3 * (index % 2) + 0.15 * replica

    def _pushes(self) -> Iterator[tuple[float, str, tuple[float, ...]]]:
        """Yield (second, label, growth) of each push: once a second, whole steps only."""
        done = 0.0
        for second in range(1, int(self.duration_seconds) + 1):
            begin, steps, joules = done, 0, 0.0
            while True:
                cost = self.truth[self._limit(done)]
                if done + cost.seconds > second:
                    break
                done += cost.seconds
                steps += 1
                joules += cost.joules
            if steps:
                samples = steps * self.extras.samples_per_step
                tokens = steps * self.extras.tokens_per_step
                grown = (steps, done - begin, joules, samples, tokens)
                yield second, self._label(done, begin), grown

    def _limit(self, at: float) -> int:
        for limit, seconds in self.schedule:
            if at < seconds:
                return limit
            at -= seconds
        return self.schedule[-1][0]

    def _label(self, at: float, begin: float) -> str:
        """Return the limit in force from ``begin`` to ``at``, or transition."""
        changed = 0.0
        for _, seconds in self.schedule[:-1]:
            changed += seconds
            if begin < changed + SETTLE_SECONDS and changed < at and begin:
                return "transition"
        return str(self._limit(at))

    def _scale(self, index: int) -> float:
        if self.references is None:
            return 1.0
        return self.references[index % len(self.references)] / self.schedule[0][0]

    def _page(self, node: Node, uuid: str, target: str, at: float, scale: float) -> Iterator[str]:
        run = f'run="{escape(self.run)}"'
        for limit, parts in node.counters.items():
            labels = f'{{{run},phase="train",power_limit_watts="{limit}",{target}}}'
            for name, value in zip(COUNTED, parts, strict=True):
                if name == "samples" and not self.extras.samples_per_step:
                    continue
                yield f"joulestat_run_{name}_total{labels} {value!r}"
        # What must never be counted: other phases, and several limits in one.
        for phase, limit in (("eval", "300"), ("train", "mixed")):
            labels = f'{{{run},phase="{phase}",power_limit_watts="{limit}",{target}}}'
            for name in ("steps", "step_seconds", "energy_joules"):
                yield f"joulestat_run_{name}_total{labels} {7 * at}"
        yield f"joulestat_run_start_timestamp_seconds{{{run},{target}}} {node.births}"
        over = self.ends and at > self.duration_seconds
        pushed = self.start_seconds + min(int(at), self.duration_seconds)
        yield f'joulestat_run_last_push_timestamp_seconds{{{run},rank="0",{target}}} {pushed}'
        device = f'gpu="0",gpu_uuid="{uuid}",{target}'
        if over:
            ended = self.end_seconds
            yield f"joulestat_run_end_timestamp_seconds{{{run},{target}}} {ended}"
        else:
            yield f'joulestat_run_gpu{{{run},rank="0",phase="train",{device}}} 1'
        yield from self._limits(device, at, scale, over=over)
        yield from self._extras(run, target, device, at)

    def _limits(self, device: str, at: float, scale: float, *, over: bool) -> Iterator[str]:
        first = round(self.schedule[0][0] * scale)
        limit = first if over else round(self._limit(at) * scale)
        foreign = self.extras.foreign
        enforced = foreign[1] if foreign is not None and at >= foreign[0] else limit
        prefix = "joulestat_gpu_power_limit"
        yield f"{prefix}_enforced_watts{{{device}}} {enforced}"
        yield f"{prefix}_default_watts{{{device}}} {round(DEFAULT_WATTS * scale)}"
        yield f"{prefix}_min_watts{{{device}}} {100 * scale}"
        yield f"{prefix}_max_watts{{{device}}} {350 * scale}"
        if not over and limit != first:
            yield f"{prefix}_target_watts{{{device}}} {limit}"

    def _extras(self, run: str, target: str, device: str, at: float) -> Iterator[str]:
        extras = self.extras
        if extras.job:
            # As Prometheus renames it, because the target has a label of that name, too.
            scraped = target.replace('job="', f'exported_job="{extras.job}",job="')
            yield f"joulestat_run_info{{{run},{scraped}}} 1"
        if extras.model:
            yield f'joulestat_gpu_info{{{device},model="{extras.model}"}} 1'
        if extras.throttled is not None:
            hot = extras.throttled[0] <= at < extras.throttled[1]
            for reason, is_it in (("power_cap", True), ("hw_thermal", hot), ("sw_thermal", False)):
                yield f'joulestat_gpu_throttled{{{device},reason="{reason}"}} {is_it:d}'
        if extras.planned_steps is not None:
            yield f"joulestat_run_planned_steps{{{run},{target}}} {extras.planned_steps}"
        if extras.energy_budget_joules is not None:
            budget = extras.energy_budget_joules
            yield f"joulestat_run_energy_budget_joules{{{run},{target}}} {budget}"
        if extras.price is not None:
            name = "joulestat_electricity_price_per_kilowatt_hour"
            yield f'{name}{{{target},currency="EUR"}} {extras.price}'
            yield f"joulestat_pue_ratio{{{target}}} 1.2"


def _scaled(label: str, scale: float) -> str:
    return str(round(int(label) * scale)) if label.isdigit() else label


def escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def openmetrics(*histories: TrainingHistory) -> str:
    """Return one document of several runs."""
    return "\n".join([*(line for one in histories for line in one.lines()), "# EOF\n"])
