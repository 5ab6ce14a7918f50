"""A process that opens the real AmdBackend on the stand-ins and does what its parent asks.

What is importable here decides the sources: see ``remote.py``, the other side. Command line: the
connection and the root of the kernel's files.
"""

import logging
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fakes.amd import kernel
from fakes.nvml.gpu_process import Servant, serve


class AmdServant(Servant):
    """The methods are the requests."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._missing: tuple[str, ...] = ()

    def open(self) -> None:
        from joulestat.devices.amd import open_amd  # after ``uninstall``

        self._backend = open_amd(self._clock, sys_root=self._root)

    def uninstall(self, *packages: str) -> None:
        """Make packages impossible to import, and the others possible again."""
        for package in self._missing:
            sys.modules.pop(package, None)
        for package in packages:
            sys.modules[package] = None  # type: ignore[assignment]
        self._missing = packages

    def reasons(self) -> Any:
        return self._backend.reasons  # type: ignore[union-attr] - AmdBackend alone has them


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stderr, level=logging.INFO)
    sysfs = Path(sys.argv[2])
    kernel.install(sysfs)
    serve(Connection(int(sys.argv[1])), AmdServant(sysfs))
