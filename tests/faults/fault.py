"""One row of the fault matrix: what goes wrong, and what is then promised and checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faults.scene import Scene


@dataclass(frozen=True)
class Shown:
    """Something that an exporter shows.

    Attributes:
        text: For the page, in Markdown.
        holds: Whether it is so now, for the GPU with this UUID.
    """

    text: str
    holds: "Callable[[Scene, str], bool]"


@dataclass(frozen=True)
class Logged:
    """A line of the log, once: for each GPU that the fault is about, or for all together.

    Attributes:
        event: Its name.
        words: ``key=value`` that stand in it too.
        per_gpu: Whether there is one for each GPU.
    """

    event: str
    words: str = ""
    per_gpu: bool = True

    @property
    def text(self) -> str:
        return f"`{self.event}{f' {self.words}' if self.words else ''}`"

    def is_in(self, line: str) -> bool:
        told = line.split()
        return all(word in told for word in (f"event={self.event}", *self.words.split()))


def _nothing(_: "Scene") -> None:
    return


@dataclass(frozen=True)
class Fault:
    """One row.

    Attributes:
        name: What goes wrong, for people.
        inject: Lets it go wrong, in an exporter that runs, or before it starts.
        exported: What is shown while it is so, all at one instant.
        clear: Lets it be right again.
        recovered: What is shown then, without a restart.
        logged: What the log says while it is so, and nothing else.
        perhaps: What it may say besides, by which of two threads notices first.
        logged_then: What it says when it is right again, and nothing else.
        by: What makes it right, for people.
        gpus: Slots of the GPUs that it is about; all others must stay well meanwhile.
        before_start: Whether the exporter starts into the fault; then it is this row's own.
        own: Whether the exporter cannot be used for other rows afterwards.
        clean_up: Takes back what is left of it.
        new_threads: How many threads more the exporter has afterwards.
        new_descriptors: How many open files more.
    """

    name: str
    inject: "Callable[[Scene], Any]"
    exported: tuple[Shown, ...]
    clear: "Callable[[Scene], Any]"
    recovered: tuple[Shown, ...]
    logged: tuple[Logged, ...] = ()
    perhaps: tuple[Logged, ...] = ()
    logged_then: tuple[Logged, ...] = ()
    by: str = "at the next reading"
    gpus: tuple[int, ...] = (0,)
    before_start: bool = False
    own: bool = False
    clean_up: "Callable[[Scene], Any]" = _nothing
    new_threads: int = 0
    new_descriptors: int = 0
