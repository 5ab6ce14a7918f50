"""The three places that settings come from, each read into text with the place it stood in."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from joulestat.config.kinds import Kind, nearest
from joulestat.config.options import ENVIRONMENT_PREFIX, OPTIONS
from joulestat.domain.errors import ConfigError

T = TypeVar("T")

CONFIG_FILE_VARIABLE = "JOULESTAT_CONFIG_FILE"
"""Names the file where no ``--config.file`` does."""

OTHERS_VARIABLES = frozenset(
    {
        "JOULESTAT_URL",
        "JOULESTAT_RUN",
        "JOULESTAT_DISABLED",
        "JOULESTAT_PROMETHEUS_URL",
        "JOULESTAT_ADMIN_CLIENT_TOKEN_FILE",
    }
)
"""Read by training code and by the other commands; on one host they may well stand in the
exporter's environment too."""

_BY_VARIABLE = {option.environment: option for option in OPTIONS}
_BY_KEY = {option.key: option for option in OPTIONS}

# Kubernetes and Docker links put these into every container for a Service called joulestat or
# joulestat-anything. They are nobody's misspelling.
_SERVICE_LINK = re.compile(
    r"JOULESTAT_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_\w+)?)"
)
_SERVICE_LINK_PORT = re.compile(r"(?:tcp|udp|sctp)://.*")


@dataclass(frozen=True, slots=True)
class Given:
    """A setting as somebody wrote it.

    Attributes:
        key: Which setting.
        text: Its value; several values are separated by commas.
        place: Where it stands, for the error: ``joulestat.yaml:3``, a variable, a flag.
        folder: Relative paths start here; None for the working directory.
    """

    key: str
    text: str
    place: str
    folder: Path | None = None


def defaults() -> Iterator[Given]:
    """Yield what holds where nobody says anything."""
    for option in OPTIONS:
        if option.default is not None:
            yield Given(option.key, option.default, "default")


def from_environment(environment: Mapping[str, str]) -> Iterator[Given]:
    """Yield the settings among environment variables; an empty variable is not set.

    Raises:
        ConfigError: A variable begins with ``JOULESTAT_`` and is no setting.
    """
    for variable in sorted(environment):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        text = environment[variable]
        option = _BY_VARIABLE.get(variable)
        if option is not None:
            if text:
                yield Given(option.key, text, variable)
        elif not _is_foreign(variable, text):
            known = sorted({*_BY_VARIABLE, *OTHERS_VARIABLES, CONFIG_FILE_VARIABLE})
            raise unknown(variable, text, "environment", nearest(variable, known))


def _is_foreign(variable: str, text: str) -> bool:
    if variable in OTHERS_VARIABLES or variable == CONFIG_FILE_VARIABLE:
        return True
    if variable.endswith("_PORT") and _SERVICE_LINK_PORT.fullmatch(text):
        return True
    return _SERVICE_LINK.fullmatch(variable) is not None


def from_flags(flags: Mapping[str, object]) -> Iterator[Given]:
    """Yield the settings among flags, by key; None and an empty sequence are not given.

    Raises:
        ConfigError: A key is no setting.
    """
    for key, value in flags.items():
        if key not in _BY_KEY:
            raise unknown(f"--{key}", value, "command line", nearest(key, _BY_KEY))
        text = _flag_text(value)
        if text is not None:
            yield Given(key, text, _BY_KEY[key].flag)


def _flag_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(str(item) for item in value) if value else None
    return str(value)


def parse(given: Given, kind: Kind[T]) -> T:
    """Return the value of what somebody wrote.

    Raises:
        ConfigError: It is not what this kind of setting allows.
    """
    try:
        return kind.parse(given.text)
    except (ValueError, OverflowError) as error:
        hint = f"{error}; " if str(error) else ""
        raise ConfigError(
            f"{given.place}: {given.key} cannot be {given.text!r}; {hint}allowed: {kind.allowed}",
            field=given.key,
            value=given.text,
            place=given.place,
            allowed=kind.allowed,
        ) from error


def unknown(name: str, value: object, place: str, suggestion: str) -> ConfigError:
    """Return the error about a name that is no setting."""
    hint = f"; {suggestion}" if suggestion else ""
    return ConfigError(
        f"{place}: {name} is not a setting{hint}", field=name, value=value, place=place
    )
