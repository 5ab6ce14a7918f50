"""Hosts and exporters for rows: one that rows share, and one of its own for each that needs it."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fakes.patience import eventually
from faults.fault import Fault
from faults.scene import Scene, play

MakeScene = Callable[[Path], Scene]
"""Makes a host and its exporter, not started yet, in an empty folder."""

SIDE_BY_SIDE = 6
"""Rows with a host of their own wait most of the time: for looks, 5 s apart."""


class Stage:
    """Plays the rows of one vendor: those with a host of their own begin at once."""

    def __init__(self, make: MakeScene, folder: Path, rows: Iterable[Fault]) -> None:
        self._make = make
        self._folder = folder
        self._undo = ExitStack()
        self._shared: Scene | None = None
        self._pool = self._undo.enter_context(ThreadPoolExecutor(SIDE_BY_SIDE))
        self._playing: dict[str, Future[None]] = {
            row.name: self._pool.submit(self._play_alone, row, folder / f"own-{number}")
            for number, row in enumerate(rows)
            if row.own
        }

    def play(self, row: Fault) -> None:
        """Play a row, or wait until it was played; raises what it raised."""
        if row.own:
            self._playing[row.name].result()
            return
        if self._shared is None:
            self._shared = self._make(_made(self._folder / "shared"))
            self._undo.enter_context(self._shared.exporter)
            # The first lease opens what stays open: a thread, the journal's files.
            self._shared.lease(self._shared.gpus[1], 200)
            self._shared.admin.delete_lease(self._shared.gpus[1])
        play(row, self._shared, until=eventually)

    def close(self) -> None:
        self._undo.close()

    def _play_alone(self, row: Fault, folder: Path) -> None:
        scene = self._make(_made(folder))
        if row.before_start:
            row.inject(scene)
        with scene.exporter:
            play(row, scene, until=eventually)


@contextmanager
def staged(make: MakeScene, folder: Path, rows: Iterable[Fault]) -> Iterator[Stage]:
    """Make a stage, and end all that is on it."""
    stage = Stage(make, folder, rows)
    try:
        yield stage
    finally:
        stage.close()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
