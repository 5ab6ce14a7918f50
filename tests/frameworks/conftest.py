"""What tests of frameworks may count on: no network, and a visible skip where one is missing.

A test says what it needs, ``pytest.mark.frameworks("torch", "transformers")``, and uses it in a
process of its own: loaded here, it would change what the client's other tests see of this one.
"""

import importlib.util
import os

import pytest

# Processes that tests start inherit it: nothing may be asked of a hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the cure as the reason, what needs a framework that is not installed."""
    for item in items:
        marker = item.get_closest_marker("frameworks")
        missing = [name for name in marker.args if not installed(name)] if marker else []
        if missing:
            cure = "pip install '.[test-frameworks]'"
            item.add_marker(pytest.mark.skip(reason=f"no {' and no '.join(missing)}: {cure}"))


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
