"""Reads a run's energy by GPU, by phase and over time from a PromQL server.

Stored values are compared, never ``increase()``: the joules are those that the exporters credited.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from joulestat.domain.errors import HistoryError
from joulestat.optimizer.history.answers import Labels
from joulestat.optimizer.history.increments import ENERGY_JOULES
from joulestat.optimizer.history.limits import GPU_INFO
from joulestat.optimizer.history.placement import Target, nodes_of, target_of
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import Matcher, any_of, equals, few_at_once, selector
from joulestat.report.facts import GpuEnergy, RunEnergy
from joulestat.report.growth import GpuTrack, portions_of
from joulestat.report.lives import Life, changes, lives_of
from joulestat.report.sightings import SEARCH_STEP_SECONDS, Sighting, SightingReader

GPU_ENERGY_JOULES = "joulestat_run_gpu_energy_joules_total"
RUN_END = "joulestat_run_end_timestamp_seconds"

LAST_SHOWN = (GPU_ENERGY_JOULES, ENERGY_JOULES, RUN_END)

TOLERANCE_JOULES = 0.01
"""Sums of floats are that exact up to terajoules; what the two counters differ by is nothing."""


@dataclass(slots=True)
class _Ends:
    """What the lives of all targets showed at last.

    Attributes:
        gpus: Joules by target, birth and GPU.
        phases: Joules by target, birth, phase and power limit.
        run_ends: When a run ended, by target and birth.
        indices: The index of each GPU, by UUID.
    """

    gpus: dict[tuple[Target, float, str], tuple[float, float]] = field(default_factory=dict)
    phases: dict[tuple[Target, float, str, str], float] = field(default_factory=dict)
    run_ends: dict[tuple[Target, float], float] = field(default_factory=dict)
    indices: dict[str, str] = field(default_factory=dict)

    def note(self, life: Life, labels: Labels, value: float) -> None:
        """Add one sample of a life."""
        target, birth, metric = life.target, life.birth_seconds, labels["__name__"]
        if metric == GPU_ENERGY_JOULES:
            uuid = labels["gpu_uuid"]
            known = self.gpus.get((target, birth, uuid), (0.0, 0.0))[1]
            self.gpus[target, birth, uuid] = (life.last_seconds, max(value, known))
            self.indices[uuid] = labels.get("gpu", "")
        elif metric == ENERGY_JOULES:
            key = (target, birth, labels.get("phase", ""), labels.get("power_limit_watts", ""))
            self.phases[key] = value
        else:
            self.run_ends[target, birth] = value

    def nodes(self, targets: Iterable[Target]) -> dict[Target, str]:
        """Return the node behind each target."""
        uuids: dict[Target, set[str]] = {}
        for target, _, uuid in self.gpus:
            uuids.setdefault(target, set()).add(uuid)
        return nodes_of(targets, uuids)


class EnergyReader:
    """Reads what runs took. ``matchers`` are further conditions on their series."""

    def __init__(self, client: PrometheusClient, matchers: Sequence[Matcher] = ()) -> None:
        self._client = client
        self._matchers = tuple(matchers)

    def read(
        self, run: str, at_seconds: float, since_seconds: float | None = None
    ) -> tuple[RunEnergy, dict[Target, str]] | None:
        """Return a run's energy up to a moment, and the node behind each target that showed it.

        Args:
            run: Its name; any text is safe.
            at_seconds: Unix time; nothing later is looked at.
            since_seconds: Unix time; what began before it is another run of the name. None where
                all that has the name is one run.

        Returns:
            None where no such run was seen in the thirteen months before.

        Raises:
            HistoryError: Prometheus gave no answer, or one that cannot be trusted.
        """
        reader = SightingReader(self._client, run, self._matchers)
        sighting = reader.read(at_seconds, since_seconds)
        if sighting is None:
            return None
        lives = [
            life
            for target, looks in sighting.looks.items()
            for life in lives_of(
                target, looks, sighting.samples.get(target, ()), sighting.grid.step_seconds
            )
        ]
        ends = self._ends(run, lives)
        if not ends.gpus and any(ends.phases.values()):
            raise HistoryError(
                f"Prometheus at {self._client.place} has no {GPU_ENERGY_JOULES} of run {run!r}; "
                "see that the exporter shows it and no relabelling drops it"
            )
        tracks = self._tracks(run, sighting, ends)
        return self._energy(run, sighting, lives, ends, tracks), ends.nodes(sighting.looks)

    def _ends(self, run: str, lives: Iterable[Life]) -> _Ends:
        """Read the last values of all lives, those that are shown together in one query."""
        ends = _Ends()
        together: dict[tuple[float, float], dict[Target, Life]] = {}
        for life in sorted(lives, key=lambda life: life.last_seconds):
            moment = (life.shown_seconds, round(life.reach_seconds, 3))
            together.setdefault(moment, {})[life.target] = life
        for (at_seconds, reach), by_target in together.items():
            exact: list[Matcher] = []
            if len(by_target) == 1:
                exact = [equals(*label) for target in by_target for label in sorted(target)]
            shown = selector(LAST_SHOWN, equals("run", run), *self._matchers, *exact)
            asked = f"last_over_time({shown}[{1000 * reach:.0f}ms])"
            for sample in self._client.query(asked, at_seconds):
                if target_of(sample.labels) in by_target:
                    ends.note(by_target[target_of(sample.labels)], sample.labels, sample.value)
        return ends

    def _tracks(self, run: str, sighting: Sighting, ends: _Ends) -> dict[str, GpuTrack]:
        """Return each GPU's counter over time, with the last value of every life."""
        tracks: dict[str, GpuTrack] = {}
        for (target, birth, uuid), (at_seconds, joules) in ends.gpus.items():
            track = tracks.setdefault(uuid, GpuTrack())
            track.note(birth, at_seconds, joules)
            track.looks.update(at for at, _ in sighting.looks[target])
        births = {target: dict(looks) for target, looks in sighting.looks.items()}
        # What the first look at a life shows may still be of the one before.
        for target, looks in sighting.looks.items():
            for at_seconds in (looks[0][0], *changes(looks)):
                del births[target][at_seconds]
        grid = sighting.grid
        shown = selector(GPU_ENERGY_JOULES, equals("run", run), *self._matchers)
        for series in self._client.query_changes(
            f"last_over_time({shown}[{grid.step_seconds:.0f}s])",
            grid.start_seconds,
            grid.end_seconds,
            grid.step_seconds,
            len(ends.gpus),
        ):
            target, uuid = target_of(series.labels), series.labels["gpu_uuid"]
            for at_seconds, joules in series.points:
                born = births.get(target, {}).get(at_seconds)
                if born is not None and uuid in tracks:
                    tracks[uuid].note(born, at_seconds, joules)
        return tracks

    def _energy(
        self,
        run: str,
        sighting: Sighting,
        lives: Sequence[Life],
        ends: _Ends,
        tracks: Mapping[str, GpuTrack],
    ) -> RunEnergy:
        nodes = ends.nodes(sighting.looks)
        node_of = {uuid: nodes[target] for target, _, uuid in ends.gpus}
        models = self._models(sorted(tracks), sighting.grid.end_seconds)
        gpus = sorted(
            (
                GpuEnergy(
                    node_of[uuid], ends.indices[uuid], uuid, track.joules, models.get(uuid, "")
                )
                for uuid, track in tracks.items()
            ),
            key=lambda gpu: (gpu.node, _number(gpu.gpu), gpu.gpu_uuid),
        )
        phases = _by_phase(ends, nodes)
        seen = max(life.last_seconds for life in lives)
        over = _ended_seconds(lives, ends, nodes)
        return RunEnergy(
            run,
            births_seconds=_births(lives, nodes),
            end_seconds=seen if over is None else over,
            ended=over is not None,
            gpus=tuple(gpus),
            joules_by_phase=phases,
            portions=tuple(portions_of(tracks, node_of)),
            problems=tuple(_problems(sum(gpu.joules for gpu in gpus), sum(phases.values()))),
        )

    def _models(self, uuids: Sequence[str], end_seconds: float) -> dict[str, str]:
        """Return what GPUs are called, by UUID."""
        models: dict[str, str] = {}
        for lot in few_at_once(uuids):
            shown = selector(GPU_INFO, any_of("gpu_uuid", lot))
            asked = f"last_over_time({shown}[{SEARCH_STEP_SECONDS:.0f}s])"
            for sample in self._client.query(asked, end_seconds):
                models[sample.labels["gpu_uuid"]] = sample.labels.get("model", "")
        return models


