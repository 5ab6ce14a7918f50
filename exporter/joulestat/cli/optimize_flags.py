"""The command line of ``joulestat optimize``, checked and turned into what it names."""

from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from joulestat.cli.secret_file import secret_in
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import ConfigError
from joulestat.optimizer.evidence.profile import Minimum
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import Matcher, equals
from joulestat.optimizer.publish import LeasePublisher, ttl_for
from joulestat.optimizer.rounds import Question
from joulestat.optimizer.search.objective import Cost, Objective, Slowdown

ONE_SHOT_TTL_SECONDS = 900.0
"""How long a lease runs that nobody is there to renew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The command line, parsed; names and meanings are those of its options."""

    prometheus_url: str
    prometheus_token_file: Path | None
    prometheus_user: str | None
    prometheus_password_file: Path | None
    prometheus_headers: tuple[str, ...]
    prometheus_timeout: float
    run: str | None
    all_runs: bool
    matches: tuple[str, ...]
    objective: str
    eta: float
    max_slowdown: float
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

    def check(self, ctx: click.Context) -> None:
        """Refuse combinations that cannot mean what was meant.

        Raises:
            click.UsageError: Which, and what to do.
        """
        apply, watch, past = self.apply, self.watch is not None, self.at is not None
        with_password = self.prometheus_password_file is not None
        wrong = {
            "give either --run RUN or --all-runs": (self.run is None) is not self.all_runs,
            "--apply needs --admin.url, the exporter's admin API": apply and not self.admin_urls,
            "--apply acts now: it cannot go with --at": apply and past,
            "--watch follows the present: it cannot go with --at": watch and past,
            "--keep-lease is for --watch with --apply": self.keep_lease and not (apply and watch),
            "--eta belongs to --objective cost": self.objective != "cost" and _typed(ctx, "eta"),
            "--max-slowdown belongs to --objective slowdown": self.objective != "slowdown"
            and _typed(ctx, "max_slowdown"),
            "--prometheus.user and --prometheus.password-file go together": (
                self.prometheus_user is not None
            )
            is not with_password,
        }
        for message, is_wrong in wrong.items():
            if is_wrong:
                raise click.UsageError(message, ctx)

    def question(self, ctx: click.Context) -> Question:
        """Return what is asked.

        Raises:
            click.UsageError: The objective's parameter is out of range.
        """
        objective: Objective
        try:
            objective = Cost(self.eta) if self.objective == "cost" else Slowdown(self.max_slowdown)
        except ConfigError as error:
            raise click.UsageError(str(error), ctx) from error
        return Question(
            objective,
            Minimum(self.min_steps, self.min_seconds),
            window_seconds=self.window,
            explore=self.explore,
        )

    def prometheus(self) -> PrometheusClient:
        """Return the client of the Prometheus that is named.

        Raises:
            HistoryError: Its URL cannot be asked.
        """
        basic_auth = None
        if self.prometheus_user is not None and self.prometheus_password_file is not None:
            basic_auth = (self.prometheus_user, secret_in(self.prometheus_password_file))
        token_file = self.prometheus_token_file
        return PrometheusClient(
            self.prometheus_url,
            bearer_token=None if token_file is None else secret_in(token_file),
            basic_auth=basic_auth,
            headers=dict(_header(text) for text in self.prometheus_headers),
            timeout_seconds=self.prometheus_timeout,
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
        token = None if self.admin_token_file is None else secret_in(self.admin_token_file)
        ttl_seconds = self.lease_ttl or (
            ONE_SHOT_TTL_SECONDS if self.watch is None else ttl_for(self.watch)
        )
        return LeasePublisher([AdminClient(url, token) for url in self.admin_urls], ttl_seconds)


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
