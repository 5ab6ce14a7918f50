"""How one query reaches the server and its answer comes back: encryption, proxies, retries."""

import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

import httpx

from joulestat.domain.errors import HistoryError, HistoryUnreachable, QueryTooLarge

RETRY_AFTER_SECONDS = (0.2, 0.5, 1.0)
"""A query is sent four times at most, after these pauses."""
LONGEST_PAUSE_SECONDS = 10.0
"""A server that asks for a longer one with Retry-After is asked again after this."""

_PASSING = {
    httpx.codes.TOO_MANY_REQUESTS,
    httpx.codes.BAD_GATEWAY,
    httpx.codes.SERVICE_UNAVAILABLE,
    httpx.codes.GATEWAY_TIMEOUT,
}
"""What a server or a proxy before it says when asking again may help. Never another 4xx."""

Sleep = Callable[[float], object]
"""Waits for some seconds."""


def wait(seconds: float) -> None:
    """Wait, interruptible by a signal's handler that raises."""
    threading.Event().wait(seconds)


class Wire:
    """Sends forms to one server, from any thread."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        basic_auth: tuple[str, str] | None,
        timeout_seconds: float,
        ca_file: Path | None = None,
        client_certificate: tuple[Path, Path | None] | None = None,
        proxy: str | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Sleep = wait,
    ) -> None:
        """Prepare; nothing is sent yet. Arguments are those of ``PrometheusClient``.

        Raises:
            HistoryError: The URL, a certificate or the proxy cannot be used.
        """
        self.place, self._base_url = _checked_url(url)
        self._sleep = sleep
        local = _is_loopback(httpx.URL(url).host)
        # Packing an answer costs more than carrying it where nothing is carried far.
        packing = {"Accept-Encoding": "identity"} if local and proxy is None else {}
        try:
            self._http = httpx.Client(
                auth=basic_auth,
                headers={**packing, **headers},
                timeout=timeout_seconds,
                transport=transport,
                verify=_trust(ca_file, client_certificate, plain=url.startswith("http://")),
                proxy=proxy,
                # A proxy of the environment has a loopback of its own.
                trust_env=proxy is None and not local,
            )
        except (ValueError, httpx.InvalidURL) as error:
            raise HistoryError(f"the proxy {proxy!r} cannot be used: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, endpoint: str, form: Mapping[str, str | Sequence[str]]) -> httpx.Response:
        """Send one form and return the answer, whatever its status; again where that may help.

        POST, because queries grow longer than URLs may be. Redirects are not followed: they would
        carry the credentials to another host.

        Raises:
            HistoryUnreachable: No answer, four times.
            QueryTooLarge: None in time; it is not asked again, because it would do it all again.
        """
        pauses = iter(RETRY_AFTER_SECONDS)
        while True:
            pause = next(pauses, None)
            try:
                response = self._http.post(f"{self._base_url}/api/v1/{endpoint}", data={**form})
            except httpx.ReadTimeout as error:
                raise QueryTooLarge(
                    f"Prometheus at {self.place} gave no answer in time; "
                    "ask for less history with --window"
                ) from error
            except (httpx.HTTPError, UnicodeError) as error:  # UnicodeError: no name of a host
                if pause is None or not isinstance(error, httpx.TransportError):
                    raise HistoryUnreachable(
                        f"Prometheus at {self.place} gave no answer "
                        f"({error or type(error).__name__}); check the URL and that it runs"
                    ) from error
            else:
                if pause is None or response.status_code not in _PASSING or _timed_out(response):
                    return response
                pause = max(pause, _asked_pause(response))
            self._sleep(pause)


def _checked_url(url: str) -> tuple[str, str]:
    """Return the URL for people (no password in it) and the URL to ask."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise HistoryError(f"{url!r} is not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query:
        raise HistoryError(
            f"{url!r} cannot be asked; give http:// or https://, a host and, where Prometheus "
            "lives below one, a path, for example http://127.0.0.1:9090"
        )
    shown = parsed.copy_with(username=None, password=None)
    return str(shown), str(parsed).rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trust(
    ca_file: Path | None, client_certificate: tuple[Path, Path | None] | None, *, plain: bool
) -> ssl.SSLContext:
    """Return whom to believe: the system's authorities or those of a file, never anybody.

    Raises:
        HistoryError: A file does not hold what it should.
    """
    if plain and ca_file is None and client_certificate is None:
        # Nothing is encrypted and no redirect followed, so that reading the system's authorities
        # (50 ms) would be for nothing. Trusts nobody.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        trusted = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:
        raise HistoryError(
            f"{ca_file} holds no certificates of authorities in PEM form: {error}"
        ) from error
    if client_certificate is not None:
        certificate, key = client_certificate
        try:
            trusted.load_cert_chain(certificate, key)
        except OSError as error:
            raise HistoryError(
                f"{certificate} and {key or 'no key file'} are no certificate with its key in PEM "
                f"form: {error}"
            ) from error
    return trusted


def _timed_out(response: httpx.Response) -> bool:
    """Tell whether the query itself was what took too long: Prometheus says so with a 503."""
    return b'"timeout"' in response.content or b"deadline exceeded" in response.content


def _asked_pause(response: httpx.Response) -> float:
    try:
        return min(max(float(response.headers.get("retry-after", 0.0)), 0.0), LONGEST_PAUSE_SECONDS)
    except ValueError:  # a date
        return 0.0
