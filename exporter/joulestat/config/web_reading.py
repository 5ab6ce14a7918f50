"""Reads a web configuration file as strictly as ``promtool check web-config`` does.

Errors name the line and the key, never a value: a key or a password may stand there by mistake.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml

from joulestat.config.go_names import (
    CIPHER_SUITES,
    CIPHER_SUITES_13,
    CLIENT_AUTH_TYPES,
    CURVES,
    HEADERS,
    REQUIRING,
    VERSIONS,
    duration_ns,
)
from joulestat.config.kinds import nearest
from joulestat.config.web_file import RateTerms, TlsTerms, WebFile
from joulestat.domain.errors import ConfigError

T = TypeVar("T")

_TAG = "tag:yaml.org,2002:"
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_BCRYPT = re.compile(r"\$2[abxy]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
"""What follows is left alone, as Go leaves it."""
_ENABLING = ("cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file",
             "client_auth_type")  # fmt: skip
"""Any of these asks for TLS; the rest of the section alone does not."""

Read = Callable[["_Place", yaml.Node], Any]


def parse_web_file(text: str, file: Path) -> WebFile:
    """Return what a web configuration file says.

    Args:
        text: Its content.
        file: Where it stands: for errors, and where relative paths in it begin.

    Raises:
        ConfigError: An unknown or repeated key, a value that is not allowed, two that contradict
            each other.
    """
    place = _Place(file)
    top = _top(text, place)
    if top is None:
        return WebFile()
    tls = place.table(top, "tls_server_config", _TLS)
    http = place.table(top, "http_server_config", _HTTP)
    rate = place.table(top, "rate_limit", _RATE)
    users = place.given(top, "basic_auth_users", _users)
    place.refuse_others(top, ("tls_server_config", "http_server_config", "rate_limit",
                              "basic_auth_users"))  # fmt: skip
    return WebFile(
        tls=_tls(tls, place, file.parent),
        http2=http.get("http2"),
        headers=http.get("headers", MappingProxyType({})),
        users=users if users is not None else MappingProxyType({}),
        rate=RateTerms(rate["interval"], rate.get("burst", 0)) if rate.get("interval") else None,
    )


def _tls(given: dict[str, Any], place: "_Place", folder: Path) -> TlsTerms | None:
    auth = given.get("client_auth_type", "")
    if "client_allowed_sans" in given and auth not in REQUIRING:
        raise place.error(
            None,
            "tls_server_config has client_allowed_sans, but its client_auth_type lets clients in "
            "without a certificate; allowed: RequireAndVerifyClientCert",
        )
    if not any(given.get(key) for key in _ENABLING):
        return None
    for one, other in (("cert", "cert_file"), ("key", "key_file")):
        if not given.get(one) and not given.get(other):
            raise place.error(None, f"tls_server_config has neither {other} nor {one}")
    if (given.get("client_ca") or given.get("client_ca_file")) and auth in ("", "NoClientCert"):
        raise place.error(
            None,
            "tls_server_config has a client CA and no client_auth_type, so no client would be "
            "asked for a certificate; allowed: RequireAndVerifyClientCert, or no client CA",
        )
    suites = given.pop("cipher_suites", None)
    for key in ("cert_file", "key_file", "client_ca_file"):
        given[key] = folder / given[key] if given.get(key) else None
    return TlsTerms(
        **{key: value for key, value in given.items() if value is not None},
        # An empty list chooses nothing, in Go as here.
        cipher_suites=tuple(CIPHER_SUITES[name] for name in suites if name in CIPHER_SUITES)
        if suites
        else None,
    )


def _top(text: str, place: "_Place") -> yaml.MappingNode | None:
    try:
        # Nodes, because they know their line. Several documents are an error: users in a second
        # one, which Go does not read, would leave the door open.
        top = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise place.error(mark, "this is not YAML, or more than one document of it") from None
    if top is None or _is_null(top):
        return None
    if not isinstance(top, yaml.MappingNode):
        raise place.error(top.start_mark, "this is not a mapping; allowed: 'key: value' lines")
    return top


class _Wrong(Exception):
    """A value that is not allowed; the text goes on where the key's name ends."""


