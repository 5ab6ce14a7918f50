"""The command line of ``joulestat optimize``, checked and turned into what it names."""

from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from joulestat.cli.admin_flags import AdminFlags
from joulestat.cli.prometheus_flags import PrometheusFlags, refuse
from joulestat.domain.errors import ConfigError
from joulestat.domain.tariff import Tariff
from joulestat.domain.units import JOULES_PER_KWH
from joulestat.optimizer.evidence.profile import Minimum
from joulestat.optimizer.publish import LeasePublisher, ttl_for
from joulestat.optimizer.rounds import Question
from joulestat.optimizer.search.goals import FinishBy, Money, StayWithin
from joulestat.optimizer.search.objective import Cost, Energy, Objective, Slowdown
from joulestat.optimizer.show.picture_file import picture_format

ONE_SHOT_TTL_SECONDS = 900.0
"""How long a lease runs that nobody is there to renew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags(AdminFlags, PrometheusFlags):
    """The command line, parsed; names and meanings are those of its options."""

    history_files: tuple[Path, ...]
    history_admin: bool
    run: str | None
    all_runs: bool
    objective: str
    eta: float
    max_slowdown: float
    finish_by: float | None
    price_per_kwh: float | None
    currency: str | None
    price_per_gpu_hour: float
    price_per_tonne_carbon: float | None
    carbon_intensity: float | None
    pue: float | None
    energy_budget_kwh: float | None
    power_budget_kw: float | None
    straggler_aware: bool
    explore: bool
    apply: bool
    lease_ttl: float | None
    keep_lease: bool
    watch: float | None
    at: float | None
    window: float | None
    min_steps: int
    min_seconds: float
    output: str
    explain: bool
    plot: Path | None
    report: Path | None

    def check(self, ctx: click.Context) -> None:
        """Refuse combinations that cannot mean what was meant.

        Raises:
            click.UsageError: Which, and what to do.
        """
        wrong = self._wrong_source() | self.wrong_prometheus() | self.wrong_admin()
        wrong |= self._wrong_use(ctx)
        refuse(wrong, ctx)
        if self.plot is not None:
            try:
                picture_format(self.plot)
            except ConfigError as error:
                raise click.UsageError(str(error), ctx) from error

    def _wrong_source(self) -> dict[str, bool]:
        own = bool(self.history_files) or self.history_admin
        return {
            "give --prometheus.url, or --history.file, or --history.admin with --admin.url": (
                self.prometheus_url is None and not own
            ),
            "--prometheus.url is one source, --history.file and --history.admin are another": (
                self.prometheus_url is not None and own
            ),
            "--history.admin needs --admin.url, the exporter's admin API": (
                self.history_admin and not self.admin_urls
            ),
            "--match selects series of --prometheus.url": bool(self.matches) and own,
            "--admin.url-template and --admin.addresses-file go by labels of --prometheus.url; "
            "give --admin.url": self.finds_admins and own,
            "--straggler-aware needs --prometheus.url: it reads GPUs one by one": (
                self.straggler_aware and own
            ),
        }

    def _wrong_use(self, ctx: click.Context) -> dict[str, bool]:
        apply, watch, past = self.apply, self.watch is not None, self.at is not None
        money = self.objective == "money"
        return {
            "give either --run RUN or --all-runs": (self.run is None) is not self.all_runs,
            "--apply needs --admin.url, --admin.url-template or --admin.addresses-file": (
                apply and not self.has_admins
            ),
            "--apply acts now: it cannot go with --at": apply and past,
            "--watch follows the present: it cannot go with --at": watch and past,
            "--keep-lease is for --watch with --apply": self.keep_lease and not (apply and watch),
            "--eta belongs to --objective cost": self.objective != "cost" and _typed(ctx, "eta"),
            "--max-slowdown belongs to --objective slowdown": self.objective != "slowdown"
            and _typed(ctx, "max_slowdown"),
            "--objective finish-by and --finish-by TIME go together": (
                self.objective == "finish-by"
            )
            is not (self.finish_by is not None),
            "--price-per-gpu-hour belongs to --objective money": not money
            and _typed(ctx, "price_per_gpu_hour"),
            "--price-per-tonne-carbon belongs to --objective money": not money
            and self.price_per_tonne_carbon is not None,
            "--energy-budget-kwh is one run's: give --run, or leave each run its own": (
                self.energy_budget_kwh is not None and self.all_runs
            ),
            "--power-budget-kw divides among all runs: give --all-runs": (
                self.power_budget_kw is not None and not self.all_runs
            ),
            "--power-budget-kw and --straggler-aware cannot go together": (
                self.power_budget_kw is not None and self.straggler_aware
            ),
            "--plot draws one run: give --run, or --report for all": (
                self.plot is not None and self.all_runs
            ),
        }

    def question(self, ctx: click.Context) -> Question:
        """Return what is asked.

        Raises:
            click.UsageError: The objective's parameter is out of range.
        """
        try:
            objective = self._objective()
        except ConfigError as error:
            raise click.UsageError(str(error), ctx) from error
        budget_kw, budget_kwh = self.power_budget_kw, self.energy_budget_kwh
        return Question(
            objective,
            Minimum(self.min_steps, self.min_seconds),
            window_seconds=self.window,
            explore=self.explore,
            tariff=Tariff(
                price_per_kilowatt_hour=self.price_per_kwh,
                currency=self.currency or "",
                carbon_grams_per_kilowatt_hour=self.carbon_intensity,
                pue_ratio=self.pue,
            ),
            power_budget_watts=None if budget_kw is None else 1000 * budget_kw,
            energy_budget_joules=None if budget_kwh is None else budget_kwh * JOULES_PER_KWH,
            keep_histories=self.plot is not None or self.report is not None,
        )

    def _objective(self) -> Objective:
        match self.objective:
            case "cost":
                return Cost(self.eta)
            case "energy":
                return Energy()
            case "money":
                return Money(self.price_per_gpu_hour, self.price_per_tonne_carbon)
            case "finish-by":
                return FinishBy(self.finish_by or 0.0)
            case "budget":
                return StayWithin()
        return Slowdown(self.max_slowdown)

    def publisher(self) -> LeasePublisher | None:
        """Return what carries decisions to the exporters; None where they are only shown.

        Raises:
            AdminError: An admin API's URL cannot be used.
        """
        if not self.apply:
            return None
        ttl_seconds = self.lease_ttl or (
            ONE_SHOT_TTL_SECONDS if self.watch is None else ttl_for(self.watch)
        )
        return LeasePublisher(self.addresses(), ttl_seconds)


def _typed(ctx: click.Context, parameter: str) -> bool:
    return ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE
