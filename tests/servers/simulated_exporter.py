"""What Prometheus scrapes of a simulated run: the exporter's series, at every scrape."""

from collections import defaultdict
from collections.abc import Iterator

from fakes.simulated_run import START_SECONDS, SimulatedRun
from servers.remote_write import Labels

TARGET = (("instance", "node0:9400"), ("job", "joulestat"))
SCRAPE_TOLERANCE_SECONDS = 1e-6


class SimulatedExporter:
    """One run on one GPU, as its exporter shows it, scraped at whole multiples of the interval."""

    def __init__(self, name: str, run: SimulatedRun) -> None:
        """Show ``run`` under a name, from its beginning."""
        self._name = name
        self._run = run
        self._exported_seconds = START_SECONDS
        self._counters: dict[int, list[float]] = {run.reference_watts: [0.0, 0.0, 0.0]}
        self._was_leased = False

    def scrapes(self) -> dict[Labels, list[tuple[float, float]]]:
        """Return what was scraped since the last call, while no limit changed."""
        run = self._run
        self._was_leased |= run.current_watts != run.reference_watts
        found: defaultdict[Labels, list[tuple[float, float]]] = defaultdict(list)
        if self._exported_seconds == START_SECONDS:
            self._note(found, START_SECONDS)
        for item in run.slices:
            if item.start_seconds < self._exported_seconds - SCRAPE_TOLERANCE_SECONDS:
                continue
            counter = self._counters.setdefault(item.power_limit_watts, [0.0, 0.0, 0.0])
            grown = (item.steps, item.step_seconds, item.joules)
            for index, amount in enumerate(grown):
                counter[index] += amount
            # A slice ends where it was scraped, or where the limit changed.
            if item.end_seconds % run.scrape_seconds < SCRAPE_TOLERANCE_SECONDS:
                self._note(found, item.end_seconds)
        self._exported_seconds = run.now_seconds
        return found

    def _note(self, found: dict[Labels, list[tuple[float, float]]], at_seconds: float) -> None:
        for labels, value in self._page(at_seconds):
            found[labels].append((at_seconds, value))

    def _page(self, at_seconds: float) -> Iterator[tuple[Labels, float]]:
        run = self._run
        for watts, parts in self._counters.items():
            names = ("run_steps_total", "run_step_seconds_total", "run_energy_joules_total")
            for name, value in zip(names, parts, strict=True):
                yield self._series(name, phase="train", power_limit_watts=str(watts)), value
        yield self._series("run_start_timestamp_seconds"), START_SECONDS
        yield self._series("run_last_push_timestamp_seconds", rank="0"), at_seconds
        yield self._device("run_gpu", run=self._name, rank="0", phase="train"), 1.0
        limits = {
            "enforced": run.current_watts,
            "default": run.reference_watts,
            "min": run.min_watts,
            "max": run.reference_watts,
        }
        if self._was_leased:
            limits["target"] = run.current_watts
        for kind, watts in limits.items():
            yield self._device(f"gpu_power_limit_{kind}_watts"), float(watts)

    def _device(self, name: str, **labels: str) -> Labels:
        return _labels(name, gpu="0", gpu_uuid=f"GPU-{self._name}", **labels)

    def _series(self, name: str, **labels: str) -> Labels:
        return _labels(name, run=self._name, **labels)


def _labels(name: str, **labels: str) -> Labels:
    return tuple(sorted([("__name__", f"joulestat_{name}"), *labels.items(), *TARGET]))