class _Place:
    """One file: reads its nodes and words its errors."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def error(self, mark: yaml.Mark | None, what: str) -> ConfigError:
        place = f"{self._file}:{mark.line + 1}" if mark is not None else str(self._file)
        return ConfigError(
            f"{place}: {what}", field="web.config.file", value="(not shown)", place=place
        )

    def entries(self, node: yaml.Node, name: str) -> Iterator[tuple[str, yaml.Node]]:
        """Yield the entries of a mapping, refusing repeated keys; of null, none."""
        if _is_null(node):
            return
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node.start_mark, f"{name} is not a mapping")
        try:
            yaml.constructor.SafeConstructor().flatten_mapping(node)
        except (yaml.YAMLError, RecursionError):
            raise self.error(node.start_mark, f"{name} merges what is no mapping") from None
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.error(key.start_mark, f"{name} has a key that is not text")
            if key.value in seen:
                raise self.error(key.start_mark, f"{name} has {key.value!r} twice")
            seen.add(key.value)
            yield key.value, value

    def given(
        self, mapping: yaml.Node, key: str, read: Callable[["_Place", yaml.Node], T]
    ) -> T | None:
        for name, node in self.entries(mapping, "the file"):
            if name == key and not _is_null(node):
                return read(self, node)
        return None

    def table(self, top: yaml.Node, section: str, readers: Mapping[str, Read]) -> dict[str, Any]:
        """Return the values of a section by key; a key without a value counts as not given."""
        return self.given(top, section, lambda _, node: self._values(node, section, readers)) or {}

    def _values(self, node: yaml.Node, section: str, readers: Mapping[str, Read]) -> dict[str, Any]:
        values = {}
        for key, value in self.entries(node, section):
            if key not in readers:
                raise self.unknown(value, key, section, readers)
            if not _is_null(value):
                try:
                    values[key] = readers[key](self, value)
                except _Wrong as error:
                    raise self.error(value.start_mark, f"{section}.{key} {error}") from None
        return values

    def refuse_others(self, top: yaml.Node, known: tuple[str, ...]) -> None:
        for key, node in self.entries(top, "the file"):
            if key not in known:
                raise self.unknown(node, key, "the file", known)

    def unknown(
        self, node: yaml.Node, key: str, where: str, known: Mapping[str, Read] | tuple[str, ...]
    ) -> ConfigError:
        # The nearest right name shows what was meant without repeating what may be a secret.
        hint = nearest(key, known) or f"known are {', '.join(known)}"
        return self.error(node.start_mark, f"{where} has an unknown key; {hint}")


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}null"


def _text(_: _Place, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _Wrong("is not a single value")
    return str(node.value)


def _boolean(_: _Place, node: yaml.Node) -> bool:
    found = _BOOLEANS.get(node.value.lower()) if isinstance(node, yaml.ScalarNode) else None
    if found is None or node.tag != f"{_TAG}bool":
        raise _Wrong("is neither true nor false; write it without quotes")
    return found


def _integer(_: _Place, node: yaml.Node) -> int:
    if isinstance(node, yaml.ScalarNode) and _INTEGER.fullmatch(node.value):
        return int(node.value)
    raise _Wrong("is not a whole number")


def _duration(place: _Place, node: yaml.Node) -> int:
    text = _text(place, node)
    # A bare number is nanoseconds in Go, which nobody means; but that is what the file says.
    found = int(text) if _INTEGER.fullmatch(text) else duration_ns(text)
    if found is None or found < 0:
        raise _Wrong("is not a duration such as 100ms or 1s")
    return found


def _choice(*names: str) -> Read:
    def read(place: _Place, node: yaml.Node) -> str:
        text = _text(place, node)
        if text not in names:
            hint = nearest(text, names) or f"allowed: {', '.join(name for name in names if name)}"
            raise _Wrong(f"has an unknown word; {hint}")
        return text

    return read


def _list(read: Read) -> Read:
    def read_all(place: _Place, node: yaml.Node) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise _Wrong("is not a list")
        return tuple(read(place, item) for item in node.value if not _is_null(item))

    return read_all


def _headers(place: _Place, node: yaml.Node) -> Mapping[str, str]:
    headers = {}
    for name, value in place.entries(node, "headers"):
        text = "" if _is_null(value) else _text(place, value)
        allowed = HEADERS.get(name)
        if allowed is None:
            raise _Wrong(f"has a header that cannot be set; allowed: {', '.join(HEADERS)}")
        if allowed and text not in allowed:
            raise _Wrong(f"has a wrong {name}; allowed: {', '.join(allowed)}")
        if not text.isprintable() or not text.isascii():
            raise _Wrong(f"has a {name} that is not plain ASCII in one line")
        headers[name] = text
    return MappingProxyType(headers)


def _users(place: _Place, node: yaml.Node) -> Mapping[str, str]:
    users = {}
    for name, value in place.entries(node, "basic_auth_users"):
        found = _BCRYPT.match(value.value) if isinstance(value, yaml.ScalarNode) else None
        if found is None:
            raise place.error(
                value.start_mark,
                "basic_auth_users has a value that is no bcrypt hash; 'htpasswd -nBC 10 NAME' "
                "makes one",
            )
        users[name] = found[0]
    return MappingProxyType(users)


_TLS: Mapping[str, Read] = {
    **dict.fromkeys(("cert", "key", "client_ca", "cert_file", "key_file", "client_ca_file"), _text),
    "client_auth_type": _choice("", *CLIENT_AUTH_TYPES),
    "client_allowed_sans": lambda place, node: frozenset(_list(_text)(place, node)),
    "min_version": _choice(*VERSIONS),
    "max_version": _choice(*VERSIONS),
    "cipher_suites": _list(_choice(*CIPHER_SUITES, *CIPHER_SUITES_13)),
    "curve_preferences": lambda place, node: tuple(
        CURVES[name] for name in _list(_choice(*CURVES))(place, node)
    ),
    "prefer_server_cipher_suites": _boolean,
}
_HTTP: Mapping[str, Read] = {"http2": _boolean, "headers": _headers}
_RATE: Mapping[str, Read] = {"interval": _duration, "burst": _integer}
