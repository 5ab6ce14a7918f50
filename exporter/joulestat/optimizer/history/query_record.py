"""What one query to a time-series database asked, and what its answer cost."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueryRecord:
    """One query that was answered.

    Attributes:
        expression: The PromQL, as sent.
        endpoint: Path of the API that was asked, such as ``/api/v1/query_range``; never with a
            user name, a password or a token.
        span_seconds: From the first to the last moment asked for; 0 for a single moment.
        step_seconds: Distance of the moments asked for; None where stored values were asked for.
        seconds: How long the answer took.
        n_series: Series in it.
        n_points: Points in it, all series.
        n_bytes: Its size, as received.
    """

    expression: str
    endpoint: str
    span_seconds: float
    step_seconds: float | None
    seconds: float
    n_series: int
    n_points: int
    n_bytes: int
