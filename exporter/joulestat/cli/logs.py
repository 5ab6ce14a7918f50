"""How the program's own log lines look: ``key=value`` or one JSON object per line."""

import json
import logging
import sys
from datetime import UTC, datetime

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}


class LineFormatter(logging.Formatter):
    """One event, one line: control characters of whatever was logged are escaped."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, its traceback included."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        level = record.levelname.lower().replace("warning", "warn")
        message = record.getMessage()
        if record.exc_info:
            message = f"{message} traceback={self.formatException(record.exc_info)!r}"
        if self._as_json:
            return json.dumps({"ts": when, "level": level, "logger": record.name, "msg": message})
        return f"ts={when} level={level} logger={record.name} {_one_line(message)}"


def _one_line(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def configure_logging(level: str, style: str) -> None:
    """Send the program's log to standard error.

    Args:
        level: A key of ``LEVELS``.
        style: ``logfmt`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(as_json=style == "json"))
    logging.basicConfig(level=LEVELS[level], handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(max(LEVELS[level], logging.WARNING))
    logging.getLogger("httpx").setLevel(logging.WARNING)
