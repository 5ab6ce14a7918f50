"""How one query reaches the server and its answer comes back: encryption, proxies, retries."""

import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

import httpx

from joulestat.domain.errors import HistoryError, HistoryUnreachable, QueryTooLarge
from joulestat.optimizer.history.patient_network import Patience, make_patient

RETRY_AFTER_SECONDS = (0.2, 0.5, 1.0)
"""A query is sent four times at most, after these pauses."""
LONGEST_PAUSE_SECONDS = 10.0
"""A server that asks for a longer one with Retry-After is asked again after this."""

WHOLE_ANSWER_TIMEOUTS = 2.0
"""An answer may take this many time-outs from the first byte of its query to its own last one."""

MOST_ANSWER_BYTES = 256 * 2**20
"""Unpacked. Answers are split so that they have a tenth of it."""

_PASSING = {
    httpx.codes.TOO_MANY_REQUESTS,
    httpx.codes.BAD_GATEWAY,
    httpx.codes.SERVICE_UNAVAILABLE,
    httpx.codes.GATEWAY_TIMEOUT,
}
"""What a server or a proxy before it says when asking again may help. Never another 4xx."""

_OF_THE_WAY = ("content-encoding", "content-length", "transfer-encoding")
"""Headers about how an answer was carried, which are not true any more once it is unpacked."""

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
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        """Prepare; nothing is sent yet. Arguments are those of ``PrometheusClient``.

        Raises:
            HistoryError: The URL, a certificate or the proxy cannot be used.
        """
        self.place, self._base_url = _checked_url(url)
        self._sleep = sleep
        self._longest_seconds = WHOLE_ANSWER_TIMEOUTS * timeout_seconds
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
        self._patience = None if monotonic is None else Patience(monotonic)
        if self._patience is not None:
            make_patient(self._http, self._patience)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, endpoint: str, form: Mapping[str, str | Sequence[str]]) -> httpx.Response:
        """Send one form and return the answer, whatever its status; again where that may help.

        POST, because queries grow longer than URLs may be. Redirects are not followed: they would
        carry the credentials to another host.

        Raises:
            HistoryUnreachable: No answer, four times.
            QueryTooLarge: None in time, or one that is too long; it is not asked again, because
                it would do it all again.
        """
        pauses = iter(RETRY_AFTER_SECONDS)
        while True:
            pause = next(pauses, None)
            try:
                response = self._exchange(endpoint, form)
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

    def _exchange(self, endpoint: str, form: Mapping[str, str | Sequence[str]]) -> httpx.Response:
        """Send a form once; read the answer, unpacked, as far as there can be one so long."""
        if self._patience is not None:
            self._patience.begin(self._longest_seconds)
        url = f"{self._base_url}/api/v1/{endpoint}"
        body = bytearray()
        with self._http.stream("POST", url, data={**form}) as answer:
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MOST_ANSWER_BYTES:
                    raise QueryTooLarge(
                        f"Prometheus at {self.place} answered more than {MOST_ANSWER_BYTES} bytes; "
                        "ask for less history with --window"
                    )
        headers = [(k, v) for k, v in answer.headers.multi_items() if k not in _OF_THE_WAY]
        return httpx.Response(
            answer.status_code, headers=headers, content=bytes(body), request=answer.request
        )


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
