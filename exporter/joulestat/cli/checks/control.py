"""The admin API: does it answer, what may the token do, can limits be held? Changes nothing."""

from collections.abc import Sequence
from typing import Any

from joulestat.cli.checks import Finding, Verdict, explained, fail, ok, warn
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError

HOLDER = "doctor"
TTL_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0

_FORBIDDEN = 403
_NOT_FOR_WANT_OF_A_ROLE = frozenset({409, 422, 429})
"""Another holder, a limit out of range, too many writes: asked by one who may."""

NO_ADMIN = fail(
    "admin API",
    "no address is known: nobody can hold a power limit",
    "give the exporter --admin.listen-address and --admin.token-file, and name it here with "
    "--admin.url; measuring and advice work without",
)


def check_admin(url: str, token: str | None) -> list[Finding]:
    """Look at one exporter's admin API, as the optimizer would use it."""
    try:
        client = AdminClient(url, token, TIMEOUT_SECONDS)
        gpus = client.gpus()
    except AdminError as error:
        return [explained("admin API", Verdict.FAIL, str(error), "check --admin.url and the token")]
    findings = [ok("admin API", f"answers at {url}")]
    writable = [gpu for gpu in gpus if gpu.get("writable")]
    if not writable:
        return [
            *findings,
            fail(
                "control",
                f"none of its {len(gpus)} GPUs can be limited",
                "run the exporter as root or with CAP_SYS_ADMIN",
            ),
        ]
    return [*findings, _check_role(client, writable[0]), _check_writable(gpus, writable)]


def _check_role(client: AdminClient, gpu: dict[str, Any]) -> Finding:
    """Ask for a lease that would change nothing, in a dry run."""
    watts = gpu.get("power_limit_watts") or gpu.get("max_watts") or 0.0
    try:
        client.put_lease(
            str(gpu.get("gpu_uuid")),
            power_limit_watts=float(watts),
            ttl_seconds=TTL_SECONDS,
            holder=HOLDER,
            reason="dry run of joulestat doctor",
            dry_run=True,
        )
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
