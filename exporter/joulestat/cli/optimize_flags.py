"""The command line of ``joulestat optimize``, checked and turned into what it names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from joulestat.cli.secret_file import secret_in
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import ConfigError
from joulestat.domain.tariff import Tariff
from joulestat.optimizer.evidence.profile import Minimum
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.query_record import OnQuery
from joulestat.optimizer.history.selector import Matcher, equals
from joulestat.optimizer.publish import LeasePublisher, ttl_for
from joulestat.optimizer.rounds import Question
from joulestat.optimizer.search.goals import FinishBy, Money, StayWithin
from joulestat.optimizer.search.objective import Cost, Energy, Objective, Slowdown
from joulestat.optimizer.show.picture_file import picture_format

ONE_SHOT_TTL_SECONDS = 900.0
"""How long a lease runs that nobody is there to renew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The command line, parsed; names and meanings are those of its options."""

    prometheus_url: str | None
    prometheus_token_file: Path | None
    prometheus_user: str | None
    prometheus_password_file: Path | None
    prometheus_headers: tuple[str, ...]
    prometheus_ca_file: Path | None
    prometheus_certificate_file: Path | None
    prometheus_key_file: Path | None
    prometheus_proxy: str | None
    prometheus_timeout: float
    history_files: tuple[Path, ...]
    history_admin: bool
    run: str | None
    all_runs: bool
    matches: tuple[str, ...]
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
    power_budget_kw: float | None
    straggler_aware: bool
    explore: bool
    apply: bool
    admin_urls: tuple[str, ...]
    admin_token_file: Path | None
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
        for message, is_wrong in (self._wrong_source() | self._wrong_use(ctx)).items():
            if is_wrong:
                raise click.UsageError(message, ctx)
        if self.plot is not None:
            try:
                picture_format(self.plot)
            except ConfigError as error:
                raise click.UsageError(str(error), ctx) from error

    def _wrong_source(self) -> dict[str, bool]:
        own = bool(self.history_files) or self.history_admin
        with_password = self.prometheus_password_file is not None
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
            "--straggler-aware needs --prometheus.url: it reads GPUs one by one": (
                self.straggler_aware and own
            ),
            "--prometheus.user and --prometheus.password-file go together": (
                self.prometheus_user is not None
            )
            is not with_password,
            "--prometheus.key-file belongs to --prometheus.certificate-file": (
                self.prometheus_key_file is not None and self.prometheus_certificate_file is None
            ),
        }

    def _wrong_use(self, ctx: click.Context) -> dict[str, bool]:
        apply, watch, past = self.apply, self.watch is not None, self.at is not None
        money = self.objective == "money"
        return {
            "give either --run RUN or --all-runs": (self.run is None) is not self.all_runs,
            "--apply needs --admin.url, the exporter's admin API": apply and not self.admin_urls,
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
        budget_kw = self.power_budget_kw
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

    def prometheus(
        self, on_query: OnQuery | None = None, monotonic: Callable[[], float] | None = None
    ) -> PrometheusClient:
        """Return the client of the Prometheus that is named.

        Args:
            on_query: Told of every query.
            monotonic: Clock that tells how long they took, seconds.

        Raises:
            HistoryError: Its URL cannot be asked.
        """
        basic_auth = None
        if self.prometheus_user is not None and self.prometheus_password_file is not None:
            basic_auth = (self.prometheus_user, secret_in(self.prometheus_password_file))
        token_file, certificate = self.prometheus_token_file, self.prometheus_certificate_file
        return PrometheusClient(
            self.prometheus_url or "",
            bearer_token=None if token_file is None else secret_in(token_file),
            basic_auth=basic_auth,
            headers=dict(_header(text) for text in self.prometheus_headers),
            timeout_seconds=self.prometheus_timeout,
            ca_file=self.prometheus_ca_file,
            client_certificate=(
                None if certificate is None else (certificate, self.prometheus_key_file)
            ),
            proxy=self.prometheus_proxy,
            on_query=on_query,
            monotonic=monotonic,
        )

    def matchers(self) -> list[Matcher]:
        """Return the further conditions on series."""
        return [equals(*_pair(text, "=", "--match")) for text in self.matches]

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
        return LeasePublisher(self.admins(), ttl_seconds)

    def admins(self) -> list[AdminClient]:
        """Return a client of each admin API that is named.

        Raises:
            AdminError: A URL cannot be used.
        """
        token = None if self.admin_token_file is None else secret_in(self.admin_token_file)
        return [AdminClient(url, token) for url in self.admin_urls]


def _typed(ctx: click.Context, parameter: str) -> bool:
    return ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def _header(text: str) -> tuple[str, str]:
    if not (text.isascii() and text.isprintable()):
        raise click.BadParameter(f"{text!r} is not plain ASCII", param_hint="--prometheus.header")
    return _pair(text, ":", "--prometheus.header")


def _pair(text: str, separator: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not found or not name.strip():
        raise click.BadParameter(f"{text!r} is not NAME{separator}VALUE", param_hint=option)
    return name.strip(), value.strip()
