"""Lightning is one project in two packages: either may be missing."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import joulestat

PACKAGES = ["lightning.pytorch", "pytorch_lightning"]

pytest.importorskip("torch", reason="needs the extra test-frameworks")
for package in PACKAGES:
    pytest.importorskip(package, reason="needs the extra test-frameworks")


def loaded_without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> ModuleType:
    """Return the callback's module, as it is where packages are missing."""
    for name in missing:
        monkeypatch.setitem(sys.modules, f"{name}.callbacks", None)
    path = Path(joulestat.__file__).with_name("lightning.py")
    spec = importlib.util.spec_from_file_location("lightning_callback", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("missing", [*PACKAGES, None])
def test_the_callback_is_one_of_every_package_that_is_there(
    monkeypatch: pytest.MonkeyPatch, missing: str | None
) -> None:
    there = [name for name in PACKAGES if name != missing]
    bases: list[Any] = [sys.modules[name].Callback for name in there]  # type: ignore[attr-defined]
    without = [] if missing is None else [missing]
    callback = loaded_without(monkeypatch, *without).JoulestatCallback("r")

    assert all(isinstance(callback, base) for base in bases)


def test_without_any_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError, match="pip install lightning"):
        loaded_without(monkeypatch, *PACKAGES)
