"""What runs say about themselves: their devices, their job, their plans, their prices."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from joulestat.domain.tariff import UNKNOWN_TARIFF, Tariff
from joulestat.optimizer.history.answers import Labels, Sample
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.history.limits import GPU_INFO
from joulestat.optimizer.history.placement import Target, target_of
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import (
    Matcher,
    any_of,
    equals,
    few_at_once,
    one_of,
    selector,
)
from joulestat.optimizer.history.tracks import RUN_START

RUN_GPU = "joulestat_run_gpu"
RUN_INFO = "joulestat_run_info"
PLANNED_STEPS = "joulestat_run_planned_steps"
ENERGY_BUDGET = "joulestat_run_energy_budget_joules"
PRICE = "joulestat_electricity_price_per_kilowatt_hour"
CARBON = "joulestat_carbon_intensity_grams_per_kilowatt_hour"
PUE = "joulestat_pue_ratio"

MOST_EARLIER_RUNS = 10

_TARIFF_LABELS = ("exported_currency", "currency", "exported_zone", "zone")
"""Prometheus renames the exporter's own where the target has a label of that name, too."""


@dataclass(slots=True)
class About:
    """What one run says of itself at one moment.

    Attributes:
        claims: Devices that it holds, by the target that shows it.
        job: Its job label, empty without one.
        planned_steps: How many steps it is to make; None where it did not say.
        energy_budget_joules: What it may spend; None where it did not say.
    """

    claims: dict[Target, set[str]] = field(default_factory=dict)
    job: str = ""
    planned_steps: float | None = None
    energy_budget_joules: float | None = None

    @property
    def gpu_uuids(self) -> tuple[str, ...]:
        """The devices that it holds, in order."""
        return tuple(sorted(set().union(*self.claims.values())))

    @property
    def instances_by_gpu(self) -> dict[str, frozenset[str]]:
        """The ``instance`` labels under which each device is shown now."""
        found: dict[str, set[str]] = {uuid: set() for uuid in self.gpu_uuids}
        for target, uuids in self.claims.items():
            instance = dict(target).get("instance")
            for uuid in uuids if instance is not None else ():
                found[uuid].add(instance or "")
        return {uuid: frozenset(instances) for uuid, instances in found.items()}


