"""Who passes to an endpoint: one gate for the public listener, one for the admin listener."""

import logging
import threading
from collections.abc import Callable
from http import HTTPStatus

from starlette.requests import Request

from joulestat.domain.errors import ConfigError, StateError
from joulestat.server import stray_tokens
from joulestat.server.auth import Principal, Role, TokenTable
from joulestat.server.guard import HostRule, check_local_peer, check_no_browser
from joulestat.server.guard import check_host as check_plain_host
from joulestat.server.problems import Refused, shown
from joulestat.server.routes import Scope

FAILURES_PER_SECOND = 5
"""Refused credentials that are answered 401; beyond it 429."""

MAX_TOKEN_CHARACTERS = 512

_LOG = logging.getLogger(__name__)

_ROLES = {
    Scope.VIEWER: frozenset({Role.VIEWER, Role.OPERATOR}),
    Scope.OPERATOR: frozenset({Role.OPERATOR}),
}


class PublicGate:
    """Lets anyone read and, unless told otherwise, this host alone push."""

    def __init__(self, hosts: HostRule, *, allow_remote_push: bool) -> None:
        self._hosts = hosts
        self._allow_remote_push = allow_remote_push

    def __call__(self, request: Request, scope: Scope) -> None:
        """Raise ``Refused`` unless this request may use an endpoint of this scope."""
        if scope is Scope.ANYONE:
            return
        if scope is not Scope.PUSHER:
            # Nobody can prove a role here, so nobody has one.
            raise Refused(HTTPStatus.FORBIDDEN, "this listener knows no roles")
        _check_host(request, self._hosts)
        check_no_browser(request)
        stray_tokens.check_head(request)
        if not self._allow_remote_push:
            check_local_peer(request)


class AdminGate:
    """Lets the owner of a token do what the token's role may."""

    def __init__(
        self,
        hosts: HostRule,
        *,
        tokens: Callable[[], TokenTable],
        wall_seconds: Callable[[], float],
    ) -> None:
        """Make the gate.

        Args:
            hosts: Which Host headers are answered.
            tokens: The tokens as of now; may raise StateError or ConfigError, then nobody
                passes.
            wall_seconds: Unix time, for the tokens' expiry.
        """
        self._hosts = hosts
        self._tokens = tokens
        self._wall_seconds = wall_seconds
        self._failures = _FailureCount()
        self._logged = ""

    def __call__(self, request: Request, scope: Scope) -> None:
        """Raise ``Refused`` unless this request may use an endpoint of this scope."""
        _check_host(request, self._hosts)
        check_no_browser(request)
        stray_tokens.check_head(request)
        if scope is Scope.ANYONE:
            return
        principal = self._principal(request)
        if principal.role not in _ROLES.get(scope, frozenset()):
            raise Refused(
                HTTPStatus.FORBIDDEN,
                f"a {principal.role} may not do this; it takes a token of role {scope}",
                field="role",
                value=principal.role,
                allowed=scope,
            )
        if scope is Scope.OPERATOR:
            _check_gpus(request, principal)
        request.scope["user"] = principal

    def _principal(self, request: Request) -> Principal:
        now_seconds = self._wall_seconds()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        principal: Principal | None = None
        if scheme.lower() == "bearer" and len(token) <= MAX_TOKEN_CHARACTERS:
            principal = self._table().authenticate(token.strip(), now_seconds)
        if principal is not None:
            return principal
        # A good token passes even now: it cannot be guessed, and while somebody tries, the
        # operator must still be able to revert.
        if self._failures.add(now_seconds) > FAILURES_PER_SECOND:
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many requests without a valid token",
                headers={"Retry-After": "1"},
            )
        raise Refused(
            HTTPStatus.UNAUTHORIZED,
            "no valid token: send 'Authorization: Bearer TOKEN' with one that has not expired",
            field="Authorization",
            headers={"WWW-Authenticate": 'Bearer realm="joulestat"'},
        )

    def _table(self) -> TokenTable:
        try:
            table = self._tokens()
        except (StateError, ConfigError) as error:
            # Who is outside must not learn paths, and a broken file is one event, not one a
            # request.
            if str(error) != self._logged:
                self._logged = str(error)
                _LOG.error("event=token_file_refused error=%r", str(error))
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the token file cannot be trusted, so nobody is let in; the log says why",
            ) from None
        self._logged = ""
        return table


def principal_of(request: Request) -> Principal:
    """Return who asks; only for endpoints behind the admin gate with a role for their scope."""
    principal = request.scope["user"]
    if not isinstance(principal, Principal):
        raise TypeError("this endpoint is not behind the admin gate")
    return principal


def _check_gpus(request: Request, principal: Principal) -> None:
    """Refuse what a token that is limited to some GPUs would do to others, with 403.

    So is a change of all GPUs at once: half of an emergency stop would pass for a whole one.
    """
    device_uuid = request.path_params.get("uuid")
    if principal.may_change(device_uuid):
        return
    raise Refused(
        HTTPStatus.FORBIDDEN,
        "this token is for other GPUs"
        if device_uuid is not None
        else "this token is for some GPUs, and this changes all of them; end their leases one by "
        "one, or use a token without 'gpus'",
        field="gpu_uuid",
        value="all" if device_uuid is None else shown(device_uuid),
        allowed=", ".join(sorted(principal.gpus or ())),
    )


def _check_host(request: Request, hosts: HostRule) -> None:
    """Refuse a foreign Host, unless TLS has done so.

    A browser compares the name with the certificate before it sends anything, so a page that
    binds its own name to this host gets no further than the handshake.
    """
    if request.scope.get("scheme") != "https":
        check_plain_host(request, hosts)


class _FailureCount:
    """Failures within the current second of Unix time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._second = 0
        self._count = 0

    def add(self, now_seconds: float) -> int:
        with self._lock:
            if int(now_seconds) != self._second:
                self._second, self._count = int(now_seconds), 0
            self._count += 1
            return self._count
