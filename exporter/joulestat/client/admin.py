"""The admin API's client, for people and for the optimizer. Unlike the rest here, it raises.

Training code never loads it.
"""

import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from joulestat.client.encrypted import SCHEME, EncryptedTransport, parse_https
from joulestat.client.outbox import monotonic_ns
from joulestat.client.refusals import refusal_text, silence_advice
from joulestat.client.target import parse_target
from joulestat.client.transport import Reply, Transport
from joulestat.domain.errors import AdminError
from joulestat.domain.units import seconds_to_ns

ANSWER_LIMIT_BYTES = 16 * 2**20
"""A thousand audit records are well below it."""

_OK = range(200, 300)
_NO_CONTENT = 204


class AdminClient:
    """Asks one exporter's admin API. Each call is one exchange on a connection of its own.

    The token goes to this URL and nowhere else: redirects are not followed, and it is not sent
    over a network in the clear. Any thread may call it.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout_seconds: float = 10.0,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: ``unix:/path/to/socket``, ``http://127.0.0.1:port`` on this host, or, where an
                exporter is behind something that speaks TLS, ``https://host:port``.
            token: What follows ``Authorization: Bearer``.
            timeout_seconds: Limit on each call as a whole.
            tls: Whom to believe over https, from ``encrypted.tls_context``; None for nobody.

        Raises:
            AdminError: The URL or the token cannot be used.
        """
        encrypted = url.startswith(SCHEME)
        try:
            self._target = parse_https(url) if encrypted else parse_target(url)
        except ValueError as error:
            raise AdminError(f"admin API: {error}") from None
        if encrypted and tls is None:
            msg = f"admin API: {url!r} is encrypted, and no authority to believe was named"
            raise AdminError(msg)
        if not encrypted and not self._target.is_local:
            msg = (
                f"admin API: {url!r} is not on this host, and the token would cross the network "
                "unencrypted; use https, or the Unix socket, or forward it (ssh -L) and name "
                "127.0.0.1"
            )
            raise AdminError(msg)
        self._tls = tls if encrypted else None
        if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
            raise AdminError("admin API: the token is empty or has characters no token has")
        self._token = token
        self._timeout_seconds = timeout_seconds

    @property
    def url(self) -> str:
        """Where the admin API is, as it was given."""
        return self._target.url

    def gpus(self) -> list[dict[str, Any]]:
        """Return all GPUs: limits in W, range, lease, drift.

        Raises:
            AdminError: As for every method here: no answer, a refusal, or no answer of ours.
        """
        return self._list("GET", "/v1/gpus", "gpus")

    def read_only_reason(self) -> str | None:
        """Return why no lease can be granted, None where one can."""
        reason = self._object("GET", "/v1/gpus").get("read_only_reason")
        return reason if isinstance(reason, str) else None

    def gpu(self, uuid: str) -> dict[str, Any]:
        """Return one GPU, with the revision of its lease."""
        return self._object("GET", _gpu_path(uuid))

    def put_lease(
        self,
        uuid: str,
        *,
        power_limit_watts: float,
        ttl_seconds: float,
        holder: str,
        reason: str,
        takeover: bool = False,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        fencing_token: int | None = None,
        if_match: int | None = None,
    ) -> dict[str, Any]:
        """Ask for a lease, renew it, or change it.

        Args:
            uuid: Which GPU.
            power_limit_watts: The limit to hold, W.
            ttl_seconds: How long from now on, s.
            holder: Who holds it; the same holder renews.
            reason: Why, for the audit log.
            takeover: Take it from another holder.
            dry_run: Check only.
            idempotency_key: With the same key the same request is carried out once.
            fencing_token: Only if the lease with this token is in force; else status 412.
            if_match: Only if the GPU is at this revision still; else status 412.

        Returns:
            What was granted, as read back from the driver, with its fencing token and revision.
        """
        lease: dict[str, object] = {
            "power_limit_watts": power_limit_watts,
            "ttl_seconds": ttl_seconds,
            "holder": holder,
            "reason": reason,
            "takeover": takeover,
        }
        if fencing_token is not None:
            lease["fencing_token"] = fencing_token
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._object(
            "PUT",
            f"{_gpu_path(uuid)}/lease{'?dry_run=true' if dry_run else ''}",
            body=lease,
            headers={**headers, **_condition(if_match)},
        )

    def delete_lease(
        self,
        uuid: str,
        holder: str | None = None,
        *,
        fencing_token: int | None = None,
        if_match: int | None = None,
    ) -> dict[str, Any] | None:
        """End a lease; return how, None where there was none.

        Args:
            uuid: Which GPU.
            holder: End it only if it is this holder's; None: whoever holds it.
            fencing_token: End only the lease with this token; else status 412.
            if_match: Only if the GPU is at this revision still; else status 412.
        """
        asked = {"holder": holder, "fencing_token": fencing_token}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        path = f"{_gpu_path(uuid)}/lease{'?' + query if query else ''}"
        reply = self._ask("DELETE", path, headers=_condition(if_match))
        return None if reply.status == _NO_CONTENT else self._parsed("DELETE", path, reply)

    def revert_all(self) -> dict[str, Any]:
        """End all leases; return how each ended."""
        return self._object("POST", "/v1/revert-all")

    def audit(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Return records of the audit log, oldest first.

        Args:
            after: Sequence number of the last record already known.
            limit: How many at most.
        """
        return self._list("GET", f"/v1/audit?after={after}&limit={limit}", "records")

    def history(
        self,
        run: str,
        *,
        start_seconds: float = 0.0,
        end_seconds: float,
        window_seconds: float = 15.0,
    ) -> dict[str, Any]:
        """Return a page of what one run did, as the exporter itself remembers it.

        Args:
            run: Its name.
            start_seconds: Unix time; rows that end from then on.
            end_seconds: Unix time; nothing later is looked at.
            window_seconds: Rows are added up within whole multiples of this, at least 15 s.
        """
        query = {
            "run": run,
            "start": f"{max(0.0, start_seconds):.3f}",
            "end": f"{end_seconds:.3f}",
            "window": f"{window_seconds:g}",
        }
        return self._object("GET", f"/v1/history?{urlencode(query)}")

    def history_runs(self, *, at_seconds: float, after: str = "") -> dict[str, Any]:
        """Return a page of the runs that the exporter remembers.

        Args:
            at_seconds: Unix time; only runs that had begun by then.
            after: Only names after this one.
        """
        query = {"at": f"{at_seconds:.3f}", "after": after}
        return self._object("GET", f"/v1/history/runs?{urlencode(query)}")

    def _list(self, method: str, path: str, key: str) -> list[dict[str, Any]]:
        items = self._object(method, path).get(key)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self._no_answer_of_ours(method, path)
        return items

    def _object(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        return self._parsed(method, path, self._ask(method, path, body=body, headers=headers))

    def _parsed(self, method: str, path: str, reply: Reply) -> dict[str, Any]:
        try:
            document = json.loads(reply.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise self._no_answer_of_ours(method, path)
        return document

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Return an answer with a status of success."""
        transport = self._transport()
        all_headers = {"Accept": "application/json", "Connection": "close", **(headers or {})}
        if self._token is not None:
            all_headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            all_headers["Content-Type"] = "application/json"
        try:
            reply = transport.exchange(
                method,
                path,
                headers=all_headers,
                body=b"" if body is None else json.dumps(body).encode(),
                timeout_ns=seconds_to_ns(self._timeout_seconds),
            )
        except OSError as error:
            raise AdminError(self._unreachable(error)) from error
        finally:
            transport.close()
        if reply.status not in _OK:
            refusal = refusal_text(reply, with_token=self._token is not None)
            text = f"{method} {self._target.url}{path}: {refusal}"
            raise AdminError(text, status=reply.status)
        return reply

    def _transport(self) -> Transport:
        limit_bytes = ANSWER_LIMIT_BYTES
        if self._tls is None:
            return Transport(self._target, monotonic_ns, body_limit_bytes=limit_bytes)
        return EncryptedTransport(
            self._target, monotonic_ns, self._tls, body_limit_bytes=limit_bytes
        )

    def _unreachable(self, error: OSError) -> str:
        advice = silence_advice(self._target, error)
        return f"no answer from the admin API at {self._target.url} ({error}); {advice}"

    def _no_answer_of_ours(self, method: str, path: str) -> AdminError:
        return AdminError(
            f"{method} {self._target.url}{path} was answered with something else than the admin "
            "API's JSON; is this the admin listener of a joulestat exporter?"
        )


def _condition(revision: int | None) -> dict[str, str]:
    return {} if revision is None else {"If-Match": f'"{revision}"'}


def _gpu_path(uuid: str) -> str:
    return f"/v1/gpus/{quote(uuid, safe='')}"
