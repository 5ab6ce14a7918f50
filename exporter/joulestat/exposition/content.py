"""Which of the two text formats a scraper wants."""

from enum import StrEnum
from functools import lru_cache


class ContentType(StrEnum):
    """A format, by the Content-Type that announces it."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


# Prometheus sends the same header with every scrape; 32 is more scrapers than a node has.
@lru_cache(maxsize=32)
def negotiate(accept_header: str) -> ContentType:
    """Return the format for an ``Accept`` header.

    OpenMetrics 1.0.0 only where it is asked for by name and the classic text is not asked for
    more strongly: a browser or ``curl`` (``*/*``) gets text. Prometheus lists OpenMetrics
    1.0.0 first; VictoriaMetrics asks for text alone. What cannot be parsed counts as not said.
    """
    openmetrics, text = 0.0, 0.0
    for part in accept_header.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        values = {
            name: value.strip('"')
            for name, equals, value in (parameter.partition("=") for parameter in parameters)
            if equals
        }
        weight = _weight(values.get("q", "1"))
        if media == "application/openmetrics-text" and values.get("version", "1.0.0") == "1.0.0":
            openmetrics = max(openmetrics, weight)
        elif media == "text/plain" and values.get("version", "0.0.4") == "0.0.4":
            text = max(text, weight)
    return ContentType.OPENMETRICS if openmetrics > 0 and openmetrics >= text else ContentType.TEXT


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
