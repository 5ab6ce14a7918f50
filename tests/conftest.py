"""What every test may count on."""

import os
import shutil
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
UNPACKED = CHECKOUT / ".cache" / "prometheus" / "usr" / "bin"


def pytest_configure(config: pytest.Config) -> None:
    """Put the Prometheus that `make prometheus` unpacked behind the user's own."""
    if UNPACKED.is_dir():
        os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{UNPACKED}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the cure as the reason, what needs a Prometheus where there is none."""
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if not missing:
        return
    skip = pytest.mark.skip(reason=f"no {' and no '.join(missing)} on PATH: run `make prometheus`")
    for item in items:
        if item.get_closest_marker("prometheus"):
            item.add_marker(skip)
