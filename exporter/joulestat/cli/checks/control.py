"""Who holds limits: does the admin API answer, may the token, can the actuator? Changes nothing."""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from joulestat.actuator.asking import ActuatorLine
from joulestat.actuator.wire import PROTOCOL, ListControls, Listed
from joulestat.cli.checks import Finding, Verdict, explained, fail, ok, warn
from joulestat.client.admin import AdminClient
from joulestat.client.encrypted import SCHEME, tls_context
from joulestat.domain.clock import Clock
from joulestat.domain.errors import AdminError, JoulestatError

HOLDER = "doctor"
TTL_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0

_FORBIDDEN = 403
_UNAVAILABLE = 503
_NOT_FOR_WANT_OF_A_ROLE = frozenset({409, 422, 429})
"""Another holder, a limit out of range, too many writes: asked by one who may."""

NO_ADMIN = fail(
    "admin API",
    "no address is known: nobody can hold a power limit",
    "give the exporter --admin.listen-address and --admin.token-file, and name it here with "
    "--admin.url; measuring and advice work without",
)


def check_admin(
    url: str, token: str | None, trust: Callable[[], ssl.SSLContext] = tls_context
) -> list[Finding]:
    """Look at one exporter's admin API, as the optimizer would use it.

    Args:
        url: Where it is.
        token: What to show it; None for nothing.
        trust: Makes whom to believe over https, and what to show; asked for there alone.
    """
    try:
        tls = trust() if url.startswith(SCHEME) else None
        client = AdminClient(url, token, TIMEOUT_SECONDS, tls=tls)
        gpus = client.gpus()
    except AdminError as error:
        return [explained("admin API", Verdict.FAIL, str(error), "check --admin.url and the token")]
    findings = [ok("admin API", f"answers at {url}")]
    writable = [gpu for gpu in gpus if gpu.get("writable")]
    if not writable:
        return [*findings, _check_why_not(client, gpus)]
    return [*findings, _check_role(client, writable[0]), _check_writable(gpus, writable)]


def check_actuator(socket_path: Path, clock: Clock) -> list[Finding]:
    """Look at the actuator that the exporter here is to ask, as this user."""
    line = ActuatorLine(socket_path, clock)
    try:
        listed = line.ask(ListControls(PROTOCOL), Listed, TIMEOUT_SECONDS)
    except JoulestatError as error:
        return [explained("actuator", Verdict.FAIL, str(error), "see its log")]
    if listed.read_only_reason is not None:
        found = f"grants no lease: {listed.read_only_reason}"
        return [explained("actuator", Verdict.FAIL, found, "see its log")]
    n_gpus = len(listed.controls)
    writable = sum(control.writable for control in listed.controls.values())
    found = f"answers at {socket_path}, and may set the limit of {writable} of {n_gpus} GPUs"
    if writable < n_gpus or not n_gpus:
        return [warn("actuator", found, "see its log; it needs root or CAP_SYS_ADMIN")]
    return [ok("actuator", found)]


def _ask_in_vain(client: AdminClient, gpu: dict[str, Any]) -> None:
    """Ask for a lease that would change nothing, in a dry run.

    Raises:
        AdminError: It would not be granted.
    """
    watts = gpu.get("power_limit_watts") or gpu.get("max_watts") or 0.0
    client.put_lease(
        str(gpu.get("gpu_uuid")),
        power_limit_watts=float(watts),
        ttl_seconds=TTL_SECONDS,
        holder=HOLDER,
        reason="dry run of joulestat doctor",
        dry_run=True,
    )


def _check_why_not(client: AdminClient, gpus: Sequence[dict[str, Any]]) -> Finding:
    """Tell why none can be limited: nobody to do it, or no privilege."""
    found = f"none of its {len(gpus)} GPUs can be limited"
    try:
        for gpu in gpus[:1]:
            _ask_in_vain(client, gpu)
    except AdminError as error:
        if error.status == _UNAVAILABLE:
            return explained("control", Verdict.FAIL, f"{found}: {error}", "see the exporter's log")
    return fail(
        "control",
        found,
        "run the exporter as root or with CAP_SYS_ADMIN, or give it a joulestat actuator",
    )


def _check_role(client: AdminClient, gpu: dict[str, Any]) -> Finding:
    try:
        _ask_in_vain(client, gpu)
    except AdminError as error:
        if error.status == _FORBIDDEN:
            return fail(
                "admin role",
                "the token may look, but not hold limits",
                "make another: joulestat lease token --role operator",
            )
        if error.status not in _NOT_FOR_WANT_OF_A_ROLE:
            return explained("admin role", Verdict.FAIL, str(error), "see the exporter's log")
    return ok("admin role", "operator: may hold limits")


def _check_writable(gpus: Sequence[Any], writable: Sequence[Any]) -> Finding:
    leased = [gpu["lease"].get("holder") for gpu in gpus if gpu.get("lease")]
    held = f"; held now by {', '.join(sorted(set(map(str, leased))))}" if leased else ""
    if len(writable) < len(gpus):
        found = f"{len(gpus) - len(writable)} of {len(gpus)} GPUs cannot be limited{held}"
        return warn("control", found, "keep runs that are to be optimized off these")
    return ok("control", f"{len(gpus)} GPUs can be limited{held}")
