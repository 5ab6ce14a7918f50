"""The file of tokens: read strictly, only while others cannot, and again when it changes."""

import fcntl
import os
import re
import stat
from collections.abc import Hashable, Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from threading import Lock
from typing import Any

import yaml

from joulestat.domain.errors import ConfigError, StateError
from joulestat.power.leases import OURSELVES
from joulestat.server.auth import Principal, Role, TokenEntry, TokenTable

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PRINCIPAL = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_GPU = re.compile(r"[!-~]{1,96}")
_KEYS = {"sha256", "principal", "role", "expires", "gpus"}
_REQUIRED = ("sha256", "principal", "role")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def parse_tokens(text: str, place: str = "token file") -> TokenTable:
    """Read a token file, YAML or JSON.

    ::

        tokens:
          - sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
            principal: optimizer
            role: operator          # or viewer
            expires: 2027-06-30     # optional; that day's midnight UTC, or a full ISO time
            gpus: [GPU-0d9c...]     # optional; the only GPUs whose limits this operator changes

    Raises:
        ConfigError: Unknown or repeated key, a value that makes no sense, a digest given twice.
    """
    try:
        # A SafeLoader in all but that it refuses repeated keys.
        document = yaml.load(text, Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        # The error's own text may quote the file, and with it a token put there by mistake.
        where = f"line {mark.line + 1}" if mark else "its content"
        raise _error(place, "", f"is not YAML without repeated keys: see {where}") from None
    if not isinstance(document, dict) or set(document) != {"tokens"}:
        raise _error(place, "", "must have one key, 'tokens', and nothing else")
    items = document["tokens"]
    if not isinstance(items, list):
        raise _error(place, "tokens", "must be a list of tokens")
    entries = tuple(_entry(item, f"tokens[{at}]", place) for at, item in enumerate(items))
    if len({entry.sha256 for entry in entries}) != len(entries):
        raise _error(place, "tokens", "has one sha256 twice; give every token one role")
    return TokenTable(entries)


def load_tokens(path: Path) -> TokenTable:
    """Read a token file that nobody but its owner can read: root, or this process's user.

    Raises:
        StateError: It cannot be read, others can read or write it, or it is another user's.
        ConfigError: Its content makes no sense.
    """
    return _load(path)[0]


def add_token(path: Path, entry: Mapping[str, object]) -> None:
    """Add an entry to a token file, or begin one that its owner alone can read.

    The file is replaced whole or not at all, of two additions at once none is lost, and the
    exporter's user, who owns it, can still read it when root has added to it.

    Args:
        path: The file; a link stays one.
        entry: As ``parse_tokens`` reads it.

    Raises:
        StateError: It cannot be read or written.
        ConfigError: The entry, or what is in the file, makes no sense.
    """
    path = path.resolve()
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            _replace(path, entry)
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StateError(f"token file {path} cannot be written: {error}") from error


def _replace(path: Path, entry: Mapping[str, object]) -> None:
    entries, owner = [], None
    if path.exists():
        # Root adds to what is the exporter's own.
        _load(path, of_anyone=True)
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["tokens"]
        owner = path.stat()
    text = yaml.safe_dump({"tokens": [*entries, dict(entry)]}, sort_keys=False)
    parse_tokens(text, str(path))
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        if owner is not None:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
    fresh.replace(path)


class TokenFile:
    """A token file that is read again when it changes. Any thread may ask.

    A file that went bad fails closed: no table, so nobody gets in, not even with an old token.
    """

    def __init__(self, path: Path) -> None:
        """Read the file once, so that a bad one stops the start.

        Raises:
            StateError: See ``load_tokens``.
            ConfigError: See ``load_tokens``.
        """
        self._path = path
        self._lock = Lock()
        self._table, self._stamp = _load(path)

    def table(self) -> TokenTable:
        """Return the tokens as the file has them now.

        Raises:
            StateError: The file is gone or others can read it.
            ConfigError: Its content makes no sense.
        """
        with self._lock:
            try:
                stamp: Hashable = _stamp(self._path.stat())
            except OSError:
                stamp = None  # let loading say what is wrong
            if stamp is None or stamp != self._stamp:
                self._stamp = None  # until it is read well, it is read again
                self._table, self._stamp = _load(self._path)
            return self._table


def _load(path: Path, *, of_anyone: bool = False) -> tuple[TokenTable, Hashable]:
    try:
        # Not to be kept waiting by a pipe. Links are followed: mounted secrets are links.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise StateError(f"token file {path} is not a regular file")
            if status.st_mode & _OTHERS:
                mode = stat.S_IMODE(status.st_mode)
                raise StateError(
                    f"token file {path} has mode {mode:04o}, so others can use it; chmod 600 {path}"
                )
            if not of_anyone and status.st_uid not in (0, os.geteuid()):
                # Root can read a file that is another one's alone, and who may write it lets
                # himself in.
                raise StateError(
                    f"token file {path} belongs to user {status.st_uid}, who could let anybody "
                    f"in; chown it to the user that the exporter runs as (now {os.geteuid()})"
                )
            text = file.read()
    except FileNotFoundError as error:
        raise StateError(
            f"token file {path} is not there; 'joulestat lease token' makes one"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"token file {path} cannot be read: {error}") from error
    return parse_tokens(text, str(path)), _stamp(status)


def _stamp(status: os.stat_result) -> Hashable:
    # The mode and owner too: chmod and chown leave the modification time alone.
    return (
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_size,
        status.st_mode,
        status.st_uid,
    )


def _entry(item: object, at: str, place: str) -> TokenEntry:
    if not isinstance(item, dict):
        raise _error(place, at, "must have the keys sha256, principal, role")
    unknown = [key for key in item if key not in _KEYS]
    if unknown:
        raise _error(place, at, "has an unknown key", allowed=", ".join(sorted(_KEYS)))
    for key in _REQUIRED:
        if not isinstance(item.get(key), str):
            raise _error(place, f"{at}.{key}", "must be text; quote it")
    digest = item["sha256"].lower()
    if not _SHA256.fullmatch(digest):
        raise _error(place, f"{at}.sha256", "must be 64 hexadecimal digits, not the token itself")
    if item["principal"].lower() == OURSELVES:
        raise _error(
            place, f"{at}.principal", f"must not be {OURSELVES!r}, which does things of its own"
        )
    if not _PRINCIPAL.fullmatch(item["principal"]):
        raise _error(place, f"{at}.principal", "must be 1 to 64 characters of A-Z a-z 0-9 . _ @ -")
    if item["role"] not in set(Role):
        raise _error(place, f"{at}.role", "must be a role", allowed=" or ".join(Role))
    role = Role(item["role"])
    return TokenEntry(
        sha256=digest,
        principal=Principal(item["principal"], role, _gpus(item, role, at, place)),
        expires_seconds=_expiry(item.get("expires"), f"{at}.expires", place),
    )


def _gpus(item: Mapping[str, object], role: Role, at: str, place: str) -> frozenset[str] | None:
    """Return the GPUs that a token is limited to, None where the file names none."""
    if "gpus" not in item:
        return None
    given = item["gpus"]
    if role is not Role.OPERATOR:
        raise _error(place, f"{at}.gpus", "is for operators; a viewer sees every GPU")
    # A missing value must not turn one GPU into all of them.
    if not isinstance(given, list) or not given:
        raise _error(place, f"{at}.gpus", "must be a list of at least one UUID")
    if not all(isinstance(each, str) and _GPU.fullmatch(each) for each in given):
        raise _error(place, f"{at}.gpus", "must be UUIDs as GET /v1/gpus shows them")
    return frozenset(given)


def _expiry(value: object, at: str, place: str) -> float | None:
    """Return Unix seconds; times without a zone are UTC, a bare date begins at its midnight."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    # A datetime is a date too, so it is asked first.
    if not isinstance(moment, datetime):
        if not isinstance(moment, date):
            raise _error(place, at, "must be an ISO date such as 2027-06-30")
        moment = datetime.combine(moment, time())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _error(place: str, field: str, what: str, allowed: str = "") -> ConfigError:
    """Return the error about an entry, without its value: that may be a token by mistake."""
    return ConfigError(
        f"{place}: {field or 'the file'} {what}",
        field=field,
        value="(not shown)",
        place=place,
        allowed=allowed,
    )


class _Loader(yaml.SafeLoader):
    """YAML as ``safe_load`` reads it, but a key given twice is an error, not the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        keys = [key.value for key, _ in node.value]
        if len(set(map(str, keys))) != len(keys):
            raise yaml.constructor.ConstructorError(problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)
