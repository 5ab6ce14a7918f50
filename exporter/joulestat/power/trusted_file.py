"""Reads a file that nobody but root and this process's own user could have changed or replaced."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from joulestat.domain.errors import ConfigError

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40
"""As many as the kernel follows."""


def read_trusted(file: Path) -> str:
    """Return a file's text, once it is known whose doing it is.

    Every folder and every link on the way to it is looked at, since who can turn one elsewhere
    chooses the file. And what is read is the very file that was looked at, so that turning one in
    between changes nothing.

    Args:
        file: A regular file of UTF-8; links are followed.

    Raises:
        ConfigError: It cannot be read, or somebody else could have changed it; it says who.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8") as opened:  # noqa: PTH123 - a descriptor
            found = os.fstat(descriptor)
            place, status = file, found
            for place, status in _way_to(file):
                _check(file, place, status)
            if not (stat.S_ISREG(found.st_mode) and os.path.samestat(found, status)):
                raise _refused(file, "is no regular file, or was just replaced", "a file")
            _check(file, place, found)
            return opened.read()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise _refused(file, f"cannot be read: {why}", "a file") from error


def _way_to(file: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield every folder and link that leads to a file, as it is itself, and the file last."""
    ahead = list(file.absolute().parts[1:])
    at = Path(file.absolute().anchor)
    yield at, at.lstat()
    links = 0
    while ahead:
        part = ahead.pop(0)
        if part == "..":
            at = at.parent
            continue
        status = (at / part).lstat()
        yield at / part, status
        if not stat.S_ISLNK(status.st_mode):
            at /= part
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(None, "too many links on the way to it")
        target = (at / part).readlink()
        ahead = [*target.parts[target.is_absolute() :], *ahead]
        at = Path(target.anchor) if target.is_absolute() else at


def _check(file: Path, place: Path, status: os.stat_result) -> None:
    """Refuse a place that somebody could change who may not decide what the file says.

    Raises:
        ConfigError: It says who could, and what to do.
    """
    if status.st_uid not in (0, os.geteuid()):
        raise _refused(
            file,
            f"belongs to user {status.st_uid} ({place}), who could allow everything",
            f"root as its owner: chown root {place}",
        )
    # A link's mode says nothing.
    others = status.st_mode & _WRITABLE_BY_OTHERS and not stat.S_ISLNK(status.st_mode)
    if others and not _is_safe(place, status):
        raise _refused(
            file,
            f"can be changed by others ({place} has mode {stat.S_IMODE(status.st_mode):04o})",
            f"its owner alone to write it: chmod go-w {place}",
        )


def _is_safe(place: Path, status: os.stat_result) -> bool:
    """Tell whether a place is nobody's to change in spite of its mode.

    A folder such as /tmp, in which nobody can replace what is another one's; and what is mounted
    read-only, as Kubernetes mounts a ConfigMap.
    """
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    return bool(sticky) or bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def _refused(file: Path, what: str, allowed: str) -> ConfigError:
    return ConfigError(
        f"policy file {file} {what}; allowed: {allowed}",
        field="policy.file",
        value=file,
        place=str(file),
        allowed=allowed,
    )
