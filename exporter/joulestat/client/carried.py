"""What a trainer's checkpoint carries for one of its callbacks: found again, and never piled up.

Hugging Face's Trainer keeps ``{"args": .., "attributes": ..}`` per callback class, a list of them
where there are several callbacks of the class, and appends to the list with every checkpoint.
"""

import json
from collections.abc import Mapping
from typing import Any

Entry = dict[str, Any]

_ARGS = "args"
_ATTRIBUTES = "attributes"
_CHECKPOINT = "checkpoint"


def entry_of(arguments: Mapping[str, object], checkpoint: object) -> Entry:
    """Return what a checkpoint carries: how to make the callback anew, and its state."""
    return {_ARGS: dict(arguments), _ATTRIBUTES: {_CHECKPOINT: checkpoint}}


def find_entry(carried: object, arguments: Mapping[str, object]) -> Entry | None:
    """Return a callback's own entry, None where there is none.

    A single one is taken whatever its arguments: they may have been changed for the resume.
    """
    found = carried if isinstance(carried, list) else [carried]
    entries: list[Entry] = [entry for entry in found if isinstance(entry, dict)]
    own = [entry for entry in entries if entry.get(_ARGS) == arguments]
    if own:
        return own[-1]
    return entries[0] if len(entries) == 1 else None


def checkpoint_in(entry: Entry | None) -> Mapping[str, Any] | None:
    """Return the state in an entry, None where it has none."""
    attributes = entry.get(_ATTRIBUTES) if entry else None
    checkpoint = attributes.get(_CHECKPOINT) if isinstance(attributes, Mapping) else None
    return checkpoint if isinstance(checkpoint, Mapping) else None


def remove_entry(carried: object, arguments: Mapping[str, object]) -> None:
    """Take a callback's own entries out of a list, before its next one is appended."""
    if isinstance(carried, list):
        carried[:] = [
            entry
            for entry in carried
            if not isinstance(entry, dict) or entry.get(_ARGS) != arguments
        ]


def put_entry(carried: dict[str, Any], name: str, entry: Entry) -> None:
    """Replace a callback's entry among those of its class."""
    if isinstance(carried.get(name), list):
        remove_entry(carried[name], entry[_ARGS])
        carried[name].append(entry)
    else:
        carried[name] = entry


def as_json(arguments: Mapping[str, object]) -> dict[str, Any]:
    """Return arguments as JSON would hand them back; what JSON cannot say becomes text."""
    plain: dict[str, Any] = json.loads(json.dumps(arguments, default=_plain))
    return plain


def _plain(value: Any) -> object:
    item = getattr(value, "item", None)  # NumPy's numbers
    return item() if callable(item) else str(value)
