"""Prometheus: does it answer, does it scrape this exporter, how often and how lately?"""

from collections.abc import Mapping
from itertools import pairwise
from statistics import median

from joulestat.cli.checks import Finding, Verdict, explained, fail, ok, warn
from joulestat.cli.checks.exporter import Page
from joulestat.client.target import parse_target
from joulestat.domain.errors import HistoryError
from joulestat.optimizer.history.promql import PrometheusClient

TICK = "joulestat_last_tick_timestamp_seconds"
LOOKBACK_SECONDS = 300
"""Prometheus shows a sample for this long."""

FRESH_SCRAPES = 3
FRESH_SECONDS = 15.0
SLOW_INTERVAL_SECONDS = 30.0
"""From here on measuring one limit takes noticeably longer."""


def check_prometheus(client: PrometheusClient, page: Page | None, url: str) -> list[Finding]:
    """Look at the Prometheus that the optimizer would read.

    Args:
        client: Asks it.
        page: What the exporter here shows, to be found again in Prometheus; None if unknown.
        url: Where the exporter is, for the cure.
    """
    try:
        now_seconds = client.now_seconds()
        answers = ok("Prometheus", f"answers at {client.place}")
        return [answers, *_check_scraping(client, page, url, now_seconds)]
    except HistoryError as error:
        return [explained("Prometheus", Verdict.FAIL, str(error), "check --prometheus.url")]


def _check_scraping(
    client: PrometheusClient, page: Page | None, url: str, now_seconds: float
) -> list[Finding]:
    ticks = {
        sample.labels.get("instance", ""): sample.value
        for sample in client.query(TICK, now_seconds)
    }
    if not ticks:
        return [_not_scraped(client, url, now_seconds)]
    exporters = f"{len(ticks)} exporter{'s' if len(ticks) > 1 else ''}"
    here = set(ticks)
    if page is not None and page.up:
        here &= _instances(client, page, now_seconds)
        if not here:
            found = f"it scrapes {exporters}, but not the one at {url}"
            return [fail("scraping", found, _scrape_config(url))]
    return [
        ok("scraping", f"it scrapes {exporters}"),
        *_check_rhythm(client, now_seconds, {instance: ticks[instance] for instance in here}),
    ]


def _instances(client: PrometheusClient, page: Page, now_seconds: float) -> set[str]:
    """Return under which instances Prometheus knows the exporter whose page this is."""
    return {
        sample.labels.get("instance", "")
        for sample in client.query("joulestat_gpu_info", now_seconds)
        if sample.labels.get("gpu_uuid") in page.up
    }


def _not_scraped(client: PrometheusClient, url: str, now_seconds: float) -> Finding:
    down = client.query('up{job=~".*joulestat.*"} == 0', now_seconds)
    if down:
        targets = ", ".join(sorted(sample.labels.get("instance", "?") for sample in down))
        return fail(
            "scraping",
            f"it tries to scrape {targets}, and gets no answer",
            "let the exporter listen where Prometheus reaches it: --web.listen-address",
        )
    return fail("scraping", "it scrapes no joulestat exporter", _scrape_config(url))


def _check_rhythm(
    client: PrometheusClient, now_seconds: float, ticks: Mapping[str, float]
) -> list[Finding]:
    """Look at how often and how lately these exporters are scraped.

    Args:
        client: Asks.
        now_seconds: Unix time, Prometheus's.
        ticks: Unix time of the last tick by instance, as scraped last.
    """
    scrapes = [
        [at_seconds for at_seconds, _ in series.points]
        for series in client.query_raw(f"{TICK}[{LOOKBACK_SECONDS}s]", now_seconds)
        if series.labels.get("instance", "") in ticks and series.points
    ]
    gaps = [later - sooner for times in scrapes for sooner, later in pairwise(times)]
    interval = median(gaps) if gaps else None
    patience = max(FRESH_SECONDS, FRESH_SCRAPES * (interval or 0.0))
    scraped_ago = now_seconds - min((times[-1] for times in scrapes), default=0.0)
    return [
        _check_age("newest scrape", scraped_ago, patience, "see Prometheus's page of targets"),
        _check_age(
            "newest reading",
            now_seconds - min(ticks.values()),
            patience,
            "see the exporter's log, and whether both hosts' clocks are right (NTP)",
        ),
        *([] if interval is None else [_check_interval(interval)]),
    ]


def _check_age(check: str, age_seconds: float, patience: float, cure: str) -> Finding:
    # A reading from the future is a clock that is wrong, too.
    if abs(age_seconds) <= patience:
        return ok(check, f"{max(age_seconds, 0.0):.1f} s ago")
    return fail(check, f"{age_seconds:.0f} s ago, so it is too old to act on", cure)


def _check_interval(seconds: float) -> Finding:
    if seconds <= SLOW_INTERVAL_SECONDS:
        return ok("scrape interval", f"{seconds:.3g} s")
    return warn(
        "scrape interval",
        f"{seconds:.3g} s: measuring one power limit takes at least eight of these",
        "scrape every 15 s or more often",
    )


def _scrape_config(url: str) -> str:
    try:
        target = parse_target(url)
    except ValueError:
        address = "HOST:10400"
    else:
        if target.path:
            return (
                "Prometheus reads no Unix socket: give the exporter a --web.listen-address with a "
                "port as well, and scrape that"
            )
        address = target.host_header
    return (
        "add to scrape_configs of its prometheus.yml: "
        f"{{job_name: joulestat, static_configs: [{{targets: ['{address}']}}]}}"
    )
