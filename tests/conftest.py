"""What every test may count on."""

import logging
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.nvml.standin import StandIn, build_library
from joulestat.cli.logs import LineFormatter
from promises.results import Gatherer, mark_items

CHECKOUT = Path(__file__).parent.parent
UNPACKED = CHECKOUT / ".cache" / "prometheus" / "usr" / "bin"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take a file for what the tests of promises measure; `make promises` makes a page of it."""
    parser.addoption("--promises", type=Path, metavar="FILE", help="write results of promises")


def pytest_configure(config: pytest.Config) -> None:
    """Make this process one that tests can start others from.

    The Prometheus that `make prometheus` unpacked comes behind the user's own. Ctrl-C is heeded:
    `make test &` in a script ignores it, and so would every process that a test starts and ends.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if UNPACKED.is_dir():
        os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{UNPACKED}"
    path = config.getoption("promises")
    # A worker of pytest-xdist sends its reports to the process that has this list.
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Gatherer(path.absolute()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name promises in reports; skip, with its cure, what needs a Prometheus that is not there."""
    mark_items(items)
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if not missing:
        return
    skip = pytest.mark.skip(reason=f"no {' and no '.join(missing)} on PATH: run `make prometheus`")
    for item in items:
        if item.get_closest_marker("prometheus"):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Undo what a command that runs in this process does to the log of all tests after it."""
    level = logging.root.level
    yield
    logging.root.setLevel(level)
    for handler in logging.root.handlers[:]:
        if isinstance(handler.formatter, LineFormatter):
            logging.root.removeHandler(handler)


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the compiled stand-in for libnvidia-ml.so.1 lies in."""
    try:
        return build_library(tmp_path_factory.mktemp("nvml"))
    except FileNotFoundError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def nvml_standin(nvml_library: Path, tmp_path: Path) -> StandIn:
    """A host of its own with two NVIDIA GPUs, as far as any process started on it can tell."""
    return StandIn(nvml_library, tmp_path)
