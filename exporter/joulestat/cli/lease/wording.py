"""How the commands of ``joulestat lease`` print what they were answered."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_ENDS = {
    "restored": "the limit from before is back",
    "foreign": "somebody else changed the limit meanwhile; it was left alone",
    "none": "there was no lease",
    "failed": "the limit from before could not be put back yet",
}
"""What became of a lease -> how to say it."""


def ended(gpu_uuid: str, outcome: str, limit_watts: float | None) -> str:
    """Return one line about the end of a lease."""
    now = "" if limit_watts is None else f", now at {watts(limit_watts)}"
    return f"{gpu_uuid}: {_ENDS.get(outcome, '-')}{now}"


def in_one_line(answer: Mapping[str, Any]) -> str:
    """Return an answer as ``key=value`` pairs; members of members get a dot."""
    return "  ".join(f"{key}={text(value)}" for key, value in _flat(answer))


def _flat(answer: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in answer.items():
        if isinstance(value, Mapping):
            flat.extend(_flat(value, f"{prefix}{key}."))
        else:
            flat.append((prefix + key, value))
    return flat


def text(value: object) -> str:
    """Return a value as people read it."""
    if value is None:
        return "-"
    # Ten digits hold a Unix time in full.
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def watts(value: float | None) -> str:
    """Return a limit with its unit."""
    return "-" if value is None else f"{value:g} W"


def time_of_day(unix_seconds: float | None) -> str:
    """Return when a lease ends."""
    if unix_seconds is None:
        return "-"
    return f"{datetime.fromtimestamp(unix_seconds, UTC):%H:%M:%S} UTC"
