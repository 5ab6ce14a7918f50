"""PromQL selectors built from label values without trusting them.

A run's name is whatever somebody pushed: ``x"} or vector(1) #`` must stay a label value. So no
query is ever put together from text; every value goes through ``Matcher``.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from joulestat.domain.errors import HistoryError

_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_METRIC_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_RE2_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")

MOST_BYTES_AT_ONCE = 7_000


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label condition. Made by the functions below."""

    label: str
    operator: str
    value: str

    def __post_init__(self) -> None:
        """Refuse what cannot be a label name: it would not be quoted in the query."""
        if not _LABEL_NAME.fullmatch(self.label):
            raise HistoryError(
                f"{self.label!r} is not a Prometheus label name; use letters, digits and _"
            )

    def __str__(self) -> str:
        """Return the condition as PromQL, the value quoted and escaped."""
        return f"{self.label}{self.operator}{_quoted(self.value)}"


def equals(label: str, value: str) -> Matcher:
    """Return a matcher for exactly this value, whatever characters it has."""
    return Matcher(label, "=", value)


def one_of(label: str, values: Iterable[str]) -> Matcher:
    """Return a matcher for any of these literal values (RE2 anchors a pattern at both ends)."""
    return Matcher(label, "=~", "|".join(_RE2_SPECIAL.sub(r"\\\1", value) for value in values))


def any_of(label: str, values: Sequence[str]) -> Matcher:
    """Return ``equals`` for one value, which servers find faster, and ``one_of`` for several."""
    return equals(label, values[0]) if len(values) == 1 else one_of(label, values)


def few_at_once(values: Iterable[str]) -> Iterator[list[str]]:
    """Yield values in lots that are not too long for a query that names each of them twice.

    VictoriaMetrics refuses queries of more than 16 KiB: 190 UUIDs, named twice.
    """
    lot: list[str] = []
    n_bytes = 0
    for value in values:
        # Every character may be escaped, and the escape quoted.
        length = 1 + len(value.encode()) + 3 * len(_RE2_SPECIAL.findall(value))
        if lot and n_bytes + length > MOST_BYTES_AT_ONCE:
            yield lot
            lot, n_bytes = [], 0
        lot.append(value)
        n_bytes += length
    if lot:
        yield lot


def whole_number(label: str) -> Matcher:
    """Return a matcher for values made of digits only."""
    return Matcher(label, "=~", "[0-9]+")


def selector(metrics: str | Sequence[str], *matchers: Matcher) -> str:
    """Return a PromQL instant selector for one or several metrics.

    Args:
        metrics: Literal metric name or names.
        matchers: Label conditions, all of which must hold.

    Raises:
        HistoryError: A metric name is none.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if not _METRIC_NAME.fullmatch(name):
            raise HistoryError(f"{name!r} is not a Prometheus metric name")
    named = equals("__name__", names[0]) if len(names) == 1 else one_of("__name__", names)
    return "{" + ",".join(str(matcher) for matcher in (named, *matchers)) + "}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
