"""What one query to a time-series database asked, and what its answer cost."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueryRecord:
    """One query that was answered.

    Attributes:
        expression: The PromQL, as sent.
        endpoint: Path of the API that was asked, such as ``/api/v1/query_range``; never with a
            user name, a password or a token.
        span_seconds: From the first to the last moment asked for; 0 for a single moment.
        step_seconds: Distance of the moments asked for; None where one moment or stored values
            were asked for.
        seconds: How long the answer took.
        n_series: Series in it.
        n_points: Points in it, all series.
        n_bytes: Its size, unpacked.
        n_samples_touched: Stored samples that the server read for it; None if it does not say.
    """

    expression: str
    endpoint: str
    span_seconds: float
    step_seconds: float | None
    seconds: float
    n_series: int
    n_points: int
    n_bytes: int
    n_samples_touched: int | None = None


OnQuery = Callable[[QueryRecord], None]
"""Told of every query right after its answer."""


def samples_touched(answer: object) -> int | None:
    """Return how many stored samples a query read, out of the ``data`` of Prometheus's answer.

    Source:
        https://prometheus.io/docs/prometheus/latest/querying/api/ (``stats``; the fields are
        those of Prometheus since 2.37). VictoriaMetrics says nothing of the kind.
    """
    for name in ("stats", "samples", "totalQueryableSamples"):
        if not isinstance(answer, dict):
            return None
        answer = answer.get(name)
    return answer if isinstance(answer, int) else None
