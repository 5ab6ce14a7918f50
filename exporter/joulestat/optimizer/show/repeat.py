"""The command that decides again what was decided: the one that was typed, as of its moment."""

import shlex
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from joulestat.optimizer.show.wording import rfc3339

_ACTS = {"--apply", "--keep-lease"}
"""Flags that change something; whoever repeats a decision only wants to see it."""

_ACTS_WITH_VALUE = {
    "--admin.token-file",
    "--admin.url",
    "--at",
    "--lease-ttl",
    "--plot",
    "--report",
    "--watch",
}
"""Likewise, with a value after them; ``--at`` is written anew."""

_HEADER = "--prometheus.header"


def repeat_command(arguments: Sequence[str], at_seconds: float) -> str:
    """Return a line for a shell that shows the same decision later, and changes nothing.

    What is secret does not belong into a report: values of headers and the user in a URL are
    left out, and the reader puts in their own.

    Args:
        arguments: What was typed after the program's name, the subcommand included.
        at_seconds: Unix time as of which was decided.
    """
    kept: list[str] = []
    items = iter(arguments)
    for item in items:
        name, equals, value = item.partition("=")
        if name in _ACTS:
            continue
        if name.startswith("--") and not equals and (name in _ACTS_WITH_VALUE or name == _HEADER):
            value = next(items, "")
        if name in _ACTS_WITH_VALUE:
            continue
        if name == _HEADER:
            kept += [name, f"{value.partition(':')[0]}:..."]
        elif equals and name.startswith("--"):
            kept.append(f"{name}={_without_user(value)}")
        else:
            kept.append(_without_user(item))
    return shlex.join(["joulestat", *kept, "--at", rfc3339(at_seconds)])


def _without_user(text: str) -> str:
    """Return a URL without user and password; any other text as it is."""
    if "://" not in text:
        return text
    parts = urlsplit(text)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