class AboutReader:
    """Reads what runs say of themselves. ``matchers`` are further conditions."""

    def __init__(self, client: PrometheusClient, matchers: Sequence[Matcher]) -> None:
        self._client = client
        self._matchers = tuple(matchers)

    def read(self, runs: Sequence[str], at_seconds: float) -> dict[str, About]:
        """Return what each run says of itself at a moment.

        Raises:
            HistoryError: As for any query.
        """
        said: dict[str, About] = {}
        scraped_as: set[str] = set()
        infos: list[Labels] = []
        shown = self._selector((RUN_GPU, RUN_INFO, PLANNED_STEPS, ENERGY_BUDGET), runs)
        for sample in self._client.query(shown, at_seconds):
            metric = sample.labels["__name__"]
            about = said.setdefault(sample.labels["run"], About())
            if metric == RUN_INFO:
                infos.append(sample.labels)
                continue
            scraped_as.add(sample.labels.get("job", ""))
            if metric == RUN_GPU:
                target = about.claims.setdefault(target_of(sample.labels), set())
                target.add(sample.labels["gpu_uuid"])
            elif metric == PLANNED_STEPS:
                about.planned_steps = max(sample.value, about.planned_steps or 0.0)
            else:
                known = about.energy_budget_joules or 0.0
                about.energy_budget_joules = max(sample.value, known)
        for labels in infos:
            about = said[labels["run"]]
            about.job = max(about.job, job_of(labels, scraped_as))
        return said

    def claims_ever(
        self, run: str, start_seconds: float, end_seconds: float
    ) -> dict[Target, set[str]]:
        """Return the devices that a run ever held, by the target that showed it."""
        span = math.ceil(end_seconds - start_seconds)
        shown = f"last_over_time({self._selector((RUN_GPU,), [run])}[{span}s])"
        claims: dict[Target, set[str]] = {}
        for sample in self._client.query(shown, end_seconds):
            claims.setdefault(target_of(sample.labels), set()).add(sample.labels["gpu_uuid"])
        return claims

    def holders(self, uuids: Sequence[str], at_seconds: float) -> dict[str, set[str]]:
        """Return the runs that hold each of these devices at a moment."""
        holders: dict[str, set[str]] = {}
        for lot in few_at_once(uuids):
            shown = selector(RUN_GPU, any_of("gpu_uuid", lot))
            for sample in self._client.query(shown, at_seconds):
                holders.setdefault(sample.labels["gpu_uuid"], set()).add(sample.labels["run"])
        return holders

    def tariffs(self, at_seconds: float) -> list[Sample]:
        """Return the prices that exporters show at a moment."""
        return self._client.query(selector((PRICE, CARBON, PUE), *self._matchers), at_seconds)

    def alike(self, history: RunHistory, at_seconds: float, span_seconds: float) -> list[str]:
        """Return other runs of a run's job on its GPU model, the latest first, ten at most.

        Raises:
            HistoryError: As for any query.
        """
        if not history.job or not history.gpu_model:
            return []
        span = math.ceil(span_seconds)
        named = [
            f"last_over_time({selector(RUN_INFO, equals(label, history.job), *self._matchers)}"
            f"[{span}s])"
            for label in ("exported_job", "job")
        ]
        infos = self._client.query(" or ".join(named), at_seconds)
        runs = {sample.labels["run"] for sample in infos} - {history.run}
        model = selector(GPU_INFO, equals("model", history.gpu_model))
        latest: list[Sample] = []
        for lot in few_at_once(sorted(runs)):
            chosen = (one_of("run", lot), *self._matchers)
            held = (
                f"max by(run, gpu_uuid) (last_over_time({selector(RUN_GPU, *chosen)}[{span}s])) "
                f"* on(gpu_uuid) group_left() max by(gpu_uuid) (last_over_time({model}[{span}s]))"
            )
            begun = f"max by(run) (max_over_time({selector(RUN_START, *chosen)}[{span}s]))"
            latest += self._client.query(f"{begun} and on(run) {held}", at_seconds)
        latest.sort(key=lambda sample: sample.value, reverse=True)
        return [sample.labels["run"] for sample in latest[:MOST_EARLIER_RUNS]]

    def _selector(self, metrics: Sequence[str], runs: Sequence[str]) -> str:
        return selector(metrics, any_of("run", runs), *self._matchers)


def job_of(labels: Labels, scraped_as: Collection[str]) -> str:
    """Return the run's job out of the labels of ``joulestat_run_info``; empty where it has none.

    Prometheus gives every target a label ``job``, too, and calls the exporter's own
    ``exported_job`` unless told ``honor_labels``; then the exporter's own is ``job``.

    Args:
        labels: Of the metric.
        scraped_as: Values of ``job`` where it can only be the target's.
    """
    job = labels.get("job", "")
    return labels.get("exported_job") or ("" if job in scraped_as or not scraped_as else job)


def tariff_of(samples: Sequence[Sample], targets: Collection[Target]) -> Tariff:
    """Return what a joule costs at these targets; None for what they do not agree on."""
    found: dict[str, set[tuple[float, str]]] = {}
    for sample in samples:
        labels = {
            name: value for name, value in sample.labels.items() if name not in _TARIFF_LABELS
        }
        shown_by = target_of(labels)
        if any(shown_by <= target for target in targets):
            about = next((sample.labels[n] for n in _TARIFF_LABELS if n in sample.labels), "")
            found.setdefault(sample.labels["__name__"], set()).add((sample.value, about))
    agreed = {name: values.pop() for name, values in found.items() if len(values) == 1}
    if not agreed:
        return UNKNOWN_TARIFF
    price, currency = agreed.get(PRICE, (None, ""))
    carbon, zone = agreed.get(CARBON, (None, ""))
    pue, _ = agreed.get(PUE, (None, ""))
    return Tariff(price, currency, carbon, zone, pue)
