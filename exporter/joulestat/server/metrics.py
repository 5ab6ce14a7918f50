"""What anyone may read: the metrics, the landing page, and whether we are well."""

import gzip
import re
from collections.abc import Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from joulestat.domain.snapshot import Snapshot
from joulestat.exposition import ContentType, Exposition, negotiate
from joulestat.server.landing import CONTENT_SECURITY_POLICY, landing_page

# Level 9 costs ten times as much and saves a tenth of the bytes.
_GZIP_LEVEL = 1

_GZIP_WANTED = re.compile(
    r"(?:^|,)\s*(?:x-)?gzip\s*(?:;\s*q\s*=\s*(?P<quality>[0-9.]+)\s*)?(?=,|$)", re.IGNORECASE
)


class PublicPages:
    """Shows the last snapshot. Nothing here asks a device, takes a lock or changes anything.

    All methods run on the event loop's thread, so that the cache needs no lock either.
    """

    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot | None],
        exposition: Exposition,
        is_ticking: Callable[[], bool],
        version: str,
        docs_url: str = "",
    ) -> None:
        """Make the pages.

        Args:
            snapshot: The last tick, None before the first one.
            exposition: What renders it.
            is_ticking: Whether ticks come on time.
            version: Of this program.
            docs_url: Where the documentation is; no link without it.
        """
        self._snapshot = snapshot
        self._exposition = exposition
        self._is_ticking = is_ticking
        self._version = version
        self._docs_url = docs_url
        self._compressed_of: Snapshot | None = None
        self._compressed: dict[ContentType, bytes] = {}

    async def landing(self, _request: Request) -> Response:
        """Answer ``GET /``."""
        page = landing_page(self._snapshot(), version=self._version, docs_url=self._docs_url)
        headers = {
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        return Response(page, headers=headers, media_type="text/html")

    async def metrics(self, request: Request) -> Response:
        """Answer ``GET /metrics`` as text or OpenMetrics, whichever is asked for.

        How long the scraper will wait (``X-Prometheus-Scrape-Timeout-Seconds``) need not be read:
        all there is to do is to hand out the page of the last tick, which tells by itself what of
        it is not fresh.
        """
        snapshot = self._snapshot()
        if snapshot is None:
            # No sample beats a page of zeros: counters would seem to fall to 0 and rise again.
            return PlainTextResponse(
                "The GPUs have not been read yet.\n",
                HTTPStatus.SERVICE_UNAVAILABLE,
                {"Retry-After": "1"},
            )
        content = negotiate(request.headers.get("accept", ""))
        headers = {"Content-Type": content.value, "Vary": "Accept, Accept-Encoding"}
        page = self._exposition.render(snapshot, content)
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            headers["Content-Encoding"] = "gzip"
            page = self._compress(snapshot, content, page)
        return Response(page, headers=headers)

    async def healthz(self, _request: Request) -> Response:
        """Answer ``GET /healthz``: 200 while this loop runs. Never asks a driver.

        A restart does not cure a hung driver, so a hung driver must not cause one.
        """
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        """Answer ``GET /readyz``: 200 while the data is fresh. Never asks a driver.

        One GPU that answers is enough: that others do not, the metrics tell. So is a node without
        a GPU, of which all is known.
        """
        snapshot = self._snapshot()
        devices = snapshot.devices if snapshot is not None else ()
        silent = bool(devices) and all(each.reading is None for each in devices)
        if self._is_ticking() and not silent:
            return PlainTextResponse("ready\n")
        return PlainTextResponse(
            "not ready: no fresh reading of the GPUs\n", HTTPStatus.SERVICE_UNAVAILABLE
        )

    def _compress(self, snapshot: Snapshot, content: ContentType, page: bytes) -> bytes:
        if self._compressed_of is not snapshot:
            self._compressed_of = snapshot
            self._compressed = {}
        if content not in self._compressed:
            # mtime 0: the same page is the same bytes.
            self._compressed[content] = gzip.compress(page, _GZIP_LEVEL, mtime=0)
        return self._compressed[content]


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether a header ``Accept-Encoding`` allows gzip; ``gzip;q=0`` forbids it."""
    match = _GZIP_WANTED.search(accept_encoding)
    if match is None:
        return False
    return match["quality"] is None or match["quality"].strip("0.") != ""
