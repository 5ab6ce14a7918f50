"""Stands before an application and does what the web configuration file says about requests."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from joulestat.config.web_file import RateTerms, WebFile
from joulestat.domain.errors import ConfigError
from joulestat.server.basic_auth import Passwords, Verdict
from joulestat.server.guard import SafeHeaders
from joulestat.server.problems import Refused, answer_refused


class WebGate:
    """Lets in whom the file lets in, and adds its headers to every answer."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        web_file: Callable[[], WebFile],
        monotonic_ns: Callable[[], int],
    ) -> None:
        """Stand before an application.

        Args:
            app: What is behind.
            web_file: The file as of now, such as ``WatchedWebFile.current``; raises ConfigError.
            monotonic_ns: CLOCK_MONOTONIC, for the rate.
        """
        self._app = app
        self._web_file = web_file
        self._bucket = _Bucket(monotonic_ns)
        self._passwords = Passwords()

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        try:
            terms = self._web_file()
            send = _with_headers(send, terms.headers)
            await self._judge(Request(scope), terms)
        except ConfigError:
            # The log says what is wrong; whoever is outside must not learn it.
            refused = Refused(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "the web configuration cannot be used; the exporter's log says why",
            )
            await _answer(refused, scope, receive, send)
        except Refused as error:
            await _answer(error, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _judge(self, request: Request, terms: WebFile) -> None:
        """Raise ``Refused`` unless the request may pass; the rate comes first, as it is cheap."""
        if terms.rate is not None and not self._bucket.take(terms.rate):
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                "more requests than the web configuration's rate_limit allows",
                headers={"Retry-After": "1"},
            )
        if not terms.users:
            return
        given = request.headers.getlist("authorization")
        verdict = await self._passwords.check(terms.users, given[0] if len(given) == 1 else "")
        if verdict is Verdict.BUSY:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many passwords are being checked; ask again in a second",
                headers={"Retry-After": "1"},
            )
        if verdict is Verdict.WRONG:
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "this takes a user and a password of the web configuration (basic authentication)",
                field="Authorization",
                headers={"WWW-Authenticate": "Basic"},
            )


async def _answer(refused: Refused, scope: AsgiScope, receive: Receive, send: Send) -> None:
    response: Response = await answer_refused(Request(scope), refused)
    await SafeHeaders(response)(scope, receive, send)


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """Return a ``send`` that sets headers; the file's word replaces ours of the same name."""
    if not headers:
        return send
    added = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    names = {name for name, _ in added}

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [each for each in message.get("headers", ()) if each[0].lower() not in names]
            message["headers"] = [*kept, *added]
        await send(message)

    return send_with_headers


class _Bucket:
    """Counts requests as a bucket of tokens that fills at a steady rate."""

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._terms: RateTerms | None = None
        self._at_ns = 0
        self._saved_ns = 0

    def take(self, terms: RateTerms) -> bool:
        """Take a token; False where there is none. A token is ``interval_ns`` of time saved."""
        now_ns = self._monotonic_ns()
        full_ns = terms.interval_ns * terms.burst
        if terms != self._terms:
            self._terms, self._saved_ns = terms, full_ns
        else:
            self._saved_ns = min(full_ns, self._saved_ns + now_ns - self._at_ns)
        self._at_ns = now_ns
        if self._saved_ns < terms.interval_ns:
            return False
        self._saved_ns -= terms.interval_ns
        return True
