"""Flags that name a PromQL server, as every command that reads from one has them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from joulestat.cli.clocks import monotonic_seconds
from joulestat.cli.secret_file import secret_in
from joulestat.optimizer.history import query_parameters
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.query_record import OnQuery
from joulestat.optimizer.history.selector import Matcher, equals


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusFlags:
    """The server and the credentials, and which series of it; names are those of the options."""

    prometheus_url: str | None
    prometheus_token_file: Path | None
    prometheus_user: str | None
    prometheus_password_file: Path | None
    prometheus_headers: tuple[str, ...]
    prometheus_params: tuple[str, ...]
    prometheus_ca_file: Path | None
    prometheus_certificate_file: Path | None
    prometheus_key_file: Path | None
    prometheus_proxy: str | None
    prometheus_timeout: float
    matches: tuple[str, ...]

    def prometheus(
        self, on_query: OnQuery | None = None, monotonic: Callable[[], float] = monotonic_seconds
    ) -> PrometheusClient:
        """Return the client of the Prometheus that is named.

        Args:
            on_query: Told of every query.
            monotonic: Clock that tells how long they took and may take, seconds.

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
            parameters=[_parameter(text) for text in self.prometheus_params],
            timeout_seconds=self.prometheus_timeout,
            ca_file=self.prometheus_ca_file,
            client_certificate=(
                None if certificate is None else (certificate, self.prometheus_key_file)
            ),
            proxy=self.prometheus_proxy,
            on_query=on_query,
            monotonic=monotonic,
        )

    def wrong_prometheus(self) -> dict[str, bool]:
        """Return what cannot be meant together, and whether it was said."""
        with_password = self.prometheus_password_file is not None
        return {
            "--prometheus.user and --prometheus.password-file go together": (
                self.prometheus_user is not None
            )
            is not with_password,
            "--prometheus.key-file belongs to --prometheus.certificate-file": (
                self.prometheus_key_file is not None and self.prometheus_certificate_file is None
            ),
        }

    def matchers(self) -> list[Matcher]:
        """Return the further conditions on series."""
        return [equals(*_pair(text, "=", "--match")) for text in self.matches]


def refuse(wrong: Mapping[str, bool], ctx: click.Context) -> None:
    """Refuse the first that is wrong.

    Args:
        wrong: What to tell, and whether it is so.
        ctx: Of the command.

    Raises:
        click.UsageError: Something is.
    """
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise click.UsageError(message, ctx)


def _header(text: str) -> tuple[str, str]:
    if not (text.isascii() and text.isprintable()):
        raise click.BadParameter(f"{text!r} is not plain ASCII", param_hint="--prometheus.header")
    return _pair(text, ":", "--prometheus.header")


def _parameter(text: str) -> tuple[str, str]:
    name, value = _pair(text, "=", "--prometheus.param")
    if name in query_parameters.OWN:
        raise click.BadParameter(
            f"{name} is set by joulestat itself: {query_parameters.OWN[name]}",
            param_hint="--prometheus.param",
        )
    return name, value


def _pair(text: str, separator: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not found or not name.strip():
        raise click.BadParameter(f"{text!r} is not NAME{separator}VALUE", param_hint=option)
    return name.strip(), value.strip()
