"""What a run took, as ``joulestat run`` says it in one line at the end."""

import re
from collections.abc import Callable, Mapping

from joulestat.client.run import Run
from joulestat.client.target import Target
from joulestat.client.transport import Transport
from joulestat.domain.units import NS_PER_SECOND

PAGE_LIMIT_BYTES = 16 * 1024 * 1024
SETTLE_NS = NS_PER_SECOND
"""How long to wait until the exporter has booked the last joule; one of its ticks, usually."""

LEAST_JOULES = 1e-3

_EXCHANGE_NS = NS_PER_SECOND
_J_PER_WH = 3600.0
_SAMPLE = re.compile(
    r"^joulestat_run_gpu_energy_joules_total\{([^}]*)\} ([0-9.e+-]+)", re.MULTILINE
)
_LABEL = re.compile(r'([a-z_]+)="([^"]*)"')
_UNITS = ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ"), (1.0, "J"))


def booked_joules(
    run: Run, target: Target, *, now_ns: Callable[[], int], pause: Callable[[float], None]
) -> dict[str, float] | None:
    """Return what a run has taken since it was begun here, by GPU UUID, J.

    Read from /metrics, so that it is the number that Prometheus has, and so that it holds what
    the command counted itself after it took the run over.

    Args:
        run: The run; it has pushed its last.
        target: Where the exporter listens.
        now_ns: CLOCK_MONOTONIC.
        pause: Sleeps, s.

    Returns:
        None where the exporter did not answer, or does not know the run.
    """
    here = run.lineage_joules()
    before = {uuid: joules - here.get(uuid, 0.0) for uuid, joules in run.energy_joules().items()}
    transport = Transport(target, now_ns, body_limit_bytes=PAGE_LIMIT_BYTES)
    deadline_ns = now_ns() + SETTLE_NS
    page = ""
    try:
        while not _has_ended(page, run.name) and now_ns() < deadline_ns:
            if page:
                pause(0.05)
            page = _page(transport)
    except OSError:
        return None
    finally:
        transport.close()
    totals = energy_on(page, run.name)
    taken = {uuid: joules - before.get(uuid, 0.0) for uuid, joules in totals.items()}
    # A GPU of an earlier process of the run has taken nothing since.
    return {uuid: joules for uuid, joules in taken.items() if joules >= LEAST_JOULES} or None


def energy_on(page: str, run: str) -> dict[str, float]:
    """Return a run's energy by GPU UUID, J, from a page of metrics."""
    # Names of runs and UUIDs have no character that a page of metrics would escape.
    samples = [(dict(_LABEL.findall(each[1])), float(each[2])) for each in _SAMPLE.finditer(page)]
    return {labels["gpu_uuid"]: joules for labels, joules in samples if labels["run"] == run}


def energy_line(name: str, joules: Mapping[str, float], seconds: float) -> str:
    """Return how much a run took, for people."""
    total = sum(joules.values())
    gpus = "1 GPU" if len(joules) == 1 else f"{len(joules)} GPUs"
    mean = f", {total / seconds:.0f} W on average" if seconds > 0 else ""
    return f"run {name} took {amount(total)} on {gpus} in {duration(seconds)}{mean}"


def amount(joules: float) -> str:
    """Return an energy in J and Wh: "12.4 kJ (3.4 Wh)"."""
    size, unit = next(((s, u) for s, u in _UNITS if joules >= s), _UNITS[-1])
    watt_hours = joules / _J_PER_WH
    in_wh = f"{watt_hours / 1e3:.1f} kWh" if watt_hours >= 1e3 else f"{watt_hours:.3g} Wh"
    return f"{joules / size:.1f} {unit} ({in_wh})"


def duration(seconds: float) -> str:
    """Return a duration: "5.3 s", "2 min 5 s", "3 h 20 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_seconds} s"
    hours, rest_minutes = divmod(minutes, 60)
    return f"{hours} h {rest_minutes} min"


def _page(transport: Transport) -> str:
    reply = transport.exchange(
        "GET", "/metrics", headers={"Accept": "text/plain"}, timeout_ns=_EXCHANGE_NS
    )
    return reply.body.decode(errors="replace") if reply.status == 200 else ""


def _has_ended(page: str, run: str) -> bool:
    return f'joulestat_run_end_timestamp_seconds{{run="{run}"}}' in page
