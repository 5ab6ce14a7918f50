"""A push as JSON, and what an exporter's answer says; nothing that is read here is trusted."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict

from joulestat.client.tally import Boundary
from joulestat.client.transport import Reply
from joulestat.domain.run import PushAnswer

PUSH_PATH = "/v1/push"
JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}

_REDIRECT = range(300, 400)
_REASON_CHARACTERS = 300


def push_body(about: Mapping[str, object], boundary: Boundary) -> bytes:
    """Return the body of a push.

    Args:
        about: The keys that never change: run, rank, incarnation, labels and what is planned.
        boundary: The rest.
    """
    push = {
        **about,
        "seq": boundary.seq,
        "at_ns": boundary.at_ns,
        "gpus": boundary.gpus,
        "phase": boundary.phase,
        "totals": {phase: asdict(counts) for phase, counts in boundary.totals.items()},
        "final": boundary.final,
    }
    return json.dumps(push, separators=(",", ":")).encode()


def parse_answer(body: bytes) -> PushAnswer:
    """Return what an exporter answered to a push.

    Raises:
        ValueError: This is no exporter's answer.
    """
    document = json.loads(body)
    instance = document.get("instance") if isinstance(document, dict) else None
    if not isinstance(instance, str):
        raise ValueError(f"no answer to a push: {body[:60]!r}")  # noqa: TRY004 - wrong data came
    seq = document.get("seq")
    return PushAnswer(
        accepted=document.get("accepted") is True,
        seq=seq if isinstance(seq, int) else 0,
        instance=instance,
        energy_joules=amounts(document.get("energy_joules")),
        power_limit_watts=amounts(document.get("power_limit_watts")),
    )


def amounts(value: object) -> dict[str, float]:
    """Return the finite numbers of at least 0 in a mapping; the others are unknown, not zero."""
    if not isinstance(value, Mapping):
        return {}
    return {
        str(key): float(amount)
        for key, amount in value.items()
        if isinstance(amount, (int, float)) and 0 <= amount < math.inf
    }


def reason(reply: Reply) -> str:
    """Return what a refusal says, fit for one log line; empty where it says nothing."""
    if reply.status in _REDIRECT:
        return f" (a redirect to {reply.headers.get('location', '')[:100]!r}, not followed)"
    try:
        detail = json.loads(reply.body)["detail"]
    except Exception:  # noqa: BLE001 - anything may have answered
        return ""
    return f": {str(detail)[:_REASON_CHARACTERS]!r}"
