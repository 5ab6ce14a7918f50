"""What Prometheus would hold of a run's energy, GPU by GPU, told life by life."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from servers.training_history import START_SECONDS

PHASES = (("train", "300", 0.5), ("train", "transition", 0.1), ("eval", "250", 0.4))
"""How a node's joules are divided among phases and power limits."""
TRAINING = (("train", "300", 1.0),)


@dataclass(frozen=True)
class Life:
    """A time in which one exporter counted the run from 0.

    Attributes:
        begin_seconds: After the start; the first push.
        end_seconds: After the start; nothing is taken any more, and nothing scraped after
            ``shown_seconds`` more.
        watts: What each GPU draws.
        shown_seconds: How long the ended run is shown.
        forgets_seconds: After the start: from here to the end the exporter shows this much
            less time of work, as one does that was killed and remembers a moment less.
    """

    begin_seconds: float
    end_seconds: float
    watts: Sequence[float]
    shown_seconds: float = 0.0
    forgets: tuple[float, float, float] | None = None

    def worked_seconds(self, at_seconds: float) -> float:
        """Return how long the GPUs have worked as the exporter shows it."""
        worked = min(at_seconds, self.end_seconds) - self.begin_seconds
        if self.forgets is not None and self.forgets[0] <= at_seconds < self.forgets[1]:
            worked = self.forgets[0] - self.forgets[2] - self.begin_seconds
        return max(worked, 0.0)


@dataclass(frozen=True)
class Node:
    """One exporter, and how it is scraped.

    Attributes:
        name: Of the machine; part of the UUIDs.
        lives: Of its counters, in order.
        scrape_seconds: Interval.
        addresses: Where it is scraped: from which second after the start, under which name.
        replicas: How many Prometheus servers scrape it, told apart by a label.
        missed: Seconds after the start in which no scrape succeeds.
        clock_ahead_seconds: How far the exporter's clock is ahead of Prometheus'.
        tariff: Samples of its own: zone and g/kWh, PUE.
    """

    name: str
    lives: Sequence[Life]
    scrape_seconds: float = 5.0
    addresses: Sequence[tuple[float, str]] = ()
    replicas: int = 1
    missed: Sequence[tuple[float, float]] = ()
    clock_ahead_seconds: float = 0.0
    tariff: tuple[str, float, float] | None = None

    def uuid(self, index: int) -> str:
        return f"GPU-{self.name}-{index}"

    def address(self, at_seconds: float) -> str:
        known = [name for since, name in self.addresses if since <= at_seconds]
        return known[-1] if known else f"{self.name}:10400"

    def scrapes(self, replica: int, life: Life) -> Iterator[float]:
        """Yield when a life is scraped, seconds after the start."""
        offset = 0.4 + 0.7 * replica
        number = 0
        while (at := offset + number * self.scrape_seconds) < life.end_seconds + life.shown_seconds:
            if at >= life.begin_seconds and not any(a <= at < b for a, b in self.missed):
                yield at
            number += 1


@dataclass(frozen=True)
class ReportedRun:
    """A run, its truth and its samples."""

    run: str
    nodes: Sequence[Node]
    phases: Sequence[tuple[str, str, float]] = PHASES
    start_seconds: float = float(START_SECONDS)
    ends: bool = True
    extra: Sequence[str] = field(default_factory=list)

    @property
    def end_seconds(self) -> float:
        """Unix time at which the last life is over."""
        return self.start_seconds + max(
            life.end_seconds for node in self.nodes for life in node.lives
        )

    def joules(self) -> dict[str, float]:
        """Return what was ever shown of each GPU, by UUID: the truth that a reader can know."""
        shown: dict[str, float] = {}
        for node in self.nodes:
            for life in node.lives:
                scrapes = [at for n in range(node.replicas) for at in node.scrapes(n, life)]
                worked = max((life.worked_seconds(at) for at in scrapes), default=0.0)
                for index, watts in enumerate(life.watts):
                    uuid = node.uuid(index)
                    shown[uuid] = shown.get(uuid, 0.0) + watts * worked
        return shown

    def lines(self) -> Iterator[str]:
        """Yield OpenMetrics samples in order of time."""
        samples = [sample for node in self.nodes for sample in self._samples(node)]
        yield from (line for _, line in sorted(samples, key=lambda item: item[0]))

    def _samples(self, node: Node) -> Iterator[tuple[float, str]]:
        for life in node.lives:
            for replica in range(node.replicas):
                for at in node.scrapes(replica, life):
                    target = f'job="joulestat",instance="{node.address(at)}"'
                    if node.replicas > 1:
                        target += f',replica="{replica}"'
                    moment = self.start_seconds + at
                    for text in self._page(node, life, target, at):
                        yield moment, f"{text} {moment:.3f}"

    def _page(self, node: Node, life: Life, target: str, at: float) -> Iterator[str]:
        run = f'run="{self.run}"'
        prefix = "joulestat_run"
        worked = life.worked_seconds(at)
        ahead = self.start_seconds + node.clock_ahead_seconds
        yield f"{prefix}_start_timestamp_seconds{{{run},{target}}} {ahead + life.begin_seconds}"
        pushed = ahead + min(at, life.end_seconds)
        yield f'{prefix}_last_push_timestamp_seconds{{{run},rank="0",{target}}} {pushed}'
        if self.ends and at >= life.end_seconds:
            yield f"{prefix}_end_timestamp_seconds{{{run},{target}}} {ahead + life.end_seconds}"
        for index, watts in enumerate(life.watts):
            device = f'gpu="{index}",gpu_uuid="{node.uuid(index)}",{target}'
            yield f"{prefix}_gpu_energy_joules_total{{{run},{device}}} {watts * worked!r}"
            yield f'joulestat_gpu_info{{{device},model="Simulated GPU"}} 1'
            if at < life.end_seconds:
                yield f'{prefix}_gpu{{{run},rank="{index}",phase="train",{device}}} 1'
        for phase, limit, share in self.phases:
            labels = f'{run},phase="{phase}",power_limit_watts="{limit}",{target}'
            joules = share * sum(life.watts) * worked
            yield f"{prefix}_energy_joules_total{{{labels}}} {joules!r}"
            yield f"{prefix}_steps_total{{{labels}}} {share * 10 * worked!r}"
            yield f"{prefix}_step_seconds_total{{{labels}}} {share * worked!r}"
        if node.tariff is not None:
            zone, grams, pue = node.tariff
            name = "joulestat_carbon_intensity_grams_per_kilowatt_hour"
            yield f'{name}{{{target},zone="{zone}"}} {grams}'
            yield f"joulestat_pue_ratio{{{target}}} {pue}"


def openmetrics(*runs: ReportedRun, extra: Sequence[str] = ()) -> str:
    """Return one document of several runs and further samples, which come with their times."""
    return "\n".join([*(line for one in runs for line in one.lines()), *extra, "# EOF\n"])
