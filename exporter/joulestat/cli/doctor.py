"""``joulestat doctor``: would the loop work here, and if not, what is missing?"""

import json
import ssl
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from joulestat.cli.admin_options import ADMIN_TLS
from joulestat.cli.checks import Finding, Verdict, explained, fail
from joulestat.cli.checks.control import NO_ADMIN, check_actuator, check_admin
from joulestat.cli.checks.exporter import check_exporter
from joulestat.cli.checks.history import check_prometheus
from joulestat.cli.checks.host import check_devices, check_installation, check_privilege
from joulestat.cli.clocks import monotonic_seconds
from joulestat.cli.configured import read_config
from joulestat.cli.prometheus_options import many
from joulestat.cli.secret_file import secret_in
from joulestat.client.encrypted import tls_context
from joulestat.config import Config
from joulestat.config.web_reading import parse_web_file
from joulestat.domain.errors import ConfigError, HistoryError
from joulestat.loops.driver_threads import spawn
from joulestat.loops.system_clock import SystemClock
from joulestat.optimizer.history.promql import PrometheusClient

PROMETHEUS_URL = "http://127.0.0.1:9090"
TIMEOUT_SECONDS = 5.0
DRIVER_TIMEOUT_SECONDS = 15.0
"""Without persistence mode a driver wakes its GPUs one by one first, a second or two each."""
STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


@click.command()
@click.option(
    "--config.file",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The exporter's; says where to look for it.",
)
@click.option(
    "--url",
    envvar="JOULESTAT_URL",
    metavar="URL",
    help="Where training code pushes to. [from the configuration]",
)
@click.option(
    "--prometheus.url",
    "prometheus_url",
    envvar="JOULESTAT_PROMETHEUS_URL",
    default=PROMETHEUS_URL,
    show_default=True,
    metavar="URL",
    help="What the optimizer reads.",
)
@click.option(
    "--admin.url",
    "admin_urls",
    multiple=True,
    metavar="URL",
    help="Admin API of an exporter; repeatable. [from the configuration]",
)
@click.option(
    "--admin.token-file",
    "token_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="JOULESTAT_ADMIN_CLIENT_TOKEN_FILE",
    help="File with the admin API's token.",
)
@many(*ADMIN_TLS)
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def doctor(
    *,
    config_file: Path | None,
    url: str | None,
    prometheus_url: str,
    admin_urls: tuple[str, ...],
    token_file: Path | None,
    admin_ca_file: Path | None,
    admin_certificate_file: Path | None,
    admin_key_file: Path | None,
    output: str,
) -> None:
    """Check every part of the loop, and say what to do about what is missing.

    Reads only: no power limit is changed. Exit status: 0 when the loop would work, 1 when not.
    """
    config = read_config(config_file, {})
    url = url or _push_url(config)
    token = secret_in(token_file) if token_file else None
    trust = partial(tls_context, admin_ca_file, admin_certificate_file, admin_key_file)
    seen, page = check_exporter(url)
    findings = [
        *check_installation(),
        *_devices(config, seen_by_exporter=len(page.up) if page else 0),
        *_privilege(config),
        *seen,
        *_control(admin_urls or _admin_urls(config), token, trust),
    ]
    try:
        with PrometheusClient(
            prometheus_url, timeout_seconds=TIMEOUT_SECONDS, monotonic=monotonic_seconds
        ) as client:
            findings += check_prometheus(client, page, url)
    except HistoryError as error:
        findings.append(explained("Prometheus", Verdict.FAIL, str(error)))
    _show(findings, output)
    sys.exit(int(any(finding.verdict is Verdict.FAIL for finding in findings)))


def _devices(config: Config, *, seen_by_exporter: int) -> list[Finding]:
    """Look at the driver on a thread that can be left behind: a call that hangs never returns."""
    looked: Future[list[Finding]] = Future()

    def look() -> None:
        try:
            looked.set_result(
                check_devices(config, SystemClock(), seen_by_exporter=seen_by_exporter)
            )
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            looked.set_exception(error)

    spawn(look)
    try:
        return looked.result(DRIVER_TIMEOUT_SECONDS)
    except TimeoutError:
        found = f"no answer in {DRIVER_TIMEOUT_SECONDS:g} s: a call of the driver hangs"
        return [fail("driver", found, "see dmesg for Xid errors; reset the GPU or reboot")]


def _privilege(config: Config) -> list[Finding]:
    """Look at who may set limits: this user, or the actuator where one is configured."""
    if config.actuator.socket is None:
        return [check_privilege()]
    return check_actuator(config.actuator.socket, SystemClock())


def _control(
    urls: Sequence[str], token: str | None, trust: Callable[[], ssl.SSLContext]
) -> list[Finding]:
    if not urls:
        return [NO_ADMIN]
    return [finding for url in urls for finding in check_admin(url, token, trust)]


def _push_url(config: Config) -> str:
    """Return how training code on this host reaches the exporter that is configured."""
    address = config.web.listen_addresses[0]
    if address.unix_path is not None:
        return str(address)
    everywhere = address.host in (None, "0.0.0.0", "::")  # noqa: S104 - compared, not bound
    return f"http://127.0.0.1:{address.port}" if everywhere else f"http://{address}"


def _admin_urls(config: Config) -> tuple[str, ...]:
    address = config.admin.listen_address
    if address is None:
        return ()
    if address.unix_path is not None:
        return (str(address),)
    return (f"{'https' if _is_encrypted(config.admin.web_config_file) else 'http'}://{address}",)


def _is_encrypted(file: Path | None) -> bool:
    """Tell whether a web configuration asks for TLS; one that cannot be read here mostly does."""
    if file is None:
        return False
    try:
        return parse_web_file(file.read_text(encoding="utf-8"), file).tls is not None
    except (OSError, UnicodeDecodeError, ConfigError):
        return True


def _show(findings: Sequence[Finding], output: str) -> None:
    if output == "json":
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
        return
    console = Console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for column in ("verdict", "check"):
        table.add_column(column, no_wrap=True)
    table.add_column("found", overflow="fold")
    for finding in findings:
        found = Text(finding.found)
        if finding.cure:
            found.append(f"\n-> {finding.cure}", style="italic")
        verdict = Text(finding.verdict.upper(), style=STYLES[finding.verdict])
        table.add_row(verdict, finding.check, found)
    console.print(table)
    failed = sum(finding.verdict is Verdict.FAIL for finding in findings)
    console.print(
        Text(
            f"\nThe loop would not work: {failed} of {len(findings)} checks failed."
            if failed
            else "\nThe loop would work.",
            style="bold",
        )
    )
