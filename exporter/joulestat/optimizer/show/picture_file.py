"""Which kind of picture a file name asks for: known before anything is read or drawn."""

from pathlib import Path

from joulestat.domain.errors import ConfigError

FORMATS = {".png": "png", ".svg": "svg"}
"""By the end of the name."""


def picture_format(path: Path) -> str:
    """Return ``png`` or ``svg``.

    Raises:
        ConfigError: The name ends in neither.
    """
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise ConfigError(
            f"the picture {str(path)!r} must end in .png or .svg, which says what to draw",
            field="plot",
            value=str(path),
            place="--plot",
            allowed="a file ending in .png or .svg",
        ) from None
