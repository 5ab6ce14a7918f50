"""A process that lives many lives: it forks each one off, so that killing one costs little.

One JSON object a line: what to live on standard input, what happened on standard output. Each life
is a governor on one folder, with cards whose limits are in that folder as well: they outlive every
process, as a driver's do. ``power_lives.py`` is what a life does; this file is who asks for it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Told = Mapping[str, Any]


@dataclass
class Life:
    """What a life told before its end.

    Attributes:
        told: Line by line.
        killed: Whether SIGKILL ended it.
    """

    told: list[Told] = field(default_factory=list)
    killed: bool = False

    def all(self, key: str) -> list[Any]:
        """Return the values of every line that has this key."""
        return [line[key] for line in self.told if key in line]

    def one(self, key: str) -> Any:
        """Return the value of the only line that has this key."""
        (value,) = self.all(key)
        return value


class Lives:
    """Where lives are asked for, one after the other."""

    def __enter__(self) -> Self:
        tests = Path(__file__).parents[1]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "servers.power_lives"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(tests)},
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(15)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def live(self, what: str, folder: Path, **how: object) -> Life:
        """Let one be lived to its end.

        Args:
            what: A function of ``power_lives``.
            folder: Where.
            how: Its arguments, and of any life: ``kill_after_seconds``, from its birth, or with
                ``once_started`` from when it has put everything back;
                ``die_at``, the step before which it kills itself, by number or name.
        """
        process = self._process
        assert process.stdin is not None
        process.stdin.write(json.dumps({"what": what, "folder": str(folder), **how}) + "\n")
        process.stdin.flush()
        life = Life()
        for line in self._lines():
            if "ended" in line:
                life.killed = line["ended"] == -signal.SIGKILL
                assert life.killed or line["ended"] == 0, (what, how, life.told)
                return life
            life.told.append(line)
        raise AssertionError("the process that forks lives has ended")

    def _lines(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            yield json.loads(text)
