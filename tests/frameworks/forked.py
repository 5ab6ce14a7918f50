"""Processes for trainings, forked from one that has loaded their frameworks once for all.

Loading PyTorch and Lightning takes longer than any training here.
"""

import multiprocessing
import os
import runpy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

_CONTEXT = multiprocessing.get_context("forkserver")
# JAX is not among them: it does not like to be forked.
_CONTEXT.set_forkserver_preload(["torch", "lightning.pytorch", "accelerate"])


def pipe() -> tuple[Any, Any]:
    """Return the ends of a pipe, for receiving and for sending."""
    return _CONTEXT.Pipe(duplex=False)


def forked(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process; whoever asked for it kills or joins it."""
    process = _CONTEXT.Process(target=work, args=arguments)
    process.start()
    return process


@dataclass
class Script:
    """A script that runs in a folder of its own, as ``python script.py`` would."""

    path: Path
    folder: Path
    environment: Mapping[str, str]

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = forked(_run, self.path, self.folder, dict(self.environment))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()

    def output(self) -> str:
        """Wait for its end, and return what it printed.

        Raises:
            AssertionError: It failed.
        """
        self._process.join(120)
        output = (self.folder / "output").read_text()
        assert 0 == self._process.exitcode, output
        return output


def _run(path: Path, folder: Path, environment: Mapping[str, str]) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    warnings.simplefilter("ignore")
    runpy.run_path(str(path), run_name="__main__")