def _number(index: str) -> tuple[int, str]:
    return (int(index), "") if index.isdigit() else (2**31, index)


def _by_phase(ends: _Ends, nodes: Mapping[Target, str]) -> dict[str, float]:
    """Return the run's joules by phase: of each life on each node the most that any target saw."""
    most: dict[tuple[str, float, str, str], float] = {}
    for (target, birth, phase, limit), joules in ends.phases.items():
        key = (nodes[target], birth, phase, limit)
        most[key] = max(joules, most.get(key, 0.0))
    phases: dict[str, float] = {}
    for (_, _, phase, _), joules in most.items():
        phases[phase] = phases.get(phase, 0.0) + joules
    return phases


def _births(lives: Iterable[Life], nodes: Mapping[Target, str]) -> tuple[float, ...]:
    """Return when the run began, on the node where it began most often; all begins of one count.

    The first of them is the first on any node.
    """
    by_node: dict[str, set[float]] = {}
    for life in lives:
        by_node.setdefault(nodes[life.target], set()).add(life.birth_seconds)
    first = min(min(births) for births in by_node.values())
    most = max(by_node.values(), key=len)
    return (first, *sorted(most)[1:])


def _ended_seconds(lives: Iterable[Life], ends: _Ends, nodes: Mapping[Target, str]) -> float | None:
    """Return when the run ended on its last node; None where one did not say that it did."""
    last: dict[str, Life] = {}
    for life in lives:
        node = nodes[life.target]
        if node not in last or life.birth_seconds >= last[node].birth_seconds:
            last[node] = life
    over = {
        node: max(
            (
                ended
                for (target, birth), ended in ends.run_ends.items()
                if nodes[target] == node and birth == life.birth_seconds
            ),
            default=None,
        )
        for node, life in last.items()
    }
    known = [ended for ended in over.values() if ended is not None]
    return max(known) if len(known) == len(over) else None


def _problems(gpu_joules: float, phase_joules: float) -> Iterator[str]:
    if abs(gpu_joules - phase_joules) > TOLERANCE_JOULES:
        yield (
            f"the GPUs add up to {gpu_joules:.2f} J and the phases to {phase_joules:.2f} J: some "
            "series of the run are missing in Prometheus"
        )
