"""The exporter: does it answer where training code pushes to, does it tick, what does it see?"""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from joulestat import __version__
from joulestat.cli.checks import Finding, fail, ok, warn
from joulestat.client.target import parse_target

TIMEOUT_SECONDS = 5.0
LARGEST_PAGE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Page:
    """What the exporter shows of its GPUs.

    Attributes:
        version: Of the exporter; empty where it does not say.
        up: Whether the last tick read it, by GPU UUID.
    """

    version: str
    up: Mapping[str, bool]


def check_exporter(url: str) -> tuple[list[Finding], Page | None]:
    """Look at the exporter that training code on this host would push to.

    Args:
        url: As in ``JOULESTAT_URL``.

    Returns:
        What was found, and what the exporter shows; None where it cannot be read.
    """
    try:
        target = parse_target(url)
    except ValueError as error:
        return [fail("exporter", str(error), "correct --url or JOULESTAT_URL")], None
    # Like the client: no proxy in between.
    transport = httpx.HTTPTransport(uds=target.path) if target.path else httpx.HTTPTransport()
    host = f"http://{target.host_header}"
    with httpx.Client(transport=transport, base_url=host, timeout=TIMEOUT_SECONDS) as client:
        try:
            ready = client.get("/readyz")
            answer = client.get("/metrics", headers={"Accept": "text/plain"})
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            cure = "start it (joulestat serve), or say where it is with --url or JOULESTAT_URL"
            return [fail("exporter", f"no answer at {url}: {reason}", cure)], None
    page = _page(answer)
    if page is None:
        found = f"something else than joulestat answers at {url} (HTTP {answer.status_code})"
        cure = "stop it, or move the exporter with --web.listen-address and --url"
        return [fail("exporter", found, cure)], None
    findings = [_check_version(page, url), _check_ticking(ready), _check_gpus(page)]
    return findings, page


def _check_version(page: Page, url: str) -> Finding:
    if page.version in ("", __version__):
        return ok("exporter", f"answers at {url}")
    return warn(
        "exporter",
        f"answers at {url}, but is version {page.version} and this is {__version__}",
        "restart it after an upgrade",
    )


def _check_ticking(ready: httpx.Response) -> Finding:
    if ready.status_code == httpx.codes.OK:
        return ok("ticking", "readings are fresh")
    return fail(
        "ticking",
        ready.text.strip() or f"/readyz answers HTTP {ready.status_code}",
        "see the exporter's log: a driver call may hang",
    )


def _check_gpus(page: Page) -> Finding:
    if not page.up:
        return fail(
            "exporter's GPUs",
            "it sees none",
            "choose its --backend, and in a container pass the GPUs through (--gpus all)",
        )
    down = sorted(uuid for uuid, up in page.up.items() if not up)
    if down:
        found = f"{len(down)} of {len(page.up)} cannot be read now: {', '.join(down)}"
        return warn("exporter's GPUs", found, "see the exporter's log and dmesg")
    return ok("exporter's GPUs", f"{len(page.up)}, all read")


def _page(answer: httpx.Response) -> Page | None:
    if answer.status_code != httpx.codes.OK or len(answer.content) > LARGEST_PAGE_BYTES:
        return None
    version: str | None = None
    up: dict[str, bool] = {}
    try:
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                if sample.name == "joulestat_build_info":
                    version = sample.labels.get("version", "")
                elif sample.name == "joulestat_gpu_up":
                    up[sample.labels["gpu_uuid"]] = sample.value == 1
    except (ValueError, KeyError):
        return None
    return None if version is None else Page(version, up)
