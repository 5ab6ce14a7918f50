"""The policy file: what the host's owner allows of leases, and who may speak to the actuator."""

import grp
import pwd
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import yaml

from joulestat.config import kinds
from joulestat.config.document import Document, shown
from joulestat.config.kinds import Kind, nearest
from joulestat.config.sources import Given, parse, unknown
from joulestat.domain.errors import ConfigError
from joulestat.power.policy import Bounds, LeasePolicy
from joulestat.power.trusted_file import read_trusted

T = TypeVar("T")

_WATTS = kinds.number(1, 100_000)
_BOUND_KEYS = ("floor-watts", "ceiling-watts")
KEYS = (
    *_BOUND_KEYS,
    "models",
    "max-ttl",
    "min-ttl",
    "write-interval",
    "write-burst",
    "max-step-ratio",
    "node-ceiling-watts",
    "allowed-users",
    "allowed-groups",
)
"""What the file may hold; every key may be missing."""

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """The whole file.

    Attributes:
        lease: What leases may ask.
        allowed_uids: Users that may speak to the actuator, beside root and its own.
        allowed_gids: Groups whose members may.
    """

    lease: LeasePolicy
    allowed_uids: frozenset[int] = frozenset()
    allowed_gids: frozenset[int] = frozenset()


def read_policy(file: Path, usual: LeasePolicy) -> HostPolicy:
    """Return the policy in a file.

    Args:
        file: YAML, owned by root or by this process's user, writable by its owner alone.
        usual: What holds for a key that is not there.

    Raises:
        ConfigError: Others could change it, it cannot be read, or a key or a value is not
            allowed; it names which.
    """
    return _Reader(_PolicyDocument(file), usual).policy()


class _PolicyDocument(Document):
    """The file, if nobody else could change it; an empty file is an empty policy."""

    def entries(self) -> dict[str, yaml.Node]:
        return {} if self._top is None else self.items(self._top, "")

    def _text(self) -> str:
        return read_trusted(self._file)


class _Reader:
    """The file, while it is read."""

    def __init__(self, document: _PolicyDocument, usual: LeasePolicy) -> None:
        self._document = document
        self._usual = usual
        self._entries = document.entries()
        self._check_keys(self._entries, "", KEYS)

    def policy(self) -> HostPolicy:
        usual = self._usual
        ttl, burst = kinds.duration(1, 604_800), kinds.integer(1, 1_000)
        lease = replace(
            usual,
            bounds=self._bounds(self._entries, "", usual.bounds),
            models={**usual.models, **self._models()},
            max_ttl_seconds=self._get("max-ttl", ttl, usual.max_ttl_seconds),
            min_ttl_seconds=self._get("min-ttl", ttl, usual.min_ttl_seconds),
            write_interval_seconds=self._get(
                "write-interval", kinds.duration(0, 3_600), usual.write_interval_seconds
            ),
            write_burst=self._get("write-burst", burst, usual.write_burst),
            max_step_ratio=self._get("max-step-ratio", _RATIO, usual.max_step_ratio),
            node_ceiling_watts=self._get("node-ceiling-watts", _CEILING, usual.node_ceiling_watts),
        )
        if lease.min_ttl_seconds > lease.max_ttl_seconds:
            raise self._contradiction("min-ttl", "is longer than max-ttl", "at most max-ttl")
        return HostPolicy(
            lease,
            self._ids("allowed-users", lambda name: pwd.getpwnam(name).pw_uid),
            self._ids("allowed-groups", lambda name: grp.getgrnam(name).gr_gid),
        )

    def _models(self) -> dict[str, Bounds]:
        node = self._entries.get("models")
        if node is None:
            return {}
        general = self._bounds(self._entries, "", self._usual.bounds)
        models = {}
        for model, entry in self._document.items(node, "models").items():
            path = f"models.{model}."
            bounds = self._document.items(entry, path)
            self._check_keys(bounds, path, _BOUND_KEYS)
            models[model] = self._bounds(bounds, path, general)
        return models

    def _bounds(self, entries: dict[str, yaml.Node], path: str, outer: Bounds) -> Bounds:
        bounds = Bounds(
            *(self._parsed(entries[key], path + key, _WATTS) if key in entries else None
              for key in _BOUND_KEYS)
        ).within(outer)  # fmt: skip
        floor, ceiling = bounds.floor_watts, bounds.ceiling_watts
        if floor is not None and ceiling is not None and floor > ceiling:
            node = entries.get("floor-watts") or entries["ceiling-watts"]
            raise self._document.error(
                node,
                f"{path}floor-watts",
                f"of {floor:g} W lies above the ceiling of {ceiling:g} W",
                "a floor that is not above the ceiling",
            )
        return bounds

    def _get(self, key: str, kind: Kind[T], usual: T) -> T:
        node = self._entries.get(key)
        return usual if node is None else self._parsed(node, key, kind)

    def _ids(self, key: str, find: Callable[[str], int]) -> frozenset[int]:
        node = self._entries.get(key)
        if node is None:
            return frozenset()
        kind = kinds.word(rf"{_NAME}(,{_NAME})*", "names or numbers, in a list")
        names = self._parsed(node, key, kind, several=True).split(",")
        return frozenset(self._id(node, key, name, find) for name in names)

    def _id(self, node: yaml.Node, key: str, name: str, find: Callable[[str], int]) -> int:
        if name.isdecimal():
            return int(name)
        try:
            return find(name)
        except KeyError:
            raise self._document.error(
                node, key, f"names {name!r}, whom this host does not know", "names or numbers"
            ) from None

    def _parsed(self, node: yaml.Node, path: str, kind: Kind[T], *, several: bool = False) -> T:
        text = self._document.text(node, path, several=several)
        return parse(Given(path, text, self._document.place(node)), kind)

    def _check_keys(self, entries: dict[str, yaml.Node], path: str, known: Iterable[str]) -> None:
        for key, node in entries.items():
            if key not in known:
                place = self._document.place(node)
                raise unknown(path + key, shown(node), place, nearest(key, known))

    def _contradiction(self, key: str, what: str, allowed: str) -> ConfigError:
        node = self._entries.get(key) or self._entries["max-ttl"]
        return self._document.error(node, key, what, allowed)


_RATIO: Kind[float | None] = kinds.number(0.01, 1)
_CEILING: Kind[float | None] = kinds.number(1, 10_000_000)
