"""Times and durations as people type them."""

import re
from datetime import UTC, datetime

import click

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
LONGEST_SECONDS = 100 * 365 * 86_400.0
"""What lies far beyond it, no timer of the system can be set to."""

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


class Duration(click.ParamType[float]):
    """Seconds above zero, written ``60s``, ``1h30m`` or as a plain number of seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        if re.fullmatch(r"\d+(?:\.\d+)?", text):
            seconds = float(text)
        elif re.fullmatch(f"(?:{_PART.pattern})+", text):
            seconds = sum(float(n) * _UNIT_SECONDS[unit] for n, unit in _PART.findall(text))
        else:
            self.fail(f"{text!r} is not a duration such as 90s, 15m, 1h30m or 7d", param, ctx)
        if not 0 < seconds <= LONGEST_SECONDS:
            self.fail(f"{text!r} must be longer than nothing, 100 years at most", param, ctx)
        return seconds


class Moment(click.ParamType[float]):
    """A point in time, RFC 3339 or Unix seconds; returns Unix seconds."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return Unix seconds.

        A time without a zone is refused: it means something else on every machine.
        """
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        if re.fullmatch(r"\d+(?:\.\d+)?", text):
            return float(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is not a time such as 2026-11-23T14:00:00Z or 1795442400", param, ctx
            )
        if moment.tzinfo is None:
            self.fail(f"{text!r} has no time zone; write {moment.isoformat()}Z for UTC", param, ctx)
        return moment.astimezone(UTC).timestamp()
