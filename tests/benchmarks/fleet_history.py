"""Fills a VictoriaMetrics with the history of a fleet: one node is simulated, the others copy it.

A copy has names of its own and the same numbers. That is no help to who reads it: the server
unpacks every series for itself.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from servers.victoria import VictoriaServer

START_SECONDS = 1_790_000_000
GPUS_PER_NODE = 8
COUNTED = ("steps", "step_seconds", "energy_joules", "samples", "tokens")
TRUTH = {300: (91.2, 0.310), 265: (84.5, 0.314), 230: (78.3, 0.322), 200: (73.1, 0.337),
         165: (69.9, 0.371)}  # fmt: skip
"""Joules and seconds per step of one GPU, by limit."""
PROBES = [(300, 600.0), (200, 240.0), (265, 180.0), (230, 300.0), (165, 240.0)]
HELD = 230
PROBED_AGAIN = (200, 240.0)
DAYS_PROBED_AGAIN = (5, 12, 20)
NOISE_RATIO = 0.01
"""Of a scrape interval's steps and joules."""

_RUN, _NODE, _GPU = b"run-00000", b"node-00000", b"GPU-00000"


@dataclass(frozen=True, slots=True)
class Fleet:
    """How large it is.

    Attributes:
        n_gpus: In all.
        n_runs: Alive at the end, all of the same size and age.
        days: How long they have run.
        scrape_seconds: Between scrapes.
    """

    n_gpus: int
    n_runs: int
    days: float
    scrape_seconds: float

    @property
    def gpus_per_copy(self) -> int:
        """GPUs that one run has on one node."""
        return min(GPUS_PER_NODE, max(1, self.n_gpus // self.n_runs))

    @property
    def nodes_per_run(self) -> int:
        """Nodes that one run is on."""
        return max(1, self.n_gpus // self.n_runs // self.gpus_per_copy)

    @property
    def n_scrapes(self) -> int:
        """Scrapes of each node."""
        return int(self.days * 86_400 / self.scrape_seconds)

    @property
    def end_seconds(self) -> float:
        """Unix time of the last one."""
        return START_SECONDS + (self.n_scrapes - 1) * self.scrape_seconds

    @property
    def runs(self) -> list[str]:
        """Their names."""
        return [f"run-{index:05d}" for index in range(self.n_runs)]


def fill(server: VictoriaServer, fleet: Fleet) -> int:
    """Store the fleet's history and return how many samples it has.

    Args:
        server: Running and empty.
        fleet: What to store.
    """
    n_samples = 0
    for line, n_values in _series(fleet):
        server.import_series(line)
        n_samples += n_values
    server.flush()
    one = server.export_native('{run="run-00000"}', START_SECONDS - 1, fleet.end_seconds + 1)
    devices = server.export_native(
        '{__name__=~"joulestat_gpu_.*"}', START_SECONDS - 1, fleet.end_seconds + 1
    )

    def copy(index: int) -> None:
        per_node = GPUS_PER_NODE // fleet.gpus_per_copy if fleet.nodes_per_run == 1 else 1
        for exported in (one, devices):
            copied = exported.replace(_RUN, b"run-%05d" % (index // fleet.nodes_per_run))
            copied = copied.replace(_NODE, b"node-%05d" % (index // per_node))
            server.import_native(copied.replace(_GPU, b"GPU-%05d" % index))

    n_copies = fleet.n_runs * fleet.nodes_per_run
    with ThreadPoolExecutor(2) as threads:
        for _ in threads.map(copy, range(1, n_copies)):
            pass
    server.flush()
    return n_samples * n_copies


def _series(fleet: Fleet) -> Iterator[tuple[bytes, int]]:
    """Yield each series of the first node as a line to import, and how many values it has."""
    times = START_SECONDS + np.arange(fleet.n_scrapes) * fleet.scrape_seconds
    stamps = [str(round(at * 1000)) for at in times]
    limits = _limits(fleet, times - START_SECONDS)
    target = {"job": "joulestat", "instance": "node-00000:9400"}
    run = {"run": "run-00000", **target}

    def line(name: str, labels: dict[str, str], values: list[str]) -> tuple[bytes, int]:
        metric = json.dumps({"__name__": f"joulestat_{name}", **labels})
        shown = ",".join(stamps[len(stamps) - len(values) :])
        text = f'{{"metric":{metric},"values":[{",".join(values)}],"timestamps":[{shown}]}}\n'
        return text.encode(), len(values)

    def constant(value: float) -> list[str]:
        return [f"{value:g}"] * fleet.n_scrapes

    for limit in sorted(set(limits)):
        labels = {**run, "phase": "train", "power_limit_watts": str(limit)}
        born = int(np.argmax(limits == limit))
        for name, values in _counters(fleet, limit, limits).items():
            yield line(f"run_{name}_total", labels, values[born:])
    yield line("run_start_timestamp_seconds", run, constant(START_SECONDS - 5))
    yield line("run_last_push_timestamp_seconds", {**run, "rank": "0"}, [s[:-3] for s in stamps])
    yield line("run_planned_steps", run, constant(20_000_000))
    info = {**run, "exported_job": "llama", "user": "kim", "team": "nlp", "framework": "torch"}
    yield line("run_info", info, constant(1))
    for gpu in range(fleet.gpus_per_copy):
        device = {**target, "gpu": str(gpu), "gpu_uuid": f"GPU-00000-{gpu}"}
        yield line("run_gpu", {**run, **device, "rank": str(gpu), "phase": "train"}, constant(1))
        yield line("gpu_info", {**device, "model": "Simulated GPU"}, constant(1))
        enforced = [str(watts) for watts in limits]
        yield line("gpu_power_limit_enforced_watts", device, enforced)
        leased = int(np.argmax(limits != 300))
        yield line("gpu_power_limit_target_watts", device, enforced[leased:])
        for name, watts in (("default", 300), ("min", 100), ("max", 350)):
            yield line(f"gpu_power_limit_{name}_watts", device, constant(watts))
        for reason in ("power_cap", "hw_slowdown", "sw_thermal", "hw_thermal", "power_brake"):
            held = constant(float(reason == "power_cap"))
            yield line("gpu_throttled", {**device, "reason": reason}, held)


def _limits(fleet: Fleet, seconds: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> "np.ndarray":  # type: ignore[type-arg]
    """Return the limit in force at each scrape: probes, then a hold that is probed again."""
    limits = np.full(fleet.n_scrapes, HELD)
    begin = 0.0
    for watts, length in PROBES:
        limits[(begin <= seconds) & (seconds < begin + length)] = watts
        begin += length
    watts, length = PROBED_AGAIN
    for day in DAYS_PROBED_AGAIN:
        limits[(86_400 * day <= seconds) & (seconds < 86_400 * day + length)] = watts
    return limits


def _counters(fleet: Fleet, limit: int, limits: "np.ndarray") -> dict[str, list[str]]:  # type: ignore[type-arg]
    """Return what a limit's counters show at each scrape."""
    random = np.random.default_rng(limit)
    joules, seconds = TRUTH[limit]
    per_scrape = fleet.scrape_seconds / seconds
    noise = 1 + NOISE_RATIO * random.standard_normal((2, fleet.n_scrapes))
    steps = np.where(limits == limit, np.rint(per_scrape * noise[0]), 0.0)
    steps[0] = 0.0
    energy = np.cumsum(steps * joules * fleet.gpus_per_copy * noise[1])
    total = np.cumsum(steps)
    samples = total * 32 * fleet.gpus_per_copy
    return {
        "steps": [f"{value:.0f}" for value in total],
        "step_seconds": [f"{value:.3f}" for value in total * seconds],
        "energy_joules": [f"{value:.3f}" for value in energy],
        "samples": [f"{value:.0f}" for value in samples],
        "tokens": [f"{value:.0f}" for value in samples * 2048],
    }
