"""The page that a person sees who opens the exporter in a browser."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from joulestat.domain.run import Phase, RunState
from joulestat.domain.snapshot import DeviceState, Snapshot
from joulestat.domain.units import uj_to_joules

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; --accent: #3a8f3a }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
p { margin: .3rem 0 } .dim, small { color: var(--dim) } code { font-size: .92em }
nav { margin: 1rem 0; display: flex; gap: 1.2rem; flex-wrap: wrap } a { color: var(--accent) }
div.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th { text-align: left; font-weight: 600; color: var(--dim); font-size: .85em }
th, td { padding: .4rem 1rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
meter { width: 7rem; margin-right: .5rem } small { display: block; font-family: ui-monospace }
aside { border-left: 4px solid #c80; padding: .3rem 1rem; margin: 1rem 0 }
"""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing may load or run on the page but its own style, known by its hash."""

_UNKNOWN = '<span class="dim">unknown</span>'
_NONE = '<span class="dim">none</span>'

_NO_DEVICE = """<aside><p><b>No GPU was found.</b> <code>joulestat doctor</code> says what was
looked for and what is missing.</p>
<p>On a GPU machine: does <code>nvidia-smi</code> list the cards? In a container: was it started
with the GPUs (<code>docker run --gpus all</code>)?</p>
<p>To try joulestat without a GPU: <code>joulestat demo</code>.</p></aside>"""

_PREFIXES = ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ"))


def landing_page(snapshot: Snapshot | None, *, version: str, docs_url: str = "") -> str:
    """Return the page as HTML, all text from outside escaped.

    Args:
        snapshot: What it shows, None before the first tick.
        version: Of this program.
        docs_url: Where the documentation is; no link without it.
    """
    if snapshot is None:
        state, body = "starting", "<p>The GPUs have not been read yet. Load again in a second.</p>"
    else:
        state = f"backend {escape(snapshot.backend)} &middot; {snapshot.ticks.count} ticks"
        body = (_devices(snapshot) if snapshot.devices else _NO_DEVICE) + _runs(snapshot)
    links = [("/metrics", "Metrics"), ("/healthz", "Health"), ("/readyz", "Readiness")]
    links.append(("/openapi.json", "API description"))
    if docs_url:
        links.append((docs_url, "Documentation"))
    anchors = "".join(f'<a href="{escape(url)}">{escape(text)}</a>' for url, text in links)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>joulestat</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>"
        "<h1>joulestat</h1><p>A thermostat for GPU energy: joules per training step, and power "
        "limits held as leases.</p>"
        f'<p class="dim">version {escape(version)} &middot; {state}</p>'
        f"<nav>{anchors}</nav>{body}</body></html>\n"
    )


def joules_text(energy_joules: float) -> str:
    """Return an energy with four significant digits, such as ``44.62 MJ``."""
    for scale, unit in _PREFIXES:
        if energy_joules >= scale:
            return f"{energy_joules / scale:.4g} {unit}"
    return f"{energy_joules:.4g} J"


def joules_per_step(run: RunState) -> float | None:
    """Return the run's energy per training step on this node, J; None before its first step."""
    cells = [cell for (phase, _), cell in run.cells.items() if phase is Phase.TRAIN]
    steps = sum(cell.counts.steps for cell in cells)
    return uj_to_joules(sum(cell.energy_uj for cell in cells)) / steps if steps else None


def _devices(snapshot: Snapshot) -> str:
    rows = [_device(state, snapshot.wall_seconds) for state in snapshot.devices]
    headings = ("GPU", "Model", "Power", "#Limit", "Lease", "#Energy")
    return _table("GPUs", headings, rows) + _without_persistence(snapshot)


def _without_persistence(snapshot: Snapshot) -> str:
    off = [
        str(state.device.index)
        for state in snapshot.devices
        if state.reading is not None and state.reading.details.persistence_mode is False
    ]
    if not off:
        return ""
    return (
        f"<aside><p><b>Persistence mode is off on GPU {', '.join(off)}.</b> A power limit there "
        "is forgotten, and the energy counter starts again, whenever the last program closes the "
        "GPU.</p><p>Enable the service <code>nvidia-persistenced</code>, or run "
        "<code>sudo nvidia-smi -pm 1</code>.</p></aside>"
    )


def _device(state: DeviceState, now_seconds: float) -> Sequence[str]:
    reading, meter = state.reading, state.meter
    limit_watts = reading.limits.in_force_watts if reading else None
    return (
        str(state.device.index),
        f"{escape(state.device.model)}<small>{escape(state.device.uuid)}</small>",
        _power(reading.power_watts if reading else None, limit_watts),
        _UNKNOWN if limit_watts is None else f"{limit_watts:.0f} W",
        _lease(state, now_seconds),
        _UNKNOWN if meter is None else joules_text(uj_to_joules(meter.total_uj)),
    )


def _power(power_watts: float | None, limit_watts: float | None) -> str:
    if power_watts is None:
        return _UNKNOWN
    text = f"{power_watts:.0f} W"
    if not limit_watts:
        return text
    return f'<meter min="0" max="{limit_watts:.0f}" value="{power_watts:.0f}"></meter>{text}'


def _lease(state: DeviceState, now_seconds: float) -> str:
    lease = state.control.lease
    if lease is None:
        drift = "; the limit was changed by somebody else" if state.control.drift else ""
        return _NONE + drift
    left_seconds = max(0.0, lease.expires_seconds - now_seconds)
    return (
        f"{lease.target_watts:.0f} W for {escape(lease.holder)}"
        f"<small>{left_seconds:.0f} s left, then {lease.baseline_watts:.0f} W</small>"
    )


def _runs(snapshot: Snapshot) -> str:
    live = [run for run in snapshot.runs if run.end_seconds is None]
    if not live:
        return (
            "<h2>Runs</h2><p>None is live. In training code: "
            "<code>run = joulestat.init(run=&quot;my-run&quot;)</code>, then "
            "<code>run.step()</code> after every step.</p>"
        )
    indices = {state.device.uuid: state.device.index for state in snapshot.devices}
    headings = ("Run", "Job, user, team", "GPUs", "Phase", "#Steps", "#Energy", "#J/step")
    return _table("Live runs", headings, [_run(run, indices) for run in live])


def _run(run: RunState, indices: dict[str, int]) -> Sequence[str]:
    labels = ", ".join(text for text in (run.labels.job, run.labels.user, run.labels.team) if text)
    gpus = sorted(
        {indices[claim.device_uuid] for claim in run.claims if claim.device_uuid in indices}
    )
    phases = sorted({claim.phase.value for claim in run.claims})
    steps = sum(cell.counts.steps for (phase, _), cell in run.cells.items() if phase is Phase.TRAIN)
    per_step = joules_per_step(run)
    return (
        escape(run.name),
        escape(labels),
        ", ".join(map(str, gpus)) or _NONE,
        ", ".join(phases),
        str(steps),
        joules_text(uj_to_joules(sum(run.device_energy_uj.values()))),
        _UNKNOWN if per_step is None else f"{per_step:.4g}",
    )


def _table(title: str, headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already; headings with ``#`` stand over numbers."""
    headings = tuple(headings)
    classes = [' class="n"' if text.startswith("#") else "" for text in headings]
    head = "".join(
        f"<th{kind}>{escape(text.lstrip('#'))}</th>"
        for text, kind in zip(headings, classes, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, classes, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<h2>{title}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
