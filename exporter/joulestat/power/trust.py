"""Whether a file of the state folder may be believed, before anything is read from it."""

import os
import stat
from pathlib import Path


def distrust(path: Path) -> str | None:
    """Return why a file must not be believed; None where it may, or is not there.

    To open what is no file may wait for ever, as for a pipe that nobody writes to. What others can
    write says what they like; the folder's owner is whoever the service runs as.

    Raises:
        OSError: It cannot be looked at.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    if found.st_uid not in {0, os.geteuid(), path.parent.stat().st_uid}:
        return f"it belongs to user {found.st_uid}"
    if found.st_mode & stat.S_IWOTH:
        return f"everybody may write it (mode {stat.S_IMODE(found.st_mode):o})"
    return None
