"""TLS as a web configuration file says it, with the certificates as they are at each handshake."""

import logging
import os
import ssl
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from joulestat.config.go_names import REQUIRING
from joulestat.config.web_file import TlsTerms, WebFile
from joulestat.domain.errors import ConfigError
from joulestat.server.watched_web_file import stamp_of

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}

_LOG = logging.getLogger(__name__)


class _KnownPeer(ssl.SSLObject):
    """One connection; its handshake fails for a client whose certificate has no allowed name."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            _LOG.debug("event=handshake_failed reason=%r", error.reason)
            raise
        context = self.context
        allowed = context.allowed_sans if isinstance(context, _Context) else None
        if allowed is not None and not allowed & _names(self.getpeercert() or {}):
            _LOG.debug("event=handshake_failed reason='none of client_allowed_sans'")
            # An SSLError, because the event loop takes that for a failed handshake.
            raise ssl.SSLError("the client's certificate has none of client_allowed_sans")


class _Context(ssl.SSLContext):
    """What connections are encrypted with.

    Attributes:
        allowed_sans: Of which a client's certificate must have one; None takes any.
    """

    sslobject_class = _KnownPeer
    allowed_sans: frozenset[str] | None = None


class FreshTls:
    """Gives each connection the context of now; of one thread at a time.

    The whole context is made anew, not the certificate alone: a callback for the server's name
    can put in another context, but OpenSSL goes on asking clients for what the first one asked.
    """

    def __init__(self, web_file: Callable[[], WebFile]) -> None:
        """Read the certificates once, so that bad ones stop the start.

        Args:
            web_file: The file as of now, such as ``WatchedWebFile.current``.

        Raises:
            ConfigError: A certificate or key cannot be used, or there is no ``tls_server_config``.
        """
        self._web_file = web_file
        self._terms = _terms(web_file())
        self._made_of = _stamps(self._terms)
        self._made: ssl.SSLContext | ConfigError = make_context(self._terms)

    def context(self) -> ssl.SSLContext:
        """Return the context of the next connection.

        Raises:
            ssl.SSLError: The file or a certificate went bad; the log says which.
        """
        try:
            return self.current()
        except ConfigError as error:
            raise ssl.SSLError(str(error)) from None

    def current(self) -> ssl.SSLContext:
        """Return the context of now. Costs a ``stat`` per file unless one of them changed.

        Raises:
            ConfigError: The file or a certificate went bad.
        """
        terms = _terms(self._web_file())
        made_of = _stamps(terms)
        if terms != self._terms or made_of != self._made_of:
            self._make(terms, made_of)
        if isinstance(self._made, ConfigError):
            raise self._made
        return self._made

    def _make(self, terms: TlsTerms, made_of: tuple[Hashable, Hashable]) -> None:
        before = (self._terms, self._made_of[1])
        self._terms, self._made_of = terms, made_of
        try:
            self._made = make_context(terms)
        except _OwnCertificate as error:
            _LOG.error("event=certificate_refused error=%r", str(error))
            # Half of a new pair: the old one is as good as it was, as long as whom it lets in has
            # not changed. So a rotation of two files, one after the other, costs no connection.
            if before != (terms, made_of[1]):
                self._made = error
        except ConfigError as error:
            _LOG.error("event=tls_refused error=%r", str(error))
            self._made = error
        else:
            _LOG.info("event=certificate_read")


class _OwnCertificate(ConfigError):
    """The server's own certificate or key cannot be used."""


def make_context(terms: TlsTerms) -> ssl.SSLContext:
    """Return a context with certificates as they are now.

    Raises:
        ConfigError: Something cannot be read, does not fit, or asks for what Python cannot do.
    """
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.allowed_sans = terms.client_allowed_sans
    _set_versions(context, terms)
    _load_own(context, terms)
    _set_clients(context, terms)
    if terms.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if len(terms.curve_preferences) == 1:
        context.set_ecdh_curve(terms.curve_preferences[0])
    return context


def notes(terms: WebFile) -> Iterator[str]:
    """Yield what of a file is not done to the letter, one sentence each."""
    tls = terms.tls
    if tls is None:
        return
    if terms.http2:
        yield "http2 is ignored: this server speaks HTTP/1.1"
    if len(tls.curve_preferences) > 1:
        yield "curve_preferences names several, so OpenSSL's own list stays, which has them all"
    if tls.client_auth_type == "RequestClientCert":
        yield "RequestClientCert asks for what nobody looks at, so nothing is asked for"
    if tls.client_auth_type in ("RequireAnyClientCert", "RequireClientCert"):
        yield "client certificates are verified, which RequireAnyClientCert would not do"


