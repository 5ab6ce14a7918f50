"""What stands in a web configuration file, as Prometheus's own exporters read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class TlsTerms:
    """How connections are encrypted, and whose are taken; nothing of it was looked at yet.

    Attributes:
        cert: Certificate chain, PEM, empty where ``cert_file`` has it.
        cert_file: Its file; None where it stands in the configuration itself.
        key: Private key, PEM, kept out of ``repr``.
        key_file: Its file.
        client_ca: Authorities of client certificates, PEM.
        client_ca_file: Their file.
        client_auth_type: Go's name of what is asked of clients; empty asks nothing.
        client_allowed_sans: Names of which a client's certificate must have one; None takes any.
        min_version: ``TLS10`` to ``TLS13``.
        max_version: The same.
        cipher_suites: OpenSSL's names, in order of preference, of suites up to TLS 1.2; None
            leaves the choice to OpenSSL, and an empty tuple leaves TLS 1.3 alone.
        curve_preferences: OpenSSL's names; empty leaves the choice to OpenSSL.
        prefer_server_cipher_suites: Whose order of suites counts.
    """

    cert: str = ""
    cert_file: Path | None = None
    key: str = field(default="", repr=False)
    key_file: Path | None = None
    client_ca: str = ""
    client_ca_file: Path | None = None
    client_auth_type: str = ""
    client_allowed_sans: frozenset[str] | None = None
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] | None = None
    curve_preferences: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RateTerms:
    """One request is let in each time ``interval_ns`` passes, and ``burst`` of them at once."""

    interval_ns: int
    burst: int


@dataclass(frozen=True, slots=True)
class WebFile:
    """One web configuration file.

    Attributes:
        tls: None: connections are not encrypted.
        http2: Whether HTTP/2 is allowed, None where the file says nothing; this server has none.
        headers: Added to every answer.
        users: bcrypt hashes by name, kept out of ``repr``; empty lets everyone in.
        rate: None: requests are not counted.
    """

    tls: TlsTerms | None = None
    http2: bool | None = None
    headers: Mapping[str, str] = field(default_factory=_nothing)
    users: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    rate: RateTerms | None = None
