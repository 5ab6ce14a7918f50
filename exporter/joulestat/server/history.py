"""The endpoints that show the exporter's own history. Reading it is disk work, so threads do it."""

from collections.abc import Callable
from http import HTTPStatus

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from joulestat.runs.history.reader import HistoryReader
from joulestat.runs.history.schema import ROW_MS
from joulestat.server.parameters import bad_parameter, one, seconds
from joulestat.server.problems import Refused

_LATEST_SECONDS = 1e11
"""Some three thousand years from now: whoever means milliseconds is told so."""

_SHORTEST_WINDOW_SECONDS = ROW_MS / 1_000
_LONGEST_WINDOW_SECONDS = 86_400.0
_LONGEST_NAME = 64

_ENCODER = msgspec.json.Encoder()


class HistoryDoor:
    """Shows what runs did."""

    def __init__(self, reader: HistoryReader | None, *, wall_seconds: Callable[[], float]) -> None:
        """Make the door.

        Args:
            reader: Reads the history, None where none is kept.
            wall_seconds: Unix time.
        """
        self._reader = reader
        self._wall_seconds = wall_seconds

    async def runs(self, request: Request) -> Response:
        """Answer ``GET /v1/history/runs``."""
        reader = self._there()
        at_seconds = self._moment(request, "at", self._wall_seconds())
        after = one(request, "after") or ""
        page = await run_in_threadpool(reader.runs, at_seconds, after)
        return Response(_ENCODER.encode(page), media_type="application/json")

    async def history(self, request: Request) -> Response:
        """Answer ``GET /v1/history``: a page of rows, and what a decision needs besides."""
        reader = self._there()
        run = one(request, "run")
        if not run or len(run) > _LONGEST_NAME:
            raise bad_parameter("run", run or "", "the name of a run")
        start_seconds = self._moment(request, "start", 0.0)
        end_seconds = self._moment(request, "end", self._wall_seconds())
        window_seconds = seconds(
            request,
            "window",
            usual=_SHORTEST_WINDOW_SECONDS,
            lowest=_SHORTEST_WINDOW_SECONDS,
            highest=_LONGEST_WINDOW_SECONDS,
        )
        page = await run_in_threadpool(
            reader.history, run, start_seconds, end_seconds, window_seconds
        )
        return Response(_ENCODER.encode(page), media_type="application/json")

    def _there(self) -> HistoryReader:
        if self._reader is None:
            raise Refused(
                HTTPStatus.NOT_FOUND,
                "this exporter keeps no history; start it with a history.retention above 0",
            )
        return self._reader

    @staticmethod
    def _moment(request: Request, name: str, usual: float) -> float:
        return seconds(request, name, usual=usual, lowest=0.0, highest=_LATEST_SECONDS)