def _set_versions(context: ssl.SSLContext, terms: TlsTerms) -> None:
    lowest, highest = _VERSIONS[terms.min_version], _VERSIONS[terms.max_version]
    suites = ":".join(terms.cipher_suites or ())
    if terms.cipher_suites == ():
        lowest = ssl.TLSVersion.TLSv1_3
    with warnings.catch_warnings():
        # Python warns of TLS 1.0 and 1.1; so does our documentation.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = lowest
        context.maximum_version = highest
    if lowest < ssl.TLSVersion.TLSv1_2:
        # OpenSSL 3 knows those versions only at the level that has no lower bounds.
        suites = f"{suites or 'DEFAULT'}:@SECLEVEL=0"
    if suites:
        context.set_ciphers(suites)


def _load_own(context: ssl.SSLContext, terms: TlsTerms) -> None:
    try:
        with (
            _path(terms.cert_file, terms.cert) as cert_file,
            _path(terms.key_file, terms.key) as key_file,
        ):
            context.load_cert_chain(cert_file, key_file, password=_no_password)
    except (OSError, ValueError) as error:
        names = ", ".join(str(each) for each in (terms.cert_file, terms.key_file) if each)
        raise _OwnCertificate(
            f"the certificate and key ({names or 'in the web configuration'}) cannot be used: "
            f"{_reason(error)}",
            field="tls_server_config",
            value="(not shown)",
            place=names,
        ) from None


def _set_clients(context: ssl.SSLContext, terms: TlsTerms) -> None:
    kind = terms.client_auth_type
    if kind in ("", "NoClientCert", "RequestClientCert"):
        return
    authorities = _authorities(terms)
    if authorities is not None:
        _trust(context, authorities)
    elif kind in ("RequireAnyClientCert", "RequireClientCert"):
        raise _error(
            f"client_auth_type {kind} takes certificates that nobody has verified, which Python "
            "cannot do; give client_ca_file, or RequireAndVerifyClientCert"
        )
    else:
        # As in Go: without an authority of one's own, those of the system.
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED if kind in REQUIRING else ssl.CERT_OPTIONAL
    # Every handshake is a whole one, judged by what is true at its time.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0


def _authorities(terms: TlsTerms) -> str | None:
    if terms.client_ca_file is None:
        return terms.client_ca or None
    try:
        return terms.client_ca_file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise _error(f"client_ca_file {terms.client_ca_file}: {error.strerror}") from None


def _trust(context: ssl.SSLContext, authorities: str) -> None:
    try:
        context.load_verify_locations(cadata=authorities.encode("ascii", "replace").decode())
    except ssl.SSLError:
        # Go takes such a file and then lets nobody in; so do we, and say it.
        _LOG.error("event=client_ca_empty cure='no client can connect: put a certificate there'")


@contextmanager
def _path(file: Path | None, text: str) -> Iterator[str]:
    """Yield a path for OpenSSL, which reads files only; a key given as text stays off the disk."""
    if file is not None:
        yield str(file)
        return
    descriptor = os.memfd_create("joulestat-pem")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one without a passphrase")


def _names(certificate: dict[str, Any]) -> frozenset[str]:
    """Return the subject's alternative names as Go writes them."""
    return frozenset(
        str(ip_address(value.strip())) if kind == "IP Address" else value
        for kind, value in certificate.get("subjectAltName", ())
        if kind in ("DNS", "IP Address", "email", "URI")
    )


def _terms(found: WebFile) -> TlsTerms:
    if found.tls is None:
        raise _error("the web configuration has no tls_server_config any more")
    return found.tls


def _stamps(terms: TlsTerms) -> tuple[Hashable, Hashable]:
    """Return what changes when the own files do, and when that of the authorities does."""
    own = tuple(each and stamp_of(each) for each in (terms.cert_file, terms.key_file))
    return own, terms.client_ca_file and stamp_of(terms.client_ca_file)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "it is not PEM").lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _error(what: str) -> ConfigError:
    return ConfigError(
        f"tls_server_config: {what}",
        field="tls_server_config",
        value="(not shown)",
        place="web configuration",
    )
