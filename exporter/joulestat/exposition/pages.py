"""Pages of snapshots: each is written once per format, however many ask for it."""

import threading

from joulestat.domain.snapshot import Snapshot
from joulestat.exposition.constants import Constants
from joulestat.exposition.content import ContentType
from joulestat.exposition.gather import Gatherer
from joulestat.exposition.writer import PageWriter


class Exposition:
    """Renders snapshots. May be called from any thread."""

    def __init__(self, constants: Constants) -> None:
        self._gatherer = Gatherer(constants)
        self._writers = {content: PageWriter(content) for content in ContentType}
        self._pages: dict[ContentType, tuple[Snapshot, bytes]] = {}
        self._lock = threading.Lock()

    def render(self, snapshot: Snapshot, content: ContentType) -> bytes:
        """Return the page of a snapshot: the one kept, where this very object was the last."""
        with self._lock:
            kept = self._pages.get(content)
            if kept is not None and kept[0] is snapshot:
                return kept[1]
            page = self._writers[content].page(self._gatherer.families(snapshot))
            self._pages[content] = (snapshot, page)
            return page
