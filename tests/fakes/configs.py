"""Configurations from YAML text, variables and flags, as kim loads them, who is not root."""

from collections.abc import Callable, Mapping
from pathlib import Path

from joulestat.config import Config, load_config

HOME = Path("/home/kim")

Load = Callable[..., Config]


def loader(folder: Path) -> Load:
    """Return a function that loads; YAML text goes into a file of ``folder`` first."""

    def load(
        yaml: str | None = None,
        environment: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> Config:
        file = None
        if yaml is not None:
            file = folder / "joulestat.yaml"
            file.write_text(yaml, encoding="utf-8")
        return load_config(
            flags=flags or {}, environment=environment or {}, file=file, is_root=False, home=HOME
        )

    return load
