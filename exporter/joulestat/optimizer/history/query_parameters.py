"""Parameters that go with every query, whichever server it is."""

WHOLE_AND_RAW = {
    "nocache": "1",  # VictoriaMetrics: else anything within 30 s of now is answered as of then
    "dedup": "true",  # Thanos
    "partial_response": "false",  # Thanos: its default is a silently partial answer
    "max_source_resolution": "0s",  # Thanos: a downsampled counter is an average, not a counter
}
"""Sent with every query. Servers ignore what they do not know."""

OWN = {
    **{name: f"always {value}" for name, value in WHOLE_AND_RAW.items()},
    **dict.fromkeys(("query", "time", "start", "end", "step"), "what it asks"),
    **dict.fromkeys(("stats", "limit"), "answers must be whole"),
    "timeout": "by --prometheus.timeout",
}
"""Parameters of queries that nobody else may set, and what they are."""
